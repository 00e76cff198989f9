"""The response to one request while it is read: its status, its headers, and its body as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse

BLOCK = 1 << 16


class Response:
    """The response to one request."""

    def __init__(self, response: HTTPResponse, broken: Callable[[Exception], Exception]) -> None:
        """`broken`: makes the error to raise where the body does not come to its end."""
        self._response, self._broken = response, broken
        self._body: bytes | None = None
        self._ended = False
        self.status = response.status
        self.headers = response.headers
        """By their names, in whatever letters."""

    @property
    def may_be_followed(self) -> bool:
        """Whether all of it is read, so that another may come on its connection."""
        return (self._ended or self._response.length == 0) and not self._response.will_close

    def close(self) -> None:
        self._response.close()

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_redirect(self) -> bool:
        """Whether it sends the request to another place."""
        return self.status in {301, 302, 303, 307, 308} and bool(self.location)

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")

    def read(self) -> bytes:
        """All of the body; it may be asked for again."""
        if self._body is None:
            self._body = b"".join(self.iter_bytes())
        return self._body

    def iter_bytes(self, most: int = BLOCK) -> Iterator[bytes]:
        """The body in blocks of up to so many bytes, as they come."""
        while block := self._block(most):
            yield block

    def _block(self, most: int) -> bytes:
        try:
            block = self._response.read1(most)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: what should be the size of a chunk is none
            raise self._broken(error) from error
        if not block and self._response.length:
            raise self._broken(EOFError(f"{self._response.length} bytes are missing"))
        self._ended = not block
        return block
