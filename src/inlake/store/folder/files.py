"""The files of a folder of objects: made beside their place, then linked or moved to it. All of it blocks."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from heapq import nsmallest
from pathlib import Path
from time import time
from typing import Self, TypeVar
from uuid import uuid4

from inlake.disk import lock, sync_file, sync_folder, write_all
from inlake.errors import NotFound
from inlake.model import Listed, ObjectFacts

TEMPORARY = ".inlake/tmp"
UPLOADS = ".inlake/uploads"
HIDDEN = (TEMPORARY, UPLOADS)
"""Folders that no key reaches."""
LEFTOVER_AGE = 86_400
"""Seconds after which a temporary file belongs to a process that died, where the file system has no locks to tell."""
TRIED = 16 << 10
"""Bytes that are written to see whether there is room."""
NEARLY_FULL = 0.05
"""The part that is free below which it is said."""
T = TypeVar("T")
ATTEMPTS = 100
"""Attempts to give a file its place in a folder that others remove whenever it is empty."""


class Files:
    """Puts files in their place below `root`, for any number of threads and processes. `OSError` comes through."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._temporary = root / TEMPORARY
        self.uploads = root / UPLOADS
        self._hidden = {root / hidden for hidden in HIDDEN}
        self._swept = False

    def temporary(self) -> Temporary:
        """A file that is not there yet: `open` makes it."""
        return Temporary(self._temporary)

    def open(self, file: Temporary) -> None:
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

    def create(self, path: Path, data: bytes) -> bool:
        """Put a file at `path` if there is none; False when there is one."""
        with self.temporary() as file:
            self.open(file)
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

    def replace(self, file: Temporary, path: Path) -> None:
        """Move a temporary file to its place, over what is there."""
        file.sync()
        self._in_folder(path, lambda: file.path.replace(path))

    def complete(self, upload: Path, path: Path) -> bool:
        """Move the file of a whole upload to its place; False when one is there already, which stays.

        `NotFound` when there is neither of them.
        """
        try:
            sync_file(upload)
        except FileNotFoundError:
            if size(path) is None:
                raise NotFound("There is no such upload, and no object of it.") from None
            self._sync_folders(path)  # who moved it may not have come so far
            return False
        made = self._in_folder(path, lambda: _link(upload, path))
        upload.unlink(missing_ok=True)
        with suppress(OSError):  # another upload to the key is under way
            upload.parent.rmdir()
        return made

    def _in_folder(self, path: Path, name: Callable[[], T]) -> T:
        """Call `name`, which gives a file its place at `path`, with the folders there, and make all of it durable."""
        for attempt in range(1, ATTEMPTS + 1):
            _make_folder(path.parent)
            try:
                result = name()
                break
            except FileNotFoundError:  # a delete took the emptied folder away: make it again
                if attempt == ATTEMPTS:
                    raise
        self._sync_folders(path)
        return result

    def _sync_folders(self, path: Path) -> None:
        """Up to the root, and its own entry: another process may have made one of them and not synced it yet."""
        for folder in path.parents:
            with suppress(FileNotFoundError):  # emptied and removed meanwhile
                sync_folder(folder)
            if folder == self._root.parent:
                return

    def delete(self, path: Path) -> None:
        """Unlink a file, and the folders that it leaves empty; none there is no error."""
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

    def walk(self, folder: Path) -> Generator[Listed, None, None]:
        """The objects below a folder."""
        try:
            entries = os.scandir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        with entries:
            for entry in entries:
                path = Path(entry)
                if entry.is_dir(follow_symlinks=False):
                    if path not in self._hidden:
                        yield from self.walk(path)
                elif entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # removed meanwhile
                        found = entry.stat(follow_symlinks=False)
                        yield Listed(path.relative_to(self._root).as_posix(), found.st_size, found.st_mtime)

    def try_out(self) -> list[str]:
        """Do what `create` does: some file systems have no hard links, and some are full; warns of one that is so soon.

        `OSError` with ENOSPC says how much is free.
        """
        try:
            with self.temporary() as file, self.temporary() as linked:
                self.open(file)
                file.write(os.urandom(TRIED))
                file.sync()
                os.link(file.path, linked.path)
        except OSError as error:
            if error.errno != errno.ENOSPC or not self._root.exists():
                raise
            raise OSError(errno.ENOSPC, self._room()[1]) from None
        free, said = self._room()
        return [f"The folder {self._root} is nearly full: {said}."] if free < NEARLY_FULL else []

    def _room(self) -> tuple[float, str]:
        """The part of the file system that is free, and the same in words."""
        found = os.statvfs(self._root)
        free, whole = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        part = free / whole if whole else 0.0
        return part, f"{free:,} of {whole:,} bytes are free ({part:.1%})"


class Temporary:
    """A file that is gone at the end, unless it was moved to its place; locked as long as its process lives."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / uuid4().hex
        self._file: int | None = None

    def open(self) -> None:
        self._file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # no locks here: its age tells
            lock(self._file, wait=True)
        if os.fstat(self._file).st_nlink == 0:  # a sweep came before the lock
            os.close(self._file)
            self.open()

    def write(self, data: bytes | bytearray) -> None:
        assert self._file is not None
        write_all(self._file, data)

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
        if lock(file):  # else it is being written
            path.unlink()
    except OSError:
        if os.fstat(file).st_mtime < time() - LEFTOVER_AGE:
            path.unlink()
    finally:
        os.close(file)


def _link(upload: Path, path: Path) -> bool:
    """Gives the file of an upload its place; False when there is one already: it, moved by another, or another one."""
    try:
        os.link(upload, path)
    except FileExistsError:
        if path.is_dir():
            raise
    except FileNotFoundError:
        if upload.exists() or size(path) is None:
            raise
    else:
        return True
    return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError):  # made by one and removed by another meanwhile, or it is a file
        if folder.is_file():
            raise


def open_object(path: Path) -> int | None:
    """An open file to read from; None when there is none, or something else in its place."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def read_whole(path: Path) -> bytes | None:
    """The content of a file; None when there is none."""
    file = open_object(path)
    if file is None:
        return None
    with os.fdopen(file, "rb") as opened:
        return opened.read()


def sizes(root: str, keys: Sequence[str]) -> dict[str, int]:
    """Bytes of those of the files that are there."""
    found = {}
    for key in keys:
        with suppress(FileNotFoundError, NotADirectoryError):
            file = os.lstat(f"{root}/{key}")
            if stat.S_ISREG(file.st_mode):
                found[key] = file.st_size
    return found


def names_after(folder: Path, after: str, count: int) -> list[str]:
    """The first names in a folder behind `after`, sorted; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return nsmallest(count, (entry.name for entry in entries if entry.name > after and entry.is_file()))
    except (FileNotFoundError, NotADirectoryError):
        return []


def facts(path: Path) -> ObjectFacts | None:
    """Bytes of a file, and a tag that changes with it; None when there is none."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return ObjectFacts(found.st_size, f'"{found.st_mtime_ns:x}-{found.st_size:x}"')


def size(path: Path) -> int | None:
    """Bytes of a file; None when there is none."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
