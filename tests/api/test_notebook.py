"""A collection sent from a Jupyter notebook, by a real kernel: a bar goes along, and stays as a sum."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.api.test_cli_upload import SCAN
from tests.command import environment, serving

RUN = """
import sys, nbclient, nbformat
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(sys.stdin.read())])
nbclient.NotebookClient(book, timeout=60).execute()
print(nbformat.writes(book))
"""
CELL = """
from pathlib import Path
from inlake.client import Client
with Client({url!r}) as client:
    states = [outcome.state for outcome in client.upload_many("scan", Path("scans"), table=Path("scans.csv"))]
sorted(states)
"""


def test_a_bar_is_shown_in_a_notebook_and_stays_as_a_sum(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in "a.txt", "b.txt", "c.txt":
        (scans / name).write_bytes(name.encode() * 1_000)
    (tmp_path / "scans.csv").write_text("title,year,file\nA,1,a.txt\nB,2,b.txt\nC,x,c.txt\n")
    with serving(tmp_path) as served:
        (tmp_path / "scan.avsc").write_text(json.dumps(SCAN))
        assert served.inlake("schemas", "add", "scan", "scan.avsc").returncode == 0
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", RUN],
            input=CELL.format(url=served.url), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    bar, result = json.loads(done.stdout)["cells"][0]["outputs"]
    assert "".join(result["data"]["text/plain"]) == "['accepted', 'accepted', 'wrong']"
    html, plain = ("".join(bar["data"][kind]) for kind in ("text/html", "text/plain"))
    assert html.startswith('<progress max="1" value="1.0000"')
    assert re.fullmatch(r"100% 2 of 2 files, 0\.0 MB, [\d.]+ MB/s", plain), plain
