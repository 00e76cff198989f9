"""Objects that come in pieces to a folder: one file for each upload, appended to and synced, linked to its place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from inlake.disk import sync_folder
from inlake.errors import NotFound, OffsetConflict
from inlake.model import PART
from inlake.store.folder.files import Files
from inlake.store.keys import check_ascii

Run = Callable[..., Awaitable[Any]]


class FolderPieces:
    """The files of unfinished uploads, below a folder of their own that no key reaches.

    A process that dies leaves what it has written: the system has it, and `complete` syncs it before it is seen.
    """

    def __init__(self, files: Files, place: Callable[[str], Path], run: Run) -> None:
        """`place`: of a key; `run`: calls a function that blocks in a thread, to its end, and turns its OSError into an
        error of ours."""
        self._files, self._place, self._run = files, place, run

    async def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str], size: int | None = None) -> str:  # noqa: ARG002
        """`size` makes no difference here."""
        check_ascii({"Content-Type": content_type, **metadata})
        self._place(key)
        upload = uuid4().hex
        await self._run(_make, self._file(key, upload))
        return upload

    async def received(self, key: str, upload: str) -> int | None:
        size: int | None = await self._run(_size, self._file(key, upload))
        return size

    async def append(
        self,
        key: str,
        upload: str,
        offset: int,
        chunks: AsyncIterator[bytes],
        *,
        size: int | None = None,  # noqa: ARG002
    ) -> int:
        file = await self._run(_open_at, self._file(key, upload), offset)
        waiting: list[bytes] = []
        length = offset

        async def write() -> None:
            nonlocal length
            data = b"".join(waiting)
            waiting.clear()
            await self._run(_write_at, file, data, length)
            length += len(data)

        try:
            collected = 0
            async for chunk in chunks:
                waiting.append(chunk)
                collected += len(chunk)
                if collected >= PART:
                    await write()
                    collected = 0
        finally:
            try:
                await write()
                await self._run(os.fsync, file)
            finally:
                os.close(file)
        return length

    async def complete(self, key: str, upload: str) -> bool:
        made: bool = await self._run(self._files.complete, self._file(key, upload), self._place(key))
        return made

    async def abort(self, key: str) -> int:
        count: int = await self._run(_remove, self._file(key))
        return count

    def _file(self, key: str, upload: str = "") -> Path:
        """The file of an upload, or the folder of all to the key. `NotFound` when it is no id of ours."""
        if upload and not (upload.isalnum() and upload.isascii()):
            raise NotFound("There is no such upload.")
        return self._files.uploads / hashlib.sha256(key.encode()).hexdigest()[:32] / upload


def _make(path: Path) -> None:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # the emptied folder was taken away by another upload's end
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
            break
    for folder in path.parents[:3]:  # up to the one that holds all state: an upload that is answered for is there
        sync_folder(folder)


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
