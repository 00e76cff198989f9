"""The notebook runs from its first cell to its last, by a real kernel, and shows what it says it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from recipes.spark.tests.conftest import CONF
from recipes.spark.tests.world import ROOT, World

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]
BOOK = ROOT / "recipes" / "spark" / "artworks.ipynb"
RUN = """
import sys, nbclient, nbformat
book = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": sys.argv[2]}}).execute()
print(nbformat.writes(book))
"""


def outputs(cell: dict[str, Any]) -> str:
    """What a cell printed, and the media types of what it shows."""
    told = (output.get("text") or output["data"] for output in cell["outputs"])
    return "\n".join("".join(one) if isinstance(one, list) else " ".join(one) for one in told)


def test_the_notebook_shows_artworks_subjects_and_the_pictures_of_an_artist(world: World) -> None:
    conf = " ".join(f'--conf "{name}={value}"' for name, value in CONF.items())
    environment = {**os.environ, **world.environment, "PYSPARK_SUBMIT_ARGS": f"{conf} pyspark-shell"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, str(BOOK), str(BOOK.parent)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=380,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    _, _, sent, table, subjects, pictures, one, _ = (
        outputs(cell) for cell in json.loads(done.stdout)["cells"] if cell["cell_type"] == "code"
    )
    assert sent.startswith("4,987 accepted, 13 rejected")
    assert "|wrong_type /dateRange/startYear|" in sent
    assert "|A00016|" in table
    assert "people" in subjects
    assert pictures.startswith("3 accepted, 0 rejected")
    assert one.startswith("Texture of a cow 78699 bytes")
    assert "image/png" in one
