"""`inlake open` against a real gateway process; the program that stands for a browser does nothing."""

from __future__ import annotations

from pathlib import Path

from tests.command import inlake, serving


def test_the_console_is_opened_at_the_address_of_the_gateway(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        opened = inlake("open", stdin=b"", cwd=tmp_path, **{**served.variables, "BROWSER": "true"})
        assert (opened.returncode, opened.stdout) == (0, f"{served.url}/\n"), opened.stderr
        nowhere = inlake("open", "--url", "http://127.0.0.1:9", cwd=tmp_path, BROWSER="true")
        assert (nowhere.returncode, nowhere.stdout) == (3, "")
