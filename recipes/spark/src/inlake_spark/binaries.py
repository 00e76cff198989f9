"""Binaries of a lake with a table about them: recorded where they are, or copied; one event each.

Each is a shipment of one line, under names that depend on the object, its tag and its record alone. So a task that is
tried again and a second run find what is there already, and `GET /resources/<puuid>` of a gateway on the same store
gives the bytes.
"""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa

from inlake.client.media_types import media_type
from inlake.errors import InlakeError, ObjectNotFound, ResourceNotAPromise, ShipmentNotFound
from inlake.group import ShippedGroup
from inlake.model import StoredObject, Submission
from inlake.promises.places import object_key
from inlake.promises.shipments.entries import Accepted, Names, Shipment, Standing
from inlake.promises.shipments.in_place import Found
from inlake.promises.shipments.steps import Result
from inlake.settings import load
from inlake.wiring import connect_store
from inlake_spark import batch
from inlake_spark.executor import Executor, executor_of, refusal_or_stop
from inlake_spark.ids import Ids, puuid_of
from inlake_spark.job import Job
from inlake_spark.outcomes import DDL, Counts, batch_of, reject_row
from inlake_spark.report import Report
from inlake_spark.source import Block, Item, Source

if TYPE_CHECKING:
    from pyspark.core.broadcast import Broadcast
    from pyspark.sql import DataFrame

AT_ONCE = 8
"""Objects that a task works on side by side."""
MADE_WITH = ".inlake/spark/secret"
"""Key of what the names of promises are made with: created once in each store."""
ROWS = "place string, time_ms long, number long, position long, record binary, refused binary, uri string"
_ARROW = pa.schema(
    [
        ("place", pa.string()),
        ("time_ms", pa.int64()),
        ("number", pa.int64()),
        ("position", pa.int64()),
        ("record", pa.binary()),
        ("refused", pa.binary()),
        ("uri", pa.string()),
    ]
)


@dataclass(frozen=True)
class Files:
    """Which objects the rows of a table are about."""

    prefix: str
    """What the file column is relative to: `s3a://bucket/scans/` or a folder."""
    copy: bool = False
    """Whether the store of the gateway gets its own; else events name the objects where they are."""

    @property
    def root(self) -> str:
        """The prefix as the gateway's settings have it."""
        prefix = self.prefix.rstrip("/")
        if prefix.startswith(("s3a:", "s3n:", "s3:")):
            return f"s3{prefix[prefix.index(':') :]}"
        return f"file:{prefix.removeprefix('file://').removeprefix('file:')}"

    def uri(self, named: str) -> str:
        """The object's URI."""
        root = self.root if self.root.startswith("s3:") else f"file://{self.root.removeprefix('file:')}"
        return f"{root}/{quote(named.lstrip('/'), safe='/')}"


async def with_files(job: Job, files: Files) -> Job:
    """The job with what names of promises are made with, and the prefix as one that may be named."""
    settings = load(job.environment)
    store = connect_store(settings, job.environment)
    try:
        await store.create(MADE_WITH, os.urandom(32))
        secret = await store.get(MADE_WITH)
    finally:
        await store.close()
    assert secret is not None
    places = ",".join(filter(None, (settings.in_place, files.root)))
    return replace(job, secret=secret, environment={**job.environment, "INLAKE_IN_PLACE": places})


def ingest(frame: DataFrame, job: Job, source: Source, files: Files, rejects: str) -> Report:
    """Publishes an event for each row of the table that names a file; see `inlake_spark.batch.ingest`.

    The rows are spread over all executors: the hashing is the work.
    """
    broadcast = frame.sparkSession.sparkContext.broadcast(job)
    rows = frame.mapInArrow(Rows(source, files), ROWS)
    spread = rows.repartition(max(frame.sparkSession.sparkContext.defaultParallelism * 4, 1))
    return batch.collect(spread.mapInArrow(Ship(broadcast, files), DDL), job, rejects)


class Rows:
    """The function that Spark calls for the table: its rows with the URIs of their objects."""

    def __init__(self, source: Source, files: Files) -> None:
        self._source = source
        self._files = files

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        reader = self._source.reader()
        for given in batches:
            for block in reader.blocks(given):
                rows = [self._row(block, item) for item in block.items]
                yield pa.RecordBatch.from_pylist(rows, schema=_ARROW)

    def _row(self, block: Block, item: Item) -> dict[str, Any]:
        record: bytes | InlakeError = item.record
        if isinstance(record, bytes) and not item.file:
            record = ResourceNotAPromise("The row names no file.")
        refused = isinstance(record, InlakeError)
        return {
            "place": block.place,
            "time_ms": block.time_ms,
            "number": item.number,
            "position": item.position,
            "record": None if refused else record,
            "refused": pickle.dumps(record) if refused else None,
            "uri": self._files.uri(item.file) if item.file else None,
        }


