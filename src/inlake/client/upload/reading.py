"""Files read before they are announced: what each is, and the bytes of small ones, which are sent from memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from json.encoder import encode_basestring as quoted
from typing import NamedTuple

from inlake.client.files import Item, size_of
from inlake.client.journal import File
from inlake.client.media_types import media_type
from inlake.client.multipart import readable
from inlake.client.upload.mover import Put, Slice
from inlake.client.upload.shipments import Target

SMALL = 1 << 20
"""A file of up to so many bytes is kept from its hash to its PUT, while there is room."""
ROOM = 10 << 20
"""Bytes of files kept for one shipment."""
FIRST, MOST = 100, 1_000
"""Files of the first shipment and of the last ones, so that bytes move soon and nobody waits long at the end, and of
the largest."""
SHARE = 3
"""A shipment takes at most this part of the files that are left."""
FILE_BYTES = 64 << 20
"""The most bytes of the files of a shipment: receipts come as it goes on."""
BODY_BYTES = 4 << 20
"""The most bytes of an announcement; a gateway takes 8 MiB with a key (INLAKE_IDEMPOTENT_BYTES)."""
AROUND = 300
"""Bytes of a line around its record, about."""


class Read(NamedTuple):
    """A file that was read."""

    item: Item
    file: File
    data: bytes | None
    """All of it, if it is small."""

    def line(self) -> bytes:
        """The line that announces it."""
        assert self.item.path is not None
        assert self.item.record is not None
        name = readable(self.item.path.name)
        head = (  # a tenth of what json.dumps takes
            f'{{"filename":{quoted(name)},"size":{self.file.size},"sha256":"{self.file.sha256}",'
            f'"content_type":"{media_type(name)}"}}'
        )
        return b'{"file":%b,"record":%b}\n' % (head.encode(), self.item.record)

    def put(self, target: Target) -> Put:
        """The request that sends it."""
        return put_of(self.item, self.file, target, self.data)


def put_of(item: Item, file: File, target: Target, data: bytes | None = None) -> Put:
    """The request that sends a file; `data`: all of it, where that is in memory."""
    assert item.path is not None
    return Put(target.url, target.headers, Slice(item.path, 0, file.size) if data is None else data)


def read(item: Item, *, keep: bool) -> Read:
    """Read a file as it is now; `keep`: its bytes stay if they are few. Raises OSError."""
    assert item.path is not None
    assert item.record is not None
    descriptor = os.open(item.path, os.O_RDONLY)
    with open(descriptor, "rb", buffering=0) as opened:  # noqa: PTH123 (a descriptor: half the calls of Path.open)
        found = os.fstat(descriptor)
        data = opened.read(found.st_size + 1) if keep and found.st_size <= SMALL else None
        if data is None:
            sha256, size = hashlib.file_digest(opened, "sha256"), os.fstat(descriptor).st_size
        else:
            sha256, size = hashlib.sha256(data), len(data)
    record = hashlib.sha256(item.record).hexdigest()
    return Read(item, File(item.name, size, found.st_mtime_ns, sha256.hexdigest(), record), data)


def batches(items: Sequence[Item], most: Callable[[], int | None]) -> Iterator[list[Item]]:
    """Items that go out together: few at first, then more, and few at the end; `most`: how many the gateway takes,
    asked each time."""
    batch: list[Item] = []
    lines = files = 0
    grown = wanted = FIRST
    for n, item in enumerate(items):
        line, size = AROUND + len(item.record or b""), size_of(item)
        full = len(batch) >= min(wanted, most() or wanted)
        if batch and (full or lines + line > BODY_BYTES or files + size > FILE_BYTES):
            yield batch
            batch, lines, files, grown = [], 0, 0, min(2 * grown, MOST)
            wanted = min(grown, max(FIRST, (len(items) - n) // SHARE))
        batch.append(item)
        lines, files = lines + line, files + size
    if batch:
        yield batch
