"""The lines of a shipment as its client announces them: a file and a record in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from inlake.errors import BadEnvelope, BinaryTooLarge, DigestMismatch, InlakeError, SizeMismatch
from inlake.formats.json_text import malformed_json
from inlake.group import TimeSlice
from inlake.model import StoredObject, Submission, Trace
from inlake.promises.direct import LARGEST_PUT
from inlake.promises.places import object_key
from inlake.promises.shipments.entries import Names, Standing
from inlake.promises.shipments.in_place import Found, at_once
from inlake.web.request import address
from inlake.web.request.envelope import Envelope
from inlake.web.request.exchange import Exchange
from inlake.web.request.trace import trace_of
from inlake.web.routes.direct import hex_sha256, printable_type
from inlake.web.routes.lines import Line
from inlake.wiring import Deployment


class FileAnnounced(Struct, forbid_unknown_fields=True):
    """A binary that its client will send; or, with `uri`, one that is in a store already and is not copied."""

    filename: Annotated[str, Meta(max_length=1_000)] | None = None
    size: Annotated[int, Meta(ge=0, description="Bytes.")] | None = None
    sha256: Annotated[str, Meta(description="In hexadecimal or base64.")] | None = None
    content_type: Annotated[str, Meta(max_length=255)] = "application/octet-stream"
    uri: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=4_000,
                description="Below a prefix of `INLAKE_IN_PLACE`. The other members need not be there; those that are, "
                "are compared with what the store has.",
            ),
        ]
        | None
    ) = None


class ShippedRecord(Struct, forbid_unknown_fields=True):
    """A line of a shipment whose schema stands in the query."""

    file: FileAnnounced
    record: msgspec.Raw


class ShippedEnvelope(Envelope, forbid_unknown_fields=True, kw_only=True):
    """A line of a shipment that names its schema."""

    file: FileAnnounced


@dataclass(frozen=True, slots=True)
class Announcements:
    """The lines of a shipment: those that can be read have a record, and an object as it will be."""

    submissions: list[Submission | InlakeError] = field(default_factory=list)
    objects: list[StoredObject | None] = field(default_factory=list)
    standing: dict[int, Standing] = field(default_factory=dict)
    """Objects that are in a store already, by the index of their line."""


async def read_announcements(
    x: Exchange, d: Deployment, to: address.Address, names: Names, lines: Sequence[Line]
) -> Announcements:
    """The records and the objects that the lines announce; of a line that announces none, why."""
    announcements, root = Announcements(), d.store.uri("-").removesuffix("-")
    trace, time_slice = trace_of(x), TimeSlice()
    named: dict[int, tuple[int, FileAnnounced]] = {}
    for i, (n, line) in enumerate(lines):
        try:
            if isinstance(line, InlakeError):
                raise line
            file, s = _line(x, to, line, trace)
            if file.uri is not None:
                stored, named[i] = None, (n, file)
            else:
                stored = _object(x, root, file, names.puuid(n))
            announcements.submissions.append(s if x.attempt is None else x.attempt.bind(s, n))
            announcements.objects.append(stored)
        except InlakeError as error:
            announcements.submissions.append(error.without_frames())
            announcements.objects.append(None)
        await time_slice.yield_if_long()
    if named:
        await _find_in_place(d, names, announcements, named)
    return announcements


async def _find_in_place(
    d: Deployment, names: Names, found: Announcements, named: dict[int, tuple[int, FileAnnounced]]
) -> None:
    """Puts in the objects that lines name by their URI, or why there are none; those of other lines stay."""
    looked = await at_once(d.shipments.in_place, [str(file.uri) for _, file in named.values()])
    for (i, (n, file)), there in zip(named.items(), looked, strict=True):
        try:
            if isinstance(there, Exception):
                raise there
            found.objects[i] = _standing(file, there, names.puuid(n))
            found.standing[i] = Standing(there.uri, there.etag)
        except InlakeError as error:
            found.submissions[i] = error.without_frames()


def _line(x: Exchange, to: address.Address, line: bytes, trace: Trace | None) -> tuple[FileAnnounced, Submission]:
    """A file and its record. Raises `BadEnvelope`, `MalformedJson`, `RecordTooLarge`, ..."""
    try:
        if to.schema is not None:
            record = msgspec.json.decode(line, type=ShippedRecord)
            s = address.submission(to, bytes(record.record), caller=x.caller, tagged=False, trace=trace)
            address.check_size(s.record, x.settings.max_record_bytes)
            return record.file, s
        envelope = msgspec.json.decode(line, type=ShippedEnvelope)
    except msgspec.ValidationError as error:
        raise BadEnvelope(f'A line of a shipment is {{"file": {{...}}, "record": {{...}}}}: {error}.') from None
    except RecursionError:
        raise BadEnvelope("The line is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed_json(line, error) from None
    s = address.unwrapped(envelope, caller=x.caller, tagged=False, trace=trace)
    address.check_size(s.record, x.settings.max_record_bytes)
    return envelope.file, s


def _standing(file: FileAnnounced, found: Found, puuid: str) -> StoredObject:
    """The object that is there. Raises `SizeMismatch`, `DigestMismatch`, `BadParameter`."""
    if file.size not in {None, found.blob.size}:
        raise SizeMismatch(f"The object has {found.blob.size:,} bytes, and {file.size:,} were announced.")
    if file.sha256 is not None and hex_sha256("sha256", file.sha256) != found.blob.sha256:
        raise DigestMismatch("The object has another SHA-256 than was announced.")
    kind, name = printable_type(file.content_type), file.filename or found.filename
    return StoredObject(puuid, found.uri, found.blob.size, str(found.blob.sha256), kind, name)


def _object(x: Exchange, root: str, file: FileAnnounced, puuid: str) -> StoredObject:
    """The object of a file, as it will be. Raises `BinaryTooLarge`, `BadParameter`."""
    if file.filename is None or file.size is None or file.sha256 is None:
        raise BadEnvelope("The file of a line has filename, size and sha256; or uri, where it is in a store already.")
    if file.size > min(LARGEST_PUT, x.settings.max_binary_bytes):
        raise BinaryTooLarge(
            f"The binary is larger than {min(LARGEST_PUT, x.settings.max_binary_bytes):,} bytes "
            "(INLAKE_MAX_BINARY_BYTES, and what S3 takes in one request)."
        )
    uri = root + object_key(puuid, file.filename)
    sha256, kind = hex_sha256("sha256", file.sha256), printable_type(file.content_type)
    return StoredObject(puuid, uri, file.size, sha256, kind, file.filename)
