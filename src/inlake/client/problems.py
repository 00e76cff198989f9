"""The errors of a client: no answer, one cut short, and the problem document (RFC 9457) of an answer that says no.

ClientError
├── Unreachable ... no answer: nothing listens there, or it was silent for too long
├── CutOff ........ the stream of receipts ended before its last line
├── NotAGateway ... an answer that no gateway gives: a redirect, a page, a document that is not a receipt
├── FileChanged ... a file became shorter while it was sent
└── Problem ....... an answer that says no
    ├── Refused ... 4xx: the same request will be refused again
    └── Failed .... 5xx and 429: a retry may help
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """The gateway did not say yes; the text is one sentence for a person."""


class Unreachable(ClientError):
    """No answer came; when the request had been sent, whether it was carried out is unknown."""

    def __init__(self, sentence: str, *, sent: bool = True) -> None:
        """`sent`: some of the request may have been sent."""
        super().__init__(sentence)
        self.sent = sent


class CutOff(ClientError):
    """The receipts ended without their last line: records after the last receipt may or may not be published."""


class NotAGateway(ClientError):
    """Something answered that is no gateway; only a receipt is a yes."""


class FileChanged(ClientError):
    """A file became shorter while it was sent; the gateway refuses what came of it."""


class Problem(ClientError):
    """The gateway answered with a problem document."""

    def __init__(self, status: int, document: Mapping[str, Any], retry_after: str | None = None) -> None:
        self.status = status
        self.document = document
        self.retry_after = retry_after
        """Seconds or an HTTP date, as the gateway sent it."""
        super().__init__(self.detail)

    @property
    def code(self) -> str:
        """Stable and snake_case, `record_rejected` for one; empty when the answer is not the gateway's own."""
        return str(self.document.get("code", ""))

    @property
    def detail(self) -> str:
        return str(self.document.get("detail") or self.document.get("title") or f"HTTP status {self.status}")

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Why a record was refused: `pointer`, `code`, `detail`, `expected` and `got` of each reason."""
        return list(self.document.get("errors", []))


class Refused(Problem):
    """The request was understood and refused (4xx)."""


class Failed(Problem):
    """The gateway could not do it now (5xx, 429)."""


def problem_of(status: int, document: Mapping[str, Any], retry_after: str | None = None) -> Problem:
    """The exception for an answer that says no."""
    kind = Failed if status >= 500 or status == 429 else Refused
    return kind(status, document, retry_after)
