"""The reference pages say what the code says, and the examples are complete."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

from inlake.errors import every_error
from tests.command import EXAMPLES, environment

ROOT = EXAMPLES.parent


def test_the_reference_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "docs.py", "--check"], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_error_is_explained_and_nothing_else() -> None:
    texts = tomllib.loads((ROOT / "tools" / "errors.toml").read_text())
    assert set(texts) == {error.code for error in every_error()}


def test_every_example_schema_and_its_data_are_there() -> None:
    schemas = json.loads((EXAMPLES / "index.json").read_text())["schemas"]
    names = [schema["name"] for schema in schemas]
    assert len(set(names)) == len(names)
    for place, schema in enumerate(schemas):
        assert (EXAMPLES / schema["file"]).is_file()
        assert "data" not in schema or (EXAMPLES / schema["data"]).is_file()
        assert all(reference["subject"] in names[:place] for reference in schema.get("references", []))


def test_every_binary_of_the_metadata_is_there() -> None:
    for line in (EXAMPLES / "binaries" / "metadata.avro-untagged.ndjson").read_bytes().splitlines():
        file = json.loads(line)["file"]
        assert (EXAMPLES / "binaries" / "files" / file["name"]).stat().st_size == file["byte_length"]
