"""Names, query parameters and media types: from what a client wrote to a submission."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args
from urllib.parse import parse_qsl

from inlake.access.rights import Caller
from inlake.errors import BadName, BadParameter, MissingParameter, RecordTooLarge, UnsupportedMediaType
from inlake.model import SCHEMA_NAME, Binary, Label, Submission, Trace
from inlake.web.request import envelope as envelopes

BOM = b"\xef\xbb\xbf"
NDJSON = {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
TAGGED = "application/vnd.apache.avro+json"
Receipts = Literal["all", "rejects", "none"]
MESSAGE = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
LONGEST_MESSAGE = 500
DESTINATION = r"[A-Za-z0-9._-]{1,100}(/[A-Za-z0-9._-]{1,100})*"
_SCHEMA, _MESSAGE, _DESTINATION = re.compile(SCHEMA_NAME), re.compile(MESSAGE), re.compile(DESTINATION)
_PARAMETERS = ("content", "destination", "key_inlk", "message", "mode", "receipts", "schema", "version")
_GONE = {"url_filestore", "topic_override"}
"""Parameters of the first Inlake that its clients send empty; with a value they asked for what is now a setting."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where records go, as the query says it; without a schema each record is an envelope that says it."""

    schema: str | None = None
    destination: str | None = None
    version: int | None = None
    message: str | None = None
    receipts: Receipts = "all"
    content: bytes | None = None
    """The record itself: the first Inlake took it as a query parameter beside a file."""
    atomic: bool = False
    """All records of the body are published, or none."""


def pairs(query: bytes) -> list[tuple[str, str]]:
    """The parameters of a query string in their order. Raises `BadParameter`."""
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise BadParameter("The query string is not percent-encoded UTF-8.") from None


def of_query(query: bytes) -> Address:
    """The query string as an address. Raises `BadName`, `BadParameter`."""
    return _cached(query) if len(query) < 500 else _of_query(query)


def of_caller(query: bytes, caller: Caller) -> Address:
    """The query string as an address that this caller may send to. Raises `BadName`, `BadParameter`, `Forbidden`."""
    to = of_query(query)
    if to.schema is not None:
        caller.check("ingest", to.schema, to.destination)
    return to


def _of_query(query: bytes) -> Address:
    given = pairs(query)
    values = dict(given)
    if len(values) != len(given):
        raise BadParameter("A query parameter is given twice.")
    if gone := [name for name in _GONE if values.pop(name, "")]:
        raise BadParameter(
            f"{gone[0]} is of the first Inlake and gone: the gateway's settings and the record say where."
        )
    if unknown := sorted(values.keys() - _PARAMETERS):
        raise BadParameter(f"There is no query parameter {unknown[0][:100]!r}; there are {', '.join(_PARAMETERS)}.")
    schema, destination = names(values.get("schema"), values.get("destination"), values.get("key_inlk"))
    version = values.get("version")
    if version is not None and not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        raise BadParameter(f"The version is {version[:20]!r}, and must be a whole number from 1.")
    receipts = values.get("receipts", "all")
    if receipts not in get_args(Receipts):
        raise BadParameter(f"The parameter receipts is {receipts[:20]!r}, and must be all, rejects or none.")
    mode = values.get("mode")
    if mode is not None and mode != "atomic":
        raise BadParameter(f"The parameter mode is {mode[:20]!r}, and must be atomic, or left out.")
    content = values.get("content")
    return Address(
        schema,
        destination,
        int(version) if version else None,
        message_name(values.get("message")),
        receipts,  # type: ignore[arg-type]
        None if content is None else content.encode(),
        mode is not None,
    )


_cached = lru_cache(maxsize=4096)(_of_query)


def names(schema: str | None, destination: str | None, key: str | None) -> tuple[str | None, str | None]:
    """Checked schema and destination; `key` is both, split at its first `/`. Raises `BadName`, `BadParameter`."""
    if key is not None:
        if schema is not None or destination is not None:
            raise BadParameter("Give schema and destination, or key_inlk, not both.")
        schema, slash, rest = key.partition("/")
        destination = rest if slash else None
    if schema is not None and not _SCHEMA.fullmatch(schema):
        raise BadName(f"The schema name {schema[:220]!r} is not allowed: 1 to 200 of the characters A-Z a-z 0-9 . _ -")
    if destination is not None and (
        len(destination) > 200 or not _DESTINATION.fullmatch(destination) or {".", ".."} & {*destination.split("/")}
    ):
        raise BadName(
            f"The destination {destination[:220]!r} is not allowed: segments of 1 to 100 of A-Z a-z 0-9 . _ - joined "
            "by /, at most 200 characters."
        )
    return schema, destination


def message_name(name: str | None) -> str | None:
    """A Protobuf message's full name, checked: what is compiled, or refused, is kept by it. Raises `BadParameter`."""
    if name is not None and (len(name) > LONGEST_MESSAGE or not _MESSAGE.fullmatch(name)):
        raise BadParameter(
            f"The parameter message is {name[:100]!r}, and must be the full name of a Protobuf message, such as "
            f"museum.v1.Artwork: A-Z a-z 0-9 _ joined by dots, at most {LONGEST_MESSAGE} characters."
        )
    return name


@lru_cache(maxsize=256)
def media_type(header: str) -> str:
    """The media type of a `Content-Type` that holds UTF-8 text, in lower case. Raises `UnsupportedMediaType`."""
    kind, *parameters = [part.strip().lower() for part in header.split(";")]
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in {"utf-8", "utf8", "us-ascii"}:
            raise UnsupportedMediaType(f"The charset {value[:40]} is not taken: JSON is UTF-8.")
    return kind


def is_json(kind: str) -> bool:
    return kind in {"", "application/json", "text/json"} or (kind.startswith("application/") and kind.endswith("+json"))


def submission(
    to: Address, record: bytes, *, caller: Caller, tagged: bool, trace: Trace | None, file: Binary | None = None
) -> Submission:
    """A record with its address, the envelope taken off if there is one, from who may send it there.

    Raises `BadEnvelope`, `BadName`, `Forbidden`, ...
    """
    if to.schema is not None:
        caller.check("ingest", to.schema, to.destination)
        label = Label(to.schema, to.destination, to.version, to.message, caller.principal, tagged, trace)
        return Submission(label, record, file)
    return unwrapped(envelopes.read(record), caller=caller, tagged=tagged, trace=trace, file=file)


def unwrapped(
    envelope: envelopes.Envelope, *, caller: Caller, tagged: bool, trace: Trace | None, file: Binary | None = None
) -> Submission:
    """A record out of its envelope. Raises `BadEnvelope`, `BadName`, `Forbidden`, ..."""
    schema, destination = names(envelope.schema, envelope.destination, envelope.key_inlk)
    if schema is None:
        raise MissingParameter('No schema: give ?schema=NAME, or send an envelope {"schema": ..., "record": {...}}.')
    record, message = envelopes.content_of(envelope), message_name(envelope.message)
    caller.check("ingest", schema, destination)
    label = Label(schema, destination, envelope.version, message, caller.principal, tagged, trace)
    return Submission(label, record, file)


def check_size(record: bytes, limit: int) -> None:
    """Raises `RecordTooLarge`."""
    if len(record) > limit:
        raise RecordTooLarge(f"The record has {len(record):,} bytes, and may have {limit:,} (INLAKE_MAX_RECORD_BYTES).")
