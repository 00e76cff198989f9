"""A receipt, which alone is a yes: the document of one event that is on the bus, or of one that will be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

Receipt = dict[str, Any]
WORDS = ("accepted", "pending", "rejected", "failed")
"""The words that a summary counts by."""
ACCEPTED = 201
PENDING = 202


def is_receipt(document: Receipt) -> bool:
    """Whether it says yes: an event with its place (201), or that it waits: for the bus, or for a promise (202)."""
    offset = document.get("offset", "")
    published = isinstance(document.get("topic"), str) and (isinstance(offset, int) or offset is None)
    return isinstance(document.get("id"), str) and (published or isinstance(document.get("promise"), str))


def is_line(document: object) -> TypeGuard[Receipt]:
    """Whether it is a line of an answer to a stream: a receipt or a reject with its number, or the summary."""
    if not isinstance(document, dict):
        return False
    if isinstance(document.get("summary"), dict):
        return all(isinstance(document["summary"].get(word), int) for word in WORDS)
    line, status = document.get("line"), document.get("status")
    if not isinstance(line, int) or not isinstance(status, int):
        return False
    return status >= 400 or is_receipt(document)


def parse_lines(blocks: Iterable[bytes]) -> Iterator[Receipt]:
    """The lines of an answer. Raises ValueError for what is none.

    A line ends at `\\n` only: what Python calls lines also end at U+2028 and its like, which JSON may hold.
    """
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from map(_parsed, filter(None, lines))
    if rest:
        yield _parsed(rest)


def _parsed(line: bytes) -> Receipt:
    try:
        document = json.loads(line)
    except RecursionError:
        document = None
    if not is_line(document):
        raise ValueError("not a receipt")
    return document