class Ship:
    """The function that Spark calls for each task of rows."""

    def __init__(self, job: Broadcast[Job], files: Files) -> None:
        self._job = job
        self._files = files

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        executor = executor_of(self._job.value)
        counts: dict[str, Counts] = {}
        for given in batches:
            rows = given.to_pylist()
            results = executor.loop.run_until_complete(self._ship_all(executor, rows))
            rejects = []
            for row, result in zip(rows, results, strict=True):
                told = counts.setdefault(row["place"], Counts())
                told.lines += 1
                error = refusal_or_stop(result)
                told.count(error, len(row["record"] or b""))
                if error is not None:
                    item = Item(row["number"], row["position"], row["record"] or error)
                    rejects.append(reject_row(Block(row["place"], 0, 0, []), item, executor.job.label, error))
            if rejects:
                yield batch_of(rejects)
        yield batch_of([told.row((place, 0)) for place, told in counts.items()])

    async def _ship_all(self, executor: Executor, rows: list[dict[str, Any]]) -> list[Result]:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(row: dict[str, Any]) -> Result:
            async with room:
                try:
                    return await Shipper(executor, copy=self._files.copy).ship(row)
                except InlakeError as error:
                    return error.without_frames()

        return list(await asyncio.gather(*map(one, rows)))


class Shipper:
    """One object and its record on their way."""

    def __init__(self, executor: Executor, *, copy: bool) -> None:
        self._executor = executor
        self._copy = copy
        self._shipments = executor.deployment.shipments

    async def ship(self, row: dict[str, Any]) -> Result:
        """Hashes the object, checks the record with its URI filled in, copies it if it is to be, publishes."""
        if row["refused"] is not None:
            error = pickle.loads(row["refused"])
            assert isinstance(error, InlakeError)
            return error
        uri, record, label = row["uri"], row["record"], self._executor.job.label
        assert label is not None
        store, key = self._shipments.in_place.reader(uri)
        facts = await store.facts(key)
        if facts is None:
            raise ObjectNotFound(f"There is no object {uri[:500]!r}.")
        parts = (label.key.decode(), uri, facts.etag, record.decode(errors="replace"), str(self._copy))
        names = Names(puuid_of(self._executor.job.secret, *parts))
        shipment = await self._find(names, label.principal)
        if shipment is None:
            found = await self._shipments.in_place.look(uri)
            content = f"{facts.etag}\n{self._copy}\n".encode() + record
            event_id = Ids(label.key, uri).of(0, content)  # of another object under the URI it is another event
            s = Submission(label, record, event_id=event_id, accepted_ms=row["time_ms"])
            outcome = await self._announce(names, s, found)
            if isinstance(outcome, InlakeError):
                return outcome
            shipment = outcome
        if self._copy:
            await self._send(shipment, store.read(key))
        _, ((_, result),) = await self._shipments.complete(shipment.id, label.principal)
        return result

    async def _find(self, names: Names, principal: str) -> Shipment | None:
        """What an attempt before announced."""
        with suppress(ShipmentNotFound):
            return await self._shipments.find(names.id, principal)
        return None

    async def _announce(self, names: Names, s: Submission, found: Found) -> Shipment | InlakeError:
        puuid, kind = names.puuid(1), media_type(found.filename)
        store = self._executor.deployment.store
        uri = store.uri(object_key(puuid, found.filename)) if self._copy else found.uri
        sha256 = str(found.blob.sha256)
        stored = StoredObject(puuid, uri, found.blob.size, sha256, kind, found.filename)
        group = ShippedGroup(self._executor.gateway, [stored])
        await group.encode([s])
        if not group.encoded:
            (refused,) = group.results
            assert isinstance(refused, InlakeError)
            return refused
        ((_, event, compiled, _),) = group.encoded
        standing = None if self._copy else Standing(found.uri, found.etag)
        line = Accepted(1, puuid, found.blob, found.filename, kind, event, compiled.schema, standing)
        return await self._shipments.announce(names, s.label.principal, [line])

    async def _send(self, shipment: Shipment, chunks: AsyncIterator[bytes]) -> None:
        if shipment.left and not await self._shipments.present(shipment.left):
            await self._shipments.put(shipment.id, 1, shipment.announced.principal, chunks)
