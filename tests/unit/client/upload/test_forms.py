"""Which records go in a request of their own."""

from __future__ import annotations

import pytest

from inlake.client.files import Item
from inlake.client.upload.forms import names_a_place


@pytest.mark.parametrize(
    ("record", "names"),
    [
        (b'{"title": "a"}', False),
        (b'{"title": "a", "__resource_path__": null}', False),
        (b'{"title": "__resource_path__"}', False),
        (b'{"title": "a", "__resource_path__": "tate/a.jpg"}', True),
    ],
)
def test_a_record_that_names_a_place_is_told_from_others(record: bytes, names: bool) -> None:
    assert names_a_place(Item("a", None, record), "__resource_path__") is names
