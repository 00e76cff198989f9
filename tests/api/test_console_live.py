"""New events come to open pages: to those that may see them, and as long as they may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from inlake.errors import Busy
from inlake.model import Message
from inlake.web.console import live as of_live
from tests.api.test_console import RECORDS, Browser, signed_in, with_keys
from tests.gateways import Gateway


def all_of_them(_: Message) -> bool:
    return True


@asynccontextmanager
async def open_page(gateway: Gateway, browser: Browser, most: int = 1_000) -> AsyncIterator[list[bytes]]:
    """What a page is sent; after `most` messages it takes no more."""
    came: list[bytes] = []
    closed = asyncio.Event()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())

    async def receive() -> dict[str, Any]:
        await closed.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if len(came) == most:
            await asyncio.Event().wait()
        came.append(message.get("body", b""))

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/console/events/live", "raw_path": b"/console/events/live", "root_path": "", "query_string": b"",
        "headers": [(b"cookie", cookie.encode())], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    page = asyncio.create_task(gateway.app(scope, receive, send))
    await asyncio.sleep(0.5)
    try:
        yield came
    finally:
        closed.set()
        await asyncio.wait_for(page, 5)


async def send(gateway: Gateway, name: str, title: str = "x") -> None:
    headers = {"authorization": f"Bearer {name}"}
    assert (await gateway.post(RECORDS, b'{"title": "%s"}' % title.encode(), headers=headers)).status == 201


async def test_new_events_come_to_an_open_page(gateway: Gateway) -> None:
    live = gateway.app.live
    viewer = live.join(lambda _: True)
    await asyncio.sleep(0.5)
    await gateway.post(RECORDS, b'{"title": "x"}')
    await asyncio.wait_for(viewer.some.wait(), 2)
    assert viewer.coming[0].message.key == b"note"
    live.leave(viewer)


async def test_a_page_that_joins_while_the_last_one_leaves_gets_events(gateway: Gateway) -> None:
    live = gateway.app.live
    first = live.join(all_of_them)
    await asyncio.sleep(0.3)
    live.leave(first)
    second = live.join(all_of_them)
    await asyncio.sleep(0.5)
    await gateway.post(RECORDS, b'{"title": "x"}')
    await asyncio.wait_for(second.some.wait(), 2)
    live.leave(second)


async def test_a_fault_while_events_are_read_is_logged_and_reading_goes_on(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(of_live, "AGAIN_SECONDS", 0.1)
    live, faults = gateway.app.live, [RuntimeError("no such thing")]

    def sees(_: Message) -> bool:
        if faults:
            raise faults.pop()
        return True

    viewer = live.join(sees)
    await asyncio.sleep(0.3)
    await gateway.post(RECORDS, b'{"title": "x"}')
    await asyncio.sleep(1)
    assert "no such thing" in caplog.text
    await gateway.post(RECORDS, b'{"title": "y"}')
    await asyncio.wait_for(viewer.some.wait(), 2)
    live.leave(viewer)


async def test_a_page_is_sent_nothing_of_events_that_its_person_may_not_see(tmp_path: Path) -> None:
    async with with_keys(tmp_path, "one", "two") as gateway:
        browser = await signed_in(gateway, "one")
        async with open_page(gateway, browser) as came:
            await send(gateway, "two")
            await asyncio.sleep(0.7)
            assert came[1:] == [b"retry: 1000\n\n"], "not even that there was one"
            (viewer,) = gateway.app.live._viewers
            assert not viewer.coming
            await send(gateway, "one")
            await asyncio.sleep(0.7)
            assert len(came) == 3
            assert came[2].startswith(b"data: <tr>")


async def test_a_page_ends_when_its_key_is_taken_out_of_the_file(tmp_path: Path) -> None:
    async with with_keys(tmp_path, "one", "two") as gateway:
        async with open_page(gateway, await signed_in(gateway, "one")) as came:
            keys = tmp_path / "keys"
            of_two = keys.read_text().splitlines()[1].partition(":")[2]
            keys.write_text(f"one:{of_two}\n")
            await asyncio.sleep(1.2)
            await send(gateway, "two", "of another key")
            await asyncio.sleep(0.7)
            assert came[-1] == b"", "the answer has ended"
            assert b"<tr>" not in b"".join(came)
        assert not gateway.app.live._viewers


async def test_a_page_that_takes_nothing_is_let_go(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_live, "WRITE_SECONDS", 0.2)
    async with open_page(gateway, Browser(gateway), most=2):
        assert len(gateway.app.live._viewers) == 1
        await gateway.post(RECORDS, b'{"title": "x"}')
        await asyncio.sleep(1)
        assert not gateway.app.live._viewers


async def test_a_process_has_so_many_open_pages_and_no_more(gateway: Gateway) -> None:
    live = gateway.app.live
    viewers = [live.join(all_of_them) for _ in range(of_live.MOST)]
    with pytest.raises(Busy):
        live.join(all_of_them)
    for viewer in viewers:
        live.leave(viewer)
