"""Streams, binaries and reading."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from tests.gateways import embedded

from inlake.model import Label
from inlake_spark import binaries, driver, stream
from inlake_spark.binaries import Files, with_files
from inlake_spark.events import read_events, typed, with_objects
from inlake_spark.kafka import reader_options
from inlake_spark.sources.lines import JsonLines
from inlake_spark.sources.messages import Messages
from inlake_spark.sources.tables import Tables
from recipes.spark.tests.world import EXAMPLES, NOTE, World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.live
SCAN = json.dumps(
    {
        "type": "record",
        "name": "Scan",
        "fields": [
            {"name": "title", "type": "string"},
            {"name": "__resource_path__", "type": ["null", "string"], "default": None},
        ],
    }
)
FILES = EXAMPLES / "binaries" / "files"


async def ask(world: World, folder: Path, requests: list[tuple[str, str, bytes]]) -> list[Any]:
    """What a gateway on the same servers answers."""
    others = {name: value for name, value in world.environment.items() if name != "INLAKE_REGISTRY"}
    settings = {**others, "registry": world.environment["INLAKE_REGISTRY"], "INLAKE_UNSECURED_ROUTES": "true"}
    async with embedded(folder, **settings) as gateway:
        return [await gateway.post(path, body, method=method) for method, path, body in requests]


def take_back(world: World, topic: str) -> None:
    """Writes a message in a transaction that is aborted."""
    bootstrap = world.environment["INLAKE_BUS"].removeprefix("kafka://")
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"test-{topic}"})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(topic, b"taken back", b"key")
    producer.flush()
    producer.abort_transaction()


def test_what_lands_in_a_folder_is_published_once_and_refused_where_it_is_wrong(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    world.register_text("note", NOTE)
    landing = tmp_path / "landing"
    landing.mkdir()
    places = stream.Places(f"{tmp_path}/rejects", f"{tmp_path}/checkpoint")
    told: list[tuple[int, int]] = []
    for n in range(2):
        (landing / f"{n}.ndjson").write_bytes(b'{"title": "%d"}\n{}\n' % n)
        source = JsonLines([str(landing)])
        frame = stream.landing(spark, str(landing))
        job = world.job("note")
        query = stream.start(
            frame,
            job,
            source,
            places,
            once=True,
            told=lambda _, report: told.append((report.accepted, report.rejected)),
        )
        stream.wait(query)
    assert told == [(1, 1), (1, 1)]
    assert [message.value[5:] for message in world.messages(world.topic("note"))] == [b"\x020", b"\x021"]
    rejects = spark.read.parquet(f"{tmp_path}/rejects").orderBy("file").collect()
    assert [(Path(row["file"]).name, row["line"], row["batch"]) for row in rejects] == [
        ("0.ndjson", 2, 0),
        ("1.ndjson", 2, 1),
    ]


def test_unsecured_messages_that_fit_their_schema_are_events_of_who_sent_them(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    world.register_text("note", NOTE)
    world.environment["INLAKE_UNSECURED_TOPIC"] = unsecured = world.topic("unsecured")
    route = "/ingress/unsecured/record-json?schema="
    asked = [("note&destination=a/b", b'{"title": "x"}'), ("note", b'{"title": 5}'), ("unknown", b"{}")]
    answers = asyncio.run(ask(world, tmp_path, [("POST", route + schema, body) for schema, body in asked]))
    assert [answer.status for answer in answers] == [201, 201, 201]
    job = asyncio.run(driver.prepare(world.environment, None, "unsecured", ["note"]))
    source = Messages({**reader_options(world.environment), "subscribe": unsecured})
    places = stream.Places(f"{tmp_path}/rejects", f"{tmp_path}/checkpoint")
    stream.wait(stream.start(stream.messages(spark, source), job, source, places, once=True))
    (message,) = world.messages(world.topic("note"))
    first = next(m for m in world.messages(unsecured) if m.key == b"note/a/b")
    assert (message.key, message.value[5:]) == (b"note/a/b", b"\x02x")
    kept = {"ce_source", "ce_type", "inlake_principal"}
    assert {h for h in message.headers if h[0] in kept} == {h for h in first.headers if h[0] in kept}
    rejects = spark.read.parquet(f"{tmp_path}/rejects").select("code", "schema").collect()
    assert {tuple(row) for row in rejects} == {("record_rejected", "note"), ("schema_not_found", "unknown")}


@pytest.mark.parametrize("kind", ["folder-in-place", "bucket-in-place", "folder-copied"])
def test_binaries_are_events_once_and_a_gateway_gives_their_bytes(
    spark: SparkSession, world: World, tmp_path: Path, kind: str
) -> None:
    world.register_text("scan", SCAN)
    names = ("brick.png", "coins.png")
    table = "title,file\nBricks,brick.png\nCoins,coins.png\nNothing,no such file.png\n,\n"
    copy, prefix, path = kind == "folder-copied", str(FILES), f"{tmp_path}/scans.csv"
    (tmp_path / "scans.csv").write_text(table)
    if kind == "bucket-in-place":
        path, prefix = world.put("scans.csv", table.encode()), f"{world.lake}/scans"
        for name in names:
            world.put(f"scans/{name}", (FILES / name).read_bytes())
    files = Files(prefix, copy)
    world.environment["INLAKE_IN_PLACE"] = files.root
    job = world.job("scan")
    shape = asyncio.run(driver.shape_of(job))
    job = asyncio.run(with_files(job, files))
    source = Tables([path], shape, file_column="file")
    for _ in range(2):
        report = binaries.ingest(source.frame(spark), job, source, files, f"{tmp_path}/rejects")
        assert (report.accepted, report.rejected) == (2, 1)
    messages = world.messages(world.topic("scan"))
    assert len(messages) == 2  # the second run found both
    for message in messages:
        headers = {name: value.decode() for name, value in message.headers}
        name = headers["inlake_resource_filename"]
        content = (FILES / name).read_bytes()
        assert headers["inlake_resource_sha256"] == hashlib.sha256(content).hexdigest()
        uri = headers["inlake_resource_uri"]
        assert uri.startswith(world.environment["INLAKE_STORE"]) if copy else uri == files.uri(name)
        (answer,) = asyncio.run(ask(world, tmp_path, [("GET", f"/resources/{headers['inlake_puuid']}", b"")]))
        assert (answer.status, answer.body) == (200, content)
    (row,) = spark.read.parquet(f"{tmp_path}/rejects").collect()
    assert (row["line"], row["code"]) == (4, "object_not_found")
    found = with_objects(read_events(spark, world.environment, [world.topic("scan")]))
    contents = {Path(row["resource_filename"]).name: bytes(row["content"]) for row in found.collect()}
    assert contents == {name: (FILES / name).read_bytes() for name in names}
    if kind == "bucket-in-place":  # a scan that is replaced is another event
        world.put("scans/brick.png", (FILES / "coins.png").read_bytes())
        assert binaries.ingest(source.frame(spark), job, source, files, f"{tmp_path}/rejects").accepted == 2
        assert len({message.id for message in world.messages(world.topic("scan"))}) == 3


def test_events_of_all_languages_are_read_once_with_their_headers(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    schemas = ["tate.common.protobuf", "tate.artist", "tate.artist.protobuf", "tate.artist.json"]
    world.register(*schemas)
    artist = gzip.decompress((EXAMPLES / "tate/artists.ndjson.gz").read_bytes()).splitlines()[0]
    asked = [("POST", f"/ingress/record-json?schema={name}&destination=db", artist) for name in schemas[1:]]
    answers = asyncio.run(ask(world, tmp_path, asked))
    assert [answer.status for answer in answers] == [201, 201, 201]
    for name, answer in zip(schemas[1:], answers, strict=True):
        events = read_events(spark, world.environment, [world.topic(name)])
        job = asyncio.run(driver.prepare(world.environment, Label(name), "read"))
        take_back(world, world.topic(name))
        (row,) = typed(events, asyncio.run(driver.shape_of(job))).collect()
        assert (row["id"], row["key"], row["schema"], row["problem"]) == (answer.json()["id"], f"{name}/db", name, None)
        assert (int(row["record"]["birthYear"]), row["record"]["mda"]) == (1760, "Abbott, Lemuel Francis")
