"""A JSON Schema as a codec: the library says yes or no, `explain` says why not, what was validated is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from inlake.errors import MalformedJson, NoResourceField, RecordRejected
from inlake.formats.depth import allow_levels, check_depth
from inlake.formats.draft import Draft
from inlake.formats.json_schema.documents import Documents
from inlake.formats.json_schema.example import make_example, property_schemas
from inlake.formats.json_schema.explain import FRAMES, accepts_text, explain
from inlake.formats.json_schema.numbers import decode, parse_exactly
from inlake.formats.json_schema.shape import shape_of
from inlake.formats.json_text import has_minus_zero
from inlake.formats.reasons import field_errors
from inlake.formats.shape import Shape

_write = msgspec.json.Encoder(decimal_format="number").encode


class JsonSchemaCodec:
    """One compiled JSON Schema; see `inlake.ports.Codec`."""

    content_type = "application/vnd.confluent.json"

    def __init__(
        self,
        schema: str,
        references: Sequence[tuple[str, str]] = (),
        *,
        resource_field: str = "__resource_path__",
        max_depth: int = 200,
        max_errors: int = 100,
    ) -> None:
        """`schema` and `references` (name, text) are schema texts. `InvalidSchema`."""
        allow_levels(max_depth, FRAMES)
        self.documents = Documents(schema, references)
        self.resource_field = resource_field
        self.max_depth = max_depth
        self.max_errors = max_errors
        self._fits = self.documents.validator.is_valid
        places = property_schemas(self.documents, resource_field)
        self.has_resource_field = bool(places) and all(accepts_text(self.documents, *place) for place in places)

    def encode_plain(self, record: bytes) -> bytes | None:
        """Reads and encodes a record that fits and has no resource."""
        check_depth(record, self.max_depth)
        try:
            value = decode(record)
            if isinstance(value, dict) and value.get(self.resource_field) is not None:
                return None
            written = _write(value) if self._fits(value) else None
        except ValueError:
            return None
        # what is written as it came has no -0: that is read as 0 here
        return None if written != record and has_minus_zero(record) else written

    def read(self, record: bytes, *, tagged: bool = False) -> Draft:  # noqa: ARG002  Avro knows tags
        """Parse JSON; of equal names the last wins. `MalformedJson`, `RecordRejected` (depth, numbers out of range)."""
        check_depth(record, self.max_depth)
        value = parse_exactly(record, self.max_errors)
        return Draft(value.get(self.resource_field) if isinstance(value, dict) else None, value)

    def encode(self, draft: Draft, resource: str | None = None) -> bytes:
        """The draft as JSON, the resource field set to `resource` if given. `RecordRejected` with all errors."""
        value = draft.value
        if resource is not None:
            value = self._fill(value, resource)
        try:
            if self._fits(value):
                return _write(value)
        except ValueError:  # too deep for the library to compare: the walk says where
            pass
        errors = explain(self.documents, value, max_errors=self.max_errors)
        raise RecordRejected(field_errors(dict.fromkeys(errors)))  # two ways through the schema may say the same

    def decode(self, payload: bytes) -> Any:
        """JSON to plain Python values."""
        check_depth(payload, self.max_depth)
        try:
            return msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedJson(f"The payload is not JSON: {error}.") from None

    def example(self) -> Any:
        """A JSON value that fits the schema; None when none is found."""
        return make_example(self.documents)

    def shape(self) -> Shape:
        """The fields of a record, in words that the languages share."""
        return shape_of(self.documents)

    def _fill(self, value: Any, resource: str) -> Any:
        if not self.has_resource_field:
            raise NoResourceField(f"The schema has no property {self.resource_field} that takes text.")
        return {**value, self.resource_field: resource} if isinstance(value, dict) else value
