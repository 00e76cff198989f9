"""Which bytes choose an event's partition when it is not the key: its own id, or a value in the record."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def partition_bytes(rule: str, record: bytes, event_id: str) -> bytes | None:
    """`rule`: `INLAKE_PARTITION_BY`, checked already; `record`: valid JSON. None: the key chooses.

    `event` gives the event's id: spread evenly, and a repeat goes where the first went. A JSON Pointer (RFC 6901)
    gives the value there as sent: text as UTF-8, a number or boolean as its JSON text, an object or array as JSON
    without white space. An absent value and null leave the choice to the key.
    """
    if rule == "key":
        return None
    return event_id.encode() if rule == "event" else _value_at(record, _steps(rule))


@lru_cache(8)
def _steps(pointer: str) -> tuple[str, ...]:
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _value_at(record: bytes, steps: tuple[str, ...]) -> bytes | None:
    """Nothing but the way to the value is decoded."""
    value: bytes | None = record
    for step in steps:
        value = _inside(value, step) if value else None
    if value is None or value == b"null":
        return None
    if value.startswith(b'"'):
        return msgspec.json.decode(value, type=str).encode()
    return msgspec.json.format(value, indent=-1)


def _inside(value: bytes, step: str) -> bytes | None:
    """The member of that name, or the item of that index; None when there is none."""
    value = value.strip()
    found: msgspec.Raw | None = None
    if value.startswith(b"{"):
        found = _members(value).get(step)
    elif value.startswith(b"[") and _INDEX.fullmatch(step):
        found = dict(enumerate(_items(value))).get(int(step))
    return bytes(found).strip() if found is not None else None
