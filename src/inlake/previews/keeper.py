"""Has previews drawn by a process that may take little, and keeps them in the store beside the objects."""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import msgspec

from inlake.errors import Busy, PreviewNotAvailable, StoreUnavailable
from inlake.memory import Recent, Shared
from inlake.model import StoredObject
from inlake.ports import Store
from inlake.previews import draw

log = logging.getLogger("inlake.previews")
MOST_BYTES = 256 << 20
"""An object may have so many: the program has it in its memory."""
SECONDS = 60.0
"""For reading the object, and for drawing it; the program itself may compute for 20."""
WAITING_SECONDS = 30.0
AT_ONCE = 2
OUTPUT_BYTES = 8 << 20
TYPES = ("image/tiff", "image/jp2", "image/jpx", "image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp")
PDF = "application/pdf"
NAMES = (".tif", ".tiff", ".jp2", ".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".pdf")
"""Endings that say what a file is whose type says nothing."""


class Preview(msgspec.Struct, frozen=True):
    """Two JPEGs of one binary."""

    small: bytes
    """160 pixels at the longer side at most."""
    large: bytes
    """1,200."""


def can_be_drawn(kind: str, name: str) -> bool:
    """Whether an object of this media type and file name may have a preview."""
    media = kind.partition(";")[0].strip().lower()
    if media in {"", "application/octet-stream"}:
        return name.lower().endswith(NAMES)
    return media in TYPES or media == PDF


def preview_key(puuid: str) -> str:
    """Where the preview of a promise's object is kept."""
    return f".inlake/previews/{puuid}"


class Previews:
    """The previews of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._drawing: Shared[str, Preview] = Shared()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._refused: Recent[str, str] = Recent()
        """Why there is none, by puuid: so that a file that costs much is tried once."""

    async def find(self, stored: StoredObject, store: Store, key: str) -> Preview:
        """The preview of an object, drawn now if it never was. `PreviewNotAvailable` with the reason; `Busy`."""
        if not can_be_drawn(stored.content_type, stored.filename):
            raise PreviewNotAvailable(f"There are no previews of {stored.content_type or 'files without a type'}.")
        if not stored.size:
            raise PreviewNotAvailable("The object is empty.")
        if stored.size > MOST_BYTES:
            raise PreviewNotAvailable(f"The object has {stored.size:,} bytes; up to {MOST_BYTES:,} are drawn.")
        if reason := self._refused.recall(stored.puuid):
            raise PreviewNotAvailable(reason)
        if (kept := await self._store.get(preview_key(stored.puuid))) is not None:
            return msgspec.msgpack.decode(kept, type=Preview)
        return await self._drawing.join(stored.puuid, partial(self._draw, stored, store, key))

    async def close(self) -> None:
        """End the programs that draw."""
        await self._drawing.close()

    async def _draw(self, stored: StoredObject, store: Store, key: str) -> Preview:
        try:
            await asyncio.wait_for(self._places.acquire(), WAITING_SECONDS)
        except TimeoutError:
            raise Busy("Other previews are being drawn: ask for this one again later.") from None
        try:
            made = await drawn(store.read(key))
        except PreviewNotAvailable as error:
            self._refused.keep(stored.puuid, error.detail)
            raise
        finally:
            self._places.release()
        await self._store.create(preview_key(stored.puuid), msgspec.msgpack.encode(made))
        return made


async def drawn(chunks: AsyncIterator[bytes]) -> Preview:
    """The picture that the program makes of the bytes. Raises `PreviewNotAvailable`, `StoreUnavailable` where the bytes
    take too long to come, and what reading them raises."""
    # -I: neither the environment nor the folder of the program says what is imported; and no secret of ours goes along
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", draw.__file__, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment
    )
    try:
        await _give(process, chunks)
        output, code = await _taken(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code == draw.REFUSED:
        raise PreviewNotAvailable(output[:200].decode(errors="replace"))
    if code != 0 or len(output) < 4 or len(output) >= OUTPUT_BYTES:
        log.warning("a preview was not drawn: the program ended with %s", code)
        raise PreviewNotAvailable("The file is damaged, or takes too much time or memory to draw.")
    (length,) = struct.unpack(">I", output[:4])
    return Preview(output[4 : 4 + length], output[4 + length :])


async def _give(process: Process, chunks: AsyncIterator[bytes]) -> None:
    """Give the program all bytes: it says nothing before."""
    assert process.stdin is not None
    try:
        async with asyncio.timeout(SECONDS):
            with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: its exit code says why
                async for chunk in chunks:
                    process.stdin.write(chunk)
                    await process.stdin.drain()
    except TimeoutError:
        raise StoreUnavailable("Reading the file takes too long just now: ask for the preview again.") from None
    process.stdin.close()


async def _taken(process: Process) -> tuple[bytes, int]:
    """The output of the program, and its exit code. Raises `PreviewNotAvailable`."""
    assert process.stdout is not None
    output = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            while len(output) < OUTPUT_BYTES and (piece := await process.stdout.read(1 << 16)):
                output += piece
            return bytes(output), await process.wait()
    except TimeoutError:
        raise PreviewNotAvailable("Drawing the file takes too long.") from None
