"""Objects that come in pieces to a folder: one file for each upload, appended to and synced, moved to its place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from inlake.errors import NotFound, OffsetConflict
from inlake.model import PART

UPLOADS = ".inlake/uploads"
Run = Callable[..., Awaitable[Any]]


class FolderUploads:
    """The files of unfinished uploads, below a folder of their own that no key reaches.

    A process that dies leaves what it has written: the system has it, and `complete` syncs it before it is seen.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        """`run`: calls a function that blocks in a thread, to its end, and turns its OSError into an error of ours."""
        self._folder, self._run = folder, run

    async def begin(self, key: str) -> str:
        upload = uuid4().hex
        await self._run(_make, self.path(key, upload))
        return upload

    async def received(self, key: str, upload: str) -> int | None:
        size: int | None = await self._run(_size, self.path(key, upload))
        return size

    async def append(self, key: str, upload: str, offset: int, chunks: AsyncIterator[bytes]) -> int:
        file = await self._run(_open_at, self.path(key, upload), offset)
        waiting: list[bytes] = []
        length = offset

        async def write() -> None:
            nonlocal length
            data = b"".join(waiting)
            waiting.clear()
            await self._run(_write_at, file, data, length)
            length += len(data)

        try:
            size = 0
            async for chunk in chunks:
                waiting.append(chunk)
                size += len(chunk)
                if size >= PART:
                    await write()
                    size = 0
        finally:
            try:
                await write()
                await self._run(os.fsync, file)
            finally:
                os.close(file)
        return length

    async def abort(self, key: str) -> int:
        count: int = await self._run(_remove, self.path(key))
        return count

    def path(self, key: str, upload: str = "") -> Path:
        """The file of an upload, or the folder of all to the key. `NotFound` when it is no id of ours."""
        if upload and not (upload.isalnum() and upload.isascii()):
            raise NotFound("There is no such upload.")
        return self._folder / hashlib.sha256(key.encode()).hexdigest()[:32] / upload


def sync_whole(path: Path) -> bool:
    """Make what an upload holds durable; False when there is no such upload."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.fsync(file)
    finally:
        os.close(file)
    return True


def forget(path: Path) -> None:
    """Remove the folder of an upload that is at its place now, when no other one to its key is under way."""
    with suppress(OSError):
        path.parent.rmdir()


def _make(path: Path) -> None:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # the emptied folder was taken away by another upload's end
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
            break
    for folder in path.parents[:3]:  # up to the one that holds all state: an upload that is answered for is there
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in it durable."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _open_at(path: Path, offset: int) -> int:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound("There is no such upload.") from None
    size = os.fstat(file).st_size
    if size != offset:
        os.close(file)
        raise OffsetConflict(f"The upload stands at {size:,} bytes, not at {offset:,}.")
    return file


def _write_at(file: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def _remove(folder: Path) -> int:
    try:
        uploads = list(folder.iterdir())
    except FileNotFoundError:
        return 0
    for upload in uploads:
        upload.unlink(missing_ok=True)
    with suppress(OSError):  # one was begun meanwhile
        folder.rmdir()
    return len(uploads)
