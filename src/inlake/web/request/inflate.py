"""`Content-Encoding: gzip` and `zstd` (RFC 9110, 8.4; RFC 8878): inflated piece by piece, never without bound."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from inlake.errors import BodyTooLarge, MalformedEncoding, UnsupportedMediaType

PIECE = 256 << 10
WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
"""8 MiB, the most that HTTP allows (RFC 9659, 3); a frame may ask for much more, and gets it before a byte is out."""
RATIO, FREE = 100, 64 << 20
"""Records compress 5 to 30 times, an export whose columns are nearly all empty 140 times. A body that grows more than a
hundredfold beyond the first 64 MiB costs its sender nothing, and the gateway all."""
Inflate = Callable[[bytes, bool], Iterator[bytes]]


def inflation(encoding: str, limit: int) -> Inflate | None:
    """A function that turns chunks of a body into its pieces; None for a body that is as it is.

    The function takes a chunk and whether it is the last, and yields pieces of at most 256 KiB. It raises
    `MalformedEncoding`, and `BodyTooLarge` when more than `limit` bytes come out. Raises `UnsupportedMediaType`.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return _Inflater(_Gzip(), limit).feed
        case "zstd":
            return _Inflater(_Zstd(), limit).feed
    raise UnsupportedMediaType(f"Content-Encoding {encoding[:40]!r} is not taken: gzip, zstd, or none.")


class _Inflater:
    """Counts what comes out."""

    def __init__(self, stream: _Gzip | _Zstd, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._came = 0
        self._size = 0

    def feed(self, chunk: bytes, last: bool) -> Iterator[bytes]:
        self._came += len(chunk)
        try:
            for piece in self._stream.pieces(chunk):
                self._size += len(piece)
                if self._size > self._limit:
                    raise BodyTooLarge(f"The body inflates to more than {self._limit:,} bytes (INLAKE_MAX_INFLATED).")
                if self._size > FREE + RATIO * self._came:
                    raise BodyTooLarge(
                        f"The body inflates to more than {RATIO} times what was sent, and {FREE >> 20} MiB beyond: "
                        "send it in parts, or as it is."
                    )
                yield piece
        except (zlib.error, zstd.ZstdError) as error:
            raise MalformedEncoding(f"The body is not what its Content-Encoding says: {error}.") from None
        if last and not self._stream.whole:
            raise MalformedEncoding("The compressed body ends too early.")


class _Gzip:
    """One or more gzip members, one after another (RFC 1952, 2.2)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self.whole = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            piece = self._member.decompress(data, PIECE)
            self.whole = self._member.eof
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece


class _Zstd:
    """One or more zstd frames, one after another (RFC 8878, 3.1)."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor(options=WINDOW)
        self.whole = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._frame.needs_input or self._frame.eof):
            if self._frame.eof:
                self._frame = zstd.ZstdDecompressor(options=WINDOW)
            piece = self._frame.decompress(data, PIECE)
            self.whole = self._frame.eof
            data = self._frame.unused_data if self._frame.eof else b""
            if piece:
                yield piece
