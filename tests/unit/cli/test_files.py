"""Files that a command writes, and those that it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlake.cli.failures import Failure
from inlake.cli.files import require_apart


def test_a_file_that_is_read_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, link, new = tmp_path / "t.csv", tmp_path / "link.csv", tmp_path / "new.csv"
    table.write_text("a\n1\n")
    link.symlink_to(table)
    monkeypatch.chdir(tmp_path)
    for rejects in table, link, Path("t.csv"), Path("./t.csv"):
        with pytest.raises(Failure, match="--rejects would write over"):
            require_apart({"--rejects": rejects, "--receipts": None}, [str(table), None, "-"])
    with pytest.raises(Failure, match="--receipts would write over"):
        require_apart({"--rejects": new, "--receipts": new}, ["t.csv"])
    require_apart({"--rejects": new, "--receipts": Path("/dev/null")}, [tmp_path, "t.csv"])
