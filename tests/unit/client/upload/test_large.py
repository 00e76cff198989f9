"""A large file whose run was killed when all of its bytes were there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

from inlake.client.collection import explain
from inlake.client.files import Item
from inlake.client.gateway import Address, Gateway
from inlake.client.journal import File, Journal, Underway
from inlake.client.upload.large import LargeFiles
from inlake.client.upload.mover import Mover
from inlake.client.upload.promises import Promises

CONTENT, RECORD, PUUID = b"bytes of a scan", b'{"title":"A"}', "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa"


class Whole(Promises):
    """The promise is stored: there are no parts to send, and asking for them is refused (`wrong_state`)."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def is_open(self, puuid: str) -> bool:
        return puuid == PUUID

    def sha256(self, puuid: str) -> str | None:
        self.asked.append(puuid)
        return hashlib.sha256(CONTENT).hexdigest()


class Receiving:
    """A gateway that takes the record."""

    connection = None

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def send_text(self, _: Address, record: bytes, *, key: str) -> dict[str, Any]:
        assert PUUID in key
        self.records.append(record)
        return {"id": "e1", "topic": "scan"}


def test_only_its_record_goes_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(CONTENT)
    found = path.stat()
    file = File("a.tif", found.st_size, found.st_mtime_ns, "", hashlib.sha256(RECORD).hexdigest())
    gateway, promises = Receiving(), Whole()
    with Journal(tmp_path / "journal", "to") as journal:
        journal.begin_large(Underway(file, PUUID, "parts"))
        large = LargeFiles(
            cast("Gateway", gateway), Address("scan"), journal, cast("Mover", None), field="file", explained=explain
        )
        large._promises = promises
        outcome = large.send(Item("a.tif", path, RECORD), direct=None)
        assert outcome.state == "accepted", outcome.faults
        assert journal.underway_large("a.tif") is None
    assert gateway.records == [b'{"file":"%s","title":"A"}' % PUUID.encode()]
    assert promises.asked == [PUUID]
