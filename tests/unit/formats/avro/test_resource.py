"""The field that names a record's object, filled by the fast path as the exact rules fill it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inlake.errors import RecordRejected
from inlake.formats.avro.codec import AvroCodec

URI = "s3://bucket/objects/5b2f0c9e-11d4-8a3c-9c41-0a1b2c3d4e5f/größe.obj"
ENUM = {"type": "enum", "name": "E", "symbols": ["A"]}


def codec(field: Any) -> AvroCodec:
    fields = [{"name": "title", "type": "string"}, {"name": "__resource_path__", "type": field, "default": None}]
    if field == "string":
        del fields[1]["default"]
    return AvroCodec(json.dumps({"type": "record", "name": "R", "fields": fields}))


@pytest.mark.parametrize(
    ("field", "quick"),
    [
        (["null", "string"], True),
        (["null", "int", "string"], True),
        ("string", True),
        (["null", ENUM, "string"], False),
        (["null", "bytes", "string"], False),
    ],
)
def test_both_ways_fill_it_with_the_same_bytes(field: Any, quick: bool) -> None:
    record = b'{"title": "Spot", "__resource_path__": "x"}' if field == "string" else b'{"title": "Spot"}'
    filling = codec(field)
    assert filling._fills is quick
    draft = filling.read(record)
    encoded = filling.encode(draft, URI)
    exact = filling.read(record)
    filling._fills = False
    assert filling.encode(exact, URI) == encoded
    assert filling.decode(encoded)["__resource_path__"] == URI
    assert filling.read(record).resource == draft.resource, "the draft stays as it is"


def test_a_record_that_does_not_fit_is_explained_when_its_field_is_filled() -> None:
    filling = codec(["null", "string"])
    with pytest.raises(RecordRejected):
        filling.encode(filling.read(b'{"title": 3}'), URI)
