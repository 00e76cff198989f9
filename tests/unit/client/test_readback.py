"""What is read back: receipts of a file, and what a gateway says that has no time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest

from inlake.client.gateway import Gateway
from inlake.client.ledger import Ledger
from inlake.client.problems import Failed, Refused, problem_of
from inlake.client.readback import download, read_ledger, verify

CONTENT = b"a scan"
RECEIPT = {"id": "1", "topic": "t", "partition": 0, "offset": 0}
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Body:
    status = 200

    def iter_bytes(self, size: int) -> Iterator[bytes]:
        yield from iter(lambda: self._file.read(size), b"")

    def __init__(self, content: bytes) -> None:
        self._file = BytesIO(content)


class Holding:
    """A gateway that has one object under any name, and says no as often as it is told to."""

    retry = 30.0

    def __init__(self, *says: int) -> None:
        self.says = list(says)

    def promise(self, _: str) -> dict[str, Any]:
        return {"receipt": RECEIPT, "sha256": SHA256, "filename": "scans/001.tif"}

    @contextmanager
    def resource(self, _: str, headers: object = None) -> Iterator[Body]:
        del headers
        if self.says:
            status = self.says.pop(0)
            raise problem_of(status, {"status": status, "code": "x", "detail": "No."}, "0")
        yield Body(CONTENT)


def differences(gateway: Holding) -> tuple[str, ...]:
    told = {**RECEIPT, "puuid": "p", "sha256": SHA256, "size": len(CONTENT)}
    [verdict] = verify(cast("Gateway", gateway), [told])
    return verdict.differences


def test_a_gateway_that_has_no_time_is_asked_again_and_is_no_damage() -> None:
    assert differences(Holding(429, 503)) == ()
    assert differences(Holding(404)) == ("No. (404)",)


def test_a_gateway_that_goes_on_to_fail_ends_it() -> None:
    gateway = Holding(*[503] * 100)
    gateway.retry = 0.0
    with pytest.raises(Failed):
        differences(gateway)


def test_files_of_one_name_are_all_downloaded(tmp_path: Path) -> None:
    gateway = cast("Gateway", Holding())
    puuids = [f"01890a5d-ac96-774b-bcce-00000000000{n}" for n in range(4)]
    for name in ("001.tif", f"{puuids[2]}-001.tif"):
        (tmp_path / name).write_bytes(b"another")
    paths = [download(gateway, puuid, tmp_path) for puuid in puuids]
    assert [path.name for path in paths] == [
        f"{puuids[0]}-001.tif", f"{puuids[1]}-001.tif", f"{puuids[2]}-2-001.tif", f"{puuids[3]}-001.tif",
    ]  # fmt: skip
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert (tmp_path / "001.tif").read_bytes() == b"another"
    assert len(list(tmp_path.iterdir())) == 6


def test_a_download_that_is_refused_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        download(cast("Gateway", Holding(403)), "p", tmp_path)


@pytest.mark.parametrize("name", ["r.ndjson", "r.csv"])
def test_receipts_are_read_whatever_their_files_are_called(name: str, tmp_path: Path) -> None:
    files = ["plain", "two\nlines", "two\r\nlines", "separated\u2028lines", 'a "quote", and\x85more', ""]
    with Ledger(tmp_path / name) as ledger:
        for row, file in enumerate(files):
            ledger.add({"status": 201, "id": str(row), "resource": {"puuid": f"p{row}"}}, row=row, file=file)
    found = read_ledger(tmp_path / name)
    assert [(one["file"], one["puuid"]) for one in found] == [(file, f"p{row}") for row, file in enumerate(files)]
