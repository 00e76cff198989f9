"""The small parts of the hot path: ids, time-outs without a timer, log lines of requests, writes that wait."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from inlake.acceptance import Stamp
from inlake.errors import BadName
from inlake.logs import MANY, SECONDS, Lines, configure
from inlake.web.corked import LARGE, Corked
from inlake.web.patience import within


def test_ids_are_of_version_7_unique_and_in_order() -> None:
    stamp = Stamp()
    ids = [stamp.next_id() for _ in range(5000)]
    ids += [stamp.now().next_id() for _ in range(5000)]
    assert sorted(set(ids)) == ids
    assert {(UUID(one).version, UUID(one).variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert all(str(UUID(one)) == one for one in ids)


def test_an_id_and_its_event_have_the_same_time() -> None:
    stamp = Stamp()
    at = datetime.fromtimestamp((UUID(stamp.next_id()).int >> 80) / 1000, UTC)
    assert stamp.ce_time == at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
    assert abs((datetime.now(UTC) - at).total_seconds()) < 5


def test_two_stamps_share_no_ids() -> None:
    one, two = Stamp(), Stamp()
    assert not {one.next_id()[14:24] for _ in range(10)} & {two.next_id()[14:24] for _ in range(10)}


async def test_what_is_there_needs_no_time() -> None:
    async def there() -> int:
        return 7

    assert await within(0.0, there()) == 7


async def test_what_comes_later_is_waited_for() -> None:
    async def later() -> list[int]:
        found = []
        for n in range(3):
            await asyncio.sleep(0)
            found.append(await asyncio.sleep(0.001, n))
        return found

    assert await within(10, later()) == [0, 1, 2]


async def test_the_wait_has_an_end() -> None:
    ended = []

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        await within(0.01, never())
    assert ended


async def test_an_error_comes_through_before_and_after_a_wait() -> None:
    async def fails(waits: int) -> None:
        for _ in range(waits):
            await asyncio.sleep(0)
        raise KeyError(waits)

    for waits in (0, 2):
        with pytest.raises(KeyError, match=str(waits)):
            await within(10, fails(waits))


async def test_a_cancelled_task_ends_the_work() -> None:
    task = asyncio.create_task(within(10, asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_lines_of_requests_look_like_all_others(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("text", "json"):
        lines = Lines(form, "inlake.web")
        lines.add("POST /a 201 1.0 ms x-1 anonymous")
        lines.add("POST /b 201 1.0 ms x-2 anonymous")
        lines.flush()
    text, _, one, other = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    POST /a 201 1\.0 ms x-1 anonymous", text)
    assert json.loads(one)["message"] == "POST /a 201 1.0 ms x-1 anonymous"
    assert json.loads(other).keys() == {"time", "level", "logger", "message"}


@pytest.fixture
def configured(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """stderr, with the logging of a gateway."""
    root = logging.getLogger()
    before, level = root.handlers[:], logging.getLogger("inlake").level
    configure("text", "info")
    yield capsys
    root.handlers[:] = before
    logging.getLogger("inlake").setLevel(level)


async def test_lines_of_requests_wait_for_each_other_and_no_other_line_overtakes_them(
    configured: pytest.CaptureFixture[str],
) -> None:
    lines = Lines("text", "inlake.web")
    lines.add("one")
    lines.add("two")
    assert configured.readouterr().err == ""
    logging.getLogger("inlake.web").warning("three")
    lines.add("four")
    assert [line.split()[-1] for line in configured.readouterr().err.splitlines()] == ["one", "two", "three"]
    await asyncio.sleep(2 * SECONDS)
    assert configured.readouterr().err.endswith("four\n")


async def test_many_lines_do_not_wait(configured: pytest.CaptureFixture[str]) -> None:
    lines = Lines("text", "inlake.web")
    for number in range(MANY):
        lines.add(str(number))
    await asyncio.sleep(0)
    assert configured.readouterr().err.count("\n") == MANY
    lines.add(str(MANY))
    logging.getLogger().handlers[0].flush()  # as `logging.shutdown` does it
    assert configured.readouterr().err.endswith(f"{MANY}\n")


def test_lines_are_wanted_by_the_level_of_their_logger() -> None:
    logger = logging.getLogger("inlake.test_lines")
    for level in (logging.INFO, logging.WARNING):
        logger.setLevel(level)
        assert Lines("text", logger.name).are_wanted() is (level == logging.INFO)


async def test_corked_writes_keep_their_order_and_close_loses_none() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        corked = Corked(transport, loop)
        sent = [b"head", b"body", b"x" * (LARGE + 1), b"tail"]
        for piece in sent:
            corked.write(piece)
        corked.close()
        assert corked.is_closing()
        theirs.setblocking(False)
        came = b""
        while piece := await loop.sock_recv(theirs, 1 << 20):
            came += piece
        assert came == b"".join(sent)


async def test_what_is_written_in_one_turn_comes_in_one_piece() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        corked = Corked(transport, loop)
        theirs.setblocking(False)
        corked.write(b"head")
        corked.write(b"body")
        assert await loop.sock_recv(theirs, 100) == b"headbody"
        corked.close()


def test_an_error_that_is_kept_holds_no_frames() -> None:
    def refuse() -> None:
        try:
            raise KeyError("a")
        except KeyError:
            raise BadName("no") from None

    try:
        refuse()
    except BadName as error:
        kept = error.kept()
    assert (kept.detail, kept.__traceback__, kept.__context__) == ("no", None, None)
