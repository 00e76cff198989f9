"""What every store must do with objects that come in pieces, asked of each adapter."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from uuid import uuid4

import pytest

from inlake.errors import BadPlace, NotFound, OffsetConflict
from inlake.model import PART
from inlake.ports import Store
from inlake.store.s3.store import S3Store
from tests.contract.conftest import Connect, Kind
from tests.live_servers import S3_BUCKET, S3_ENDPOINT, S3_VARIABLES, require

KEY = "objects/1/scan.obj"


@pytest.fixture(autouse=True)
async def nothing_is_left(connect: Connect) -> AsyncIterator[None]:
    yield
    await connect().pieces.abort(KEY)


async def keys(store: Store) -> list[str]:
    return sorted([key async for key in store.list("")])


async def begin(store: Store, size: int | None = None) -> str:
    return await store.pieces.begin(KEY, content_type="model/obj", metadata={"puuid": "1"}, size=size)


async def stream(data: bytes, cut: Sequence[int] = ()) -> AsyncIterator[bytes]:
    """`data` in chunks that end at `cut`."""
    start = 0
    for end in [*cut, len(data)]:
        if data[start:end]:
            yield data[start:end]
        start = end


async def read(store: Store) -> bytes:
    return b"".join([chunk async for chunk in store.read(KEY)])


@pytest.mark.parametrize(
    ("ends", "known"),
    [
        ([0], True),
        ([0], False),
        ([3, 4, 10], True),
        ([PART], False),
        ([PART - 1, PART, PART + 1], True),
        ([5, 2 * PART + 5, 2 * PART + 9], False),
        ([3 * PART + 1, 4 * PART], True),
    ],
)
async def test_what_comes_in_pieces_to_any_process_comes_back_whole(
    connect: Connect, ends: list[int], known: bool
) -> None:
    data = os.urandom(ends[-1])
    stores = [connect(), connect()]
    size = len(data) if known else None
    upload = await begin(stores[0], size)
    start = 0
    for n, end in enumerate(ends):
        one, other = stores[n % 2], stores[1 - n % 2]
        assert await one.pieces.append(KEY, upload, start, stream(data[start:end], (1, 70_000)), size=size) == end
        if size != end or await other.head(KEY) is None:
            assert await other.pieces.received(KEY, upload) == end
            assert await other.head(KEY) is None
        start = end
    await stores[1].pieces.complete(KEY, upload)
    assert await read(stores[0]) == data
    assert await stores[0].pieces.received(KEY, upload) is None
    assert await keys(stores[0]) == [KEY], "nothing is left beside the object"


async def test_a_sender_that_breaks_off_leaves_what_it_brought(connect: Connect) -> None:
    data, store = os.urandom(3 * PART), connect()
    upload = await begin(store, len(data))
    start = 0
    for end in (10, PART - 1, PART + 7, 2 * PART + 100):
        broken = ConnectionResetError("gone")

        async def gone(start: int = start, end: int = end, error: Exception = broken) -> AsyncIterator[bytes]:
            async for chunk in stream(data[start:end], (5, 1_000_000)):
                yield chunk
            raise error

        with pytest.raises(ConnectionResetError) as caught:
            await store.pieces.append(KEY, upload, start, gone(), size=len(data))
        assert caught.value is broken
        assert await connect().pieces.received(KEY, upload) == end
        start = end
    assert await store.pieces.append(KEY, upload, start, stream(data[start:]), size=len(data)) == len(data)
    await store.pieces.complete(KEY, upload)
    assert await read(store) == data


async def test_a_request_that_is_cancelled_leaves_what_it_brought(store: Store) -> None:
    data = os.urandom(PART + 77)
    upload = await begin(store)
    stalled = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield data
        stalled.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.pieces.append(KEY, upload, 0, stalling()))
    await asyncio.wait_for(stalled.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.pieces.received(KEY, upload) == len(data)


async def test_many_small_pieces_make_one_object(store: Store) -> None:
    data = os.urandom(40 * 1_000)
    upload = await begin(store)
    for start in range(0, len(data), 1_000):
        assert await store.pieces.append(KEY, upload, start, stream(data[start : start + 1_000])) == start + 1_000
    await store.pieces.complete(KEY, upload)
    assert await read(store) == data
    assert await keys(store) == [KEY]


async def test_another_offset_than_the_one_reached_is_a_conflict_and_changes_nothing(store: Store) -> None:
    upload = await begin(store)
    await store.pieces.append(KEY, upload, 0, stream(b"12345"))
    for offset in (0, 4, 6, PART):
        with pytest.raises(OffsetConflict, match="5 bytes"):
            await store.pieces.append(KEY, upload, offset, stream(b"x"))
    assert await store.pieces.received(KEY, upload) == 5


async def test_completing_twice_is_no_error(connect: Connect) -> None:
    store = connect()
    upload = await begin(store)
    await store.pieces.append(KEY, upload, 0, stream(b"12345"))
    assert await store.pieces.complete(KEY, upload)
    assert not await connect().pieces.complete(KEY, upload)
    assert await read(store) == b"12345"
    with pytest.raises(NotFound):
        await store.pieces.append(KEY, upload, 5, stream(b"6"))


async def test_an_object_that_one_request_has_brought_stays_and_the_end_of_an_upload_tells_of_it(
    connect: Connect,
) -> None:
    store, upload = connect(), await begin(connect(), 5)
    await store.pieces.append(KEY, upload, 0, stream(b"123"), size=5)
    assert await connect().put_new(KEY, b"abcde", content_type="model/obj", metadata={})
    with suppress(OffsetConflict):  # where the object is put with its last byte
        await store.pieces.append(KEY, upload, 3, stream(b"45"), size=5)
    assert not await store.pieces.complete(KEY, upload)
    assert await read(store) == b"abcde"
    assert await keys(store) == [KEY], "nothing is left beside the object"


async def test_an_aborted_upload_is_gone_with_all_it_held(connect: Connect) -> None:
    store, other = connect(), connect()
    uploads = [await begin(store), await begin(store)]
    await store.pieces.append(KEY, uploads[0], 0, stream(os.urandom(PART + 3)))
    await store.pieces.append(KEY, uploads[1], 0, stream(b"12345"))
    assert await other.pieces.abort(KEY) == 2
    assert await other.pieces.abort(KEY) == 0
    for upload in uploads:
        assert await store.pieces.received(KEY, upload) is None
        with pytest.raises(NotFound):
            await store.pieces.append(KEY, upload, 0, stream(b"x"))
        with pytest.raises(NotFound):
            await store.pieces.complete(KEY, upload)
    assert await keys(store) == []


async def test_aborting_spares_uploads_to_other_keys(store: Store) -> None:
    upload = await begin(store)
    longer = await store.pieces.begin(f"{KEY}.txt", content_type="text/plain", metadata={})
    assert await store.pieces.abort(f"{KEY}.txt") == 1
    assert await store.pieces.received(f"{KEY}.txt", longer) is None
    assert await store.pieces.received(KEY, upload) == 0


@pytest.mark.parametrize("upload", ["", "x", "8388608-none", "../../x", "0" * 32])
async def test_an_upload_that_never_was_is_not_found(store: Store, upload: str) -> None:
    with pytest.raises(NotFound):
        await store.pieces.append(KEY, upload, 0, stream(b"x"))
    with pytest.raises(NotFound):
        await store.pieces.complete(KEY, upload)


async def test_an_upload_to_a_key_that_leads_elsewhere_is_refused(store: Store) -> None:
    for key in ("a/../b", "/a", "a//b"):
        with pytest.raises(BadPlace):
            await store.pieces.begin(key, content_type="text/plain", metadata={})


async def test_only_a_store_that_clients_can_reach_takes_what_they_send_themselves(store: Store, kind: Kind) -> None:
    assert (store.direct is not None) == kind.is_direct


async def test_who_comes_late_changes_nothing(connect: Connect) -> None:
    """The lease of a writer that slept was taken over, and the other has completed the upload."""
    store, late = connect(), connect()
    upload = await begin(store, 5)
    await store.pieces.append(KEY, upload, 0, stream(b"12345"), size=5)
    await store.pieces.complete(KEY, upload)
    for size in (5, None):
        with suppress(OffsetConflict, NotFound):
            await late.pieces.append(KEY, upload, 0, stream(b"abcde"), size=size)
            await late.pieces.complete(KEY, upload)
        assert await read(store) == b"12345"


# ------------------------------------------------------------------------------------------------- what only S3 can do
@pytest.fixture
async def s3() -> AsyncIterator[S3Store]:
    require("S3", S3_ENDPOINT)
    store = S3Store(S3_BUCKET, f"test/{uuid4()}", environment=S3_VARIABLES)
    yield store
    await store.pieces.abort(KEY)
    await store.delete(KEY)
    await store.close()


@pytest.mark.live
async def test_more_parts_than_fit_into_one_answer_are_all_found(s3: S3Store) -> None:
    upload = await s3.direct.begin(KEY, content_type="text/plain", metadata={}, sha256=False)
    numbers = iter(range(1, 1_006))

    async def send() -> None:
        for number in numbers:
            await s3._multipart.put(KEY, upload, number, [b"%d" % number])

    await asyncio.gather(*[send() for _ in range(16)])
    assert [(part.number, part.size) for part in await s3.direct.parts(KEY, upload)] == [
        (number, len(str(number))) for number in range(1, 1_006)
    ]


@pytest.mark.live
async def test_a_part_that_failed_leaves_what_came_before_it_and_what_came_after_does_not_count(s3: S3Store) -> None:
    """Parts go out side by side: the third may be there when the second is not."""
    upload, data = await begin(s3, 3 * PART), os.urandom(3 * PART)
    number = upload.partition("-")[2]
    await s3._multipart.put(KEY, number, 1, [data[:PART]])
    await s3._multipart.put(KEY, number, 3, [data[2 * PART :]])
    assert await s3.pieces.received(KEY, upload) == PART
    assert await s3.pieces.append(KEY, upload, PART, stream(data[PART : PART + 5]), size=len(data)) == PART + 5
    assert await s3.pieces.append(KEY, upload, PART + 5, stream(data[PART + 5 :]), size=len(data)) == len(data)
    await s3.pieces.complete(KEY, upload)
    assert await read(s3) == data


@pytest.mark.live
async def test_a_part_that_was_put_again_by_a_slow_writer_says_that_the_object_has_to_be_read(s3: S3Store) -> None:
    upload, data = await begin(s3, PART + 1), os.urandom(PART + 1)
    await s3.pieces.append(KEY, upload, 0, stream(data), size=len(data))
    await s3._multipart.put(KEY, upload.partition("-")[2], 1, [bytes(PART)])
    assert await s3.pieces.complete(KEY, upload) is False
    assert await read(s3) == bytes(PART) + data[PART:]


@pytest.mark.live
async def test_a_piece_that_a_crash_left_beside_its_part_does_not_count_twice(s3: S3Store) -> None:
    """The process died after the part was put and before its pieces were deleted."""
    upload, data = await begin(s3), os.urandom(PART + 10)
    await s3.pieces.append(KEY, upload, 0, stream(data[:100]))
    (piece,) = [key async for key in s3.list(".inlake/tails/")]
    await s3.pieces.append(KEY, upload, 100, stream(data[100:]))
    await s3.create(piece, data[:100])
    assert await s3.pieces.received(KEY, upload) == len(data)
    await s3.pieces.complete(KEY, upload)
    assert await read(s3) == data
    assert await keys(s3) == [KEY]


@pytest.mark.live
async def test_a_small_object_of_known_size_takes_no_multipart_upload(s3: S3Store) -> None:
    upload = await begin(s3, PART)
    data = os.urandom(PART)
    await s3.pieces.append(KEY, upload, 0, stream(data[:5]), size=PART)
    assert await s3._multipart.uploads(KEY) == []
    await s3.pieces.append(KEY, upload, 5, stream(data[5:]), size=PART)
    await s3.pieces.complete(KEY, upload)
    assert await read(s3) == data
    assert await keys(s3) == [KEY]


@pytest.mark.live
async def test_a_tail_that_a_crash_left_beside_a_small_object_does_not_count(s3: S3Store) -> None:
    """The process died after the object was put and before its tails were deleted."""
    upload = await begin(s3, 5)
    await s3.pieces.append(KEY, upload, 0, stream(b"12"), size=5)
    (tail,) = await keys(s3)
    await s3.pieces.append(KEY, upload, 2, stream(b"345"), size=5)
    await s3.create(tail, b"12")
    other = S3Store(S3_BUCKET, s3._bucket.prefix.rstrip("/"), environment=S3_VARIABLES)
    assert await other.pieces.received(KEY, upload) is None
    with pytest.raises(NotFound):
        await other.pieces.append(KEY, upload, 5, stream(b"6"))
    await other.pieces.complete(KEY, upload)
    assert await read(s3) == b"12345"
    assert await keys(s3) == [KEY]
    await other.close()
