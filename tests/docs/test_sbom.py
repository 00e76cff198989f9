"""The bill of materials of the image."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.docs.pages import ROOT
from tests.docs.test_deployment import locked


def test_the_bill_of_materials_has_all_that_the_image_installs_with_its_hashes(tmp_path: Path) -> None:
    file = tmp_path / "made" / "sbom.json"
    done = subprocess.run([ROOT / "tools" / "sbom.sh", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(file.read_text())
    assert told["bomFormat"] == "CycloneDX"
    assert told["metadata"]["component"]["name"] == "inlake"
    listed = {part["name"].lower(): part for part in told["components"]}
    assert {name: part["version"] for name, part in listed.items()} == locked("requirements-server.lock")
    for part in listed.values():
        assert part["purl"] == f"pkg:pypi/{part['name']}@{part['version']}"
        assert part["externalReferences"][0]["hashes"], "each with the SHA-256 that it must have"
