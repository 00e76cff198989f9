"""Objects that come in pieces to S3: parts of one size, and what is too little for a part kept beside them.

A part's number is where it stands: `offset // P + 1`. Every part has P bytes, the last one excepted, so whoever
writes a part a second time writes the same bytes. What does not fill a part becomes a small object of its own,
`.inlake/tails/<key>/<upload>/<start>-<length>`; it counts only while it goes on exactly where the parts, or the piece
before it, end. So nothing counts twice, whatever a crash leaves.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from inlake.errors import NotFound, OffsetConflict, PartsRefused
from inlake.memory import Recent
from inlake.model import PART, Part
from inlake.ports import Store
from inlake.store.s3.multipart import Multipart

TAILS = ".inlake/tails"
PARTS = 9_000
"""Parts of the largest object that P is chosen for; S3 takes 10,000 of one upload."""
WHOLE = 1_000
IN_FLIGHT = 4
"""Parts on their way at once."""


class Held(NamedTuple):
    """What the store holds of an upload."""

    parts: list[Part]
    tail: list[tuple[int, int]]
    """(start, length) of the pieces behind the parts."""
    length: int
    """Bytes, of both together."""
    pieces: bool
    """There are small objects in the upload's folder, those that count or others."""


class S3Pieces:
    """Uploads that any process continues. The id of an upload says its P: `<P>-<id of S3>`."""

    def __init__(self, store: Store, multipart: Multipart) -> None:
        """`store`: for the tails."""
        self._store, self._multipart = store, multipart
        self._whole: Recent[str, Held] = Recent(WHOLE)
        """What an append that reached the end put, by upload: the `complete` that follows asks nothing."""

    async def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str], size: int | None = None) -> str:
        part_size = max(PART, -(-(size or 0) // PARTS))
        upload = await self._multipart.begin(key, content_type=content_type, metadata=metadata, sha256=False)
        return f"{part_size}-{upload}"

    async def received(self, key: str, upload: str) -> int | None:
        held = await self._held(key, upload)
        return held and held.length

    async def append(
        self, key: str, upload: str, offset: int, chunks: AsyncIterator[bytes], *, size: int | None = None
    ) -> int:
        held = await self._held(key, upload)
        if held is None:
            raise NotFound("There is no such upload.")
        if held.length != offset:
            raise OffsetConflict(f"The upload stands at {held.length:,} bytes, not at {offset:,}.")
        writer = _Writer(self, key, upload, held)
        try:
            async for chunk in chunks:
                await writer.write(chunk)
        finally:
            await _to_its_end(writer.finish(size))  # also what a cancelled request has brought is kept
        if writer.length == size:
            self._whole.keep(upload, writer.held())
        return writer.length

    async def complete(self, key: str, upload: str) -> None:
        known = self._whole.pop(upload, None)
        try:
            pieces = await self._complete(key, upload, known or await self._held(key, upload))
        except PartsRefused:
            if known is None:
                raise
            pieces = await self._complete(key, upload, await self._held(key, upload))
        if pieces:
            await self._drop(_folder(key, upload))

    async def _complete(self, key: str, upload: str, held: Held | None) -> bool:
        """Whether there are pieces to be deleted."""
        if held is not None:
            parts = held.parts
            if held.tail or not parts:
                last = await self.put_part(key, upload, len(parts) + 1, [await self.tail(key, upload, held)])
                parts = [*parts, last]
            with suppress(NotFound):
                await self._multipart.complete(key, _id(upload), parts)
                return held.pieces
        if await self._store.head(key) is None:
            raise NotFound("There is no such upload, and no object of it.")
        return True

    async def abort(self, key: str) -> int:
        uploads = await self._multipart.uploads(key)
        for upload in uploads:
            await self._multipart.abort(key, upload)
        await self._drop(_folder(key))
        return len(uploads)

    async def put_part(self, key: str, upload: str, number: int, chunks: list[bytes]) -> Part:
        return await self._multipart.put(key, _id(upload), number, chunks)

    async def tail(self, key: str, upload: str, held: Held) -> bytes:
        """The bytes behind the parts."""
        pieces = [await self._store.get(f"{_folder(key, upload)}{start}-{length}") for start, length in held.tail]
        if any(piece is None for piece in pieces):
            raise OffsetConflict("Another request has moved the upload on: ask for its offset again.")
        return b"".join(piece or b"" for piece in pieces)

    async def keep(self, key: str, upload: str, start: int, data: bytes) -> None:
        """Put a piece behind what is held."""

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(data), PART):
                yield data[at : at + PART]

        name = f"{_folder(key, upload)}{start}-{len(data)}"
        await self._store.put(name, pieces(), content_type="application/octet-stream", metadata={})

    async def forget(self, key: str, upload: str, tail: list[tuple[int, int]]) -> None:
        """Delete pieces that have become part of a part."""
        for start, length in tail:
            await self._store.delete(f"{_folder(key, upload)}{start}-{length}")

    async def _held(self, key: str, upload: str) -> Held | None:
        found, names = await asyncio.gather(self._multipart.find(key, _id(upload)), self._names(_folder(key, upload)))
        if found is None:
            return None
        parts = _in_row(found, part_size(upload))
        length = sum(part.size for part in parts)
        longest: dict[int, int] = {}
        for name in names:
            start, _, size = name.rpartition("/")[2].partition("-")
            longest[int(start)] = max(int(size), longest.get(int(start), 0))
        tail = []
        while size_here := longest.get(length):
            tail.append((length, size_here))
            length += size_here
        return Held(parts, tail, length, bool(names))

    async def _names(self, folder: str) -> list[str]:
        return [name async for name in self._store.list(folder)]

    async def _drop(self, folder: str) -> None:
        for name in await self._names(folder):
            await self._store.delete(name)


class _Writer:
    """Takes the bytes of one request, and has parts of them on their way while more come in."""

    def __init__(self, uploads: S3Pieces, key: str, upload: str, held: Held) -> None:
        self._uploads, self._key, self._upload, self._held = uploads, key, upload, held
        self._part_size = part_size(upload)
        self._number = len(held.parts) + 1
        self._waiting: list[bytes] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._parts = {part.number: part for part in held.parts}
        self.length = held.length
        """Where the next byte goes."""

    def held(self) -> Held:
        """What is in the store, when all is."""
        return self._held._replace(parts=[self._parts[n] for n in sorted(self._parts)], tail=[], length=self.length)

    async def write(self, chunk: bytes) -> None:
        """Take a chunk of any size; it waits while enough parts are on their way."""
        while self.length + len(chunk) >= (end := self._number * self._part_size):
            taken = end - self.length
            self._waiting.append(chunk[:taken])
            self.length, chunk = end, chunk[taken:]
            await self._send()
        if chunk:
            self._waiting.append(chunk)
            self.length += len(chunk)

    async def finish(self, size: int | None) -> None:
        """Send or keep the rest, and wait until all is safe. Raises what went wrong with any part."""
        if self._sending:
            await asyncio.wait(self._sending)
        for sent in self._sending:
            sent.result()
        if self.length == size and (self._waiting or self._held.tail):
            await self._put(self._number, self._held, self._waiting)
        elif self._waiting:
            rest = b"".join(self._waiting)
            await self._uploads.keep(self._key, self._upload, self.length - len(rest), rest)

    async def _send(self) -> None:
        while len(self._sending) >= IN_FLIGHT:
            done, _ = await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
            for sent in done:
                sent.result()
            self._sending -= done
        chunks, self._waiting = self._waiting, []
        self._sending.add(asyncio.create_task(self._put(self._number, self._held, chunks)))
        self._held = self._held._replace(tail=[])
        self._number += 1

    async def _put(self, number: int, held: Held, chunks: list[bytes]) -> None:
        """A part: the tail that was kept, and what came behind it."""
        if held.tail:
            chunks = [await self._uploads.tail(self._key, self._upload, held), *chunks]
        self._parts[number] = await self._uploads.put_part(self._key, self._upload, number, chunks)
        if held.tail:
            await self._uploads.forget(self._key, self._upload, held.tail)


def part_size(upload: str) -> int:
    """P of an upload, from its id. `NotFound` when it is no id of ours."""
    size, dash, _ = upload.partition("-")
    if not dash or not size.isdecimal():
        raise NotFound("There is no such upload.")
    return int(size)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await it, also when cancelled meanwhile: nobody else may write before it is over."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # the cancelling is told, and not this
        raise


def _id(upload: str) -> str:
    """S3's own id."""
    return upload.partition("-")[2]


def _folder(key: str, upload: str | None = None) -> str:
    """Where the tails of a key are, or of one upload to it."""
    of_key = f"{TAILS}/{_digest(key)}/"
    return of_key if upload is None else f"{of_key}{_digest(upload)}/"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _in_row(parts: list[Part], size: int) -> list[Part]:
    """The parts up to the first that is missing or short: one may have failed while the next one came through."""
    for i, part in enumerate(parts):
        if part.number != i + 1:
            return parts[:i]
        if part.size != size:
            return parts[: i + 1]
    return parts
