"""Every kind of source, and what goes wrong with one, in batches."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from inlake_spark import batch, driver
from inlake_spark.report import Report
from inlake_spark.source import Source
from inlake_spark.sources.json_texts import JsonTexts
from inlake_spark.sources.lines import JsonLines
from inlake_spark.sources.parquet import Parquet
from inlake_spark.sources.tables import Tables
from recipes.spark.tests.world import World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.live
ARTWORK = json.dumps(
    {
        "type": "record",
        "name": "Artwork",
        "fields": [
            {"name": "acno", "type": "string"},
            {"name": "year", "type": ["null", "int"], "default": None},
        ],
    }
)
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"acno": {"type": "string"}, "year": {"type": "integer"}},
        "required": ["acno"],
        "additionalProperties": False,
    }
)
EXACT = json.dumps(
    {
        "type": "object",
        "properties": {
            "acno": {"type": "string"},
            "at": {"type": "string", "format": "date-time"},
            "n": {"type": "number"},
            "note": {"type": "string"},
        },
    }
)


def run(spark: SparkSession, world: World, source: Source, folder: Path, schema: str = "art") -> Report:
    return batch.ingest(source.frame(spark), world.job(schema), source, f"{folder}/rejects")


def rejects(spark: SparkSession, folder: Path) -> list[Any]:
    return [
        row.asDict(recursive=True) for row in spark.read.parquet(f"{folder}/rejects").orderBy("file", "line").collect()
    ]


def values(world: World, schema: str = "art") -> set[bytes]:
    """Values without their schema's id."""
    return {message.value[5:] for message in world.messages(world.topic(schema))}


def avro(acno: str, year: int | None) -> bytes:
    """By hand: a text, and a union of null and int."""
    return bytes([2 * len(acno)]) + acno.encode() + (b"\x00" if year is None else b"\x02" + _zigzag(2 * year))


def _zigzag(n: int) -> bytes:
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def write(folder: Path, name: str, parts: Sequence[bytes]) -> str:
    (folder / name).write_bytes(b"".join(parts))
    return str(folder / name)


def test_json_tables_and_parquet_give_the_same_events(spark: SparkSession, world: World, tmp_path: Path) -> None:
    world.register_text("art", ARTWORK)
    expected = {avro("007", 1842), avro("A1", None)}
    array = write(tmp_path, "a.json", [b'\xef\xbb\xbf[{"acno": "007", "year": 1842},\n {"acno": "A1"}, 5]'])
    one = write(tmp_path, "b.json", [b'{"acno": "007", "year": 1842}'])
    report = run(spark, world, JsonTexts([array, one]), tmp_path)
    assert (report.accepted, report.rejected) == (3, 1)
    assert values(world) == expected
    assert [(row["line"], row["record"]) for row in rejects(spark, tmp_path)] == [(3, b"5")]

    job = world.job("art")
    shape = asyncio.run(driver.shape_of(job))
    table = write(tmp_path, "c.csv", ["acno;year\n007;1842\nA1;\nÄ;1_000\n".encode("cp1252")])
    report = batch.ingest(Tables([table], shape).frame(spark), job, Tables([table], shape), f"{tmp_path}/rejects")
    assert (report.accepted, report.rejected) == (2, 1)
    (row,) = rejects(spark, tmp_path)
    assert (row["line"], row["errors"][0]["pointer"], row["errors"][0]["got"]) == (4, "/year", "1_000")
    assert values(world) == expected

    rows = spark.createDataFrame([("007", 1842), ("A1", None)], "acno string, year int")
    rows.coalesce(1).write.parquet(f"{tmp_path}/d.parquet")
    source = Parquet([f"{tmp_path}/d.parquet"], shape)
    assert batch.ingest(source.frame(spark), job, source, f"{tmp_path}/rejects").accepted == 2
    assert values(world) == expected
    assert len({message.id for message in world.messages(world.topic("art"))}) == 7

    world.register_text("plain", SCHEMA, "JSON")
    job = world.job("plain")
    source = Parquet([f"{tmp_path}/d.parquet"], asyncio.run(driver.shape_of(job)))
    assert batch.ingest(source.frame(spark), job, source, f"{tmp_path}/rejects").accepted == 2
    assert {json.dumps(json.loads(value)) for value in values(world, "plain")} == {
        '{"acno": "007", "year": 1842}',
        '{"acno": "A1"}',
    }

    world.register_text("exact", EXACT, "JSON")
    job, at = world.job("exact"), dt.datetime.fromisoformat("2020-01-02T03:04:05.123456")
    number = Decimal("12345678901234567.8912345678")
    rows = spark.createDataFrame(
        [("007", at, number, None)], "acno string, at timestamp, n decimal(30,10), note string"
    )
    rows.coalesce(1).write.parquet(f"{tmp_path}/e.parquet")
    source = Parquet([f"{tmp_path}/e.parquet"], asyncio.run(driver.shape_of(job)))
    assert batch.ingest(source.frame(spark), job, source, f"{tmp_path}/rejects").accepted == 1
    (value,) = values(world, "exact")
    assert json.loads(value, parse_float=Decimal)["n"] == number
    assert ":05.123456" in json.loads(value)["at"]
    assert "note" not in json.loads(value)


