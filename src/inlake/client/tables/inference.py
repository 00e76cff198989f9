"""A schema drafted from a table, in each of the three languages, with what was seen in each column."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from inlake.client.tables.facts import Facts

RESOURCE = "__resource_path__"
_DOC = "The binary of the record."
_AVRO: dict[str, Any] = {
    "boolean": "boolean",
    "integer": "long",
    "number": "double",
    "date": {"type": "int", "logicalType": "date"},
    "timestamp": {"type": "long", "logicalType": "timestamp-micros"},
    "text": "string",
}
_PROTOBUF = {
    "boolean": "bool",
    "integer": "int64",
    "number": "double",
    "date": "string",
    "timestamp": "google.protobuf.Timestamp",
    "text": "string",
}
_JSON: dict[str, dict[str, str]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "date": {"type": "string", "format": "date"},
    "timestamp": {"type": "string", "format": "date-time"},
    "text": {"type": "string"},
}


def infer_schema(facts: Sequence[Facts], language: str, name: str) -> str:
    """The text of a schema named `name` (`tate.artwork`) in `avro`, `protobuf` or `jsonschema`.

    A column with an empty cell may be null. `__resource_path__` is there for the binary of a record.
    """
    draft: Callable[[Sequence[Facts], str], str] = {"avro": _avro, "protobuf": _protobuf, "jsonschema": _json_schema}[
        language
    ]
    return draft(facts, name)


def _avro(facts: Sequence[Facts], name: str) -> str:
    *space, last = [_word(part) for part in name.split(".")]
    fields = []
    for one, field in zip(facts, _names(facts), strict=True):
        type_ = _AVRO[one.type]
        nullable = {"type": ["null", type_], "default": None} if one.empty else {"type": type_}
        fields.append({"name": field, **nullable, "doc": one.sentence})
    if RESOURCE not in _names(facts):
        fields.append({"name": RESOURCE, "type": ["null", "string"], "default": None, "doc": _DOC})
    record = {"type": "record", "name": last, **({"namespace": ".".join(space)} if space else {}), "fields": fields}
    return json.dumps(record, ensure_ascii=False, indent=2) + "\n"


def _protobuf(facts: Sequence[Facts], name: str) -> str:
    *space, last = [_word(part) for part in name.split(".")]
    lines = ['syntax = "proto3";', *([f"package {'.'.join(space)};"] if space else []), ""]
    if any(one.type == "timestamp" for one in facts):
        lines += ['import "google/protobuf/timestamp.proto";', ""]
    lines.append(f"message {last[0].upper() + last[1:] if last[0].isalpha() else f'M{last}'} {{")
    number = 0
    columns = zip(facts, _names(facts, fold=True), _json_names(facts), strict=True)
    for number, (one, field, json_name) in enumerate(columns, 1):
        type_ = _PROTOBUF[one.type]
        optional = "optional " if one.empty and one.type != "timestamp" else ""
        lines.append(f"  // {one.sentence}")
        lines.append(f"  {optional}{type_} {field} = {_free(number)} [json_name = {_proto_text(json_name)}];")
    if all(one.column.name != RESOURCE for one in facts):
        lines.append(f"  // {_DOC}")
        lines.append(f'  optional string {RESOURCE} = {_free(number + 1)} [json_name = "{RESOURCE}"];')
    return "\n".join([*lines, "}"]) + "\n"


def _json_schema(facts: Sequence[Facts], name: str) -> str:
    properties: dict[str, Any] = {}
    for one in facts:
        told = dict(_JSON[one.type])
        type_: Any = [told.pop("type"), "null"] if one.empty else told.pop("type")
        properties[one.column.name] = {"description": one.sentence, "type": type_, **told}
    properties.setdefault(RESOURCE, {"description": _DOC, "type": ["string", "null"]})
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "type": "object",
        "properties": properties,
        "required": [one.column.name for one in facts if not one.empty],
        "additionalProperties": False,
    }
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def _names(facts: Sequence[Facts], *, fold: bool = False) -> list[str]:
    """The columns' names as words, each once; `fold`: no two that differ in capitals or `_` alone."""
    names: list[str] = []
    used: set[str] = set()
    for one in facts:
        word = _word(one.column.name)
        name, number = word, 1
        while (key := name.replace("_", "").lower() if fold else name) in used:
            number += 1
            name = f"{word}_x{number}"
        used.add(key)
        names.append(name)
    return names


def _json_names(facts: Sequence[Facts]) -> list[str]:
    """The columns' names as names in JSON, each once; protoc takes none in square brackets: those are extensions."""
    columns = [one.column.name for one in facts]
    used = {column for column in columns if not _is_bracketed(column)}
    names: list[str] = []
    for column in columns:
        name = column
        if _is_bracketed(column):
            name = column.strip("[] ") or "column"
            while name in used or _is_bracketed(name):
                name += "_"
            used.add(name)
        names.append(name)
    return names


def _is_bracketed(name: str) -> bool:
    return name.startswith("[") and name.endswith("]")


def _word(text: str) -> str:
    """Letters of ASCII, digits and `_`, as names of Avro and Protobuf are."""
    word = text if text == RESOURCE else re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    return word if re.match(r"[A-Za-z_]", word) else f"c_{word}" if word else "column"


def _free(number: int) -> int:
    """Protobuf keeps 19000 to 19999 for itself."""
    return number if number < 19_000 else number + 1_000


def _proto_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
