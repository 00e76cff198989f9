"""The types of a schema as the gateway tells them: `fields` of its answer to `GET /schemas/{name}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
    """Of an enum."""
    scale: int | None = None
    """Of a decimal: digits behind the point."""
    items: Field | None = None
    """Of an array."""
    values: Field | None = None
    """Of a map."""
    fields: tuple[Field, ...] = ()
    """Of a record; empty where a record is inside of itself."""
    choices: tuple[Field, ...] = ()
    """Of a choice: the types, in the order of the schema."""
    doc: str = ""

    def field(self, name: str) -> Field | None:
        """The field of a record by a name that the gateway takes."""
        return next((one for one in self.fields if name == one.name or name in one.aliases), None)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a record of a schema holds."""

    schema: str
    version: int
    language: str
    """`AVRO`, `PROTOBUF` or `JSON`."""
    root: Field


def read_shape(answer: Mapping[str, Any]) -> Shape:
    """The shape in a gateway's answer. `TableError` when records of the schema are no objects, or it does not say."""
    raise NotImplementedError
