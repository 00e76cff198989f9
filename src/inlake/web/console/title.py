"""The title of a record, as a person would call it, found by the names that people give to such fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

NAMES = ("title", "label", "caption", "headline", "displayname", "fullname", "name")
LONGEST = 160
DEEPEST = 3
LOOKED_AT = 200
"""Fields of a record, and values of a field, that are looked at."""


def title_of(record: Any) -> str:
    """The title of a decoded record in one line; empty if nothing in it looks like one.

    A field that is called a title or a name is one, then a field whose name ends so (`objectTitle`), then the first
    text of letters without digits, then any text.
    """
    if not isinstance(record, Mapping):
        return ""
    named = {name: text for name, value in islice(record.items(), LOOKED_AT) if (text := _text(value))}
    plain = {_plain(name): text for name, text in reversed(named.items())}
    for wanted in NAMES:
        if wanted in plain:
            return plain[wanted]
    for wanted in NAMES:
        for name in reversed(plain):
            if name.endswith(wanted) and name != "filename":
                return plain[name]
    return next((text for text in named.values() if _is_words(text)), next(iter(named.values()), ""))


def _plain(name: object) -> str:
    return "".join(character for character in str(name).lower() if character.isalnum())


def _text(value: Any) -> str:
    """The first text of a value, in one line: `{"en": ["Houses"]}` is "Houses"."""
    found = next(_texts(value, DEEPEST), "")
    line = " ".join(found[: 2 * LONGEST].split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip():
            yield value
    elif depth and isinstance(value, Mapping):
        for inner in islice(value.values(), LOOKED_AT):
            yield from _texts(inner, depth - 1)
    elif depth and isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for inner in islice(value, LOOKED_AT):
            yield from _texts(inner, depth - 1)


def _is_words(text: str) -> bool:
    return any(map(str.isalpha, text)) and not any(map(str.isdigit, text)) and "://" not in text
