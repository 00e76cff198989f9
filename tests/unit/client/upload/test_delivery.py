"""What becomes of a file whose shipment an earlier run announced."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from inlake.client.files import Item
from inlake.client.journal import Sent
from inlake.client.upload.delivery import _in

RECORD = b'{"title":"as it was announced"}'


@pytest.mark.parametrize(
    ("record", "content", "state"),
    [(RECORD, "scan", "accepted"), (b'{"title":"mended"}', "scan", "changed"), (RECORD, "longer scan", "changed")],
)
def test_what_is_in_is_told_from_what_is_there_now(record: bytes, content: str, state: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text("scan")
    found = path.stat()
    digest = hashlib.sha256(RECORD).hexdigest()
    sent = Sent("a.tif", found.st_size, found.st_mtime_ns, "0" * 64, digest, {"id": "e1", "topic": "scan"})
    if content != "scan":
        path.write_text(content)
    outcome = _in(Item("a.tif", path, record), sent)
    assert (outcome.state, outcome.sent) == (state, sent)
