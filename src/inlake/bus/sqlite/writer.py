"""The one thread that writes the SQLite event log: all that waits while a transaction runs shares the next one."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Generic, TypeVar

from msgspec import Struct

from inlake.bus.sqlite.table import locked, open_log, refusal
from inlake.errors import InlakeError, OutcomeUnknown
from inlake.model import Event, InOutbox, Position

logger = logging.getLogger("inlake.bus")

GROUP = 4096
"""Events after which a transaction takes no further publish call."""


At = TypeVar("At", Position, InOutbox)
Append = Callable[[sqlite3.Connection, Sequence[Event]], list[At | InlakeError]]
"""Adds events within a transaction that it begins; the result of each at its index."""


class Call(Struct, Generic[At], eq=False):
    """The events of one publish call, and what becomes of them."""

    events: Sequence[Event]
    size: int
    """Bytes of their values."""
    done: asyncio.Future[list[At | InlakeError]]
    outcome: list[At | InlakeError] = []
    """The result of `done` to be: the writer's thread must not touch a future."""


class Writer(Generic[At]):
    """The queue of calls and its thread, which starts with the first write, and again should it be gone."""

    def __init__(self, path: Path, *, timeout: float, schema: str, append: Append[At]) -> None:
        """`timeout`: seconds to wait while another process writes; `schema` and `append`: of the tables, and how events
        are added to them."""
        self.pending_events = self.pending_bytes = 0
        self._schema = schema
        self._append: Append[At] = append
        self._path = path
        self._timeout = timeout
        self._queue: SimpleQueue[Call[At] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._log: sqlite3.Connection | None = None
        self._stopping = False

    def submit(self, events: Sequence[Event], size: int) -> asyncio.Future[list[At | InlakeError]]:
        """Queue events of `size` bytes; their results follow in any case."""
        loop = self._loop = asyncio.get_running_loop()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
            self._thread.start()
        done = loop.create_future()
        self.pending_events += len(events)
        self.pending_bytes += size
        self._queue.put(Call(events, size, done))
        return done

    def close(self) -> None:
        """Block until all that is queued is committed and the file is let go."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            calls = self._take()
            try:
                self._commit(calls)
            except Exception:  # the thread must live: every publisher waits for it
                logger.exception("The event log could not be written")
                self._fail(calls, OutcomeUnknown("The event log failed while the event was written: try again."))
            self._hand_over(calls)
        self._drop()

    def _take(self) -> list[Call[At]]:
        """Wait for a write, then take what came with it."""
        first = self._queue.get()
        if first is None:
            self._stopping = True
            return []
        taken, count = [first], len(first.events)
        while count < GROUP and (call := self._next()) is not None:
            taken.append(call)
            count += len(call.events)
        return taken

    def _next(self) -> Call[At] | None:
        if self._queue.empty():
            return None
        call = self._queue.get()
        self._stopping = call is None
        return call

    def _commit(self, calls: list[Call[At]]) -> None:
        events, committing = [event for call in calls for event in call.events], False
        if not events:
            return
        try:
            log = self._log = self._log or open_log(self._path, self._timeout, self._schema)
            results = self._append(log, events)
            committing = True
            log.execute("COMMIT")  # the one fsync of all these calls
        except (sqlite3.Error, OSError) as e:
            error = refusal(e, self._path, committing=committing)
            if locked(e):  # who queued meanwhile has waited for the same lock
                while (call := self._next()) is not None:
                    calls.append(call)
            self._fail(calls, error)
            return
        end = 0
        for call in calls:
            start, end = end, end + len(call.events)
            call.outcome = results[start:end]

    def _fail(self, calls: list[Call[At]], error: InlakeError) -> None:
        """Give every event the error, and start afresh."""
        for call in calls:
            call.outcome = [error] * len(call.events)
        self._drop()

    def _hand_over(self, calls: list[Call[At]]) -> None:
        """Wake the event loop once for the whole transaction."""
        try:
            if calls and self._loop is not None:
                self._loop.call_soon_threadsafe(self._finish, calls)
        except RuntimeError:
            logger.warning("The event loop was closed before the event log confirmed")

    def _finish(self, calls: list[Call[At]]) -> None:
        for call in calls:
            self.pending_events -= len(call.events)
            self.pending_bytes -= call.size
            if not call.done.done():  # the publisher may have been cancelled
                call.done.set_result(call.outcome)

    def _drop(self) -> None:
        """Close the connection, which rolls back what is open; the next transaction opens another."""
        log, self._log = self._log, None
        if log is not None:
            try:
                log.close()
            except sqlite3.Error:
                logger.exception("The event log did not close cleanly; SQLite repairs it at the next start")
