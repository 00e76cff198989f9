"""Files below a folder into which others write: each folder on the way is opened in the one before it.

A path would be looked up anew by each call: whoever may write there could put a link in the place of a folder between
two of them, and have a file beside the folder read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from inlake.model import Listed, ObjectFacts

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A pipe in the place of a file must not keep the one who opens it waiting."""
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}
"""Nothing there, or a link or a socket."""


def open_file(root: Path, names: Sequence[str]) -> int | None:
    """An open file to read from; None when there is none, something else in its place, or a link on the way to it."""
    with _open_folder(root, names[:-1]) as folder:
        file = None if folder is None else _open(names[-1], _FILE, folder)
    if file is None or stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def facts(root: Path, names: Sequence[str]) -> ObjectFacts | None:
    """Bytes of a file, and a tag that changes with it; None where `open_file` has none."""
    file = open_file(root, names)
    if file is None:
        return None
    try:
        found = os.fstat(file)
    finally:
        os.close(file)
    return ObjectFacts(found.st_size, f'"{found.st_mtime_ns:x}-{found.st_size:x}"')


def walk(root: Path, names: Sequence[str]) -> Generator[Listed, None, None]:
    """The files below a folder, with their paths from the root; none where a link is on the way to it."""
    with _open_folder(root, names) as folder:
        if folder is not None:
            yield from _walk(folder, "".join(f"{name}/" for name in names))


def _walk(folder: int, path: str) -> Generator[Listed, None, None]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                inner = _open(entry.name, _FOLDER, folder)
                if inner is not None:
                    try:
                        yield from _walk(inner, f"{path}{entry.name}/")
                    finally:
                        os.close(inner)
            elif entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # removed meanwhile
                    found = entry.stat(follow_symlinks=False)
                    yield Listed(path + entry.name, found.st_size, found.st_mtime)


@contextmanager
def _open_folder(root: Path, names: Sequence[str]) -> Generator[int | None, None, None]:
    """A folder below the root, open while the block runs; None where there is none."""
    folder = _open(str(root), _FOLDER, None)
    try:
        for name in names:
            if folder is None:
                break
            outer, folder = folder, None
            try:
                folder = _open(name, _FOLDER, outer)
            finally:
                os.close(outer)
        yield folder
    finally:
        if folder is not None:
            os.close(folder)


def _open(name: str, flags: int, folder: int | None) -> int | None:
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
