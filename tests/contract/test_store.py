"""What every store must do, asked of each adapter."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from inlake.errors import BadParameter, BadPlace, MalformedMultipart, NotFound, PlaceTaken, StoreUnavailable
from inlake.model import PART
from inlake.ports import Store
from inlake.store.folder.store import FolderStore
from inlake.store.s3.store import S3Store
from tests.contract.conftest import Connect
from tests.live_servers import S3_VARIABLES


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


async def stream(*chunks: bytes) -> AsyncIterator[bytes | bytearray]:
    for chunk in chunks:
        yield chunk


async def parts(data: bytes) -> AsyncIterator[bytes | bytearray]:
    for start in range(0, len(data), PART):
        yield data[start : start + PART]


async def put(store: Store, key: str, data: bytes) -> None:
    await store.put(key, parts(data), content_type="application/octet-stream", metadata={})


async def keys(store: Store, prefix: str = "") -> list[str]:
    return sorted([key async for key in store.list(prefix)])


async def read(store: Store, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, start, end)])


async def test_exactly_one_of_many_creators_wins_and_its_bytes_stay(connect: Connect) -> None:
    stores = [connect(), connect()]
    for attempt in range(3):
        key = f"log/{attempt}.json"
        won = await asyncio.gather(*[stores[n % 2].create(key, b"entry of %d" % n) for n in range(16)])
        assert won.count(True) == 1
        assert await stores[0].get(key) == b"entry of %d" % won.index(True)


async def test_create_says_no_to_what_is_there_also_when_it_is_the_same(store: Store) -> None:
    assert await store.create("a", b"one") is True
    assert await store.create("a", b"one") is False
    assert await store.create("a", b"two") is False
    assert await store.get("a") == b"one"


async def test_of_many_who_put_one_new_object_one_wins_and_its_bytes_stay(connect: Connect) -> None:
    bodies = [os.urandom(1_000) for _ in range(8)]
    put = [
        connect().put_new("objects/1/a.obj", body, content_type="model/obj", metadata={"puuid": "1"}) for body in bodies
    ]
    made = await asyncio.gather(*put)
    assert made.count(True) == 1
    assert await connect().get("objects/1/a.obj") == bodies[made.index(True)]
    assert not await connect().put_new("objects/1/a.obj", b"more", content_type="text/plain", metadata={})
    with pytest.raises(BadParameter):
        await connect().put_new("objects/1/b.obj", b"", content_type="text/plain", metadata={"name": "Ä"})


async def test_what_was_deleted_can_be_created_again(store: Store) -> None:
    for data in (b"one", b"two"):
        assert await store.create("x/y", data)
        assert await store.get("x/y") == data
        await store.delete("x/y")
        assert await store.get("x/y") is None


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART + 5])
async def test_an_object_of_any_size_comes_back_as_it_was(store: Store, size: int) -> None:
    data = os.urandom(size)
    await put(store, "objects/1/binary", data)
    assert await store.head("objects/1/binary") == size
    assert sha256(await read(store, "objects/1/binary")).digest() == sha256(data).digest()
    assert await store.get("objects/1/binary") == data


async def test_what_is_not_there_is_none_or_not_found(store: Store) -> None:
    assert await store.get("no/such") is None
    assert await store.head("no/such") is None
    assert await keys(store, "no/") == []
    with pytest.raises(NotFound, match="no/such"):
        await read(store, "no/such")
    await store.delete("no/such")


async def test_a_folder_of_objects_is_not_an_object(store: Store) -> None:
    await put(store, "a/b", b"1")
    assert await store.get("a") is None
    assert await store.head("a") is None
    await store.delete("a")
    assert await store.get("a/b") == b"1"


async def test_chunks_may_be_bytearrays(store: Store) -> None:
    async def growing() -> AsyncIterator[bytes | bytearray]:
        yield bytearray(b"a" * PART)
        yield bytearray(b"b" * PART)
        yield bytearray(b"c")

    await store.put("b", growing(), content_type="text/plain", metadata={})
    assert await store.get("b") == b"a" * PART + b"b" * PART + b"c"


async def test_a_range_is_read_from_start_up_to_end(store: Store) -> None:
    data = os.urandom(PART + 1000)
    await put(store, "r", data)
    ranges = [(0, 1), (5, 5), (10, 300_000), (PART - 3, PART + 4), (len(data) - 1, None), (0, len(data) + 9)]
    for start, end in [*ranges, (len(data), None), (len(data) + 5, None)]:
        assert await read(store, "r", start, end) == data[start:end]


async def test_a_reader_may_stop_early(store: Store) -> None:
    await put(store, "r", bytes(3 * PART))
    chunks = store.read("r")
    assert await anext(chunks)
    await chunks.aclose()  # type: ignore[attr-defined]
    assert await store.head("r") == 3 * PART


async def test_put_replaces_what_is_there_whole(store: Store) -> None:
    await put(store, "p", bytes(2 * PART))
    await put(store, "p", b"short")
    assert await store.get("p") == b"short"


@pytest.mark.parametrize(
    "key",
    [
        "Österreich/Ästhetik/日本語.txt",
        "with space/a+b %20 %2F&=#?.txt",
        "~t*i?l#d[e]/{}|<>\"'`^.txt",
        ".hidden/..x/x..",
        "long/" + "n" * 255,
    ],
)
async def test_a_key_is_kept_letter_by_letter(store: Store, key: str) -> None:
    await put(store, key, b"x")
    assert await keys(store) == [key]
    assert await keys(store, key.split("/", maxsplit=1)[0] + "/") == [key]
    assert await store.get(key) == b"x"
    assert await store.create(key, b"y") is False
    await store.delete(key)
    assert await keys(store) == []


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", ".", "a/../b", "../x", "a/./b", "nul\x00", "line\nfeed"])
async def test_a_key_that_leads_elsewhere_is_refused(store: Store, key: str) -> None:
    with pytest.raises(BadPlace):
        await store.create(key, b"x")
    with pytest.raises(BadPlace):
        await put(store, key, b"x")
    with pytest.raises(BadPlace):
        await store.get(key)
    with pytest.raises(BadPlace):
        store.uri(key)


async def test_text_that_is_not_ascii_is_refused_before_anything_is_stored(store: Store) -> None:
    with pytest.raises(BadParameter, match="Content-Type"):
        await store.put("a", stream(b"x"), content_type="text/plän", metadata={})
    with pytest.raises(BadParameter, match="puuid"):
        await store.put("a", stream(b"x"), content_type="text/plain", metadata={"puuid": "a\nb"})
    assert await store.head("a") is None


@pytest.mark.parametrize("sizes", [[], [10], [PART], [PART] * 3, [PART, 5]])
@pytest.mark.parametrize("error", [MalformedMultipart("cut off"), KeyError("x"), OSError("gone"), ValueError("bad")])
async def test_an_exception_of_the_sender_leaves_no_object_and_comes_through(
    store: Store, sizes: list[int], error: Exception
) -> None:
    async def broken() -> AsyncIterator[bytes | bytearray]:
        for size in sizes:
            yield bytes(size)
        raise error

    with pytest.raises(type(error)) as caught:
        await store.put("objects/x", broken(), content_type="text/plain", metadata={})
    assert caught.value is error
    assert await keys(store) == []


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_cancelled_put_leaves_no_object(store: Store, count: int) -> None:
    stalled = asyncio.Event()

    async def endless() -> AsyncIterator[bytes | bytearray]:
        for _ in range(count):
            yield bytes(PART)
        stalled.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.put("objects/x", endless(), content_type="text/plain", metadata={}))
    await asyncio.wait_for(stalled.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await keys(store) == []


async def test_a_sender_that_pauses_is_waited_for_and_the_object_is_invisible_until_then(store: Store) -> None:
    go_on = asyncio.Event()

    async def hesitant() -> AsyncIterator[bytes | bytearray]:
        yield bytes(PART)
        yield bytes(PART)
        await go_on.wait()
        yield b"end"

    task = asyncio.create_task(store.put("slow", hesitant(), content_type="text/plain", metadata={}))
    await asyncio.sleep(0.3)
    assert not task.done()
    assert await store.head("slow") is None
    assert await keys(store) == []
    go_on.set()
    await task
    assert await store.head("slow") == 2 * PART + 3


async def test_a_listing_gives_all_below_a_prefix_and_nothing_else(store: Store) -> None:
    wanted = ["n/1", "n/1.json", "n/2/a/b/c", "n/2/d"]
    for key in [*wanted, "n2/x", "m"]:
        assert await store.create(key, b"x")
    assert await keys(store, "n/") == sorted(wanted)
    assert await keys(store, "n/2/") == ["n/2/a/b/c", "n/2/d"]
    assert await keys(store, "n/2/a/b/") == ["n/2/a/b/c"]
    assert await keys(store) == sorted([*wanted, "n2/x", "m"])
    await store.delete("n/2/a/b/c")
    assert await keys(store, "n/2/") == ["n/2/d"]


async def test_a_long_listing_is_complete(store: Store) -> None:
    wanted = [f"many/{n % 7}/{n:04}" for n in range(1_100)]
    for start in range(0, len(wanted), 100):
        await asyncio.gather(*[store.create(key, b"") for key in wanted[start : start + 100]])
    assert await keys(store, "many/") == sorted(wanted)


async def test_the_sizes_of_many_objects_that_begin_alike_are_told_at_once(store: Store) -> None:
    sizes = {f"objects/5b2f0c9e-11d4-8{n:03x}-/file {n}": n for n in range(1, 1_005)}
    for start in range(1, 1_005, 100):
        among = [*sizes][start - 1 : start + 99]
        await asyncio.gather(*[store.create(key, b"x" * sizes[key]) for key in among])
    for other in ("objects/5b2f0c9e-11d4-7/a", "objects/5b2f0c9e-11d5/a", "objects/6/a", "names/b"):
        assert await store.create(other, b"other")
    missing = "objects/5b2f0c9e-11d4-8fff-/file"
    assert await store.sizes([missing, *sizes]) == sizes
    assert await store.sizes([*sizes][:2]) == {key: sizes[key] for key in [*sizes][:2]}
    assert await store.sizes([missing]) == await store.sizes([]) == {}


async def test_a_page_of_a_folder_begins_behind_a_name(store: Store) -> None:
    names = [f"{n:03}" for n in range(0, 120, 2)]
    await asyncio.gather(*[store.create(f"open/ab/{name}", b"") for name in names])
    for other in ("open/aa/900", "open/ac/900", "open/ab2/900"):
        assert await store.create(other, b"")
    assert await store.page("open/ab/", "", 5) == names[:5]
    assert await store.page("open/ab/", "007", 3) == ["008", "010", "012"]
    assert await store.page("open/ab/", "008", 2) == ["010", "012"]
    assert await store.page("open/ab/", "100", 1_000) == names[51:]
    assert await store.page("open/ab/", "", 1_000) == names
    assert await store.page("open/ab/", "118", 5) == await store.page("open/no/", "", 5) == []


async def test_creating_and_deleting_in_one_folder_at_once_loses_nothing(store: Store) -> None:
    async def come_and_go(name: int) -> None:
        for turn in range(10):
            assert await store.create(f"busy/{name % 2}/{name}", b"%d" % turn)
            assert await store.get(f"busy/{name % 2}/{name}") == b"%d" % turn
            await store.delete(f"busy/{name % 2}/{name}")

    await asyncio.gather(*[come_and_go(n) for n in range(8)])
    assert await keys(store, "busy/") == []


async def test_a_store_that_works_passes_its_check(store: Store) -> None:
    await store.check()
    assert await keys(store) == []
    await store.close()


# ------------------------------------------------------------------------------------- what only a folder can do wrong
CREATOR = """
import asyncio, sys
from pathlib import Path
from inlake.store.folder.store import FolderStore

