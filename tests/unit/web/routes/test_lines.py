"""Cutting a stream into lines, and keeping receipts for a client that does not read."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from inlake.errors import LineTooLong
from inlake.web.request.spool import IN_MEMORY, Room, Spool
from inlake.web.routes.lines import Line, Lines


def cut(body: bytes, sizes: list[int], limit: int = 1000) -> list[Line]:
    lines, found, at = Lines(limit), [], 0
    for size in [*sizes, len(body)]:
        found += lines.feed(body[at : at + size])
        at += size
    return found + lines.end()


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"x"))), st.lists(st.integers(1, 7)))
@settings(deadline=None)
def test_lines_are_the_same_however_the_body_is_chunked(lines: list[bytes], sizes: list[int]) -> None:
    body = b"\n".join(lines)
    expected = [
        (i, text)
        for i, line in enumerate(body.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
        if (text := line.strip(b" \t\r"))
    ]
    assert cut(body, sizes) == expected


def test_blank_lines_are_counted_and_left_out_and_crlf_and_bom_are_taken_off() -> None:
    assert cut(b'\xef\xbb\xbf{"a":1}\r\n\r\n \n{"b":2}', []) == [(1, b'{"a":1}'), (4, b'{"b":2}')]


def test_a_line_that_is_too_long_is_one_error_and_the_next_line_is_read() -> None:
    found = cut(b"a" * 5000 + b"\n{}\n", [100] * 60, limit=1000)
    assert [n for n, _ in found] == [1, 2]
    assert isinstance(found[0][1], LineTooLong)
    assert found[1][1] == b"{}"


def test_a_line_without_end_is_never_held_in_memory() -> None:
    lines = Lines(1000)
    for _ in range(1000):
        assert lines.feed(b"a" * 10_000) == []
    assert isinstance(lines.end()[0][1], LineTooLong)


async def take_all(spool: Spool) -> bytes:
    taken = b""
    while data := await spool.take():
        taken += data
    return taken


async def test_a_spool_gives_back_in_order_what_memory_and_disk_took() -> None:
    spool = Spool(Room(100 << 20))
    pieces = [bytes([i % 256]) * 300_000 for i in range(20)]
    for piece in pieces[:10]:
        assert spool.put(piece)
    first = await spool.take()
    for piece in pieces[10:]:
        assert spool.put(piece)
    spool.end()
    assert first + await take_all(spool) == b"".join(pieces)
    spool.close()


async def test_a_full_spool_refuses_but_its_reserve_still_takes_the_rejects() -> None:
    spool = Spool(Room(1000))
    assert spool.put(b"m" * IN_MEMORY)
    assert spool.put(b"d" * 1000)
    assert not spool.put(b"x")
    assert spool.put(b"reject", reserve=10)
    assert not spool.put(b"reject", reserve=10)
    assert not spool.put(b"x"), "nothing may overtake what waits in the reserve"
    spool.end()
    assert await take_all(spool) == b"m" * IN_MEMORY + b"d" * 1000 + b"reject"
    spool.close()


async def test_a_reader_waits_for_the_writer_and_ends_with_it() -> None:
    spool = Spool(Room(0))
    reading = asyncio.create_task(take_all(spool))
    for piece in (b"a", b"b", b"c"):
        await asyncio.sleep(0)
        spool.put(piece)
    spool.end()
    assert await reading == b"abc"


async def test_a_reader_who_is_always_late_never_fills_the_spool() -> None:
    """What was read makes room: the limit is on what waits, not on what ever passed."""
    piece, limit = bytes(range(256)) * 100, 3_000_000
    spool = Spool(Room(limit))
    sent = 0
    while sent < IN_MEMORY + limit // 2:
        assert spool.put(piece)
        sent += len(piece)
    taken = bytearray()
    while sent < 5 * limit:
        while sent - len(taken) < limit // 2:
            assert spool.put(piece)
            sent += len(piece)
        taken += await spool.take()
    spool.end()
    taken += await take_all(spool)
    spool.close()
    assert bytes(taken) == piece * (sent // len(piece))
