"""In an executor: records take the gateway's own data path, many at once, and only what was refused goes back to Spark.

`inlake.group.Group` checks, encodes and publishes, as it does for a stream of the gateway; so key, partition, wire
format, headers and errors are the gateway's. Codecs are compiled and connections made once in each Python worker.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING
from zipimport import zipimporter

from inlake.codecs import Codecs
from inlake.errors import InlakeError
from inlake.event import Stamp
from inlake.gateway import Gateway
from inlake.group import Result
from inlake.model import Submission
from inlake.web.request import address
from inlake.web.request.envelope import ENVELOPE_BYTES, line_too_long
from inlake.wiring import connect
from inlake_spark.ids import Ids
from inlake_spark.job import Job, JobStopped
from inlake_spark.outcomes import Counts, batch_of, reject_row
from inlake_spark.slices import Slice, slices_of
from inlake_spark.source import Block, Item, Source

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.core.broadcast import Broadcast

AT_ONCE = 4
"""Slices on their way while the next one is encoded."""
REJECTS = 500
"""Refused records that go to Spark in one batch."""


class FileTime(Stamp):
    """Events have the time when their file was last changed, so that a second run makes the same bytes."""

    def now(self) -> Stamp:
        return self


class Executor:
    """The data path of a job in one Python worker."""

    def __init__(self, job: Job) -> None:
        self.job = job
        settings = job.settings
        self.loop = asyncio.new_event_loop()
        self._limit = settings.max_record_bytes
        self.deployment = d = connect(settings, job.environment)
        self.gateway = Gateway(Codecs(job.schemas, settings), d.gateway.promises, d.bus)
        self.gateway.stamp = self._stamp = FileTime()
        self._thread = ThreadPoolExecutor(1, "inlake-rows")

    def run(self, batches: Iterator[pa.RecordBatch], source: Source) -> Iterator[pa.RecordBatch]:
        """Publishes the records of a task; gives its outcomes. Raises `JobStopped`."""
        outcomes = self._outcomes(batches, source)
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                yield self.loop.run_until_complete(anext(outcomes))
            except StopAsyncIteration:
                forget_zips()
                return

    async def _outcomes(self, batches: Iterator[pa.RecordBatch], source: Source) -> AsyncIterator[pa.RecordBatch]:
        task = Task(self)
        blocks = chain.from_iterable(map(source.reader().blocks, batches))
        # rows and files are waited for in a thread, so that answers of the bus are taken meanwhile
        pull = self.loop.run_in_executor(self._thread, next, blocks, None)
        try:
            while (block := await pull) is not None:
                pull = self.loop.run_in_executor(self._thread, next, blocks, None)
                await task.take(block)
                if len(task.rejects) >= REJECTS:
                    yield batch_of(task.rejects)
                    task.rejects.clear()
            await task.finish()
        except BaseException:
            await task.give_up()
            await asyncio.gather(pull, return_exceptions=True)
            raise
        rows = task.rejects + [counts.row(block) for block, counts in task.counts.items()]
        if rows:
            yield batch_of(rows)

    def submissions(self, place: str, items: list[Item]) -> list[Submission | InlakeError]:
        """What the items of a place ask for."""
        made: list[Submission | InlakeError] = []
        of_job, limit, last, id_of = self.job.label, self._limit, None, None
        for item in items:
            record, label = item.record, item.label or of_job
            if isinstance(record, InlakeError):
                made.append(record)
                continue
            assert label is not None
            if label is not last or id_of is None:
                last, id_of = label, Ids(label.key, place).of
            try:
                if len(record) > limit:
                    check_length(record, limit)
                made.append(Submission(label, record, None, id_of(item.position, record), item.time_ms))
            except InlakeError as error:
                made.append(error.without_frames())
        return made

    def set_time(self, ms: int) -> None:
        self._stamp.at(ms)

    def close(self) -> None:
        """Lets go of all connections."""
        self.loop.run_until_complete(self.deployment.close())
        self.loop.close()
        self._thread.shutdown()


class Task:
    """What one task of Spark does: slices of records go out in their order."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._slices: deque[tuple[Slice, asyncio.Task[list[Result]]]] = deque()
        """Slices on their way, the oldest first."""
        self.counts: dict[tuple[str, int], Counts] = {}
        self.rejects: list[dict[str, object]] = []

    async def take(self, block: Block) -> None:
        """Encodes the records and begins to publish them."""
        counts = self.counts.setdefault((block.place, block.start), Counts())
        counts.lines += len(block.items) + block.blank
        self._executor.set_time(block.time_ms)
        for items, size in slices_of(block.items):
            await self._begin(Slice(self._executor.gateway, block, items, size))

    async def finish(self) -> None:
        """All that was taken is on the bus, or refused."""
        while self._slices:
            await self._conclude()

    async def give_up(self) -> None:
        """Nothing stays on its way: the next task uses the same connections."""
        await asyncio.gather(*(publishing for _, publishing in self._slices), return_exceptions=True)
        self._slices.clear()

    async def _begin(self, records: Slice) -> None:
        await records.encode(self._executor.submissions(records.block.place, records.items))
        self._slices.append((records, asyncio.create_task(records.publish())))
        if len(self._slices) > AT_ONCE:
            await self._conclude()

    async def _conclude(self) -> None:
        """Waits for the slice that is longest on its way. Raises `JobStopped` for what a repeat can mend."""
        done, publishing = self._slices[0]
        results = await publishing
        self._slices.popleft()
        refused = size = 0
        if any(results):
            for item, result in zip(done.items, results, strict=True):
                if error := refusal_or_stop(result):
                    refused += 1
                    size += item.size
                    label = item.label or self._executor.job.label
                    self.rejects.append(reject_row(done.block, item, label, error))
        counts = self.counts[done.block.place, done.block.start]
        counts.rejected += refused
        counts.accepted += len(done.items) - refused
        counts.bytes += done.bytes - size


