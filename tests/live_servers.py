"""Where the real servers of `services/` answer; absent ones skip a test on a laptop and fail it in CI."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

import pytest

KAFKA_BOOTSTRAP = os.environ.get("KAFKA_BOOTSTRAP", "127.0.0.1:9092")
KAFKA_SASL_BOOTSTRAP = os.environ.get("KAFKA_SASL_BOOTSTRAP", "127.0.0.1:9094")
KAFKA_FAULT_BOOTSTRAP = os.environ.get("KAFKA_FAULT_BOOTSTRAP", "127.0.0.1:19095")
SCHEMA_REGISTRY_URL = os.environ.get("SCHEMA_REGISTRY_URL", "http://127.0.0.1:8081/apis/ccompat/v7")
SCHEMA_REGISTRY_FAULT_URL = os.environ.get("SCHEMA_REGISTRY_FAULT_URL", "http://127.0.0.1:19081/apis/ccompat/v7")
S3_ENDPOINT = os.environ.get("S3_ENDPOINT", "http://127.0.0.1:9000")
S3_FAULT_ENDPOINT = os.environ.get("S3_FAULT_ENDPOINT", "http://127.0.0.1:19000")
S3_BUCKET = os.environ.get("S3_BUCKET", "gateway")
S3_REGION = os.environ.get("S3_REGION", "us-east-1")
AWS_ACCESS_KEY_ID = os.environ.get("AWS_ACCESS_KEY_ID", "gateway")
AWS_SECRET_ACCESS_KEY = os.environ.get("AWS_SECRET_ACCESS_KEY", "gateway-secret-key")
S3_VARIABLES = {
    "AWS_ENDPOINT_URL_S3": S3_ENDPOINT,
    "AWS_REGION": S3_REGION,
    "AWS_ACCESS_KEY_ID": AWS_ACCESS_KEY_ID,
    "AWS_SECRET_ACCESS_KEY": AWS_SECRET_ACCESS_KEY,
}
"""What a gateway or a store needs of the environment to use the S3 server."""
TOXIPROXY_URL = os.environ.get("TOXIPROXY_URL", "http://127.0.0.1:8474")


def require_live(what: str, host: str, port: int) -> None:
    """Return when something listens there; else skip the test, or fail it with INLAKE_REQUIRE_LIVE=1."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError as e:
        sentence = f"{what} does not answer at {host}:{port} ({e}): start it with services/services.sh start"
        if os.environ.get("INLAKE_REQUIRE_LIVE") == "1":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)


def require(what: str, address: str) -> None:
    """The same for `host:port` or a URL."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    require_live(what, parts.hostname or "127.0.0.1", parts.port or 80)


def deployment(own: str) -> dict[str, str]:
    """Settings of a gateway on all three real servers, with topics, subjects and objects named by `own`; what is absent
    skips or fails as `require` says."""
    require("Kafka", KAFKA_BOOTSTRAP)
    require("The registry", SCHEMA_REGISTRY_URL)
    require("The S3 server", S3_ENDPOINT)
    return {
        "INLAKE_BUS": f"kafka://{KAFKA_BOOTSTRAP}",
        "INLAKE_KAFKA_CREATE_TOPICS": "true",
        "INLAKE_TOPIC": f"{own}.{{schema}}",
        "INLAKE_STORE": f"s3://{S3_BUCKET}/{own}",
        "INLAKE_REGISTRY": SCHEMA_REGISTRY_URL,
        "INLAKE_SUBJECT": f"{own}.{{schema}}",
        **S3_VARIABLES,
    }
