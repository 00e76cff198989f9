"""A stream of records whose groups end in any order, fail, or are given up."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from inlake.bus.kafka.producer.publish import WAITING_BYTES, WAITING_EVENTS
from inlake.bus.sqlite.bus import PENDING_BYTES
from inlake.errors import BusUnavailable, Busy, InlakeError
from inlake.metrics import Metrics
from inlake.model import Receipt, Submission
from inlake.settings import load
from inlake.web.request import address
from inlake.web.request.admission import Admission
from inlake.web.request.exchange import ASGIMessage, ClientGoneError, Exchange
from inlake.web.request.site import Site, make_site
from inlake.web.routes.stream import GROUP_LINES, GROUPS_AT_ONCE, Stream, may_hold

Submissions = Sequence[Submission | InlakeError]
Results = Sequence[Any]
Take = Callable[[int, Submissions], Coroutine[Any, Any, Results]]
"""What happens to a group, by its number from 0, once it is accepted."""
Body = AsyncIterator[bytes]


def receipts(group: Submissions) -> list[Receipt | InlakeError]:
    return [s if isinstance(s, InlakeError) else Receipt(s.record.decode(), "k", "t", 0, 0, None) for s in group]


class Group:
    """A group as the stream sees it."""

    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    size = 0

    async def encode(self, submissions: Submissions) -> int:
        self.publish = self._sending.take(submissions)
        return len(submissions)


class Sending:
    """A client that sends a body, and the stream that takes it."""

    def __init__(self, body: Body, take: Take, *, stays: bool = False, **settings: object) -> None:
        """`stays`: neither the body ends nor the client goes away."""
        self._body = body
        self._stays = stays
        self._take = take
        self.groups: list[int] = []
        """How many lines each had, in the order in which they were accepted."""
        self.sent: list[ASGIMessage] = []
        variables = {f"INLAKE_{name.upper()}": str(value) for name, value in settings.items()}
        self.site: Site = make_site(load(variables), Metrics())
        scope = {"headers": [], "instance": "x-1", "principal": "anonymous", "query_string": b"schema=a"}
        self.x = Exchange(scope, self._receive, self._send, self.site)
        self.stream = Stream(self.x, self._group, address.of_query(b"schema=a"))

    async def _receive(self) -> ASGIMessage:
        chunk = await anext(self._body, None)
        if chunk is None and self._stays:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def _send(self, message: ASGIMessage) -> None:
        self.sent.append(message)

    def _group(self) -> Any:
        return Group(self)

    def take(self, group: Submissions) -> Callable[[], Coroutine[Any, Any, Results]]:
        self.groups.append(len(group))
        return partial(self._take, len(self.groups) - 1, group)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in b"".join(m["body"] for m in self.sent[1:]).splitlines()]

    def counted(self) -> dict[str, int]:
        return {name: counter.value for name, counter in self.site.records.items() if counter.value}


async def lines(count: int, *, chunk: int = 100, length: int = 0, gone: bool = False) -> Body:
    for start in range(0, count, chunk):
        yield b"".join(b"%0*d\n" % (length, n) for n in range(start, min(start + chunk, count)))
        await asyncio.sleep(0)
    if gone:
        raise ClientGoneError


@pytest_asyncio.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """No task outlives a request, and no exception is left for the collector to find."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}
    gc.collect()
    assert complaints == []


async def test_receipts_are_in_order_whichever_group_is_published_first() -> None:
    async def take(n: int, group: Submissions) -> Results:
        await asyncio.sleep(0.02 if n % 2 == 0 else 0)
        return receipts(group)

    sending = Sending(lines(2500), take)
    await sending.stream.run()
    *each, last = sending.lines()
    assert [(one["line"], one["id"]) for one in each] == [(n + 1, str(n)) for n in range(2500)]
    assert (sending.status, last["summary"]["accepted"], sending.counted()) == (207, 2500, {"accepted": 2500})


