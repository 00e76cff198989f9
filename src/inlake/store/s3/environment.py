"""The standard AWS_* variables, made into what obstore and our own requests want to know."""

from __future__ import annotations

import configparser
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from inlake.store.keys import check_key

if TYPE_CHECKING:  # they exist in obstore's stubs only
    from obstore.store import ClientConfig, RetryConfig, S3Config

PASSED_ON = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_KMS_KEY_ID",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
)
"""obstore knows these by the same names in lower case."""
MAX_RETRIES = 4
"""Retries of a request, with the back-off below 1.5 s at most: a 503 and its own retry serve a client better."""


def endpoint(environment: Mapping[str, str]) -> str | None:
    """URL of the S3 server; None is AWS itself."""
    return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or None


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket and the prefix of a deployment's objects."""

    name: str
    prefix: str
    """Before each key: empty, or with a slash at its end."""
    environment: Mapping[str, str]
    """The AWS_* variables."""

    @property
    def where(self) -> str:
        """The bucket as messages name it."""
        return f"The bucket {self.name} at {endpoint(self.environment) or 'AWS'}"

    def path(self, key: str) -> str:
        """S3's name of the key, whole and not percent-encoded. `BadPlace`."""
        return self.prefix + check_key(key)


def s3_config(environment: Mapping[str, str]) -> S3Config:
    """Endpoint, region and credentials. `ValueError` names the variable that is wrong."""
    config = {name.lower(): environment[name] for name in PASSED_ON if environment.get(name)}
    if "aws_access_key_id" not in config:
        config |= shared_credentials(environment)
    if ("aws_access_key_id" in config) != ("aws_secret_access_key" in config):
        raise ValueError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set both, or neither.")
    if url := endpoint(environment):
        if not url.startswith(("http://", "https://")):
            raise ValueError(
                f"AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL: {url!r} starts with neither http:// nor https://."
            )
        config["aws_endpoint_url_s3"] = url.rstrip("/")
    fixed = {
        "region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        "unsigned_payload": True,  # the checksum covers the body, and costs a tenth of a signed SHA-256
        "checksum_algorithm": "crc64nvme",
        "disable_bulk_delete": True,  # a plain DELETE works on every store
    }
    return cast("S3Config", config | fixed)


def shared_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """The static keys of a profile in the shared credentials file; none there is no error unless AWS_PROFILE is set."""
    profile = environment.get("AWS_PROFILE")
    home = Path(environment.get("HOME", "~")).expanduser()
    path = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws/credentials")
    file = configparser.ConfigParser(interpolation=None)
    try:
        file.read(path, encoding="utf-8")
    except configparser.Error as error:
        raise ValueError(f"AWS_SHARED_CREDENTIALS_FILE: {path} cannot be read: {type(error).__name__}.") from None
    found = dict(file[profile or "default"]) if file.has_section(profile or "default") else {}
    if profile and "aws_access_key_id" not in found:
        raise ValueError(
            f"AWS_PROFILE: {path} has no aws_access_key_id for {profile!r}; only static keys are read there."
        )
    return {name: found[name] for name in map(str.lower, PASSED_ON[:3]) if name in found}


def client_options(environment: Mapping[str, str], transfer_timeout: float) -> ClientConfig:
    """`transfer_timeout`: seconds without an answer or another byte of one."""
    options: dict[str, Any] = {
        "allow_http": (endpoint(environment) or "").startswith("http://"),
        "connect_timeout": timedelta(seconds=min(5, transfer_timeout)),
        "read_timeout": timedelta(seconds=transfer_timeout),
        "timeout": timedelta(days=7),  # of a whole answer: a large object is read for as long as it takes
    }
    if bundle := environment.get("AWS_CA_BUNDLE"):
        try:
            ssl.create_default_context(cafile=bundle)  # does it hold certificates?
            options["root_certificate"] = Path(bundle).read_bytes()
        except OSError as error:
            raise ValueError(f"AWS_CA_BUNDLE: {bundle} cannot be used: {error.strerror}.") from None
    return cast("ClientConfig", options)


def retry_config(transfer_timeout: float) -> RetryConfig:
    return {
        "max_retries": MAX_RETRIES,
        "retry_timeout": timedelta(seconds=transfer_timeout),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=1),
            "base": 2,
        },
    }
