"""Receipts as lines of JSON: what is the same for many of a request is written once."""

from __future__ import annotations

import msgspec

from inlake.model import Receipt

_encode = msgspec.json.Encoder().encode


class ReceiptLines:
    """Of one request."""

    def __init__(self) -> None:
        self._like: Receipt | None = None
        self._before = self._after = ""
        """What stands around the offset of a receipt like that one."""

    def line(self, n: int, r: Receipt) -> bytes:
        """The receipt of line `n`, one line of JSON."""
        like = self._like
        if (
            like is None
            or r.schema is not like.schema
            or r.resource is not like.resource
            or r.partition != like.partition
            or r.topic != like.topic
            or r.key != like.key
        ):
            self._learn(r)
        return f'{{"line":{n},"status":201,"id":"{r.id}",{self._before}{r.offset}{self._after}'.encode()

    def _learn(self, r: Receipt) -> None:
        """Take apart what msgspec makes of it: the id, a UUID, needs no escapes."""
        text = _encode(r).decode()
        offset = f'"offset":{r.offset}'
        before, _, after = text.removeprefix(f'{{"id":"{r.id}",').rpartition(offset + ',"schema":')
        self._like = r
        self._before, self._after = before + '"offset":', f',"schema":{after}\n'
