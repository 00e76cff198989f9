"""Objects as files in a folder: durable when a call returns, created once by `link(2)`, never seen half written."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from time import time
from typing import Self, TypeVar
from uuid import uuid4

from inlake.errors import (
    BadPlace,
    DirectUploadNotAvailable,
    InlakeError,
    NotFound,
    OutOfSpace,
    PlaceTaken,
    StoreUnavailable,
)
from inlake.model import Blob, ObjectFacts, Part, SignedRequest
from inlake.store.folder.uploads import UPLOADS, FolderUploads, forget, sync_folder, sync_whole
from inlake.store.keys import check_ascii, segments

TEMPORARY = ".inlake/tmp"
LEFTOVER_AGE = 86_400
"""Seconds after which a temporary file belongs to a process that died, where the file system has no locks to tell."""
READ_SIZE = 1 << 20
LIST_BATCH = 1_000
PAST_THE_GATEWAY = "The store is a folder: a binary comes by POST /ingress/binary or by tus at /uploads."
ATTEMPTS = 100
"""To give a file its place in a folder that others remove whenever it is empty."""

PUUID = re.compile(r"([0-9a-f]{8})-[0-9a-f-]{27}")

T = TypeVar("T")


class FolderStore:
    """The Store port on a folder of a POSIX file system with hard links; any number of processes may share it.

    Content type and metadata are not kept: the promise log has them. A symbolic link in the place of an object is
    not followed; one in the place of a folder is, since whoever can make it can write the files as well.
    """

    def __init__(self, root: Path) -> None:
        """`root` is made when it is first needed."""
        self._root = root.absolute()
        self._temporary = self._root / TEMPORARY
        self._uploads = FolderUploads(self._root / UPLOADS, self._run)
        self._hidden = {self._temporary, self._root / UPLOADS}
        self._swept = False

    async def create(self, key: str, data: bytes) -> bool:
        return await self._run(self._create, self._path(key), data)

    async def put(
        self, key: str, chunks: AsyncIterator[bytes | bytearray], *, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        check_ascii({"Content-Type": content_type, **metadata})
        path = self._path(key)
        file = _Temporary(self._temporary)
        try:
            await self._run(self._open, file)
            async for chunk in chunks:
                await self._run(file.write, chunk)
            await self._run(self._replace, file, path)
        finally:
            await self._run(file.discard)

    async def get(self, key: str) -> bytes | None:
        return await self._run(_read_whole, self._path(key))

    async def head(self, key: str) -> int | None:
        return await self._run(_size, self._path(key))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Chunks of up to 1 MiB. `NotFound` when there is no such object; nothing beyond its end."""
        file = await self._run(_open_object, self._path(key))
        if file is None:
            raise NotFound(f"There is no object {key}.")
        try:
            while end is None or start < end:
                size = READ_SIZE if end is None else min(READ_SIZE, end - start)
                chunk = await self._run(os.pread, file, size, start)
                if not chunk:
                    return
                yield chunk
                start += len(chunk)
        finally:
            os.close(file)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        folder = self._path(prefix.removesuffix("/")) if prefix else self._root
        keys = self._walk(folder)
        try:
            while batch := await self._run(lambda: [*islice(keys, LIST_BATCH)]):
                for key in batch:
                    yield key
        finally:
            keys.close()

    async def delete(self, key: str) -> None:
        await self._run(self._delete, self._path(key))

    def uri(self, key: str) -> str:
        """`file:///...`, percent-encoded (RFC 8089)."""
        return self._path(key).as_uri()

    async def check(self) -> None:
        await self._run(self._try_out)

    async def close(self) -> None:
        """Nothing stays open between calls."""

    async def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str], size: int | None = None) -> str:
        """`size` makes no difference here."""
        check_ascii({"Content-Type": content_type, **metadata})
        self._path(key)
        return await self._uploads.begin(key)

    async def received(self, key: str, upload: str) -> int | None:
        return await self._uploads.received(key, upload)

    async def append(
        self, key: str, upload: str, offset: int, chunks: AsyncIterator[bytes], *, size: int | None = None
    ) -> int:
        return await self._uploads.append(key, upload, offset, chunks)

    async def complete(self, key: str, upload: str) -> None:
        await self._run(self._complete, self._uploads.path(key, upload), self._path(key))

    async def abort(self, key: str) -> int:
        return await self._uploads.abort(key)

    async def check_direct(self) -> None:
        raise DirectUploadNotAvailable(PAST_THE_GATEWAY)

    async def begin_parts(self, key: str, *, content_type: str, metadata: Mapping[str, str], sha256: bool) -> str:
        raise DirectUploadNotAvailable(PAST_THE_GATEWAY)

    async def parts(self, key: str, upload: str) -> Sequence[Part]:
        raise DirectUploadNotAvailable(PAST_THE_GATEWAY)

    async def complete_parts(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        raise DirectUploadNotAvailable(PAST_THE_GATEWAY)

    async def facts(self, key: str) -> ObjectFacts | None:
        raise DirectUploadNotAvailable(PAST_THE_GATEWAY)

    async def sign_put(
        self, key: str, blob: Blob, *, content_type: str, metadata: Mapping[str, str], expires: float
    ) -> SignedRequest:
        raise DirectUploadNotAvailable(PAST_THE_GATEWAY)

    async def sign_part(self, key: str, upload: str, number: int, blob: Blob, *, expires: float) -> SignedRequest:
        raise DirectUploadNotAvailable(PAST_THE_GATEWAY)

    async def sign_get(self, key: str, *, content_type: str, disposition: str, expires: float) -> SignedRequest:
        raise DirectUploadNotAvailable(PAST_THE_GATEWAY)

    def _path(self, key: str) -> Path:
        if f"{key}/".startswith((f"{TEMPORARY}/", f"{UPLOADS}/")):
            raise BadPlace(f"The key {key!r} is among the temporary files of the store.")
        return self._root.joinpath(*segments(key))

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        """`call` in a thread, to its end even when cancelled: its file must not be closed under it."""
        work = asyncio.get_running_loop().run_in_executor(None, call, *arguments)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            while not work.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({work})
            work.exception()
            raise
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> InlakeError:
        file = PUUID.sub(
            r"\1…", str(error.filename)
        )  # of an anonymous client it is the only secret, and this is logged
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                return OutOfSpace(f"The folder {self._root} has no space left: {error.strerror}.")
            case errno.ENAMETOOLONG:
                return BadPlace(f"A name is too long for the file system: {file}.")
            case errno.EISDIR | errno.ENOTDIR | errno.EEXIST if self._root.is_dir():
                return PlaceTaken(f"A file cannot be a folder at the same time: {file}.")
        return StoreUnavailable(f"The folder {self._root} cannot be used: {error.strerror} ({file}).")

    # What follows blocks, and runs in a thread.

    def _open(self, file: _Temporary) -> None:
        self._temporary.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._sweep()
        file.open()

    def _sweep(self) -> None:
        """Remove what crashed processes left behind, once in the life of this one."""
        self._swept = True
        with os.scandir(self._temporary) as entries:
            for entry in entries:
                with suppress(OSError):  # another process does the same, or it is another user's
                    _remove_leftover(Path(entry))

    def _create(self, path: Path, data: bytes) -> bool:
        with _Temporary(self._temporary) as file:
            self._open(file)
            file.write(data)
            file.sync()
            try:
                self._in_folder(path, lambda: os.link(file.path, path))
            except FileExistsError:
                if path.is_dir():
                    raise
                self._sync_folders(path)  # the winner may not have come so far yet
                return False
            return True

    def _replace(self, file: _Temporary, path: Path) -> None:
        file.sync()
        self._in_folder(path, lambda: file.path.replace(path))

    def _complete(self, upload: Path, path: Path) -> None:
        if sync_whole(upload):
            self._in_folder(path, lambda: _move(upload, path))
            forget(upload)
        elif _size(path) is None:
            raise NotFound("There is no such upload, and no object of it.")
        else:
            self._sync_folders(path)  # who moved it may not have come so far

    def _in_folder(self, path: Path, name: Callable[[], object]) -> None:
        """Call `name`, which gives a file its place at `path`, with the folders there, and make all of it durable."""
        for attempt in range(1, ATTEMPTS + 1):
            _make_folder(path.parent)
            try:
                name()
                break
            except FileNotFoundError:  # a delete took the emptied folder away: make it again
                if attempt == ATTEMPTS:
                    raise
        self._sync_folders(path)

    def _sync_folders(self, path: Path) -> None:
        """Up to the root, and its own entry: another process may have made one of them and not synced it yet."""
        for folder in path.parents:
            with suppress(FileNotFoundError):  # emptied and removed meanwhile
                sync_folder(folder)
            if folder == self._root.parent:
                return

    def _delete(self, path: Path) -> None:
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return
        with suppress(FileNotFoundError):
            sync_folder(path.parent)
        for folder in path.parents:
            if folder == self._root:
                return
            try:
                folder.rmdir()
            except OSError:  # not empty, or gone already: done either way
                return

    def _walk(self, folder: Path) -> Generator[str, None, None]:
        try:
            entries = os.scandir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        with entries:
            for entry in entries:
                path = Path(entry)
                if entry.is_dir(follow_symlinks=False):
                    if path not in self._hidden:
                        yield from self._walk(path)
                elif entry.is_file(follow_symlinks=False):
                    yield path.relative_to(self._root).as_posix()

    def _try_out(self) -> None:
        """Do what `create` does: some file systems have no hard links."""
        with _Temporary(self._temporary) as file, _Temporary(self._temporary) as linked:
            self._open(file)
            file.sync()
            os.link(file.path, linked.path)


class _Temporary:
    """A file that is gone at the end, unless it was moved to its place; locked as long as its process lives."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / uuid4().hex
        self._file: int | None = None

    def open(self) -> None:
        self._file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # no locks here: its age tells
            fcntl.flock(self._file, fcntl.LOCK_EX)
        if os.fstat(self._file).st_nlink == 0:  # a sweep came before the lock
            os.close(self._file)
            self.open()

    def write(self, data: bytes | bytearray) -> None:
        assert self._file is not None
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def sync(self) -> None:
        assert self._file is not None
        os.fsync(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def discard(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self.path.unlink(missing_ok=True)


def _remove_leftover(path: Path) -> None:
    """Unlink a temporary file whose process is gone: the system then dropped its lock, flock(2)."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return  # it is being written
    except OSError:
        if os.fstat(file).st_mtime < time() - LEFTOVER_AGE:
            path.unlink()
    finally:
        os.close(file)


def _move(upload: Path, path: Path) -> None:
    """Also when another has just done it: then the upload is gone, and the object is there."""
    try:
        upload.replace(path)
    except FileNotFoundError:
        if upload.exists() or _size(path) is None:
            raise


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError):  # made by one and removed by another meanwhile, or it is a file
        if folder.is_file():
            raise


def _open_object(path: Path) -> int | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def _read_whole(path: Path) -> bytes | None:
    file = _open_object(path)
    if file is None:
        return None
    with os.fdopen(file, "rb") as opened:
        return opened.read()


def _size(path: Path) -> int | None:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
