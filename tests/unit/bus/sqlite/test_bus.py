"""What only the SQLite event log promises: durable, published once, shared by processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec import structs

from inlake.bus.sqlite.bus import SqliteBus
from inlake.bus.sqlite.table import SCHEMA
from inlake.errors import BusUnavailable, Busy, IdempotencyKeyReused, InlakeError
from inlake.model import Context, Event, Message, Position

PUBLISHER = """
import asyncio, sys
from pathlib import Path
from inlake.bus.sqlite.bus import SqliteBus
from inlake.model import Event, Position

async def publish_for_ever(bus, name, count):
    for i in range(count):
        [result] = await bus.publish([Event(f"{name}-{i}", "t", b"k", b"v" * 300, ())])
        assert isinstance(result, Position), result
        print(f"{name}-{i} {result.offset}", flush=True)

async def main(path, name, count):
    bus = SqliteBus(Path(path))
    await asyncio.gather(*(publish_for_ever(bus, f"{name}-{n}", int(count)) for n in range(8)))
    await bus.close()

asyncio.run(main(*sys.argv[1:]))
"""


def start_publisher(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUBLISHER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def event(topic: str = "t", value: bytes = b"value") -> Event:
    return Event(str(uuid4()), topic, b"key", value, ())


def offsets(results: Sequence[Position | InlakeError]) -> list[int]:
    assert all(isinstance(result, Position) for result in results), results
    return [result.offset for result in results if isinstance(result, Position)]


async def read(bus: SqliteBus) -> list[Message]:
    return [message async for message in bus.read()]


def as_published(what: Event | Message) -> tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]:
    """Topic, key, value and headers."""
    topic = what.topic if isinstance(what, Event) else what.position.topic
    return topic, what.key, what.value, what.headers


def stored(path: Path) -> dict[str, int]:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return dict(connection.execute('SELECT id, "offset" FROM events').fetchall())
    finally:
        connection.close()


async def test_the_same_event_again_has_the_position_of_the_first(tmp_path: Path) -> None:
    bus = SqliteBus(tmp_path / "events.db")
    one, two, three = event(), event(), event("other")
    first = await bus.publish([one, two])
    again = await bus.publish([two, three, one, three])
    assert again[0] == first[1]
    assert again[2] == first[0]
    assert again[1] == again[3]
    await bus.close()
    assert set(stored(tmp_path / "events.db")) == {one.id, two.id, three.id}


async def test_a_known_event_in_a_window_leaves_no_gap_and_the_order(tmp_path: Path) -> None:
    bus = SqliteBus(tmp_path / "events.db")
    [first] = await bus.publish([event()])
    window = [event(value=b"%d" % n) for n in range(1000)]
    [known] = await bus.publish([window[600]])
    assert offsets(await bus.publish(window)) == [*range(3, 603), 2, *range(603, 1002)]
    twice = event()
    assert offsets(await bus.publish([twice, event(), twice])) == [1002, 1003, 1002]
    assert offsets([first, known]) == [1, 2]
    await bus.close()
    assert sorted(stored(tmp_path / "events.db").values()) == list(range(1, 1004))


async def test_a_known_id_with_another_record_is_refused_alone(tmp_path: Path) -> None:
    bus = SqliteBus(tmp_path / "events.db")
    one, two = event(value=b"one"), event(value=b"two")
    await bus.publish([one])
    calls = [bus.publish([two]), bus.publish([structs.replace(one, value=b"another"), event()]), bus.publish([one])]
    [second], [refused, third], [first] = await asyncio.gather(*calls)
    assert isinstance(refused, IdempotencyKeyReused)
    assert offsets([first, second, third]) == [1, 2, 3]
    await bus.close()


async def test_a_window_of_many_topics_keys_and_headers_keeps_each_event_whole(tmp_path: Path) -> None:
    contexts: list[Context] = [(), (("ce_type", b"a"),), (("ce_type", b"a"), ("traceparent", 'Ω"\\\n'.encode()))]
    window = [
        Event(f"{n:05}", f"t{n // 7 % 2}", b"k%d" % (n // 100 % 3), b"%d" % n, contexts[n // 50 % 3])
        for n in range(1100)
    ]
    bus = SqliteBus(tmp_path / "events.db")
    results = await bus.publish(window)
    assert results == [Position(e.topic, 0, n) for n, e in enumerate(window, 1)]
    assert [as_published(message) for message in await read(bus)] == [as_published(e) for e in window]
    await bus.close()


async def test_ids_that_json_must_escape_come_back_as_they_were(tmp_path: Path) -> None:
    ids = ['"', "\\", 'a"],["b', "\n\x00\x1f\x7f", "Ω猫😀", "", "'; DROP TABLE events; --", "plain"]
    window = [Event(name, "t", b"k", b"v", (("ce_type", b"a"),)) for name in ids]
    bus = SqliteBus(tmp_path / "events.db")
    assert offsets(await bus.publish(window)) == list(range(1, 9))
    assert offsets(await bus.publish(window[::-1])) == list(range(8, 0, -1))
    assert [as_published(message) for message in await read(bus)] == [as_published(e) for e in window]
    await bus.close()
    connection = sqlite3.connect(tmp_path / "events.db")
    for name, headers in connection.execute("SELECT id, headers FROM events"):
        assert json.loads(headers) == [["ce_id", name], ["ce_type", "a"]]
    connection.close()


async def test_a_file_of_an_earlier_version_is_read_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    old = sqlite3.connect(path)  # SQLite's own page size, as it was until 0.5
    old.executescript(f"PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; {SCHEMA};")
    row = (7, "old", "t", b"key", b"value", '[["ce_id","old"],["ce_type","a"]]', 1_700_000_000_000)
    old.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    old.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", (8, "deleted", *row[2:]))
    old.execute("DELETE FROM events WHERE id = 'deleted'")
    old.commit()
    old.close()
    bus = SqliteBus(path)
    known = Event("old", "t", b"key", b"value", (("ce_type", b"a"),))
    new = event()
    assert offsets(await bus.publish([known, new])) == [7, 9]  # an offset is never used again
    assert [as_published(message) for message in await read(bus)] == [as_published(known), as_published(new)]
    await bus.close()
    assert stored(path) == {"old": 7, new.id: 9}
    old = sqlite3.connect(path)
    assert old.execute("PRAGMA page_size").fetchall() == [(4096,)]
    old.close()


async def test_other_calls_have_their_turn_while_much_is_published(tmp_path: Path) -> None:
    bus = SqliteBus(tmp_path / "events.db")
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    assert offsets(await bus.publish([event() for _ in range(50_000)])) == list(range(1, 50_001))
    other.cancel()
    assert turns > 50
    await bus.close()


async def test_what_was_confirmed_is_there_after_a_kill(tmp_path: Path) -> None:
    publisher = start_publisher(tmp_path / "events.db", "p", 1_000_000)
    assert publisher.stdout is not None
    acknowledged = [publisher.stdout.readline() for _ in range(200)]
    os.kill(publisher.pid, signal.SIGKILL)
    acknowledged += publisher.stdout.read().splitlines()[:-1]  # the last line may be cut
    publisher.wait()
    publisher.stdout.close()
    there = stored(tmp_path / "events.db")
    for line in acknowledged:
        name, offset = line.split()
        assert there[name] == int(offset)
    bus = SqliteBus(tmp_path / "events.db")
    [position] = await bus.publish([event()])
    assert isinstance(position, Position)
    assert position.offset > max(there.values())
    await bus.close()


def test_two_processes_share_one_log(tmp_path: Path) -> None:
    publishers = [start_publisher(tmp_path / "new" / "events.db", name, 100) for name in ("a", "b")]
    acknowledged = {}
    for publisher in publishers:
        out, _ = publisher.communicate(timeout=60)
        assert publisher.returncode == 0
        acknowledged.update({line.split()[0]: int(line.split()[1]) for line in out.splitlines()})
    assert len(set(acknowledged.values())) == len(acknowledged) == 1600
    assert stored(tmp_path / "new" / "events.db") == acknowledged


async def test_a_reader_follows_while_another_process_writes(tmp_path: Path) -> None:
    reader: Any = SqliteBus(tmp_path / "events.db").read(["t"], follow=True)
    first = asyncio.ensure_future(anext(reader))  # there is no file yet
    await asyncio.sleep(0.1)
    publisher = start_publisher(tmp_path / "events.db", "p", 50)
    offsets = [(await asyncio.wait_for(first, 20)).position.offset]
    while len(offsets) < 400:
        offsets.append((await asyncio.wait_for(anext(reader), 20)).position.offset)
    assert offsets == list(range(1, 401))
    await reader.aclose()
    publisher.communicate()


async def test_a_full_disk_refuses_events_until_there_is_room(tmp_path: Path) -> None:
    script = """
