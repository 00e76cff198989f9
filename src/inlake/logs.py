"""Log lines: the standard library, one line a request, for a person or as JSON."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
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


def configure(form: Literal["text", "json"], level: str) -> None:
    """Send the logs of Inlake and its server to stderr; librdkafka and the HTTP server only from warnings up."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.addFilter(_Masked())
    handler.setFormatter(_JsonFormatter() if form == "json" else text)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("inlake").setLevel(level.upper())
