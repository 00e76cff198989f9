"""Where a value stands in a record: kept as a chain of keys, written as a JSON Pointer only when there is an error."""

from __future__ import annotations

from typing import Any

Place = tuple[Any, str | int] | None
"""(place of the parent, key or index); None is the whole record."""


def pointer(place: Place) -> str:
    """The place as a JSON Pointer (RFC 6901)."""
    steps: list[str] = []
    while place is not None:
        place, key = place
        steps.append("/" + str(key).replace("~", "~0").replace("/", "~1"))
    return "".join(reversed(steps))
