"""Records of real museums have titles under many names."""

from __future__ import annotations

from typing import Any

import pytest

from inlake.web.console.title import LONGEST, title_of


@pytest.mark.parametrize(
    ("record", "title"),
    [
        ({"id": "x1", "title": "Houses"}, "Houses"),
        ({"name": "A. Painter", "title": "Houses"}, "Houses"),
        ({"id": "x1", "objectTitle": "Houses", "filename": "a.png"}, "Houses"),
        ({"constituentid": 11, "preferreddisplayname": "Baldung, Hans", "lastname": "Baldung"}, "Baldung, Hans"),
        ({"date": "1760-1803", "fc": "Lemuel Francis Abbott", "url": "http://a.example"}, "Lemuel Francis Abbott"),
        ({"_label": "Houses at Night", "type": "HumanMadeObject"}, "Houses at Night"),
        ({"label": {"en": ["Houses"]}}, "Houses"),
        ({"title": None, "acno": "A00001"}, "A00001"),
        ({"title": "  ", "artist": {"name": "A. Painter"}}, "A. Painter"),
        ({"title": "Houses\n at\tNight"}, "Houses at Night"),
        ({"year": 1889}, ""),
        ({}, ""),
        ([], ""),
        (None, ""),
        ({"title": b"bytes"}, ""),
    ],
)
def test_a_title_is_found_by_its_name_and_else_by_its_looks(record: Any, title: str) -> None:
    assert title_of(record) == title


def test_a_long_title_is_cut_and_a_deep_record_is_not_walked_to_its_end() -> None:
    assert len(title_of({"title": "a" * 1_000_000})) == LONGEST
    deep: Any = "text"
    for _ in range(10_000):
        deep = [deep]
    assert title_of({"title": deep}) == ""
