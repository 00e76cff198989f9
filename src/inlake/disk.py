"""Files on a disk: names and contents made durable, and locks that a crash lets go of."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_file(path: Path) -> None:
    """Make what a file holds durable, whoever wrote it."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_all(file: int, data: bytes | bytearray) -> None:
    """Write all of `data` at the end of an open file: one call of the system may take a part of it only."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def write_durably(path: Path, data: bytes) -> None:
    """Put a file in its place, over what is there: all of it or nothing of it, also after a power cut.

    Its draft stands beside it, so callers see to it that one at a time writes.
    """
    draft = path.with_name(f"{path.name}~")
    file = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    try:
        write_all(file, data)
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    sync_folder(path.parent)


def lock(file: int, *, wait: bool = False) -> bool:
    """Lock an open file (flock(2)) until it is closed, or its process is gone; False when another has locked it.

    `wait`: until it is free. `OSError` where the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
