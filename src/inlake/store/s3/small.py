"""Uploads of a known size that one PUT holds: no multipart upload is begun, and the object is put with its last byte.

What such an object will be stands in the id of its upload, `0-<base64 of JSON>`: no other state is kept, but the tails
of those that come in several requests. The object is put only if there is none, so a slow writer changes nothing.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import msgspec

from inlake.errors import NotFound, OffsetConflict
from inlake.memory import Recent
from inlake.ports import Store
from inlake.store.keys import check_ascii, check_key
from inlake.store.s3.tails import Tails, behind, to_its_end

PREFIX = "0-"
REMEMBERED = 1_000


class About(msgspec.Struct, array_like=True):
    """An object as it will be."""

    attributes: dict[str, str]
    nonce: str
    """Makes two uploads to one key differ."""


class SmallUploads:
    """The port `Pieces` for small objects, but that nothing is aborted: what nobody completes was never there."""

    def __init__(self, store: Store, tails: Tails) -> None:
        self._store, self._tails = store, tails
        self._begun: Recent[str, bool] = Recent(REMEMBERED)
        """Uploads begun here to which nothing has come: the first request asks nothing."""
        self._put: Recent[str, bool] = Recent(REMEMBERED)
        """Uploads whose object was put here: the `complete` that follows asks nothing."""

    def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str]) -> str:
        check_key(key)
        attributes = {"Content-Type": content_type, **metadata}
        check_ascii(attributes)
        about = msgspec.json.encode(About(attributes, uuid4().hex[:8]))
        upload = PREFIX + urlsafe_b64encode(about).decode().rstrip("=")
        self._begun.keep(upload, value=True)
        return upload

    async def received(self, key: str, upload: str) -> int | None:
        _about(upload)
        names, there = await asyncio.gather(self._tails.names(key, upload), self._store.head(key))
        return behind(names, 0)[1] if there is None else None

    async def append(
        self, key: str, upload: str, offset: int, chunks: AsyncIterator[bytes], *, size: int | None
    ) -> int:
        about = _about(upload)
        names = [] if self._begun.pop(upload, False) and offset == 0 else await self._tails.names(key, upload)
        tail, held = behind(names, 0)
        if held != offset:
            if await self._store.head(key) is not None:
                raise NotFound("There is no such upload.")
            raise OffsetConflict(f"The upload stands at {held:,} bytes, not at {offset:,}.")
        waiting: list[bytes] = []

        async def finish() -> int:
            length = offset + sum(map(len, waiting))
            if length == size:
                if not await self._create(key, about, [*await self._tails.read(key, upload, tail), *waiting]):
                    raise OffsetConflict("Another request has completed the upload: ask for its offset again.")
                self._put.keep(upload, value=True)
                await self._tails.delete(names)
            elif waiting:
                await self._tails.keep(key, upload, offset, b"".join(waiting))
            return length

        try:
            async for chunk in chunks:
                waiting.append(chunk)  # noqa: PERF401 - what has come before an error is kept
        except BaseException:
            await to_its_end(finish())  # also what a cancelled request has brought is kept
            raise
        return await to_its_end(finish())

    async def complete(self, key: str, upload: str) -> bool:
        about = _about(upload)
        if self._put.pop(upload, False):
            return True
        names, there = await asyncio.gather(self._tails.names(key, upload), self._store.head(key))
        made = there is None and await self._create(
            key, about, await self._tails.read(key, upload, behind(names, 0)[0])
        )
        await self._tails.delete(names)
        return made

    async def _create(self, key: str, about: About, data: list[bytes]) -> bool:
        metadata = dict(about.attributes)
        kind = metadata.pop("Content-Type")
        return await self._store.put_new(key, b"".join(data), content_type=kind, metadata=metadata)


def _about(upload: str) -> About:
    try:
        data = urlsafe_b64decode(upload.removeprefix(PREFIX) + "==")
        return msgspec.json.decode(data, type=About)
    except ValueError:
        raise NotFound("There is no such upload.") from None
