"""`inlake outbox`: what waits, what Kafka refused and why, and sending that again."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

from inlake.bus.outbox.bus import OutboxBus
from inlake.model import Event, InOutbox
from tests.away import AwayBus
from tests.command import inlake


def outbox(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = f"sqlite:{folder / 'outbox.db'}"
    return inlake("outbox", *arguments, cwd=folder, INLAKE_OUTBOX=file, INLAKE_BUS="kafka://127.0.0.1:1")


def event(n: int, size: int = 10) -> Event:
    return Event(f"event-{n}", "notes", b"note", b"%d" % n + bytes(size), ())


async def drained(bus: OutboxBus) -> None:
    end = asyncio.get_running_loop().time() + 30
    while bus._table.state().waiting:
        assert asyncio.get_running_loop().time() < end
        await bus._drainer.step()


async def test_what_kafka_refused_is_listed_and_goes_out_with_its_id_once_it_is_taken(tmp_path: Path) -> None:
    inner = AwayBus(tmp_path / "events.db")
    bus = OutboxBus(inner, tmp_path / "outbox.db", most_bytes=1 << 30, seconds=10)
    assert outbox("list", folder=tmp_path).stdout == "The outbox is empty.\n"
    inner.state, inner.too_large = "down", 1000
    sent = [event(1), event(2, size=2000), event(3), event(4, size=3000)]
    assert await bus.publish(sent) == [InOutbox("notes")] * 4
    assert outbox("list", folder=tmp_path).stdout == "notes: 4 events wait, 5,286 bytes\n"
    inner.state = "up"
    await drained(bus)

    listed = outbox("list", folder=tmp_path)
    assert listed.returncode == 0, listed.stderr
    first, why, second, _ = listed.stdout.splitlines()
    assert first.startswith("notes: event event-2 of 20")
    assert first.endswith(", key note, 2,001 bytes, is refused")
    assert why == "  It is too large."
    assert "event-4" in second
    (line, _) = map(json.loads, outbox("list", "--json", folder=tmp_path).stdout.splitlines())
    assert (line["state"], line["event"], line["code"]) == ("refused", "event-2", "record_too_large")

    assert outbox("resend", "event-4", folder=tmp_path).stdout == "1 event waits for Kafka again.\n"
    await drained(bus)
    assert "event-4" in outbox("list", folder=tmp_path).stdout, "it is refused again"
    inner.too_large = 1 << 30
    await bus.publish([event(5)])
    assert outbox("resend", folder=tmp_path).stdout == "2 events wait for Kafka again.\n"
    await drained(bus)
    assert [dict(message.headers)["ce_id"] async for message in inner.read()] == [
        b"event-1", b"event-3", b"event-5", b"event-2", b"event-4"
    ]  # fmt: skip
    assert (await bus.check()) == []
    await bus.close()


async def test_what_another_command_moved_meanwhile_is_not_counted(tmp_path: Path) -> None:
    inner = AwayBus(tmp_path / "events.db")
    bus = OutboxBus(inner, tmp_path / "outbox.db", most_bytes=1 << 30, seconds=10)
    inner.state, inner.too_large = "down", 1000
    await bus.publish([event(1, size=2000), event(2, size=2000)])
    inner.state = "up"
    await drained(bus)
    first, second = (one.number for one in bus._table.put_aside())
    assert bus._table.put_back([first]) == 1
    assert bus._table.put_back([first, second]) == 1
    await bus.close()


async def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    missing = outbox("list", folder=tmp_path)
    assert missing.returncode == 2
    assert "outbox.db is not there yet" in missing.stderr
    await OutboxBus(AwayBus(tmp_path / "events.db"), tmp_path / "outbox.db", most_bytes=1, seconds=1).close()
    for arguments, sentence in {("resend",): "No event is refused.", ("resend", "x"): "No event x is refused"}.items():
        done = outbox(*arguments, folder=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert sentence in done.stderr
    unset = inlake("outbox", "list", cwd=tmp_path)
    assert (unset.returncode, unset.stderr.strip()) == (
        2,
        "inlake: INLAKE_OUTBOX is not set: no events wait on this disk",
    )
