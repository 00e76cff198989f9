"""Objects that come in pieces to S3: parts of one size, and what is too little for a part kept as a tail behind them.

A part's number is where it stands: `offset // P + 1`. Every part has P bytes, the last one excepted, so whoever
writes a part a second time writes the same bytes. Uploads that one PUT holds have no parts: they are in `small`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from inlake.errors import NotFound, OffsetConflict, PartsRefused
from inlake.memory import Recent
from inlake.model import PART, Part
from inlake.ports import Store
from inlake.store.s3.multipart import Multipart
from inlake.store.s3.small import PREFIX, SmallUploads
from inlake.store.s3.tails import Tail, Tails, behind, to_its_end

PARTS = 9_000
"""Parts of the largest object that P is chosen for; S3 takes 10,000 of one upload."""
WHOLE = 1_000
IN_FLIGHT = 4
"""Parts on their way at once."""


class Uploaded(NamedTuple):
    """The bytes that the store holds of an upload."""

    parts: list[Part]
    tail: Tail
    length: int
    """Bytes, of both together."""
    names: list[str]
    """Keys of all tails that are there, those that count or not."""


class S3Pieces:
    """Uploads that any process continues. The id of an upload says its P: `<P>-<id of S3>`."""

    def __init__(self, store: Store, multipart: Multipart) -> None:
        self._store, self._multipart, self.tails = store, multipart, Tails(store)
        self._small = SmallUploads(store, self.tails)
        self._whole: Recent[str, Uploaded] = Recent(WHOLE)
        """Objects put by an append that reached the end, by upload: the `complete` that follows asks nothing."""

    async def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str], size: int | None = None) -> str:
        if size is not None and size <= PART:
            return self._small.begin(key, content_type=content_type, metadata=metadata)
        part_size = max(PART, -(-(size or 0) // PARTS))
        upload = await self._multipart.begin(key, content_type=content_type, metadata=metadata, sha256=False)
        return f"{part_size}-{upload}"

    async def received(self, key: str, upload: str) -> int | None:
        if upload.startswith(PREFIX):
            return await self._small.received(key, upload)
        held = await self._held(key, upload)
        return held and held.length

    async def append(
        self, key: str, upload: str, offset: int, chunks: AsyncIterator[bytes], *, size: int | None = None
    ) -> int:
        if upload.startswith(PREFIX):
            return await self._small.append(key, upload, offset, chunks, size=size)
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
            await to_its_end(writer.finish(size))  # also what a cancelled request has brought is kept
        if writer.length == size:
            self._whole.keep(upload, writer.held())
        return writer.length

    async def complete(self, key: str, upload: str) -> bool:
        if upload.startswith(PREFIX):
            return await self._small.complete(key, upload)
        known = self._whole.pop(upload, None)
        try:
            return await self._complete(key, upload, known or await self._held(key, upload))
        except PartsRefused:
            if known is None:
                raise
            await self._complete(key, upload, await self._held(key, upload))
            return False  # a part was put again, maybe with other bytes than `append` has seen

    async def _complete(self, key: str, upload: str, held: Uploaded | None) -> bool:
        if held is not None:
            parts = held.parts
            if held.tail or not parts:
                last = await self.put_part(key, upload, len(parts) + 1, await self.tails.read(key, upload, held.tail))
                parts = [*parts, last]
            with suppress(NotFound):
                await self._multipart.complete(key, _id(upload), parts)
                if held.names:  # an append that began with a tail has kept none of its names
                    await self.tails.delete(await self.tails.names(key, upload))
                return True
        if await self._store.head(key) is None:
            raise NotFound("There is no such upload, and no object of it.")
        await self.tails.delete(await self.tails.names(key, upload))
        return False

    async def abort(self, key: str) -> int:
        uploads = await self._multipart.uploads(key)
        for upload in uploads:
            await self._multipart.abort(key, upload)
        await self.tails.delete(await self.tails.names(key))
        return len(uploads)

    async def put_part(self, key: str, upload: str, number: int, chunks: list[bytes]) -> Part:
        return await self._multipart.put(key, _id(upload), number, chunks)

    async def _held(self, key: str, upload: str) -> Uploaded | None:
        found, names = await asyncio.gather(self._multipart.find(key, _id(upload)), self.tails.names(key, upload))
        if found is None:
            return None
        parts = _in_row(found, part_size(upload))
        tail, length = behind(names, sum(part.size for part in parts))
        return Uploaded(parts, tail, length, names)


class _Writer:
    """Takes the bytes of one request, and has parts of them on their way while more come in."""

    def __init__(self, uploads: S3Pieces, key: str, upload: str, held: Uploaded) -> None:
        self._uploads, self._key, self._upload, self._held = uploads, key, upload, held
        self._part_size = part_size(upload)
        self._number = len(held.parts) + 1
        self._waiting: list[bytes] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._parts = {part.number: part for part in held.parts}
        self.length = held.length
        """The offset of the next byte."""

    def held(self) -> Uploaded:
        """The whole upload, when all of it is in the store."""
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
            await self._uploads.tails.keep(self._key, self._upload, self.length - len(rest), rest)

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

    async def _put(self, number: int, held: Uploaded, chunks: list[bytes]) -> None:
        """A part: the tail that was kept, and what came behind it."""
        if held.tail:
            chunks = [*await self._uploads.tails.read(self._key, self._upload, held.tail), *chunks]
        self._parts[number] = await self._uploads.put_part(self._key, self._upload, number, chunks)
        if held.tail:
            await self._uploads.tails.forget(self._key, self._upload, held.tail)


def part_size(upload: str) -> int:
    """P of an upload, from its id. `NotFound` when it is no id of ours."""
    size, dash, _ = upload.partition("-")
    if not dash or not size.isdecimal():
        raise NotFound("There is no such upload.")
    return int(size)


def _id(upload: str) -> str:
    """S3's own id."""
    return upload.partition("-")[2]


def _in_row(parts: list[Part], size: int) -> list[Part]:
    """The parts up to the first that is missing or short: one may have failed while the next one came through."""
    for i, part in enumerate(parts):
        if part.number != i + 1:
            return parts[:i]
        if part.size != size:
            return parts[: i + 1]
    return parts
