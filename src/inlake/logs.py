"""Log lines: the standard library, one line a request, for a person or as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

_PUUID = re.compile(r"([0-9A-Fa-f]{8})-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")


class _Masked(logging.Filter):
    """A puuid of an anonymous client is its only secret: it is logged by its first digits, also in paths of files."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _PUUID.sub(r"\1…", record.getMessage()), None
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


class Lines:
    """The lines of requests, in the form of all others, written together at the end of a turn of the event loop.

    A record of `logging` for each would cost as much as the request itself (25 us), most of it for what is not shown.
    """

    def __init__(self, form: Literal["text", "json"], name: str) -> None:
        """`name`: of the logger whose level counts."""
        self._json = form == "json"
        self._logger = logging.getLogger(name)
        self._waiting: list[str] = []

    def are_wanted(self) -> bool:
        return self._logger.isEnabledFor(logging.INFO)

    def add(self, message: str) -> None:
        """A line of level INFO; `message` holds no secret."""
        now = time.time()
        if self._json:
            at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
            line = {"time": at, "level": "info", "logger": self._logger.name, "message": message}
            text = json.dumps(line, ensure_ascii=False)
        else:
            text = f"{_second(int(now))},{int(now % 1 * 1000):03d} INFO    {message}"
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write)
        self._waiting.append(text + "\n")

    def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        sys.stderr.write("".join(lines))
        sys.stderr.flush()


@lru_cache(2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def configure(form: Literal["text", "json"], level: str) -> None:
    """Send the logs of Inlake and its server to stderr; librdkafka and the HTTP server only from warnings up."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.addFilter(_Masked())
    handler.setFormatter(_JsonFormatter() if form == "json" else text)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("inlake").setLevel(level.upper())