import asyncio, resource, sys
from pathlib import Path
from inlake.bus.sqlite.bus import SqliteBus
from inlake.errors import OutOfSpace
from inlake.model import Event, Position

async def main():
    bus = SqliteBus(Path(sys.argv[1]))
    async def put(i):
        [result] = await bus.publish([Event(f"e{i}", "t", b"k", b"v" * 20_000, ())])
        return result
    assert isinstance(await put(0), Position)
    # writing more than this fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))  # writes fail now
    results = [await put(i) for i in range(1, 100)]
    refused = [result for result in results if not isinstance(result, Position)]
    assert refused and all(isinstance(result, OutOfSpace) for result in refused), refused[:3]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert isinstance(await put(1000), Position)
    await bus.close()
    print(2 + len(results) - len(refused))

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "e.db")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len(stored(tmp_path / "e.db")) == int(done.stdout)


async def test_a_log_locked_by_another_program_is_unavailable_and_recovers(tmp_path: Path) -> None:
    bus = SqliteBus(tmp_path / "events.db", timeout=0.5)
    await bus.publish([event()])
    other = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    tasks = []
    for _ in range(5):
        tasks.append(asyncio.create_task(bus.publish([event()])))
        await asyncio.sleep(0.05)
    results = [(await task)[0] for task in tasks]
    assert time.monotonic() - began < 2
    assert all(isinstance(result, BusUnavailable) and "locked" in result.detail for result in results)
    other.execute("ROLLBACK")
    other.close()
    [result] = await bus.publish([event()])
    assert isinstance(result, Position)
    await bus.close()


