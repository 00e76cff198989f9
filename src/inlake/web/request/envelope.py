"""Envelopes: a record with its address around it, where the query names no schema."""

from __future__ import annotations

from typing import Annotated

import msgspec

from inlake.errors import BadEnvelope, LineTooLong
from inlake.formats.json_text import malformed_json

ENVELOPE_BYTES = 2_000
"""The most bytes that an envelope may add to a record."""
Version = Annotated[int, msgspec.Meta(ge=1, le=999_999_999)]


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """A record with its address around it; `key_inlk` and `content` are the names of the first Inlake."""

    schema: str | None = None
    destination: str | None = None
    version: Version | None = None
    message: str | None = None
    record: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    key_inlk: str | None = None
    content: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    url_filestore: None = None
    topic_override: None = None


_decode_envelope = msgspec.json.Decoder(Envelope).decode


def read(record: bytes) -> Envelope:
    """The envelope that a record of a request is. Raises `BadEnvelope`, `MalformedJson`."""
    try:
        return _decode_envelope(record)
    except msgspec.ValidationError as error:
        raise BadEnvelope(
            f'Without ?schema=NAME each record is an envelope {{"schema": ..., "record": {{...}}}}: {error}.'
        ) from None
    except RecursionError:
        raise BadEnvelope("The envelope is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed_json(record, error) from None


def content_of(envelope: Envelope) -> bytes:
    """The record in an envelope, as JSON text. Raises `BadEnvelope`, `MalformedJson`."""
    record, content = bytes(envelope.record), bytes(envelope.content)
    if bool(record) == bool(content):
        raise BadEnvelope("The envelope must have one of record and content.")
    return record or _unquoted(content)


def _unquoted(text: bytes) -> bytes:
    """JSON text out of an envelope; the first Inlake also took a string that holds JSON. Raises `MalformedJson`."""
    if not text.startswith(b'"'):
        return text
    try:
        return msgspec.json.decode(text, type=str).encode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # the envelope's decoder skips over a record unread
        raise malformed_json(text, error) from None


def line_too_long(limit: int) -> LineTooLong:
    """The error of a line that is longer than a record and its envelope may be."""
    return LineTooLong(f"The line is longer than {limit:,} bytes.")
