"""Receipts as lines of JSON are what a JSON encoder makes of them."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from inlake.model import Receipt, SchemaVersion, StoredObject
from inlake.web.routes.lines import receipt_lines

TEXT = st.text(max_size=20) | st.sampled_from(['a","offset":7,"schema":', "\\", '"', "museum/é"])
SCHEMAS = [None, SchemaVersion("a", 1, 1), SchemaVersion('b","schema":', 2, 70)]
RESOURCES = [None, StoredObject("p", 's3://b/"offset":0', 3, "00", "text/plain", '"')]


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    """Few different topics, keys and schemas, as in a request."""
    few = st.sampled_from(["a", 'b"', "é"])
    numbers = st.integers(-1, 1 << 40)
    return Receipt(
        str(draw(st.uuids())),
        draw(few | TEXT),
        draw(few | TEXT),
        draw(st.integers(0, 2)),
        draw(numbers),
        draw(st.sampled_from(SCHEMAS)),
        draw(st.sampled_from(RESOURCES)),
    )


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(1, 1 << 40), receipts()), max_size=5), max_size=5))
def test_a_line_is_the_receipt_with_its_number_and_status(pieces: list[list[tuple[int, Receipt]]]) -> None:
    for piece in pieces:
        expected = [{"line": n, "status": 201, **msgspec.to_builtins(receipt)} for n, receipt in piece]
        assert receipt_lines(piece) == b"".join(msgspec.json.encode(line) + b"\n" for line in expected)