async def main() -> None:
    store = FolderStore(Path(sys.argv[1]))
    print(*[int(await store.create(f"race/{n}", sys.argv[2].encode())) for n in range(100)])

asyncio.run(main())
"""
WRITER = """
import asyncio, sys
from pathlib import Path
from inlake.store.folder.store import FolderStore

async def chunks(letter):
    for _ in range(40):
        yield letter * 50_000

async def main() -> None:
    store = FolderStore(Path(sys.argv[1]))
    print("ready", flush=True)
    n = 0
    while True:
        letter = b"%c" % (97 + n % 26)
        await store.put(f"put/{n % 3}", chunks(letter), content_type="text/plain", metadata={})
        await store.create(f"log/{n}", letter * 20_000)
        n += 1

asyncio.run(main())
"""


def run(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_exactly_one_of_four_processes_creates_a_file(tmp_path: Path) -> None:
    processes = [run(CREATOR, tmp_path, name) for name in "abcd"]
    won = [process.communicate(timeout=60)[0].split() for process in processes]
    for n, answers in enumerate(zip(*won, strict=True)):
        assert answers.count("1") == 1
        assert (tmp_path / f"race/{n}").read_text() == "abcd"[answers.index("1")]


async def test_after_a_kill_every_object_is_whole(tmp_path: Path) -> None:
    for delay in (0.05, 0.2, 0.35):
        process = run(WRITER, tmp_path)
        assert process.stdout
        with process.stdout:
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
    store = FolderStore(tmp_path)
    found = await keys(store)
    assert found
    for key in found:
        data = await store.get(key)
        assert data
        assert len(data) == (2_000_000 if key.startswith("put/") else 20_000)
        assert data == data[:1] * len(data)
    assert await store.create("after", b"x")
    assert not any((tmp_path / ".inlake/tmp").iterdir()), "the temporary files of the dead are gone"


async def test_the_temporary_file_of_a_living_process_is_left_alone(folder: FolderStore, tmp_path: Path) -> None:
    sent = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        await sent.wait()

    writing = asyncio.create_task(folder.put("a", slow(), content_type="text/plain", metadata={}))
    temporary = tmp_path / "store/.inlake/tmp"
    while not (temporary.is_dir() and any(temporary.iterdir())):
        await asyncio.sleep(0.01)
    (temporary / "dead").write_bytes(b"x")
    await FolderStore(tmp_path / "store").create("b", b"x")
    (living,) = temporary.iterdir()
    assert living.name != "dead"
    assert await keys(folder) == ["b"]
    with pytest.raises(BadPlace):
        await folder.get(".inlake/tmp/dead")
    sent.set()
    await writing
    assert await folder.get("a") == b"first"


async def test_emptied_folders_go_and_others_stay(folder: FolderStore, tmp_path: Path) -> None:
    await folder.create("a/b/c/one", b"1")
    await folder.create("a/two", b"2")
    await folder.delete("a/b/c/one")
    assert sorted(path.name for path in (tmp_path / "store/a").iterdir()) == ["two"]
    await folder.delete("a/two")
    assert [path.name for path in (tmp_path / "store").iterdir()] == [".inlake"]


async def test_a_file_cannot_be_a_folder(folder: FolderStore) -> None:
    await folder.create("a", b"x")
    await folder.create("d/e", b"x")
    for key in ("a/b", "d"):
        with pytest.raises(PlaceTaken):
            await folder.create(key, b"x")
        with pytest.raises(PlaceTaken):
            await put(folder, key, b"x")
    assert await folder.get("a/b") is None


async def test_a_name_of_more_than_255_bytes_is_refused(folder: FolderStore) -> None:
    with pytest.raises(BadPlace, match="too long"):
        await folder.create("ü" * 128, b"x")


async def test_a_symbolic_link_is_no_object(folder: FolderStore, tmp_path: Path) -> None:
    await folder.create("a", b"x")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "store/link").symlink_to(tmp_path / "secret")
    assert await keys(folder) == ["a"]
    assert await folder.head("link") is None
    with suppress(StoreUnavailable):
        assert await folder.get("link") is None
    await put(folder, "link", b"mine")
    assert await folder.get("link") == b"mine"
    assert (tmp_path / "secret").read_bytes() == b"secret"


async def test_a_folder_that_cannot_be_made_is_unavailable_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = FolderStore(Path("/proc/inlake"))
    with pytest.raises(StoreUnavailable, match="/proc/inlake"):
        await store.check()
    with pytest.raises(StoreUnavailable, match="/proc/inlake"):
        await store.create("a", b"x")


ADAPTERS: dict[str, Store] = {
    "file:///srv/my%20inlake/": FolderStore(Path("/srv/my inlake")),
    "s3://museum/my%20inlake/": S3Store("museum", "my inlake", environment=S3_VARIABLES),
}


@pytest.mark.parametrize("root", ADAPTERS)
@pytest.mark.parametrize(
    "name", ["my scan", "münchen", "a|b", "a[1]", "a{1}", "a^b", 'a"b', "a`b", "100%", "a#b", "a?b"]
)
def test_the_uri_of_an_object_is_a_uri(root: str, name: str) -> None:
    uri = ADAPTERS[root].uri(f"u1/{name}.tif")
    assert re.fullmatch(r"[a-z0-9]+://[a-z]*(/([A-Za-z0-9._~:@!$&'()*+,;=-]|%[0-9A-F]{2})+)+", uri)
    assert uri.startswith(root)
    assert unquote(uri) == f"{unquote(root)}u1/{name}.tif"
    assert not urlsplit(uri).query
    assert not urlsplit(uri).fragment


def test_the_uri_of_an_object_of_s3_keeps_what_a_path_may_have() -> None:
    assert ADAPTERS["s3://museum/my%20inlake/"].uri("a-b.c_d~e+f,g/(h)") == "s3://museum/my%20inlake/a-b.c_d~e+f,g/(h)"


async def test_what_a_store_tells_of_an_object_changes_with_it(store: Store) -> None:
    await put(store, "facts/a", b"first")
    first = await store.facts("facts/a")
    assert first
    assert first.size == 5
    assert await store.facts("facts/a") == first
    await put(store, "facts/a", b"other")
    second = await store.facts("facts/a")
    assert second
    assert second.etag != first.etag
    assert await store.facts("facts/none") is None
    found = [each async for each in store.objects("facts/")]
    assert [(each.key, each.size) for each in found] == [("facts/a", 5)]
    assert abs(found[0].modified - time.time()) < 60
