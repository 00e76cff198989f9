"""A request and its answer on a connection: uvicorn's, and for what is whole a shorter way beside ASGI's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from inlake.web.serving.protocol import JoinedWrites

LARGE = 8 << 10
"""Bytes that are worth a system call of their own."""


class Cycle(RequestResponseCycle):
    """uvicorn's cycle, which has `inlake.web.request.exchange.Whole` too.

    A message of ASGI is a dictionary and a coroutine, and uvicorn looks through each header of an answer by regular
    expressions: for most requests, and for their answers, that was a tenth of all the gateway does.
    """

    def take_body(self) -> bytes | None:
        """See `Whole.take_body`."""
        if self.more_body or self.disconnected or self.response_complete:
            return None
        self.flow.resume_reading()
        body, self.body = self.body, bytearray()
        return bytes(body)

    def answer(self, status: int, content_type: bytes, body: bytes) -> bool:
        """See `Whole.answer`."""
        if self.disconnected:
            return True
        if len(body) > LARGE or self.flow.write_paused or self.scope["method"] == "HEAD":
            return False
        about = (content_type, len(body), b"" if self.keep_alive else b"connection: close\r\n")
        own = b"".join([b"%b: %b\r\n" % header for header in self.default_headers])
        head = b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n" % (STATUS_LINE[status], own, *about)
        cast("JoinedWrites", self.transport).write_now(head + body)
        self.response_started = self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True
