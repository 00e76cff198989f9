"""The table of rejects: a page costs what the page has, however many rejects there are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from inlake.rejects.reject import Wanted
from inlake.rejects.sqlite.table import Table
from tests.contract.test_rejects import DAY, reject


def steps(table: Table, wanted: Wanted) -> int:
    """How many hundreds of instructions SQLite takes for a page."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    table._table().set_progress_handler(step, 100)
    assert len(table.page(wanted, 20, None)) == 20
    table._table().set_progress_handler(None, 0)
    return count


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(principal="token:a"), Wanted(mended=None)], ids=str)
def test_a_page_costs_as_much_among_many_as_among_few(wanted: Wanted) -> None:
    table = Table(None, seconds=30 * DAY, most_bytes=1 << 30)
    table.index()
    table.add([reject(n) for n in range(100)])
    few = steps(table, wanted)
    table.add([reject(n) for n in range(100, 3_000)])
    assert steps(table, wanted) <= few + 10
    table.close()


def test_a_file_that_has_no_column_for_destinations_gets_it(tmp_path: Path) -> None:
    columns = "id TEXT PRIMARY KEY, at, principal, schema, cause, mended, mended_at, document BLOB"
    old = [reject(1, destination="x/y"), reject(2)]
    with sqlite3.connect(tmp_path / "rejects.db") as before:
        before.execute(f"CREATE TABLE rejects ({columns})")
        before.execute("CREATE INDEX rejects_counted ON rejects (mended, principal, schema, cause, at, id)")
        rows = [(r.id, r.at, r.principal, r.schema, r.cause, None, None, msgspec.json.encode(r)) for r in old]
        before.executemany("INSERT INTO rejects VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    before.close()
    table = Table(tmp_path / "rejects.db", seconds=30 * DAY, most_bytes=1 << 30)
    new = reject(3, destination="x/y")
    table.add([new])
    seen = Wanted(principal="nobody", sees=lambda _, destination: destination == "x/y")
    assert table.page(seen, 10, None) == [new, old[0]]
    table.close()
