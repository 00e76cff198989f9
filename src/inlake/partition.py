"""Which bytes choose an event's partition when it is not the key: its own id, or a value in the record."""

from __future__ import annotations

from functools import lru_cache

import msgspec

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


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
    raw: msgspec.Raw | None = msgspec.Raw(record)
    for step in steps:
        raw = _inside(raw, step)
        if raw is None:
            return None
    value = bytes(raw or b"").strip()
    if value == b"null":
        return None
    if value.startswith(b'"'):
        return msgspec.json.decode(value, type=str).encode()
    return msgspec.json.format(value, indent=-1)


def _inside(raw: msgspec.Raw | None, step: str) -> msgspec.Raw | None:
    """The member or item of that name or index, None if there is none."""
    text = bytes(raw or b"").lstrip()
    if text.startswith(b"{"):
        return _members(text).get(step)
    if text.startswith(b"[") and step.isascii() and step.isdecimal() and (step == "0" or step[0] != "0"):
        return dict(enumerate(_items(text))).get(int(step))
    return None
