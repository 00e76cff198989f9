"""The errors of a client: no answer, one cut short, and the problem document (RFC 9457) of an answer that says no.

ClientError
├── Unreachable ... no answer: nothing listens there, or it was silent for too long
├── CutOff ........ the stream of receipts ended before its last line
├── NotAGateway ... an answer that no gateway gives: a redirect, a page, a document that is not a receipt
├── FileChanged ... a file became shorter while it was sent
└── Problem ....... an answer that says no
    ├── Refused ... 4xx: the same request will be refused again
    └── Failed .... 5xx and 429: a retry may help

A `Problem` is an instance of the gateway's own class for its code as well: `except RecordRejected` of `inlake.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from inlake.errors import every_error


class ClientError(Exception):
    """The gateway did not say yes; the text is one sentence for a person."""

    in_doubt = False
    """Whether an earlier attempt at the request may have been carried out."""


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
        Exception.__init__(self, self.detail)  # a class of the gateway among the bases has arguments of its own

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
    """The exception for an answer that says no; by its code it is of the gateway's class too."""
    kind = Failed if status >= 500 or status == 429 else Refused
    return _of_gateway(kind, str(document.get("code", "")))(status, document, retry_after)


@cache
def _of_gateway(kind: type[Problem], code: str) -> type[Problem]:
    """Both what the client raises and what the gateway raised; `kind` alone for a code that is not known here."""
    for error in every_error():
        if error.code == code:
            return type(error.__name__, (kind, error), {"__module__": __name__, "__doc__": error.__doc__})
    return kind
