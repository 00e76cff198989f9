"""The types of a schema as the gateway tells them: `fields` of its answer to `GET /schemas/{name}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inlake.client.tables.faults import Fault, TableError


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record, or what an array or a map holds (its name is empty)."""

    name: str
    """As JSON writes it."""
    type: str
    """One of `text`, `integer`, `number`, `decimal`, `boolean`, `date`, `time`, `timestamp`, `local_timestamp`,
    `duration`, `uuid`, `enum`, `bytes`, `array`, `map`, `record`, `choice`, `any`."""
    required: bool = False
    nullable: bool = False
    aliases: tuple[str, ...] = ()
    """Other names that the gateway takes for it: the name in the .proto file."""
    symbols: tuple[str, ...] = ()
    """The symbols of an enum."""
    scale: int | None = None
    """Digits behind the point of a decimal."""
    items: Field | None = None
    """The items of an array."""
    values: Field | None = None
    """The values of a map."""
    fields: tuple[Field, ...] = ()
    """The fields of a record; empty where a record is inside of itself."""
    choices: tuple[Field, ...] = ()
    """The branches of a choice: the types, in the order of the schema."""

    def field(self, name: str) -> Field | None:
        """The field of a record by a name that the gateway takes."""
        return next((one for one in self.fields if name == one.name or name in one.aliases), None)


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of a schema's records."""

    schema: str
    version: int
    language: str
    """`AVRO`, `PROTOBUF` or `JSON`."""
    root: Field
    resource_field: str | None = None
    """The field that names the binary, which the gateway fills; None where the schema has none."""


def read_shape(answer: Mapping[str, Any]) -> Shape:
    """The shape in a gateway's answer. `TableError` when records of the schema are no objects, or it does not say."""
    name = answer.get("name", "")
    if "fields" not in answer:
        raise _unusable(f"The gateway does not say what a record of {name} holds.", "It is older than this client.")
    fields = tuple(_field(one) for one in answer["fields"])
    if not fields:
        raise _unusable(f"Records of {name} are no objects with fields.", "Rows of a table cannot become such records.")
    root = Field("", "record", required=True, fields=fields)
    return Shape(name, answer["version"], answer["type"], root, answer.get("resource_field"))


def _unusable(detail: str, advice: str) -> TableError:
    return TableError([Fault("no_fields", detail, advice)])


def _field(told: Mapping[str, Any]) -> Field:
    return Field(
        name=told.get("name", ""),
        type=told["type"],
        required=told.get("required", False),
        nullable=told.get("nullable", False),
        aliases=tuple(told.get("aliases", ())),
        symbols=tuple(told.get("symbols", ())),
        scale=told.get("scale"),
        items=_field(told["items"]) if "items" in told else None,
        values=_field(told["values"]) if "values" in told else None,
        fields=tuple(_field(one) for one in told.get("fields", ())),
        choices=tuple(_field(one) for one in told.get("choices", ())),
    )
