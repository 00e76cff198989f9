"""Many records on the data path: each has its result at its own index, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from inlake.codecs import Unchecked
from inlake.errors import (
    AtomicBodyTooLarge,
    BodyRejected,
    BusUnavailable,
    InlakeError,
    LineTooLong,
    RegistryUnavailable,
)
from inlake.gateway import Gateway
from inlake.group import AtomicGroup, CheckedGroup, Group, TimeSlice
from inlake.model import Event, Label, Position, Receipt, Submission
from inlake.ports import Bus
from inlake.promises.steps import Promises
from inlake.settings import load


class ListBus:
    """A bus that keeps events and refuses some."""

    def __init__(self, *refused: bytes) -> None:
        self.refused = refused
        self.values: list[bytes] = []

    async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
        self.values += [event.value for event in events]
        return [
            BusUnavailable("away") if event.value in self.refused else Position("t", 0, offset)
            for offset, event in enumerate(events)
        ]

    async def publish_all_or_none(self, events: Sequence[Event]) -> list[Position]:
        for index, event in enumerate(events):
            if event.value in self.refused:
                raise BusUnavailable("away", event=index)
        return cast("list[Position]", await self.publish(events))


def gateway_on(bus: ListBus) -> Gateway:
    """Nothing is checked, and no record names a binary."""
    return Gateway(Unchecked(load({})), cast("Promises", None), cast("Bus", bus))


def submissions(*records: bytes | InlakeError) -> list[Submission | InlakeError]:
    label = Label("note")
    return [record if isinstance(record, InlakeError) else Submission(label, record) for record in records]


async def results(group: Group, *records: bytes | InlakeError) -> list[Any]:
    await group.encode(submissions(*records))
    return await group.publish()


async def test_each_record_has_its_result_at_its_index_and_events_go_out_in_order() -> None:
    bus, long = ListBus(b"2"), LineTooLong("long")
    first, second, third, fourth = await results(Group(gateway_on(bus)), b"1", long, b"2", b"3")
    assert (first.offset, second, third.code, fourth.offset) == (0, long, "bus_unavailable", 2)
    assert bus.values == [b"1", b"2", b"3"]


async def test_a_group_takes_as_many_records_as_have_room_and_the_one_that_fills_it() -> None:
    group = Group(gateway_on(bus := ListBus()))
    group.room = 5
    assert await group.encode(submissions(b"12", LineTooLong("long"), b"3456", b"7")) == 3
    assert (group.size, len(await group.publish()), bus.values) == (6, 3, [b"12", b"3456"])


async def test_a_body_that_is_all_or_nothing_and_has_no_room_is_refused() -> None:
    group = AtomicGroup(gateway_on(bus := ListBus()), [1, 2, 3], named=10)
    group.room = 3
    with pytest.raises(AtomicBodyTooLarge, match="more than 3 bytes"):
        await group.encode(submissions(b"12", b"34", b"5"))
    assert bus.values == []


async def test_nothing_is_published_before_publish_and_who_calls_it_first_is_first() -> None:
    bus = ListBus()
    gateway = gateway_on(bus)
    one, two = Group(gateway), Group(gateway)
    await one.encode(submissions(b"1"))
    await two.encode(submissions(b"2"))
    assert bus.values == []
    await two.publish()
    await one.publish()
    assert bus.values == [b"2", b"1"]


async def test_records_that_are_only_checked_are_not_published() -> None:
    bus, long = ListBus(), LineTooLong("long")
    assert await results(CheckedGroup(gateway_on(bus)), b"1", long) == [None, long]
    assert bus.values == []


async def test_a_window_without_a_good_record_asks_the_bus_for_nothing() -> None:
    long = LineTooLong("long")
    assert await results(Group(gateway_on(cast("ListBus", None))), long) == [long]


async def test_one_bad_line_refuses_all_of_a_body_that_is_all_or_nothing() -> None:
    bus = ListBus()
    group = AtomicGroup(gateway_on(bus), [1, 4, 5, 6], named=2)
    with pytest.raises(BodyRejected) as caught:
        await results(group, b"1", *[LineTooLong(f"long {n}") for n in range(3)])
    assert (caught.value.members["rejected"], [number for number, _ in caught.value.lines]) == (3, [4, 5])
    assert bus.values == []


async def test_an_error_that_is_not_the_records_names_its_line() -> None:
    away = AtomicGroup(gateway_on(ListBus()), [1, 7], named=9)
    with pytest.raises(RegistryUnavailable) as caught:
        await results(away, LineTooLong("long"), RegistryUnavailable("away"))
    assert caught.value.members["line"] == 7
    refused = AtomicGroup(gateway_on(ListBus(b"2")), [1, 7], named=9)
    with pytest.raises(BusUnavailable) as caught_late:
        await results(refused, b"1", b"2")
    assert caught_late.value.members == {"line": 7}


async def test_all_of_a_body_has_receipts() -> None:
    found = await results(AtomicGroup(gateway_on(ListBus()), [1, 2], named=9), b"1", b"2")
    assert [receipt.offset for receipt in found if isinstance(receipt, Receipt)] == [0, 1]


async def test_work_in_one_go_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[int] = []
    asyncio.get_running_loop().call_soon(others.append, 1)
    monkeypatch.setattr(TimeSlice, "SECONDS", 60)
    assert not await TimeSlice().yield_if_long()
    assert others == []
    monkeypatch.setattr(TimeSlice, "SECONDS", 0)
    assert await TimeSlice().yield_if_long()
    assert others == [1]
