"""The same records through the gateway and through Spark: the same events, and the same refusals."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from tests.gateways import embedded

from inlake_spark import batch
from inlake_spark.sources.lines import JsonLines
from recipes.spark.tests.world import EXAMPLES, World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.live
LANGUAGES = {
    "tate.artwork": [],
    "tate.artwork.protobuf": ["tate.common.protobuf"],
    "tate.artwork.json": [],
}
"""The artworks in each language, and what their schemas refer to."""


def lines() -> list[bytes]:
    """5,000 lines: real artworks, and among them what cannot be taken, of every kind."""
    real = gzip.decompress((EXAMPLES / "tate/artworks.ndjson.gz").read_bytes()).splitlines()[:5000]
    artwork = json.loads(real[0])
    bad = [
        b'{"acno": ',
        b"\xff\xfe not UTF-8",
        b"[]",
        b"null",
        b"  ",
        b"",
        json.dumps({**artwork, "id": "eleven"}).encode(),
        json.dumps({**artwork, "id": 1 << 40}).encode(),
        json.dumps({**artwork, "no such field": 1}).encode(),
        json.dumps({key: value for key, value in artwork.items() if key != "title"}).encode(),
        json.dumps({**artwork, "title": "x" * 900_000}).encode(),
        json.dumps({**artwork, "title": "x" * 903_000}).encode(),
        real[1] + b"\r",
        b"[" * 300,
    ]
    for n, line in enumerate(bad):
        real[300 * n + 7] = line
    return real


@pytest.mark.parametrize("schema", LANGUAGES)
def test_spark_and_gateway_publish_the_same_and_refuse_the_same(
    spark: SparkSession, world: World, tmp_path: Path, schema: str
) -> None:
    world.environment["INLAKE_PARTITION_BY"] = "/acno"
    world.register(*LANGUAGES[schema], schema)
    body = b"\n".join(lines()) + b"\n"
    sent = by_gateway(world, schema, body, tmp_path)
    world.environment["INLAKE_TOPIC"] += ".spark"
    file = tmp_path / "art works 100%25.ndjson"
    file.write_bytes(body)
    source = JsonLines([str(file)])
    frame = source.frame(spark)
    report = batch.ingest(frame, world.job(schema, destination="a/b"), source, f"{tmp_path}/rejects")

    gateway = world.messages(sent["topic"])
    recipe = world.messages(f"{sent['topic']}.spark")
    assert report.accepted == len(recipe) == len(gateway) > 4900
    assert Counter(message.shared for message in recipe) == Counter(message.shared for message in gateway)
    assert len({message.id for message in recipe}) == len(recipe)
    table = [row.asDict(recursive=True) for row in spark.read.parquet(f"{tmp_path}/rejects").orderBy("line").collect()]
    assert [told(row) for row in table] == sent["rejects"]
    assert {row["file"] for row in table} == {f"file:{quote(str(file))}"}


def told(reject: dict[str, Any]) -> dict[str, Any]:
    """What both say of a refused line; the answer leaves out what is empty."""
    errors = [{name: value for name, value in one.items() if value} for one in reject["errors"]]
    return {**{name: reject[name] for name in ("line", "status", "code", "detail")}, "errors": errors}


def by_gateway(world: World, schema: str, body: bytes, folder: Path) -> dict[str, Any]:
    """The topic, and the refusals in the order of the lines."""

    async def send() -> list[Any]:
        settings = {
            "INLAKE_" + name if not name.startswith(("INLAKE_", "AWS_")) else name: value
            for name, value in world.environment.items()
        }
        async with embedded(folder, registry=settings.pop("INLAKE_REGISTRY"), **settings) as gateway:
            path = f"/ingress/record-json?schema={schema}&destination=a/b"
            return (await gateway.post(path, body, "application/x-ndjson")).lines()

    *receipts, last = asyncio.run(send())
    assert last["complete"]
    refused = [receipt for receipt in receipts if receipt["status"] != 201]
    return {
        "topic": next(receipt["topic"] for receipt in receipts if receipt["status"] == 201),
        "rejects": [told(one) for one in refused],
    }
