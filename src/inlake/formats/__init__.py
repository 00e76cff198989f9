"""Schema languages: a schema from the registry is compiled once to a codec that reads JSON and writes wire bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from inlake.errors import FormatNotBuilt
from inlake.formats.avro.codec import AvroCodec
from inlake.formats.json_schema.codec import JsonSchemaCodec
from inlake.formats.protobuf.codec import ProtobufCodec
from inlake.formats.protobuf.compile import compile_proto
from inlake.ports import Codec

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema

_LANGUAGES: dict[str, Callable[..., Codec]] = {"AVRO": AvroCodec, "JSON": JsonSchemaCodec, "PROTOBUF": ProtobufCodec}


def compile_codec(
    schema: Schema,
    references: Sequence[tuple[str, Schema]] = (),
    *,
    message: str | None = None,
    resource_field: str = "__resource_path__",
    max_depth: int = 200,
    max_errors: int = 100,
    max_bytes: int | None = None,
) -> Codec:
    """The codec of a schema; `references` are all it needs, (name, schema), the deepest first.

    `max_bytes`: what a record may be encoded to, where its schema's defaults can make it much more than its text.
    `message` is the full name of a message of a Protobuf schema, None its first; the other languages have one root.
    Blocking, a few milliseconds. `InvalidSchema` names the place in the schema; `FormatNotBuilt` for other languages.
    """
    language = schema.schema_type or "AVRO"
    codec = _LANGUAGES.get(language)
    if codec is None:
        raise FormatNotBuilt(f"The schema is written in {language}; this Inlake reads {' and '.join(_LANGUAGES)}.")
    chosen: dict[str, Any] = {}
    if language == "PROTOBUF":
        chosen["message"] = message
    if language == "AVRO":
        chosen["max_bytes"] = max_bytes
    return codec(
        schema.schema_str or "",
        _texts(references),
        resource_field=resource_field,
        max_depth=max_depth,
        max_errors=max_errors,
        **chosen,
    )


def has_records(schema: Schema, references: Sequence[tuple[str, Schema]] = ()) -> bool:
    """Whether a record can be of it: a .proto without messages is there for others to import. `InvalidSchema`."""
    if schema.schema_type != "PROTOBUF":
        return True
    _, file = compile_proto(schema.schema_str or "", _texts(references))
    return bool(file.messages)


def with_text(schema: Schema, text: str) -> Schema:
    """A schema with another text: its language, its references and what the registry has with it stay."""
    return type(schema)(text, schema.schema_type, schema.references, schema.metadata, schema.rule_set)


def _texts(references: Sequence[tuple[str, Schema]]) -> list[tuple[str, str]]:
    return [(name, reference.schema_str or "") for name, reference in references]
