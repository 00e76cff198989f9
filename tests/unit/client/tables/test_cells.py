"""Cells of workbooks, which are typed: nothing of a value is lost, or the cell is refused."""

from __future__ import annotations

import datetime as dt

import pytest

from inlake.client.tables.cells import Misfit, converter, text_of
from inlake.client.tables.mapping import Rules
from inlake.client.tables.row import Cell
from inlake.client.tables.shape import Field


def converted(cell: Cell, type_: str, language: str = "AVRO") -> str:
    return converter(Field("f", type_), Rules(), language)(cell)


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (dt.timedelta(hours=1, minutes=2, seconds=3, milliseconds=456), "3723.456"),
        (dt.timedelta(days=1, milliseconds=9), "86400.009"),
        (dt.timedelta(seconds=1_000_001), "1000001"),
        (dt.timedelta(microseconds=1), "0.000001"),
        (dt.timedelta(seconds=-1, microseconds=-500_000), "-1.5"),
        (dt.timedelta(), "0"),
        (dt.timedelta(seconds=100), "100"),
    ],
)
def test_a_duration_keeps_its_digits(duration: dt.timedelta, seconds: str) -> None:
    assert converted(duration, "duration") == f'"PT{seconds}S"'
    assert converted(duration, "duration", "PROTOBUF") == f'"{seconds}s"'


@pytest.mark.parametrize("number", [1_234_567_890_123_456, 2**53 - 1, -(2**53) + 1])
def test_a_whole_number_is_written_with_all_its_digits(number: int) -> None:
    assert text_of(float(number)) == str(number)
    assert converted(float(number), "text") == f'"{number}"'
    assert converted(float(number), "integer") == str(number)


@pytest.mark.parametrize("type_", ["text", "integer"])
@pytest.mark.parametrize("number", [2.0**53, -(2.0**53), 1e20])
def test_a_number_of_more_digits_than_a_double_has_is_refused(number: float, type_: str) -> None:
    with pytest.raises(Misfit, match="more digits") as found:
        converted(number, type_)
    assert "as text" in found.value.advice


def test_a_field_of_doubles_takes_what_is_one() -> None:
    assert float(converted(1e20, "number")) == 1e20
