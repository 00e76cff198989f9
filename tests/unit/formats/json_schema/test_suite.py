"""The official JSON-Schema-Test-Suite through the codec: every case of drafts 7 and 2020-12, and of their formats."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from inlake.errors import RecordRejected
from inlake.formats.json_schema.codec import JsonSchemaCodec
from inlake.formats.json_schema.keywords import META_SCHEMAS

SUITE = json.loads(
    gzip.decompress((Path(__file__).parents[3] / "data" / "json_schema_test_suite.json.gz").read_bytes())
)
DRAFTS = {"draft7": META_SCHEMAS[7], "draft2020-12": META_SCHEMAS[20]}
SETS = [(name, file) for name, files in SUITE["cases"].items() for file in files]
EXPECTED_SETS = 122
EXPECTED_CASES = 3_095


def codec(schema: Any, draft: str) -> JsonSchemaCodec:
    """The cases of a draft that do not say which are in that draft; what is at localhost:1234 is a reference."""
    if isinstance(schema, dict):
        schema = {"$schema": DRAFTS[draft], **schema}
    text = json.dumps(schema)
    remotes = SUITE["remotes"][draft] if "localhost:1234" in text else {}
    return JsonSchemaCodec(text, [(address, json.dumps(remote)) for address, remote in remotes.items()])


def deliberately_different(file: str, test: dict[str, Any]) -> bool:
    """`format` is an annotation by default in the suite, and asserted here: docs/json-schema.md."""
    return file == "format" and "is only an annotation by default" in test["description"]


def accepted(made: JsonSchemaCodec, value: Any) -> bool:
    draft = made.read(json.dumps(value).encode())
    try:
        published = made.encode(draft)
    except RecordRejected as refusal:
        return not refusal.errors  # there are some
    # as text: 1 stays 1, and 1.0 stays 1.0
    assert json.dumps(json.loads(published)) == json.dumps(value)
    return True


@pytest.mark.parametrize(("name", "file"), SETS)
def test_the_official_suite_agrees(name: str, file: str) -> None:
    for group in SUITE["cases"][name][file]:
        made = codec(group["schema"], name.partition("/")[0])
        for test in group["tests"]:
            expected = test["valid"] and not deliberately_different(file, test)
            assert accepted(made, test["data"]) is expected, (group["description"], test["description"])


def test_the_suite_is_whole() -> None:
    groups = [group for files in SUITE["cases"].values() for file in files.values() for group in file]
    assert len(SETS) == EXPECTED_SETS
    assert sum(len(group["tests"]) for group in groups) == EXPECTED_CASES


def test_the_suite_differs_from_us_in_format_only() -> None:
    differences = [
        (name, file)
        for name, file in SETS
        for group in SUITE["cases"][name][file]
        for test in group["tests"]
        if deliberately_different(file, test)
    ]
    assert set(differences) == {("draft2020-12", "format")}