def test_lines_in_a_bucket_are_taken_as_those_of_files_are(spark: SparkSession, world: World, tmp_path: Path) -> None:
    world.register_text("art", ARTWORK)
    lines = [b'{"acno": "%d", "year": %d}\n' % (n, n) for n in range(40_000)] + [b"no JSON\n"]
    world.put("art works/100%.ndjson", b"".join(lines))  # in two blocks
    world.put("art works/more.ndjson.gz", gzip.compress(b'{"acno": "last"}\n'))
    source, table = JsonLines([f"{world.lake}/art works"], world.environment), f"{world.lake}/rejects"
    report = batch.ingest(source.frame(spark), world.job("art"), source, table)
    assert (report.accepted, report.rejected) == (40_001, 1)
    assert values(world) == {avro("last", None), *(avro(str(n), n) for n in range(40_000))}
    (row,) = spark.read.parquet(table).collect()
    assert (row["file"], row["line"]) == (f"{world.lake}/art%20works/100%25.ndjson", 40_001)
    assert row["position"] == sum(map(len, lines[:-1]))


def test_what_is_wrong_with_a_source_is_told_and_sinks_nothing(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    world.register_text("art", ARTWORK)
    admin = AdminClient({"bootstrap.servers": world.environment["INLAKE_BUS"].removeprefix("kafka://")})
    topic = NewTopic(world.topic("art"), 3, 1, config={"max.message.bytes": "20000"})
    admin.create_topics([topic])[world.topic("art")].result(20)
    write(tmp_path, "1.ndjson", [b"\xff\xfe\n", b"{}\n"])  # only bad lines
    write(tmp_path, "2.ndjson", [b""])
    write(tmp_path, "3.ndjson", [b'{"acno": "large', b"x" * 300_000, b'"}\n{"acno": "small"}'])
    files = [str(tmp_path / f"{n}.ndjson") for n in (1, 2, 3)]
    report = run(spark, world, JsonLines(files), tmp_path)
    assert (report.accepted, report.rejected) == (1, 3)
    assert values(world) == {avro("small", None)}
    found = [(Path(row["file"]).name, row["line"], row["code"]) for row in rejects(spark, tmp_path)]
    assert found == [
        ("1.ndjson", 1, "malformed_json"),
        ("1.ndjson", 2, "record_rejected"),
        ("3.ndjson", 1, "record_too_large"),
    ]
    assert {cause.cause for cause in report.causes} == {"malformed_json", "missing_field /acno", "record_too_large"}
    assert run(spark, world, JsonLines([files[1]]), tmp_path).lines == 0
    assert rejects(spark, tmp_path) == []


def test_a_schema_that_is_gone_when_executors_start_changes_nothing(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    world.register_text("art", ARTWORK)
    source = JsonLines([write(tmp_path, "a.ndjson", [b'{"acno": "a"}\n'])])
    job = world.job("art")
    world.delete("art")
    assert batch.ingest(source.frame(spark), job, source, f"{tmp_path}/rejects").accepted == 1


def test_a_file_that_goes_away_before_it_is_read_ends_the_job_with_its_name(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    world.register_text("art", ARTWORK)
    source = JsonLines([write(tmp_path, "a.ndjson", [b'{"acno": "a"}\n'])])
    frame = source.frame(spark)
    (tmp_path / "a.ndjson").unlink()
    with pytest.raises(Exception, match="JobStopped") as raised:
        batch.ingest(frame, world.job("art"), source, f"{tmp_path}/rejects")
    stopped = driver.why_stopped(raised.value)
    assert stopped is not None
    assert (stopped.code, "a.ndjson cannot be read" in stopped.detail) == ("store_unavailable", True)
