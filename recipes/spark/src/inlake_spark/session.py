"""A Spark session for this recipe: what it needs beyond Spark's defaults."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONF = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.sql.execution.arrow.maxBytesPerBatch": "8388608",  # a thousand records of 900 kB are too much at once
    "spark.sql.session.timeZone": "UTC",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.parquet.compression.codec": "zstd",
}


def open_session(*, master: str | None = None, conf: Mapping[str, str] | None = None) -> SparkSession:
    """The session: under spark-submit with what it says, else one of its own (`master`: `local[*]`).

    `SPARK_JARS` names the folder with the jars for Kafka and S3, where nobody else brings them; the `AWS_*` variables
    that the gateway takes are those of `s3a://` too.
    """
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else executors take the `python3` that they find
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1" if (master or "local").startswith("local") else "")
    builder = SparkSession.builder.appName("inlake-spark")
    if master:
        builder = builder.master(master)
    for name, value in {**CONF, **_jars(os.environ), **_s3a(os.environ), **(conf or {})}.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel(os.environ.get("SPARK_LOG_LEVEL", "ERROR"))
    return session


def _jars(environment: Mapping[str, str]) -> dict[str, str]:
    folder = environment.get("SPARK_JARS")
    jars = sorted(Path(folder).glob("*.jar")) if folder else []
    return {"spark.jars": ",".join(map(str, jars))} if jars else {}


def _s3a(environment: Mapping[str, str]) -> dict[str, str]:
    """Hadoop's properties from the standard variables; none where credentials come from somewhere else."""
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    found = {
        "endpoint": endpoint,
        "endpoint.region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
        "path.style.access": "true" if endpoint else None,
        "connection.ssl.enabled": "false" if endpoint and endpoint.startswith("http:") else None,
        "access.key": key,
        "secret.key": secret,
        "session.token": environment.get("AWS_SESSION_TOKEN"),
        "aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
        if key and not environment.get("AWS_SESSION_TOKEN")
        else None,
    }
    return {f"spark.hadoop.fs.s3a.{name}": value for name, value in found.items() if value}
