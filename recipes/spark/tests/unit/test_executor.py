"""The executor's path on an embedded deployment: no Spark, no Kafka, and the same code."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka.schema_registry import Schema

from inlake.model import Label
from inlake.settings import load
from inlake.wiring import connect_bus, connect_registry
from inlake_spark import driver
from inlake_spark.executor import Ingest, JobStopped, close_all
from inlake_spark.ids import Ids
from inlake_spark.job import Job
from inlake_spark.sources.lines import JsonLines
from recipes.spark.tests.unit.sources.test_lines import batch
from recipes.spark.tests.world import NOTE


class Given:
    """A broadcast as a Python worker gets it: another object each time."""

    def __init__(self, job: Job) -> None:
        self.value = pickle.loads(pickle.dumps(job))


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    settings = {
        "INLAKE_BUS": f"sqlite:{tmp_path}/events.db",
        "INLAKE_STORE": f"file:{tmp_path}/store",
        "INLAKE_REGISTRY": f"dir:{tmp_path}/schemas",
    }

    async def add() -> None:
        registry = connect_registry(load(settings))
        await registry.register("note", Schema(NOTE, "AVRO"))
        await registry.close()

    asyncio.run(add())
    yield settings
    close_all()


def job(environment: dict[str, str], schema: str = "note") -> Job:
    return asyncio.run(driver.prepare(environment, Label(schema), "test"))


def run(job: Job, *batches: pa.RecordBatch) -> list[dict[str, object]]:
    outcomes: Iterator[pa.RecordBatch] = Ingest(Given(job), JsonLines([]))(iter(batches))
    return [row for outcome in outcomes for row in outcome.to_pylist()]


def ids(environment: dict[str, str]) -> list[str]:
    async def read() -> list[str]:
        bus = connect_bus(load(environment), environment)
        try:
            return [dict(message.headers)["ce_id"].decode() async for message in bus.read()]
        finally:
            await bus.close()

    return asyncio.run(read())


def test_a_second_run_makes_the_same_events(environment: dict[str, str]) -> None:
    rows = batch(*[(b'{"title": "%d"}' % n, "file:/a", 0) for n in range(600)])
    for _ in range(2):
        (told,) = run(job(environment), rows)
        assert (told["kind"], told["lines"], told["accepted"], told["rejected"]) == ("block", 600, 600, 0)
    found = ids(environment)  # the embedded bus keeps each once
    assert len(found) == len(set(found)) == 600
    assert found[0] == Ids(b"note", "file:/a").of(0, b'{"title": "0"}')


def test_only_bad_lines_and_none_at_all_are_no_error(environment: dict[str, str]) -> None:
    given = job(environment)
    told = run(given, batch((b"\xff", "a", 0), (b"{}", "a", 0), (b"", "a", 0)), batch())
    assert [row["code"] for row in told] == ["malformed_json", "record_rejected", None]
    assert told[-1]["lines"] == 3
    assert run(given) == []
    assert ids(environment) == []


def test_executors_do_not_ask_the_registry(environment: dict[str, str], tmp_path: Path) -> None:
    given = job(environment)
    for file in (tmp_path / "schemas").rglob("*.avsc"):
        file.unlink()
    assert run(given, batch((b'{"title": "x"}', "a", 0)))[0]["accepted"] == 1


def test_a_bus_that_is_away_stops_the_task_and_says_so(environment: dict[str, str]) -> None:
    given = job(environment)
    (Path(environment["INLAKE_BUS"].removeprefix("sqlite:"))).unlink(missing_ok=True)
    Path(environment["INLAKE_BUS"].removeprefix("sqlite:")).mkdir()
    with pytest.raises(JobStopped, match="bus_unavailable"):
        run(given, batch((b'{"title": "x"}', "a", 0)))
    error = driver.why_stopped(
        RuntimeError("Traceback...\ninlake_spark.executor.JobStopped: bus_unavailable: It is away.\n")
    )
    assert error is not None
    assert (error.code, error.detail) == ("bus_unavailable", "It is away.")
