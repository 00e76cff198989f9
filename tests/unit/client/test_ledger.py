"""The file of receipts: what a killed run has left of it, a later one goes on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlake.client.ledger import Ledger
from inlake.client.readback import read_ledger


def write(path: Path, *ids: str, goes_on: bool = False) -> None:
    with Ledger(path, goes_on=goes_on) as ledger:
        for one in ids:
            ledger.add({"status": 201, "id": one, "resource": {"puuid": one}}, row=1, file="x" * 100_000)


@pytest.mark.parametrize("name", ["r.ndjson", "r.csv"])
@pytest.mark.parametrize("cut", [1, 50, 100_000])
def test_a_line_that_a_killed_run_has_begun_is_written_over(name: str, cut: int, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, "1", "2")
    path.write_bytes(path.read_bytes()[:-cut])
    write(path, "3", "4", goes_on=True)
    assert [one["id"] for one in read_ledger(path)] == ["1", "3", "4"]


@pytest.mark.parametrize("left", [0, 5])
def test_a_file_that_was_hardly_begun_is_begun_anew(left: int, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    write(path, "1")
    path.write_bytes(path.read_bytes()[:left])
    write(path, "2", goes_on=True)
    assert [one["id"] for one in read_ledger(path)] == ["2"]
