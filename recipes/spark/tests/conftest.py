"""One Spark session for all tests: it takes most of the time to start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from tests import live_servers

from recipes.spark.tests.world import World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONF = {
    "spark.sql.files.maxPartitionBytes": "1m",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.driver.memory": "700m",
    # a JVM of minutes spends most of them on compiling what it could interpret
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "ignore:::pyspark")
    config.addinivalue_line("filterwarnings", "ignore:unclosed:ResourceWarning")  # the sockets of py4j


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Spark in this process, on two cores, with blocks small enough that files of tests have several."""
    from inlake_spark.session import open_session

    if "SPARK_JARS" not in os.environ:
        sentence = "Spark's jars are missing: services/services.sh install spark, and its `env` names them"
        if os.environ.get("INLAKE_REQUIRE_LIVE") == "1":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    session = open_session(master="local[2]", conf=CONF)
    yield session
    session.stop()


@pytest.fixture
def world() -> World:
    """Names of its own on the real servers."""
    return World(live_servers.deployment(f"t{uuid4().hex[:12]}"))
