"""Answers that are large, and clients that take them slowly."""

from __future__ import annotations

import asyncio
from typing import Any

from inlake.metrics import Metrics
from inlake.settings import load
from inlake.web.request.exchange import PIECE, ASGIMessage, Exchange
from inlake.web.request.site import make_site

BODY = bytes(range(256)) * (4 * PIECE // 256) + b"end"


async def answered(x: Exchange, *, by_reply: bool) -> None:
    if by_reply:
        await x.reply(200, BODY)
    else:
        await x.give(200, [(b"content-length", b"%d" % len(BODY))], BODY)


async def test_a_large_answer_is_written_as_its_client_takes_it_and_counts_until_then() -> None:
    for by_reply in (True, False):
        site, taken, room = make_site(load({}), Metrics()), list[ASGIMessage](), asyncio.Semaphore(0)

        async def send(message: Any, taken: list[ASGIMessage] = taken, room: asyncio.Semaphore = room) -> None:
            taken.append(message)
            await room.acquire()

        x = Exchange({"headers": []}, send, send, site)  # type: ignore[arg-type]
        answering = asyncio.create_task(answered(x, by_reply=by_reply))
        for written in range(1, 7):
            await asyncio.sleep(0)
            assert len(taken) == written
            assert site.admission.memory == (len(BODY) if written > 1 else 0)
            room.release()
        while not answering.done():
            room.release()
            await asyncio.sleep(0)
        assert max(len(message.get("body", b"")) for message in taken) == PIECE
        assert b"".join(message.get("body", b"") for message in taken) == BODY
        assert [message.get("more_body") for message in taken] == [None, True, True, True, True, True, False]
        assert site.admission.memory == 0