def check_length(record: bytes, limit: int) -> None:
    """Raises what the gateway answers for a line that is too long: `LineTooLong`, `RecordTooLarge`."""
    if len(record) > limit + ENVELOPE_BYTES:
        raise line_too_long(limit + ENVELOPE_BYTES)
    address.check_size(record, limit)


def refusal_or_stop(result: object) -> InlakeError | None:
    """Why a record is refused; None for one that is on the bus. Raises `JobStopped` for what a repeat can mend."""
    if not isinstance(result, InlakeError):
        return None
    if result.retryable:
        raise JobStopped(result)
    return result


_EXECUTORS: dict[str, Executor] = {}
"""Of this Python worker, by the name of the job."""


def executor_of(job: Job) -> Executor:
    """The job's executor in this Python worker; another job's makes room."""
    if job.name not in _EXECUTORS:
        close_all()
        _EXECUTORS[job.name] = Executor(job)
        gc.freeze()  # what stays is not looked through again after each few hundred records
        gc.set_threshold(50_000, 20, 20)
    return _EXECUTORS[job.name]


def close_all() -> None:
    """Ends what this Python worker keeps; workers of Spark are ended as they stand, with nothing on its way."""
    while _EXECUTORS:
        _EXECUTORS.popitem()[1].close()


def forget_zips() -> None:
    """Keeps Spark's zip files of Python modules from being read anew when the next task begins.

    PySpark's worker invalidates the caches of imports before each task; every package that was imported from a zip file
    then reads the directory of the whole file, which took a third of the CPU of short tasks. Python makes these finders
    again where it needs them, of the directory that it has already.
    """
    for path, finder in list(sys.path_importer_cache.items()):
        if isinstance(finder, zipimporter):
            del sys.path_importer_cache[path]


class Ingest:
    """The function that Spark calls for each task."""

    def __init__(self, job: Broadcast[Job], source: Source) -> None:
        self._job = job
        self._source = source

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return executor_of(self._job.value).run(batches, self._source)
