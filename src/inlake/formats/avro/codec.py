"""An Avro schema as a codec: the fast path says yes to most records, the exact rules decide about the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from inlake.errors import NoResourceField, RecordRejected
from inlake.formats.avro.binary import sized
from inlake.formats.avro.decode import read_payload
from inlake.formats.avro.exact import FRAMES, Mode, walk
from inlake.formats.avro.example import make_example
from inlake.formats.avro.generated import compile_writer
from inlake.formats.avro.resolve import resolve
from inlake.formats.avro.resource import attribute, takes_text_once, text_tag
from inlake.formats.avro.schema import parse_schema
from inlake.formats.avro.shape import shape_of
from inlake.formats.avro.typed import MAX_RECORDS, compile_reader, loses_signs, parts
from inlake.formats.depth import allow_levels, check_depth, is_within
from inlake.formats.draft import Draft
from inlake.formats.json_text import ABSENT, has_minus_zero, parse_json
from inlake.formats.reasons import field_errors
from inlake.formats.shape import Shape
from inlake.formats.source import UNDECIDED, UNREADABLE

_NOTHING = (None, msgspec.UNSET)


class AvroCodec:
    """One compiled Avro schema; see `inlake.ports.Codec`."""

    content_type = "application/vnd.confluent.avro"

    def __init__(
        self,
        schema: str,
        references: Sequence[tuple[str, str]] = (),
        *,
        resource_field: str = "__resource_path__",
        max_depth: int = 200,
        max_errors: int = 100,
        max_bytes: int | None = None,
    ) -> None:
        """`schema` and `references` (name, text) are schema texts; `max_bytes` bounds an encoded record.
        `InvalidSchema`."""
        allow_levels(max_depth, FRAMES)
        parsed = parse_schema(schema, references)
        self.root = resolve(parsed)
        self.resource_field = resource_field
        self.max_depth = max_depth
        self.max_errors = max_errors
        self.max_bytes = max_bytes
        self._resource_tag = text_tag(self.root, resource_field)
        self.has_resource_field = self._resource_tag is not None
        self._attribute = attribute(self.root, resource_field)
        self._fills = takes_text_once(self.root, resource_field)
        """Whether the generated writer can set the resource field."""
        records = [named for named in parsed.names.values() if named.kind == "record"]
        self._is_shallow = is_within(self.root, parts, max_depth)
        self._loses_signs = loses_signs(parsed.types)
        self._fast = len(records) <= MAX_RECORDS
        if self._fast:
            self._read, classes = compile_reader(self.root, records)
            self._write = compile_writer(self.root, classes, records, max_bytes)

    def encode_plain(self, record: bytes) -> bytes | None:
        """The fast path alone, for a record without a resource; None: `read` and `encode` decide. `RecordTooLarge`."""
        typed = self._typed(record)
        if typed is ABSENT or (self._attribute and getattr(typed, self._attribute) not in _NOTHING):
            return None
        try:
            return self._write(typed, record)
        except UNDECIDED:
            return None

    def read(self, record: bytes, *, tagged: bool = False) -> Draft:
        """Parse JSON; with `tagged` unions must be in the tagged form. `MalformedJson`, `RecordRejected` (depth)."""
        if not tagged:
            typed = self._typed(record)
            if typed is not ABSENT:
                resource = getattr(typed, self._attribute) if self._attribute else None
                return Draft(None if resource is msgspec.UNSET else resource, typed=typed, text=record)
        check_depth(record, self.max_depth)
        value = parse_json(record)
        resource = value.get(self.resource_field) if isinstance(value, dict) else None
        if isinstance(resource, dict) and resource.keys() == {"string"}:
            resource = resource["string"]
        return Draft(resource, value, tagged=tagged)

    def _typed(self, record: bytes) -> Any:
        """The record as the fast path reads it; `ABSENT` where it cannot vouch for that. `RecordRejected` (depth)."""
        if not self._fast:
            return ABSENT
        if not self._is_shallow:
            check_depth(record, self.max_depth)
        try:
            typed = self._read(record)
        except UNREADABLE:
            return ABSENT
        return ABSENT if self._loses_signs and has_minus_zero(record) else typed

    def encode(self, draft: Draft, resource: str | None = None) -> bytes:
        """The draft as Avro binary, the resource field set to `resource` if given. `RecordRejected` with all errors,
        `RecordTooLarge`."""
        if draft.typed is not ABSENT and (resource is None or self._fills):
            try:
                if resource is not None:
                    return self._write_filled(draft.typed, draft.text, resource)
                return self._write(draft.typed, draft.text)
            except UNDECIDED:
                pass
        value = draft.value
        if value is ABSENT:
            check_depth(draft.text, self.max_depth)
            value = parse_json(draft.text)
        if resource is not None:
            value = self._fill(value, resource)
        mode = Mode.TAGGED if draft.tagged else Mode.PLAIN
        encoded, errors = walk(self.root, value, mode, max_errors=self.max_errors, max_bytes=self.max_bytes)
        if errors:
            raise RecordRejected(field_errors(errors))
        return encoded

    def decode(self, payload: bytes) -> Any:
        """Avro binary to JSON-like values: bytes as text or 0x..., decimals, dates, times and NaN as text."""
        return read_payload(self.root, payload, self.max_depth)

    def example(self) -> Any:
        """A JSON value that fits the schema."""
        return make_example(self.root)

    def shape(self) -> Shape:
        """The fields of a record, in words that the languages share."""
        return shape_of(self.root)

    def _write_filled(self, typed: Any, text: bytes, resource: str) -> bytes:
        """The bytes that the fast path writes with `resource` in its field; the draft stays as it is."""
        before = getattr(typed, self._attribute)
        setattr(typed, self._attribute, resource)
        try:
            return self._write(typed, text)
        finally:
            setattr(typed, self._attribute, before)

    def _fill(self, value: Any, resource: str) -> Any:
        if self._resource_tag is None:
            raise NoResourceField(f"The schema has no field {self.resource_field} that takes text.")
        encoded = self._resource_tag + sized(resource.encode())
        return {**value, self.resource_field: encoded} if isinstance(value, dict) else value