async def test_a_path_that_cannot_be_made_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    path = tmp_path / "file" / "events.db"
    bus = SqliteBus(path)
    [result] = await bus.publish([event()])
    assert isinstance(result, BusUnavailable)
    assert str(path) in result.detail
    with pytest.raises(BusUnavailable, match=r"events\.db"):
        await bus.check()
    await bus.close()


async def test_a_file_that_is_no_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letters.txt"
    path.write_text("Dear Theo, " * 1000)
    bus = SqliteBus(path)
    [result] = await bus.publish([event()])
    assert isinstance(result, BusUnavailable)
    with pytest.raises(BusUnavailable):
        _ = [message async for message in bus.read()]
    await bus.close()
    assert path.read_text().startswith("Dear Theo")


async def test_more_than_may_wait_is_busy(tmp_path: Path) -> None:
    bus = SqliteBus(tmp_path / "events.db", timeout=1)
    await bus.publish([event()])
    other = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # nothing can be written, so all waits
    value = bytes(60 << 20)
    tasks = [asyncio.create_task(bus.publish([event(value=value)])) for _ in range(4)]
    kinds = [type((await task)[0]) for task in tasks]
    other.close()
    assert kinds == [BusUnavailable, BusUnavailable, Busy, Busy]
    [result] = await bus.publish([event()])
    assert isinstance(result, Position)
    await bus.close()


async def test_reading_a_log_that_is_not_there_gives_nothing(tmp_path: Path) -> None:
    bus = SqliteBus(tmp_path / "events.db")
    assert [message async for message in bus.read()] == []
    assert not (tmp_path / "events.db").exists()
    await bus.close()
