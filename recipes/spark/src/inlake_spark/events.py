"""Reading: events of all three languages as a DataFrame, each once, and the objects that they name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa

from inlake.cli.terminal import as_json
from inlake.client.tables import Field, Shape
from inlake.errors import InlakeError
from inlake.formats.events import Decoder
from inlake.model import Message, Position
from inlake.settings import load
from inlake.wiring import connect_registry
from inlake_spark.job import JobStopped, passed_on
from inlake_spark.kafka import reader_options

if TYPE_CHECKING:
    from pyspark.core.broadcast import Broadcast
    from pyspark.sql import DataFrame, SparkSession

HEADERS = {
    "ce_id": "id",
    "ce_source": "source",
    "ce_type": "schema",
    "ce_time": "time",
    "content-type": "content_type",
    "inlake_principal": "principal",
    "traceparent": "traceparent",
    "inlake_puuid": "puuid",
    "inlake_resource_uri": "resource_uri",
    "inlake_resource_size": "resource_size",
    "inlake_resource_sha256": "resource_sha256",
    "inlake_resource_type": "resource_type",
    "inlake_resource_filename": "resource_filename",
}
"""Headers of events, and the columns that have them."""
PLACE = {"topic": "string", "partition": "int", "offset": "long", "timestamp": "timestamp"}
"""Columns of Spark's own."""
DDL = ", ".join(
    [f"{name} {kind}" for name, kind in PLACE.items()]
    + ["key string"]
    + [f"{name} string" for name in HEADERS.values()]
    + ["schema_id int", "record string", "problem string"]
)
PLAIN = {"integer": "long", "number": "double", "boolean": "boolean"}
"""Words of a shape whose values are no text in JSON."""


def read_events(
    spark: SparkSession, environment: Mapping[str, str], topics: Iterable[str], options: Mapping[str, str] | None = None
) -> DataFrame:
    """The events of topics: where each is, its key, its headers as columns, and `record`, its value as JSON.

    Each value is decoded by the schema it was written with, found in the registry by its id. A repeat (the same `ce_id`
    and `ce_source`) is left out; a value that cannot be decoded has its reason in `problem`. `options`: more of Spark's
    Kafka source, such as `startingOffsets`.
    """
    asked = {**reader_options(environment), "subscribe": ",".join(topics), "includeHeaders": "true", **(options or {})}
    found = spark.read.format("kafka").options(**asked).load()
    columns = [
        f"CAST(try_element_at(filter(headers, h -> h.key = '{header}'), 1).value AS STRING) AS {name}"
        for header, name in HEADERS.items()
    ]
    rows = found.selectExpr(*PLACE, "CAST(key AS STRING) AS key", *columns, "value")
    known = spark.sparkContext.broadcast(passed_on(environment))
    return rows.mapInArrow(Decode(known), DDL).dropDuplicates(["source", "id"])


class Decode:
    """The function that Spark calls for each task."""

    def __init__(self, environment: Broadcast[dict[str, str]]) -> None:
        self._environment = environment

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        settings = load(self._environment.value)
        registry = connect_registry(settings)
        decoder = Decoder(registry, settings)
        loop = asyncio.new_event_loop()
        try:
            for batch in batches:
                yield loop.run_until_complete(_decoded(decoder, batch))
        finally:
            loop.run_until_complete(registry.close())
            loop.close()


async def _decoded(decoder: Decoder, batch: pa.RecordBatch) -> pa.RecordBatch:
    ids, records, problems = [], [], []
    for value in batch["value"].to_pylist():
        message = Message(Position("", 0, 0), None, value, [], 0)
        try:
            decoded = await decoder.decode(message)
        except InlakeError as error:
            raise JobStopped(error) from None
        ids.append(decoded.schema_id)
        records.append(None if decoded.problem or value is None else as_json(decoded.record))
        problems.append(decoded.problem)
    kept = batch.drop_columns(["value"])
    added = [pa.array(ids, pa.int32()), pa.array(records, pa.string()), pa.array(problems, pa.string())]
    names = [*kept.schema.names, "schema_id", "record", "problem"]
    return pa.RecordBatch.from_arrays([*kept.columns, *added], names=names)


def typed(events: DataFrame, shape: Shape) -> DataFrame:
    """The same with `record` as a struct of the fields of a schema: one that its events were written with, or a newer
    one. What is no plain type in Spark (dates of museums, choices) stays text."""
    from pyspark.sql import functions as f

    return events.withColumn("record", f.from_json("record", type_of(shape.root, shape.language)))


def type_of(field: Field, language: str) -> str:
    """A field's type in Spark's words."""
    inner = field.items or field.values
    if inner is not None:
        return f"array<{type_of(inner, language)}>" if field.items else f"map<string, {type_of(inner, language)}>"
    if field.type == "record" and field.fields:
        told = [f"`{one.name.replace('`', '``')}`: {type_of(one, language)}" for one in field.fields]
        return f"struct<{', '.join(told)}>"
    if field.type == "integer" and language == "PROTOBUF":
        return "decimal(20,0)"  # ProtoJSON writes 64 bits as text, which this type takes too
    return PLAIN.get(field.type, "string")


def with_objects(events: DataFrame) -> DataFrame:
    """The events that name an object, joined with it: `content`, its bytes. For as many as a driver can list."""
    spark = events.sparkSession
    found = events.where("resource_uri IS NOT NULL")
    uris = [row[0] for row in found.select("resource_uri").distinct().collect()]
    paths = spark.createDataFrame([(uri, path_of(uri)) for uri in uris], "resource_uri string, path string")
    if not uris:
        return found.limit(0).selectExpr("*", "CAST(NULL AS BINARY) AS content")
    objects = spark.read.format("binaryFile").load([path_of(uri) for uri in uris]).select("path", "content")
    return found.join(paths.join(objects, "path").drop("path"), "resource_uri")


def path_of(uri: str) -> str:
    """The object's path as Hadoop writes it."""
    path = unquote(uri)
    if path.startswith("s3://"):
        return "s3a" + path.removeprefix("s3")
    return "file:/" + path.removeprefix("file:").lstrip("/") if path.startswith("file:") else path
