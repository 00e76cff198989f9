"""What moves the files of `inlake upload`, without a gateway: each is read, hashed and put; parts of large ones too."""

from __future__ import annotations

import sys
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from inlake.client.files import Item
from inlake.client.upload.mover import Mover, Put, Slice
from inlake.client.upload.reading import Read, read

QUERY = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=86400&X-Amz-Signature=" + 64 * "0"
PART = 16 << 20
BATCH = 250
"""Files that are read while others are sent."""


def main(folder: Path, url: str) -> None:
    mover = Mover(most=32, timeout=60, retry=10)
    files = sorted(folder.iterdir())
    batches = [files[n : n + BATCH] for n in range(0, len(files), BATCH)]
    with ThreadPoolExecutor(3) as pool:
        states = {state for found in pool.map(lambda batch: _send(mover, batch, url), batches) for state in found}
    mover.close()
    if states != {"stored"}:
        sys.exit(f"not all is stored: {states}")


def _send(mover: Mover, files: list[Path], url: str) -> set[str]:
    room, puts = 16 << 20, list[Put]()
    for path in files:
        one = read(Item(path.name, path, b"{}"), keep=room > 0)
        room -= len(one.data or b"")
        puts += _puts(one, path, f"{url}/b/{path.name}?{QUERY}")
    return {moved.state for moved in mover.put_all(puts)}


def _puts(one: Read, path: Path, url: str) -> list[Put]:
    headers = {
        "content-type": "application/octet-stream",
        "if-none-match": "*",
        "x-amz-checksum-sha256": b64encode(bytes.fromhex(one.file.sha256)).decode(),
    }
    if one.file.size <= 4 * PART:
        return [Put(url, headers, Slice(path, 0, one.file.size) if one.data is None else one.data)]
    starts = range(0, one.file.size, PART)
    return [Put(f"{url}&partNumber={n}", {}, Slice(path, n, min(PART, one.file.size - n))) for n in starts]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
