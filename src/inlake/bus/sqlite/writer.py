"""The one thread that writes the SQLite event log: all that waits while a transaction runs shares the next one."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

from msgspec import Struct

from inlake.bus.sqlite.table import append, locked, open_log, refusal
from inlake.errors import InlakeError, OutcomeUnknown
from inlake.model import Event, Position

logger = logging.getLogger("inlake.bus")

GROUP = 4096
"""Events after which a transaction takes no further publish call."""


class Write(Struct, eq=False):
    """The events of one publish call, and what becomes of them."""

    events: Sequence[Event]
    size: int
    """Bytes of their values."""
    done: asyncio.Future[list[Position | InlakeError]]
    outcome: list[Position | InlakeError] = []
    """The result of `done` to be: the writer's thread must not touch a future."""


class Writer:
    """The queue of writes and its thread, which starts with the first write, and again should it be gone."""

    def __init__(self, path: Path, *, patience: float) -> None:
        """`patience`: seconds to wait while another process writes."""
        self.pending_events = self.pending_bytes = 0
        self._path = path
        self._patience = patience
        self._queue: SimpleQueue[Write | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._log: sqlite3.Connection | None = None
        self._stopping = False

    def submit(self, events: Sequence[Event], size: int) -> asyncio.Future[list[Position | InlakeError]]:
        """Queue events of `size` bytes; their results follow in any case."""
        loop = self._loop = asyncio.get_running_loop()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
            self._thread.start()
        done = loop.create_future()
        self.pending_events += len(events)
        self.pending_bytes += size
        self._queue.put(Write(events, size, done))
        return done

    def close(self) -> None:
        """Block until all that is queued is committed and the file is let go."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            writes = self._take()
            try:
                self._commit(writes)
            except Exception:  # the thread must live: every publisher waits for it
                logger.exception("The event log could not be written")
                self._fail(writes, OutcomeUnknown("The event log failed while the event was written: try again."))
            self._hand_over(writes)
        self._drop()

    def _take(self) -> list[Write]:
        """Wait for a write, then take what came with it."""
        first = self._queue.get()
        if first is None:
            self._stopping = True
            return []
        taken, count = [first], len(first.events)
        while count < GROUP and (write := self._next()) is not None:
            taken.append(write)
            count += len(write.events)
        return taken

    def _next(self) -> Write | None:
        if self._queue.empty():
            return None
        write = self._queue.get()
        self._stopping = write is None
        return write

    def _commit(self, writes: list[Write]) -> None:
        events, committing = [event for write in writes for event in write.events], False
        if not events:
            return
        try:
            log = self._log = self._log or open_log(self._path, self._patience)
            results = append(log, events)
            committing = True
            log.execute("COMMIT")  # the one fsync of all these writes
        except (sqlite3.Error, OSError) as e:
            error = refusal(e, self._path, committing=committing)
            if locked(e):  # who queued meanwhile has waited for the same lock
                while (write := self._next()) is not None:
                    writes.append(write)
            self._fail(writes, error)
            return
        end = 0
        for write in writes:
            start, end = end, end + len(write.events)
            write.outcome = results[start:end]

    def _fail(self, writes: list[Write], error: InlakeError) -> None:
        """Give every event the error, and start afresh."""
        for write in writes:
            write.outcome = [error] * len(write.events)
        self._drop()

    def _hand_over(self, writes: list[Write]) -> None:
        """Wake the event loop once for the whole transaction."""
        try:
            if writes and self._loop is not None:
                self._loop.call_soon_threadsafe(self._finish, writes)
        except RuntimeError:
            logger.warning("The event loop was closed before the event log confirmed")

    def _finish(self, writes: list[Write]) -> None:
        for write in writes:
            self.pending_events -= len(write.events)
            self.pending_bytes -= write.size
            if not write.done.done():  # the publisher may have been cancelled
                write.done.set_result(write.outcome)

    def _drop(self) -> None:
        """Close the connection, which rolls back what is open; the next transaction opens another."""
        log, self._log = self._log, None
        if log is not None:
            try:
                log.close()
            except sqlite3.Error:
                logger.exception("The event log did not close cleanly; SQLite repairs it at the next start")
