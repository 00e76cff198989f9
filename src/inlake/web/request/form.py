"""`multipart/form-data` (RFC 7578) read part by part, the file as a stream; a body that is cut off is an error."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from inlake.errors import BinaryTooLarge, MalformedMultipart, RecordTooLarge, UnsupportedMediaType
from inlake.model import Binary
from inlake.web.request.digests import Check, announced, checked, sha256_of
from inlake.web.request.disposition import filename
from inlake.web.request.exchange import Exchange

PARTS = 8
PART_HEADER_BYTES = 8 << 10
QUIET_BYTES = 1 << 20
"""The most bytes before, between and after parts; a chunk of the body has up to 256 KiB."""


class Form:
    """Parts in the order they come. One part is read to its end before the next."""

    def __init__(self, x: Exchange) -> None:
        """Raises `UnsupportedMediaType`, `BadDigest`."""
        refuse_encoding(x)
        kind, options = parse_options_header(x.header(b"content-type"))
        if kind.lower() != "multipart/form-data" or not options.get("boundary"):
            raise UnsupportedMediaType(
                "The body must be multipart/form-data with a boundary: a part `record`, then a part `file`."
            )
        self._x = x
        try:
            self._parser = PushMultipartParser(
                options["boundary"],
                max_segment_count=PARTS,
                max_header_size=PART_HEADER_BYTES,
                header_charset="latin-1",  # so that any bytes can be read, and a name that is not UTF-8 be refused
            )
        except MultipartError as error:
            raise MalformedMultipart(f"The boundary is not allowed: {error}.") from None
        self._events: deque[MultipartSegment | bytes | bytearray | None] = deque()
        self._check = Check(announced(x.headers()))
        """The digests of the whole form: that of a file stands in the headers of its part."""
        self.record: bytes | None = None
        """The text of the part that `text` read."""
        self.record_type = ""
        self.filename = ""
        """The name of the part that is a file."""
        self._quiet = 0
        """Bytes since the last event: preamble, part headers, epilogue."""

    async def next(self) -> MultipartSegment | None:
        """The head of the next part, None at the end of the form. Raises `MalformedMultipart`."""
        while True:
            event = await self._next_event()
            if event is _END or isinstance(event, MultipartSegment):
                return event if isinstance(event, MultipartSegment) else None

    async def content(self) -> AsyncIterator[bytes]:
        """The content of the part whose head was read last."""
        while (event := await self._next_event()) is not None:
            assert isinstance(event, bytes | bytearray)
            yield bytes(event)

    async def text(self, limit: int) -> bytes:
        """The content of a part of at most `limit` bytes, else `RecordTooLarge`."""
        text = bytearray()
        async for piece in self.content():
            text += piece
            if len(text) > limit:
                raise RecordTooLarge(f"The record is larger than {limit:,} bytes.")
        self.record = bytes(text)
        return self.record

    def file(self, head: MultipartSegment, *, last: bool) -> Binary:
        """The part as a binary to be read once; with `last` anything but the end of the form after it is an error."""
        try:
            name = filename(head.header("Content-Disposition", ""))
        except UnicodeDecodeError:
            raise MalformedMultipart("The filename of a part is not UTF-8, which forms are (RFC 7578, 5.1).") from None
        self.filename = name
        digests = announced(head.headerlist)
        kind = content_type(head.header("Content-Type"))
        return Binary(name, kind, checked(digests, self._file(last)), sha256_of(digests))

    async def _file(self, last: bool) -> AsyncIterator[bytes]:
        async for piece in counted(self._x, self.content()):
            yield piece
        if last and (head := await self.next()):
            raise MalformedMultipart(f"A part {head.name[:100]!r} follows the file; nothing was stored.")

    async def _next_event(self) -> object:
        while not self._events:
            if self._parser.closed:
                return _END
            chunk = await self._x.next_chunk()
            self._check.update(chunk)
            try:
                if chunk:
                    self._events.extend(self._parser.parse(chunk))
                    self._quiet = 0 if self._events else self._quiet + len(chunk)
                else:
                    self._parser.close()  # raises unless the last boundary has come
                    self._check.end()
            except MultipartError as error:
                raise MalformedMultipart(f"The multipart body is malformed or cut off: {error}.") from None
            if self._quiet > QUIET_BYTES:
                raise MalformedMultipart("There is too much between the parts of the form.")
        return self._events.popleft()


_END = object()


def refuse_encoding(x: Exchange) -> None:
    """Raises `UnsupportedMediaType`."""
    if x.header(b"content-encoding"):
        raise UnsupportedMediaType("A file is taken as it is, without Content-Encoding.")


async def counted(x: Exchange, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The bytes of a binary, counted in /metrics. Raises `BinaryTooLarge`."""
    size, limit = 0, x.settings.max_binary_bytes
    async for chunk in chunks:
        size += len(chunk)
        x.site.binary_bytes.value += len(chunk)
        if size > limit:
            raise BinaryTooLarge(f"The binary is larger than {limit:,} bytes (INLAKE_MAX_BINARY_BYTES).")
        yield chunk


def content_type(given: str | None) -> str:
    """The media type as sent if it can stand in a header, else that of unknown bytes."""
    text = (given or "").strip()
    return text if 0 < len(text) <= 255 and text.isascii() and text.isprintable() else "application/octet-stream"
