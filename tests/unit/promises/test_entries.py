"""Entries of promises: what those of version 0.5.0 say, and that they are written in the same form."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from inlake.errors import PromiseExpired
from inlake.logbook.log import _encode
from inlake.model import Event, Position, SchemaVersion
from inlake.promises.entries import Claimed, ClaimedEvent, Failed, InRequest, Presigned, Promised, Removing, Tus, decode
from inlake.promises.promise import Promise, add, read
from inlake.store.folder.store import FolderStore

BINARY_OF_A_REQUEST = [
    (
        r'{"fact": "reserved", "at": 1796004104.5, "principal": "anonymous", '
        r'"key": "objects/11111111-1111-4111-8111-111111111111/spot.obj", "named": false, "filename": "spot.obj", '
        r'"content_type": "model/obj", "owner": "machine:1:2", "expires": 1796004164.5, "way": "request"}'
    ),
    (
        r'{"fact": "stored", "at": 1796004104.5, "size": 7, '
        r'"sha256": "7b6f74e68a82e1ba99b66e56054d46975b1869661ffa0c7f17301f69cbb64463"}'
    ),
    (
        r'{"fact": "claimed", "at": 1796004104.5, "event": {"id": "e1", "topic": "inlake.note", "key": "note/d", '
        r'"value": "000000000776616c7565", "headers": [["ce_id", "e1"], ["ce_type", "note"]], '
        r'"partition_by": "5131"}, "schema": ["note", 1, 7], "owner": "machine:1:2", "expires": 1796090504.5}'
    ),
    r'{"fact": "published", "at": 1796004104.5, "position": ["inlake.note", 0, 1]}',
]
REFUSED_AT_A_NAMED_PLACE = [
    (
        r'{"fact": "reserved", "at": 1796004104.5, "principal": "ada", "key": "scans/spot.obj", "named": true, '
        r'"filename": "spot.obj", "content_type": "model/obj", "owner": "machine:1:2", "expires": 1796004164.5, '
        r'"way": "request"}'
    ),
    r'{"fact": "uploading", "at": 1796004104.5, "received": 0}',
    (
        r'{"fact": "stored", "at": 1796004104.5, "size": 7, '
        r'"sha256": "7b6f74e68a82e1ba99b66e56054d46975b1869661ffa0c7f17301f69cbb64463"}'
    ),
    (
        r'{"fact": "claimed", "at": 1796004104.5, "event": {"id": "e2", "topic": "inlake.note", "key": "note", '
        r'"value": "0076616c7565", "headers": [["ce_id", "e2"]]}, "schema": null, "owner": "machine:1:2", '
        r'"expires": 1796090504.5}'
    ),
    (
        r'{"fact": "failed", "at": 1796004104.5, "reason": "record_too_large", "kept": false, '
        r'"owner": "machine:1:2"}'
    ),
    r'{"fact": "removing", "at": 1796004104.5, "owner": "machine:1:2"}',
]
TUS = [
    (
        r'{"fact": "reserved", "at": 1796004105.5, "principal": "ada", '
        r'"key": "objects/33333333-3333-4333-8333-333333333333/letter.txt", "named": false, '
        r'"filename": "letter.txt", "content_type": "text/plain", "owner": "", "expires": 1796090505.5, '
        r'"way": "tus", "metadata": "filename bGV0dGVyLnR4dA=="}'
    ),
    r'{"fact": "uploading", "at": 1796004105.5, "received": 0, "expires": 1796090505.5, "upload": "up"}',
    (
        r'{"fact": "claimed", "at": 1796004105.5, "event": {"id": "e1", "topic": "inlake.note", "key": "note/d", '
        r'"value": "000000000776616c7565", "headers": [["ce_id", "e1"], ["ce_type", "note"]], '
        r'"partition_by": "5131"}, "schema": ["note", 1, 7], "owner": "machine:1:2", "expires": 1796090505.5}'
    ),
    r'{"fact": "uploading", "at": 1796004105.5, "received": 3, "expires": 1796090505.5, "size": 7}',
    r'{"fact": "expired", "at": 1796004105.5, "reason": "cancelled", "owner": "machine:1:2"}',
]
PARTS = [
    (
        r'{"fact": "reserved", "at": 1796004105.5, "principal": "ada", '
        r'"key": "objects/44444444-4444-4444-8444-444444444444/a.tif", "named": false, "filename": "a.tif", '
        r'"content_type": "image/tiff", "owner": "", "expires": 1796090505.5, "way": "direct", "size": 20971520, '
        r'"sha256": "efefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefef", '
        r'"metadata": "{\"part_size\": 16777216, '
        r"\"sha256\": [\"abababababababababababababababababababababababababababababababab\", "
        r'\"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\"]}"}'
    ),
    r'{"fact": "uploading", "at": 1796004105.5, "received": 0, "expires": 1796090505.5, "upload": "u1"}',
    (
        r'{"fact": "stored", "at": 1796004105.5, "size": 20971520, '
        r'"sha256": "efefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefef", "owner": "", '
        r'"expires": 1796090505.5}'
    ),
]
ONE_PUT = [
    (
        r'{"fact": "reserved", "at": 1796004105.5, "principal": "ada", '
        r'"key": "objects/55555555-5555-4555-8555-555555555555/a.tif", "named": false, "filename": "a.tif", '
        r'"content_type": "image/tiff", "owner": "", "expires": 1796090505.5, "way": "direct", "size": 9}'
    ),
]
GIVEN_UP_BEFORE_IT_WAS_RESERVED = [
    (
        r'{"fact": "expired", "at": 1796004105.5, "principal": "ada", '
        r'"key": "objects/66666666-6666-4666-8666-666666666666/a.tif", "named": false, "filename": "a.tif", '
        r'"content_type": "image/tiff", "owner": "machine:1:2", "expires": 0.0, "way": "request", '
        r'"reason": "abandoned"}'
    ),
]


async def left(folder: Path, puuid: str, entries: list[str]) -> FolderStore:
    store = FolderStore(folder)
    for n, entry in enumerate(entries):
        await store.create(f".inlake/promises/{puuid}/{n}.json", entry.encode())
    return store


async def found(folder: Path, entries: list[str]) -> Promise:
    promise = await read(await left(folder, "p", entries), "p")
    assert promise is not None
    return promise


@pytest.mark.parametrize("entry", BINARY_OF_A_REQUEST + REFUSED_AT_A_NAMED_PLACE + TUS + PARTS + ONE_PUT)
def test_an_entry_of_before_is_written_as_it_was(entry: str) -> None:
    written = json.loads(_encode(decode(entry.encode())))
    assert written == json.loads(entry)


async def test_a_published_binary_of_before_is_read(tmp_path: Path) -> None:
    promise = await found(tmp_path, BINARY_OF_A_REQUEST)
    assert (promise.state, promise.entries, promise.announced.way) == ("published", 4, InRequest())
    assert promise.published == Position("inlake.note", 0, 1)
    assert promise.claim is not None
    assert promise.claim.event == Event(
        "e1", "inlake.note", b"note/d", b"\0\0\0\0\x07value", (("ce_type", b"note"),), b"Q1"
    )
    assert promise.claim.schema == SchemaVersion("note", 1, 7)
    assert promise.stored is not None
    assert (promise.stored.size, promise.stored.filename) == (7, "spot.obj")


async def test_a_refused_binary_of_before_at_a_named_place_is_read(tmp_path: Path) -> None:
    promise = await found(tmp_path, REFUSED_AT_A_NAMED_PLACE)
    assert (promise.state, promise.reason, promise.is_named) == ("failed", "record_too_large", True)
    assert isinstance(promise.end, Failed)
    assert promise.may_be_deleted
    assert isinstance(promise.last, Removing)
    before = await found(tmp_path / "reserved", REFUSED_AT_A_NAMED_PLACE[:1])
    assert not before.may_be_deleted, "it is not known yet what stands there"


async def test_uploads_of_before_are_read(tmp_path: Path) -> None:
    tus = await found(tmp_path / "tus", TUS)
    assert tus.announced == Promised("letter.txt", "text/plain", Tus("filename bGV0dGVyLnR4dA=="), 7)
    assert (tus.upload, tus.received, tus.state, tus.reason) == ("up", 3, "expired", "cancelled")
    parts = await found(tmp_path / "parts", PARTS)
    assert parts.announced.way == Presigned(16 << 20, ("ab" * 32, "cd" * 32))
    assert (parts.state, parts.owner, parts.upload, parts.announced.sha256) == ("stored", "", "u1", "ef" * 32)
    put = await found(tmp_path / "put", ONE_PUT)
    assert (put.announced.way, put.size, put.state) == (Presigned(), 9, "reserved")


async def test_a_promise_that_was_given_up_before_it_was_reserved_is_none(tmp_path: Path) -> None:
    store = await left(tmp_path, "p", GIVEN_UP_BEFORE_IT_WAS_RESERVED)
    assert await read(store, "p") is None
    late = Promise("p", "ada", "objects/p/a", "file:///a", Promised("a", "text/plain"), "me")
    with pytest.raises(PromiseExpired):
        await add(store, late, late.reserved())


@pytest.mark.parametrize(
    "way", [InRequest(), Tus("a b"), Presigned(), Presigned(5 << 20), Presigned(5 << 20, ("ab" * 32,))]
)
async def test_how_a_binary_comes_is_read_as_it_was_written(tmp_path: Path, way: InRequest | Tus | Presigned) -> None:
    store = FolderStore(tmp_path)
    promise = Promise("p", "ada", "objects/p/a", "file:///a", Promised("a", "text/plain", way, 7), "me")
    await add(store, promise, promise.reserved())
    again = await read(store, "p")
    assert again is not None
    assert again.announced == promise.announced


def promise() -> Promise:
    return Promise("p", "anonymous", "objects/p/a", "file:///a", Promised("a", "text/plain"), "me")


@pytest.mark.parametrize("by", [None, b"", b"Q159758", b"\xff\x00"])
async def test_a_claim_gives_back_what_chooses_the_partition(tmp_path: Path, by: bytes | None) -> None:
    store = FolderStore(tmp_path)
    event = Event("1", "inlake.note", b"note", b"\0value", (), by)
    reserved, _ = await add(store, promise(), promise().reserved())
    claimed = Claimed(event=ClaimedEvent.of(event), schema=("note", 1, 1), owner="me", expires=0.0)
    await add(store, reserved, claimed)
    found = await read(store, "p")
    assert found is not None
    assert found.claim is not None
    assert found.claim.event == event


def test_an_entry_made_before_there_was_a_choice_is_read_as_placed_by_its_key() -> None:
    entry = msgspec.to_builtins(ClaimedEvent.of(Event("1", "t", b"k", b"v", ())))
    assert set(entry) == {"id", "topic", "key", "value", "headers"}
