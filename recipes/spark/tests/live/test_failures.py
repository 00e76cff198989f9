"""What an operator sees when a service is away: one sentence, an exit code, no waiting without end, and nothing lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaException
from tests import live_servers
from tests.toxiproxy import Proxy

from inlake_spark import cli
from inlake_spark.ids import Ids
from recipes.spark.tests.world import NOTE, World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.live
NOWHERE = "127.0.0.1:1"
RECORDS = 20_000


@pytest.fixture
def asked(spark: SparkSession, world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world as the command finds it: in the environment, with time-outs that a test can wait for."""
    world.register_text("note", NOTE)
    world.environment["INLAKE_BUS_TIMEOUT"] = "4"
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)
    return world


@pytest.fixture
def proxied(asked: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Kafka behind a proxy that answers late, so that a job is on its way for some seconds."""
    live_servers.require("toxiproxy", live_servers.TOXIPROXY_URL)
    monkeypatch.setenv("INLAKE_BUS", f"kafka://{live_servers.KAFKA_FAULT_BOOTSTRAP}")
    proxy = Proxy("kafka", live_servers.KAFKA_FAULT_BOOTSTRAP)
    proxy.heal()
    proxy.poison("latency", latency=300)
    yield proxy
    proxy.heal()


def write(folder: Path, records: int) -> set[str]:
    """A file of notes; the ids that its events have."""
    file, at, expected = folder / "notes.ndjson", 0, set()
    ids = Ids(b"note", f"file:{file}")
    lines = [b'{"title": "%d"}' % n for n in range(records)]
    for line in lines:
        expected.add(ids.of(at, line))
        at += len(line) + 1
    file.write_bytes(b"\n".join(lines) + b"\n")
    return expected


def ingest(folder: Path, *more: str) -> int:
    return cli.run(["ingest", "note", f"{folder}/notes.ndjson", "--rejects", f"{folder}/rejects", *more])


@contextmanager
def down_once_there_are_messages(proxy: Proxy, world: World) -> Iterator[None]:
    """Takes Kafka away when the first events of the job are in."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            try:
                if world.count(world.topic("note")):
                    proxy.down()
                    return
            except (KafkaException, KeyError):
                pass
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(60)


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("INLAKE_REGISTRY", f"http://{NOWHERE}", "registry"),
        ("INLAKE_BUS", f"kafka://{NOWHERE}", "Kafka"),
    ],
)
def test_a_service_that_is_away_at_the_start_ends_the_command_with_3(
    asked: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    setting: str,
    value: str,
    told: str,
) -> None:
    monkeypatch.setenv(setting, value)
    write(tmp_path, 1)
    assert ingest(tmp_path) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("inlake-spark: ")
    assert told in line
    assert not (tmp_path / "rejects").exists()


def test_a_schema_that_nobody_registered_ends_the_command_with_2(
    asked: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 1)
    assert cli.run(["ingest", "no.such", f"{tmp_path}/notes.ndjson", "--rejects", f"{tmp_path}/rejects"]) == 2
    assert "no.such" in capsys.readouterr().err
    assert cli.run(["ingest", "note", f"{tmp_path}/nothing.ndjson", "--rejects", f"{tmp_path}/rejects"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}/nothing.ndjson" in line


def test_kafka_that_goes_away_during_a_job_loses_nothing(
    asked: World, proxied: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = write(tmp_path, RECORDS)
    with down_once_there_are_messages(proxied, asked):
        assert ingest(tmp_path) == 3
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("inlake-spark: ")
    assert "run it again" in line
    before = len(asked.messages(asked.topic("note")))
    assert 0 < before < RECORDS
    proxied.heal()
    assert ingest(tmp_path) == 0
    assert {message.id for message in asked.messages(asked.topic("note"))} == expected


def test_kafka_that_goes_away_during_a_stream_ends_it_and_it_goes_on_where_it_was(
    asked: World, proxied: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "landing").mkdir()
    expected = write(tmp_path / "landing", RECORDS)
    command = ["stream", "note", f"{tmp_path}/landing", "--rejects", f"{tmp_path}/rejects", "--once"]
    command += ["--checkpoint", f"{tmp_path}/checkpoint"]
    with down_once_there_are_messages(proxied, asked):
        assert cli.run(command) == 3
    assert "run it again" in capsys.readouterr().err.splitlines()[-1]
    proxied.heal()
    assert cli.run(command) == 0
    assert {message.id for message in asked.messages(asked.topic("note"))} == expected
