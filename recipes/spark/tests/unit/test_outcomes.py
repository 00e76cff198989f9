"""What executors give back says why, and what refusals have in common."""

from __future__ import annotations

from inlake.errors import FieldError, MalformedJson, RecordRejected
from inlake.model import Label
from inlake_spark.outcomes import ARROW, Counts, batch_of, cause_of, reject_row
from inlake_spark.source import Block, Item


def test_a_cause_is_of_codes_and_places_without_the_indexes_of_arrays() -> None:
    errors = [FieldError(f"/makers/{n}/name", "wrong_type", "d", "e", "g") for n in (11, 3)]
    assert cause_of(RecordRejected([*errors, FieldError("/a", "missing_field", "", "", "")])) == (
        "missing_field /a; wrong_type /makers/*/name"
    )
    assert cause_of(MalformedJson("not JSON")) == "malformed_json"


def test_rows_of_both_kinds_fit_the_columns() -> None:
    counts = Counts()
    counts.lines = 2
    counts.count(None, 10)
    counts.count(MalformedJson("no"), 7)
    row = reject_row(Block("f", 5, 0, []), Item(3, 8, b"\xff"), Label("note", "a"), MalformedJson("no"))
    batch = batch_of([row, counts.row(("f", 5))])
    assert batch.schema == ARROW
    found = batch.to_pylist()
    assert found[0]["record"] == b"\xff"
    assert (found[0]["number"], found[0]["destination"], len(found[0]["errors"])) == (3, "a", 1)
    assert (found[1]["lines"], found[1]["accepted"], found[1]["rejected"], found[1]["bytes"]) == (2, 1, 1, 10)
