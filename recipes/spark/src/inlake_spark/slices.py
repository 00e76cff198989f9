"""Slices of a task's records: each goes the gateway's data path as a group, and to the bus in one call."""

from __future__ import annotations

from collections.abc import Iterator

from inlake.errors import InlakeError
from inlake.gateway import Gateway
from inlake.group import Group, Result, TimeSlice
from inlake_spark.source import Block, Item

RECORDS, BYTES = 1_000, 2 << 20
"""What a slice holds: at most so many records, and so many bytes but for the last of them."""


class LongTimeSlice(TimeSlice):
    """Five milliseconds: no request waits here, only what goes to the bus and comes from it."""

    SECONDS = 0.005


class Slice(Group):
    """Neighbours of a block. None is the result of a record that was published: nobody reads a receipt."""

    time_slice = LongTimeSlice

    def __init__(self, gateway: Gateway, block: Block, items: list[Item], bytes_: int) -> None:
        """`bytes_`: of the records as they came."""
        super().__init__(gateway)
        self.block = block
        self.items = items
        self.bytes = bytes_

    async def publish(self) -> list[Result]:
        """Publishes the events in their order, in one call; what kept one from the bus is at its record's index."""
        if not self.encoded:
            return self.results
        indexes, events, _, promises = zip(*self.encoded, strict=True)
        if any(promises):
            return await super().publish()
        for i, at in zip(indexes, await self.gateway.bus.publish(events), strict=True):
            if isinstance(at, InlakeError):
                self.results[i] = at
        return self.results


def slices_of(items: list[Item]) -> Iterator[tuple[list[Item], int]]:
    """The items in their order, in as few slices as their sizes allow; the bytes of each slice."""
    first = size = 0
    for end, item in enumerate(items, 1):
        size += item.size
        if end - first == RECORDS or size >= BYTES:
            yield items[first:end], size
            first, size = end, 0
    if first < len(items):
        yield items[first:], size
