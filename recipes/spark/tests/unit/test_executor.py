"""The executor's path on an embedded deployment: no Spark, no Kafka, and the same code."""

from __future__ import annotations

import asyncio
import importlib
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest
from confluent_kafka.schema_registry import Schema

from inlake.model import Label
from inlake.settings import load
from inlake.wiring import connect_bus, connect_registry
from inlake_spark import driver
from inlake_spark.executor import Ingest, close_all
from inlake_spark.ids import Ids
from inlake_spark.job import Job, JobStopped
from recipes.spark.tests.unit.sources.test_lines import source, whole
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


def run(job: Job, *files: Path) -> list[dict[str, object]]:
    """What one task gives back whose share are these files."""
    rows = pa.record_batch({"id": pa.array([0], pa.int64())})
    outcomes: Iterator[pa.RecordBatch] = Ingest(Given(job), source(list(map(whole, files))))(iter([rows]))
    return [row for outcome in outcomes for row in outcome.to_pylist()]


def written(folder: Path, *lines: bytes) -> Path:
    file = folder / f"{uuid4().hex}.ndjson"
    file.write_bytes(b"\n".join(lines))
    return file


def ids(environment: dict[str, str]) -> list[str]:
    async def read() -> list[str]:
        bus = connect_bus(load(environment), environment)
        try:
            return [dict(message.headers)["ce_id"].decode() async for message in bus.read()]
        finally:
            await bus.close()

    return asyncio.run(read())


def test_a_second_run_makes_the_same_events(environment: dict[str, str], tmp_path: Path) -> None:
    file = written(tmp_path, *[b'{"title": "%d"}' % n for n in range(600)])
    for _ in range(2):
        (told,) = run(job(environment), file)
        assert (told["kind"], told["lines"], told["accepted"], told["rejected"]) == ("block", 600, 600, 0)
    found = ids(environment)  # the embedded bus keeps each once
    assert len(found) == len(set(found)) == 600
    assert found[0] == Ids(b"note", file.as_uri()).of(0, b'{"title": "0"}')


def test_only_bad_lines_and_none_at_all_are_no_error(environment: dict[str, str], tmp_path: Path) -> None:
    given = job(environment)
    told = run(given, written(tmp_path, b"\xff", b"{}", b"", b""), written(tmp_path))
    assert [row["code"] for row in told] == ["malformed_json", "record_rejected", None]
    assert told[-1]["lines"] == 3
    assert run(given, written(tmp_path)) == []
    assert ids(environment) == []


def test_executors_do_not_ask_the_registry(environment: dict[str, str], tmp_path: Path) -> None:
    given = job(environment)
    for file in (tmp_path / "schemas").rglob("*.avsc"):
        file.unlink()
    assert run(given, written(tmp_path, b'{"title": "x"}'))[0]["accepted"] == 1


def test_a_bus_that_is_away_stops_the_task_and_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    given = job(environment)
    (Path(environment["INLAKE_BUS"].removeprefix("sqlite:"))).unlink(missing_ok=True)
    Path(environment["INLAKE_BUS"].removeprefix("sqlite:")).mkdir()
    with pytest.raises(JobStopped, match="bus_unavailable"):
        run(given, written(tmp_path, b'{"title": "x"}'))
    error = driver.why_stopped(
        RuntimeError("Traceback...\ninlake_spark.job.JobStopped: bus_unavailable: It is away.\n")
    )
    assert error is not None
    assert (error.code, error.detail) == ("bus_unavailable", "It is away.")


def test_zip_files_of_modules_are_not_read_anew_for_the_next_task(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "of_spark.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("first_of_zip", "second_of_zip"):
            packed.writestr(f"{name}/__init__.py", "")
            packed.writestr(f"{name}/inner.py", "")
    monkeypatch.syspath_prepend(archive)
    importlib.import_module("first_of_zip.inner")
    run(job(environment), written(tmp_path, b'{"title": "x"}'))
    archive.rename(tmp_path / "elsewhere.zip")
    importlib.invalidate_caches()  # as PySpark's worker does before each task
    archive.symlink_to(tmp_path / "elsewhere.zip")
    importlib.import_module("second_of_zip.inner")
