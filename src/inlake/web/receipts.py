"""Receipts as lines of JSON: what is the same for many of a request is written once."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from inlake.model import Receipt

_encode = msgspec.json.Encoder().encode


class ReceiptLines:
    """Of one request."""

    def __init__(self) -> None:
        self._like: Receipt | None = None
        self._before = self._after = ""
        """What stands around the offset of a receipt like that one."""

    def lines(self, receipts: Iterable[tuple[int, Receipt]]) -> bytes:
        """Receipts with the numbers of their lines, each a line of JSON."""
        lines: list[str] = []
        like, before, after = self._like, self._before, self._after
        for n, r in receipts:
            if (
                like is None
                or r.schema is not like.schema
                or r.resource is not like.resource
                or r.partition != like.partition
                or r.topic != like.topic
                or r.key != like.key
            ):
                like, before, after = r, *_around_offset(r)
            lines.append(f'{{"line":{n},"status":201,"id":"{r.id}",{before}{r.offset}{after}')
        self._like, self._before, self._after = like, before, after
        return "".join(lines).encode()


def _around_offset(r: Receipt) -> tuple[str, str]:
    """What msgspec makes of it, taken apart: the id before it, a UUID, needs no escapes."""
    text = _encode(r).decode()
    before, _, after = text.removeprefix(f'{{"id":"{r.id}",').rpartition(f'"offset":{r.offset},"schema":')
    return before + '"offset":', f',"schema":{after}\n'