@pytest.mark.parametrize(("length", "most"), [(10, GROUPS_AT_ONCE * GROUP_LINES), (2_000, 550), (100_000, 11)])
async def test_a_stream_has_about_a_window_on_its_way(length: int, most: int) -> None:
    flying, seen = 0, 0

    async def take(_: int, group: Submissions) -> Results:
        nonlocal flying, seen
        flying, seen = flying + len(group), max(seen, flying + len(group))
        await asyncio.sleep(0.01)
        flying -= len(group)
        return receipts(group)

    chunk = max(1, 65_536 // length)
    await Sending(lines(3 * most, chunk=chunk, length=length), take).stream.run()
    assert most - chunk <= seen <= most + chunk


def test_the_buses_have_room_for_what_all_streams_that_are_admitted_have_on_their_way() -> None:
    settings = load({})
    admission, streams = Admission(settings), 0
    with suppress(Busy):
        while True:
            admission.admit(may_hold(settings))
            streams += 1
    assert streams * GROUPS_AT_ONCE * GROUP_LINES <= WAITING_EVENTS
    assert streams * (settings.window_bytes + (64 << 10)) <= min(WAITING_BYTES, PENDING_BYTES)


@pytest.mark.parametrize("stays", [False, True])
async def test_windows_smaller_than_a_group_are_groups(stays: bool) -> None:
    async def take(_: int, group: Submissions) -> Results:
        return receipts(group)

    sending = Sending(lines(100, chunk=1), take, stays=stays, window_records=7, body_idle_seconds=0.1)
    await sending.stream.run()
    assert (sending.status, sending.groups) == (207, [7] * 14 + [2])
    assert sending.lines()[-1]["complete"] is not stays


async def test_all_of_a_window_share_a_status_over_its_groups() -> None:
    async def take(n: int, group: Submissions) -> Results:
        await asyncio.sleep(0.01 * (3 - n))
        return [BusUnavailable("away") for _ in group]

    sending = Sending(lines(3 * GROUP_LINES), take)
    await sending.stream.run()
    assert (sending.status, sending.groups, sending.counted()) == (503, [GROUP_LINES] * 3, {"failed": 3 * GROUP_LINES})
    assert b"retry-after" in dict(sending.sent[0]["headers"])


async def test_a_body_that_stands_still_has_receipts_for_what_is_on_its_way() -> None:
    async def take(_: int, group: Submissions) -> Results:
        await asyncio.sleep(0.2)
        return receipts(group)

    sending = Sending(lines(2 * GROUP_LINES), take, stays=True, window_ms=10, body_idle_seconds=0.05)
    await sending.stream.run()
    assert (len(sending.lines()), sending.status) == (2 * GROUP_LINES + 1, 207)
    assert (sending.lines()[-1]["code"], sending.counted()) == ("request_timeout", {"accepted": 2 * GROUP_LINES})


async def test_what_is_on_its_way_when_the_client_goes_away_is_counted() -> None:
    async def take(_: int, group: Submissions) -> Results:
        await asyncio.sleep(0.05)
        return receipts(group)

    sending = Sending(lines(4 * GROUP_LINES, gone=True), take, window_records=GROUP_LINES)
    with pytest.raises(ClientGoneError):
        await sending.stream.run()
    assert sending.counted()["accepted"] >= 3 * GROUP_LINES


@pytest.mark.parametrize("faulty", [{0}, {1, 2}, {0, 1, 2, 3, 4, 5}])
async def test_a_fault_in_a_group_ends_the_request_and_leaves_no_other_unheard(
    faulty: set[int], caplog: pytest.LogCaptureFixture
) -> None:
    failed = []

    async def take(n: int, group: Submissions) -> Results:
        await asyncio.sleep(0.01)
        if n in faulty:
            failed.append(n)
            raise KeyError(n)
        return receipts(group)

    sending = Sending(lines(10 * GROUP_LINES), take)
    with pytest.raises(KeyError):
        await sending.stream.run()
    assert not sending.sent or "summary" not in str(sending.sent[-1])
    assert len(caplog.records) == len(failed) - 1, "one is told at the edge"


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.05])
async def test_a_request_that_is_cancelled_gives_its_groups_up(seconds: float) -> None:
    begun, ended = [], []

    async def take(n: int, _: Submissions) -> Results:
        begun.append(n)
        try:
            return await asyncio.Event().wait()  # type: ignore[return-value]
        finally:
            ended.append(n)

    sending = Sending(lines(20 * GROUP_LINES), take)
    task = asyncio.create_task(sending.stream.run())
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == begun == list(range(min(GROUPS_AT_ONCE, len(sending.groups))))


async def test_a_request_whose_client_is_gone_can_still_be_cancelled() -> None:
    ended = []

    async def take(n: int, group: Submissions) -> Results:
        try:
            if n:
                await asyncio.Event().wait()
            return receipts(group)
        finally:
            ended.append(n)

    sending = Sending(lines(3 * GROUP_LINES, chunk=GROUP_LINES, gone=True), take, window_records=GROUP_LINES)
    task = asyncio.create_task(sending.stream.run())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1, 2]
    assert sending.counted() == {"accepted": GROUP_LINES}


class Trickle(Sending):
    """A client that sends a line every now and then, for a second; a reader that stops waiting loses none."""

    pause = 0.03

    def __init__(self, take: Take) -> None:
        super().__init__(lines(0), take, window_ms=100, window_records=100_000)
        self._end = time.monotonic() + 1
        self._next: asyncio.Task[None] | None = None

    async def _receive(self) -> ASGIMessage:
        self._next = self._next or asyncio.ensure_future(asyncio.sleep(self.pause))
        await asyncio.shield(self._next)
        self._next = None
        return {"type": "http.request", "body": b"1\n", "more_body": time.monotonic() < self._end}


@pytest.mark.parametrize("pause", [0.03, 0.0])
async def test_a_window_closes_some_time_after_its_first_line_whatever_comes_after(
    pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[float] = []

    async def take(_: int, group: Submissions) -> Results:
        began.append(time.monotonic())
        return receipts(group)

    monkeypatch.setattr(Trickle, "pause", pause)
    sending, start = Trickle(take), time.monotonic()
    await sending.stream.run()
    assert began[0] - start < 0.5
    assert len(began) >= 3 or pause == 0
    assert sum(sending.groups) == sending.lines()[-1]["summary"]["accepted"]
