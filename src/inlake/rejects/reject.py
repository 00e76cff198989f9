"""The nouns of rejects: a refused record as it is kept, and the cause that it shares with others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Self

import msgspec
from msgspec import Meta, Struct

from inlake.client.mending import without_indexes
from inlake.errors import FieldError

MOST_ERRORS = 100
"""Reasons kept of one reject; its cause is made of all."""
PAGE_TEXT = 8 << 20
"""Characters of texts with which a page ends, however many rejects are wanted."""
Time = Annotated[int, Meta(ge=0, lt=1 << 53)]
"""Milliseconds since 1970; what others put into a topic may be anything."""


class Reason(Struct, frozen=True, order=True):
    """A fault and its place: the same for every record that has it."""

    code: str
    pointer: str
    """JSON Pointer whose numbers are `*`: `/creators/*/name`."""


class Reject(Struct, frozen=True, omit_defaults=True):
    """A record that was refused for its content."""

    id: str
    """UUID; the `Idempotency-Key` of what is sent again."""
    at: Time
    """The time when the record was refused."""
    principal: str
    schema: str
    """The schema as the client named it; empty where an envelope that could not be read has it."""
    destination: str | None
    version: int | None
    """The version as the client asked for it; None is the latest."""
    message: str | None
    tagged: bool
    text: str
    """The record as it came."""
    status: int
    code: str
    detail: str
    errors: list[FieldError]
    reasons: list[Reason]
    """The reasons that make its cause, sorted."""
    request: str
    """Id of the request, which the log has too."""
    line: int = 0
    """Number of its line, from 1; 0 in a request of one record."""
    filename: str = ""
    """The name of the file that it was sent from, or that was sent with it, as the client said."""
    has_file: bool = False
    """A binary came with it, which was not kept."""
    is_bytes: bool = False
    """The text is not UTF-8: each character of `text` is a byte."""
    mended: str | None = None
    """`ce_id` of the event that it became."""
    mended_at: Time | None = None

    @property
    def record(self) -> bytes:
        """The bytes as they came."""
        return self.text.encode("latin-1" if self.is_bytes else "utf-8")

    @property
    def cause(self) -> str:
        """Id of its cause: 16 hexadecimal digits, the same for the same schema and reasons everywhere."""
        text = msgspec.json.encode((self.schema, self.reasons))
        return hashlib.sha256(text).hexdigest()[:16]


class Cause(Struct, frozen=True):
    """Reasons that many rejects have in common."""

    id: str
    schema: str
    reasons: list[Reason]
    count: int
    first: int
    """The time when the first was refused, milliseconds since 1970."""
    last: int
    example: str
    """Id of the last."""
    detail: str
    """The detail of the last."""


class Wanted(Struct, frozen=True):
    """A choice of rejects; None is any."""

    principal: str | None = None
    sees: Callable[[str, str], bool] | None = None
    """Says of schema and destination, the latter empty for none, whether their rejects are wanted whoever sent them,
    beside those of the principal. Any thread may ask."""
    schema: str | None = None
    cause: str | None = None
    mended: bool | None = False


class Mark(Struct, frozen=True):
    """A reject was sent again and accepted."""

    id: str
    at: Time
    """The time when it was accepted."""
    event: str
    """`ce_id` of the event."""


class Cursor(Struct, frozen=True, array_like=True):
    """Where a page ends: the time and id of its last reject."""

    at: int
    id: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The cursor whose `str` this is; None for anything else."""
        at, _, id_ = text.partition("-")
        return cls(int(at), id_) if re.fullmatch(r"[0-9]{1,15}", at) and re.fullmatch(r"[0-9a-f-]{36}", id_) else None

    def __str__(self) -> str:
        return f"{self.at}-{self.id}"


def reasons_of(code: str, errors: Iterable[FieldError]) -> list[Reason]:
    """The reasons of a record that was refused with this code, each once; without errors of fields the code alone."""
    found = {Reason(error.code, without_indexes(error.pointer)) for error in errors}
    return sorted(found) or [Reason(code, "")]


def is_full(page: Iterable[Reject]) -> bool:
    """Whether a page ends here for the length of its texts."""
    return sum(len(reject.text) for reject in page) >= PAGE_TEXT


def as_text(record: bytes) -> tuple[str, bool]:
    """Text of bytes as they came, and whether each of its characters is a byte because they are not UTF-8."""
    try:
        return record.decode(), False
    except UnicodeDecodeError:
        return record.decode("latin-1"), True
