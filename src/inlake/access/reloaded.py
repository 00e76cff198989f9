"""A file of the operator that is read again when it changes; a broken one leaves what was read last."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

log = logging.getLogger("inlake.access")
LOOK_SECONDS = 1.0
T = TypeVar("T")


class Reloaded(Generic[T]):
    """The content of a file, at most a second after it changed."""

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        """`read` makes the value of the file, and raises `ValueError`, as this does, when it is not one."""
        self._path, self._read = path, read
        self._seen = self._stamp()
        self._value = read(path)
        self._looked = time.monotonic()

    @property
    def current(self) -> T:
        """The value of the file as it was last in order."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp  # a broken file is told of once
                self._value = self._read(self._path)
                log.info("%s is read again: it changed", self._path)
        except ValueError as error:
            log.warning("what %s said before goes on being in force: %s", self._path, error)

    def _stamp(self) -> tuple[int, int, int]:
        try:
            stat = self._path.stat()
        except OSError as error:
            raise ValueError(f"{self._path} cannot be read: {error.strerror}") from None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino
