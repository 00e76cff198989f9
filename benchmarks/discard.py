"""An S3 endpoint that discards what it gets, and says yes to everything: what is measured against it is the client."""

from __future__ import annotations

import asyncio
import re
import sys

import uvloop

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
WHERE = b"<Bucket>b</Bucket><Key>k</Key>"
BEGUN = b"<InitiateMultipartUploadResult>%b<UploadId>u</UploadId></InitiateMultipartUploadResult>" % WHERE
ENDED = b'<CompleteMultipartUploadResult>%b<ETag>"e"</ETag></CompleteMultipartUploadResult>' % WHERE


class Discard(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._head, self._line, self._left = b"", b"", 0

    def data_received(self, data: bytes) -> None:
        while data:
            if self._left:
                self._left, data = max(0, self._left - len(data)), data[self._left :]
                if self._left == 0:
                    self._answer()
                continue
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            found = LENGTH.search(head)
            self._head, self._line, self._left = b"", head[: head.find(b"\r\n")], int(found[1]) if found else 0
            if b"100-continue" in head:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # type: ignore[attr-defined]
            if not self._left:
                self._answer()

    def _answer(self) -> None:
        body = b""
        if self._line.startswith(b"POST"):
            body = BEGUN if b"uploads" in self._line else ENDED
        head = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n' % len(
            body
        )
        self._transport.write(head + body)  # type: ignore[attr-defined]


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Discard, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
