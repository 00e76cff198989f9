"""What a compressed body may grow to: so many bytes, and beyond 64 MiB no more than a hundred times what was sent."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from backports import zstd

from inlake.errors import BodyTooLarge
from inlake.web.request.inflate import FREE, PIECE, inflation

ROW = b'{"id":1,' + b",".join(b'"field_%d_of_the_collection_export":null' % n for n in range(38)) + b"}\n"
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": lambda b: gzip.compress(b, 9), "zstd": zstd.compress}


def inflated(encoding: str, body: bytes, limit: int = 1 << 40) -> int:
    inflate = inflation(encoding, limit)
    assert inflate
    pieces = [len(piece) for piece in inflate(body, True)]
    assert max(pieces) <= PIECE
    return sum(pieces)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_export_whose_columns_are_empty_comes_in_whole(encoding: str) -> None:
    rows = ROW * 10_000
    body = ENCODINGS[encoding](rows)
    assert len(rows) > 120 * len(body)
    assert inflated(encoding, body) == len(rows)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_beyond_what_is_free_the_ratio_counts(encoding: str) -> None:
    assert inflated(encoding, ENCODINGS[encoding](bytes(FREE))) == FREE
    with pytest.raises(BodyTooLarge, match="100 times what was sent, and 64 MiB beyond"):
        inflated(encoding, ENCODINGS[encoding](bytes(2 * FREE)))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_setting_counts_bytes_whatever_the_ratio(encoding: str) -> None:
    with pytest.raises(BodyTooLarge, match="INLAKE_MAX_INFLATED"):
        inflated(encoding, ENCODINGS[encoding](ROW * 10), limit=len(ROW) * 10 - 1)
