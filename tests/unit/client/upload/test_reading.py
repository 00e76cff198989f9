"""Files that go out together: how many, from the first shipment to the last."""

from __future__ import annotations

from pathlib import Path

from inlake.client.files import Item
from inlake.client.upload.reading import FILE_BYTES, FIRST, MOST, batches


def sizes(items: list[Item], most: int | None = None) -> list[int]:
    found = [*batches(items, lambda: most)]
    assert [item for batch in found for item in batch] == items
    return [len(batch) for batch in found]


def items(count: int) -> list[Item]:
    return [Item(f"{n}", Path("/nowhere"), b"{}") for n in range(count)]


def test_shipments_grow_to_the_most_and_the_last_ones_are_small() -> None:
    found = sizes(items(20_000))
    assert found[:5] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, MOST]
    assert max(found) == MOST
    assert found[-3:-1] == [FIRST] * 2
    assert found[-1] <= FIRST
    assert len(found) < 20_000 // MOST + 15


def test_a_few_files_are_one_shipment() -> None:
    assert sizes(items(FIRST)) == [FIRST]
    assert sizes(items(1)) == [1]
    assert sizes([]) == []


def test_a_shipment_has_no_more_files_than_the_gateway_takes() -> None:
    assert set(sizes(items(1_000), most=50)) == {50}


def test_a_shipment_of_large_files_ends_by_their_bytes(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(FILE_BYTES // 2)
    assert sizes([Item(f"{n}", tmp_path / "large", b"{}") for n in range(5)]) == [2, 2, 1]
