"""A stream of records cut into batches."""

from __future__ import annotations

import pytest

from inlake.client.batches import Batch, cut


def shown(batches: object) -> list[tuple[int, int, bytes]]:
    assert not isinstance(batches, bytes)
    return [(batch.first, batch.last, batch.body) for batch in batches]  # type: ignore[attr-defined]


def test_lines_are_joined_up_to_the_size_and_numbered() -> None:
    lines = [b'{"a":1}', b"{}\n", b"\n", b'{"b":\r2}']
    assert shown(cut(lines, size=11)) == [(1, 2, b'{"a":1}\n{}\n'), (3, 4, b'\n{"b":\r2}\n')]


def test_an_empty_block_ends_a_batch() -> None:
    assert shown(cut([b"{}", b"", b"", b"[]"])) == [(1, 1, b"{}\n"), (2, 2, b"[]\n")]


def test_a_line_longer_than_a_batch_is_one_alone() -> None:
    assert shown(cut([b"1\n" + b"2" * 30 + b"\n3\n"], size=10)) == [
        (1, 1, b"1\n"), (2, 2, b"2" * 30 + b"\n"), (3, 3, b"3\n"),
    ]  # fmt: skip


def test_a_batch_has_a_greatest_number_of_lines() -> None:
    assert shown(cut([b"1\n2\n3\n4\n5\n"], lines=2)) == [(1, 2, b"1\n2\n"), (3, 4, b"3\n4\n"), (5, 5, b"5\n")]


def test_nothing_is_no_batch() -> None:
    assert list(cut([])) == list(cut([b""])) == []


@pytest.mark.parametrize("size", [1, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("lines", [1, 2, 50])
def test_no_byte_is_lost_or_doubled_whatever_the_size(size: int, lines: int) -> None:
    text = b"".join(b"x" * (n % 13) + b"\n" for n in range(100))
    blocks = [text[:55], text[55:66], b"", text[66:]]
    batches = list(cut(blocks, size=size, lines=lines))
    assert b"".join(batch.body for batch in batches) == text
    assert [batch.first for batch in batches[1:]] == [batch.last + 1 for batch in batches[:-1]]
    assert batches[-1].last == 100


def test_halves_are_the_same_lines() -> None:
    batch = Batch(7, b"a\n\nb\rc\n")
    assert shown(batch.halves()) == [(7, 7, b"a\n"), (8, 9, b"\nb\rc\n")]
