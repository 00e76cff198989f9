"""Log lines: the standard library, one line a request, for a person or as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TextIO

from inlake.model import masked

SECONDS = 0.05
"""Seconds that the line of a request may wait for others."""
MANY = 100
"""Lines that wait for no others."""


class _Masked(logging.Filter):
    """A puuid of an anonymous client is its only secret: it is logged by its first digits, also in paths of files."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = masked(record.getMessage()), None
        return True


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if principal := getattr(record, "principal", None):
            line["principal"] = principal
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _Stderr(logging.StreamHandler[TextIO]):
    """Lines of requests wait a moment for others, one system call for many; no other line overtakes them."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self._waiting = deque[str]()

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The stderr of now, not of the start, as the standard library's last resort has it."""
        return sys.stderr

    def put(self, line: str) -> None:
        """Write it soon. To be called in the event loop."""
        self._waiting.append(line)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(SECONDS, self.flush)
        elif len(self._waiting) == MANY:
            asyncio.get_running_loop().call_soon(self.flush)  # not here: a stderr that is gone is no fault of a request

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.flush()
        except Exception:  # noqa: BLE001 - as every handler does it: a log that cannot be written stops nothing
            self.handleError(record)
        super().emit(record)

    def flush(self) -> None:
        with self.lock or nullcontext():  # `logging` calls it from any thread, and when the process ends
            if lines := [self._waiting.popleft() for _ in range(len(self._waiting))]:
                self.stream.write("".join(lines))
            super().flush()


class Lines:
    """The lines of requests, in the form of all others.

    A record of `logging` for each would cost as much as the request itself (25 us), most of it for what is not shown.
    """

    def __init__(self, form: Literal["text", "json"], name: str) -> None:
        """`name`: of the logger whose level counts."""
        self.are_json = form == "json"
        """Lines are objects, and take members beside the message."""
        self._logger = logging.getLogger(name)
        configured = [handler for handler in logging.getLogger().handlers if isinstance(handler, _Stderr)]
        self._stderr = configured[0] if configured else _Stderr()
        self._ms = 0
        self._start = self._end = ""
        """The text before a message and the text behind it, in this millisecond."""

    def are_wanted(self) -> bool:
        return self._logger.isEnabledFor(logging.INFO)

    def add(self, message: str, members: Mapping[str, str | float] | None = None) -> None:
        """A line of level INFO that holds no secret; `members`: what it says, for programs, where lines are JSON."""
        ms = time.time_ns() // 1_000_000
        if ms != self._ms:
            self._ms = ms
            self._start, self._end = self._around(*divmod(ms, 1000))
        text = json.dumps(message, ensure_ascii=False) if self.are_json else message
        if members:
            text = f"{text}, {json.dumps(members, ensure_ascii=False)[1:-1]}"
        self._stderr.put(f"{self._start}{text}{self._end}")

    def _around(self, second: int, ms: int) -> tuple[str, str]:
        if self.are_json:
            at, name = _utc_second(second), self._logger.name
            return f'{{"time": "{at}.{ms:03d}+00:00", "level": "info", "logger": "{name}", "message": ', "}\n"
        return f"{_second(second)},{ms:03d} INFO    ", "\n"

    def flush(self) -> None:
        """Write those that wait."""
        self._stderr.flush()


@lru_cache(2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


@lru_cache(2)
def _utc_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def configure(form: Literal["text", "json"], level: str) -> None:
    """Send the logs of Inlake and its server to stderr; librdkafka and the HTTP server only from warnings up."""
    handler = _Stderr()
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.addFilter(_Masked())
    handler.setFormatter(_JsonFormatter() if form == "json" else text)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("inlake").setLevel(level.upper())
