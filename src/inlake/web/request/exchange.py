"""One HTTP request and its answer on raw ASGI: the hot routes use it in place of a framework's request object."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from inlake.access.rights import Caller
from inlake.errors import (
    BadParameter,
    Busy,
    InlakeError,
    QuotaExceeded,
    RequestTimeout,
    ResumableUploadNotBuilt,
    TooLarge,
    TransferCodingNotBuilt,
)
from inlake.logbook.answers import Attempt
from inlake.model import Trace
from inlake.web.request.forwarded import Seen
from inlake.web.request.inflate import Inflate, inflation
from inlake.web.request.problems import problem_response
from inlake.web.request.site import Site
from inlake.web.request.timeout import with_timeout

Scope = MutableMapping[str, Any]
ASGIMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[ASGIMessage]]
Send = Callable[[ASGIMessage], Awaitable[None]]
WHOLE = "inlake.whole"
"""The key of `Whole` in the scope."""
_number = itertools.count(1)
_OF_PARTS = frozenset({b"content-range", b"transfer-encoding", b"upload-complete", b"upload-incomplete"})
"""Headers that say that the bytes of a body are not, or may not be, the whole as it is meant."""
_process = os.urandom(4).hex()
NOBODY = Caller()
SMALL = 64 << 10
"""Bytes of a body that a socket holds, whoever reads it or not."""
SMALL_SECONDS = 1.0
PIECE = 64 << 10
"""Bytes that come out of a body in memory, or of an answer that go to its client, at once."""


class Whole(Protocol):
    """The way beside ASGI's messages that our own server has for what is whole; in the scope at `WHOLE`."""

    def take_body(self) -> bytes | None:
        """The body, if all of it is here and nothing of it was received; None: it is to be received."""

    def answer(self, status: int, content_type: bytes, body: bytes) -> bool:
        """Sends a whole answer, if it can go out at once; False: it is to be sent. The content type is none of a
        client's: nothing looks for line ends in it."""


class ClientGoneError(Exception):
    """The client closed the connection before its request was whole; there is nobody to answer."""


class Exchange:
    """Reads the body of a request, writes its answer."""

    __slots__ = (
        "_all_came",
        "_fields",
        "_inflate",
        "_inflated",
        "_receive",
        "_send",
        "_whole",
        "at_end",
        "attempt",
        "caller",
        "instance",
        "keyed_by",
        "scope",
        "settings",
        "site",
        "status",
        "trace",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, site: Site) -> None:
        self.scope = scope
        self._fields: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # of two with one name the first
        self.site = site
        self.settings = site.settings
        self._receive = receive
        self._send = send
        self._whole: Whole | None = scope.pop(WHOLE, None)  # a scope that kept it would be in a reference cycle
        self.at_end = False
        """The body was read whole."""
        self._all_came = False
        self._inflate: Inflate | None = None
        self._inflated: Iterator[bytes] | None = None
        self.attempt: Attempt | None = None
        """The attempt of a request with an `Idempotency-Key`."""
        self.keyed_by = ""
        """Owner of the `Idempotency-Key`, where that is not who sends. Then no refusal is kept: it can be mended."""
        self.status = 0
        """The status of the answer, once it has begun."""
        self.instance = f"{_process}-{next(_number)}"
        """Id of the request: in the log, and in a problem document."""
        self.caller = NOBODY
        """The caller, once that is known."""
        self.trace: Trace | None = None
        """The span of the request, where the gateway traces."""

    @property
    def principal(self) -> str:
        """The name of who sends."""
        return self.caller.principal

    def header(self, name: bytes) -> str:
        """Value of a request header (name in lower case), empty when absent."""
        value = self._fields.get(name)
        return value.decode("latin-1") if value else ""

    @property
    def client(self) -> str:
        """The address that the connection comes from; empty where there is none, as on a Unix socket."""
        client = self.scope.get("client")
        return client[0] if client else ""

    @property
    def scheme(self) -> str:
        """`http` or `https`, of the connection."""
        return str(self.scope.get("scheme", "http"))

    @property
    def seen(self) -> Seen:
        """Scheme, host and address as they are for the client, in front of proxies that are trusted."""
        return self.site.auth.proxies.seen(self)

    def address(self, path: str) -> str:
        """Where a client finds what the gateway has at a path."""
        return self.settings.root_path + path

    def path_parameter(self, name: str) -> str:
        """The text in the path where the route has `{name}`."""
        value: str = self.scope["path_params"][name]
        return value

    def trailer(self, name: bytes) -> str:
        """Value of a header that came behind the body, empty when absent; the server adds it to the others."""
        return next((str(value, "latin-1") for key, value in reversed(self.scope["headers"]) if key == name), "")

    def all(self, name: bytes) -> str:
        """Values of a request header that is a list and may stand in several lines (RFC 9110, 5.3)."""
        return ", ".join(str(value, "latin-1") for key, value in self.scope["headers"] if key == name)

    def has(self, name: bytes) -> bool:
        """Whether there is such a request header, be it empty."""
        return name in self._fields

    def has_one_of(self, names: frozenset[bytes]) -> bool:
        """Whether there is any of these request headers."""
        return not names.isdisjoint(self._fields)

    def headers(self) -> Iterator[tuple[str, str]]:
        """All request headers, names in lower case."""
        return ((str(key, "latin-1"), str(value, "latin-1")) for key, value in self.scope["headers"])

    def check_is_whole(self) -> None:
        """Refuse a body that would be taken for what it is not. Raises `NotBuilt`, `BadParameter`."""
        if not self._fields.keys().isdisjoint(_OF_PARTS):
            if self.header(b"upload-complete").startswith("?0") or self.header(b"upload-incomplete").startswith("?1"):
                raise ResumableUploadNotBuilt(
                    "The body is a part of an upload by draft-ietf-httpbis-resumable-upload, which is not built here: "
                    "send it whole, or by tus 1.0 to /uploads."
                )
            if self.has(b"content-range"):
                raise BadParameter("A part of a body (Content-Range) is not taken: send all of it, or use /uploads.")
            if (coding := self.header(b"transfer-encoding").strip().lower()) not in {"", "chunked"}:
                raise TransferCodingNotBuilt(f"The transfer coding {coding[:40]!r} is not taken: chunked alone is.")

    def holds(self, most: int) -> int:
        """Bytes that a body may take: three times its length (as text, as values, as an event), up to a bound."""
        length = None if self._fields.get(b"content-encoding") else self.content_length
        return most if length is None else min(3 * length, most)

    def inflate(self) -> None:
        """Read the body as its `Content-Encoding` says. Raises `UnsupportedMediaType`."""
        if encoding := self.header(b"content-encoding"):
            self._inflate = inflation(encoding, self.settings.max_inflated)

    @property
    def content_length(self) -> int | None:
        text = self._fields.get(b"content-length")
        if not text:
            return None
        if not text.isdigit() or len(text) > 18:
            raise BadParameter("Content-Length is not a number.")
        return int(text)

    # ----------------------------------------------------------------------------------------------------- request
    async def body(self, limit: int, too_large: type[TooLarge]) -> bytes:
        """The whole body of at most `limit` bytes, else `too_large`. Raises `RequestTimeout`, `ClientGoneError`."""
        if (whole := self._take_whole()) is not None:  # as most are
            if len(whole) > limit:
                raise too_large(f"The body has {len(whole):,} bytes, and may have {limit:,}.")
            return whole
        length = self.content_length
        if length is not None and length > limit and self._inflate is None:
            raise too_large(f"The body has {length:,} bytes, and may have {limit:,}.")
        seconds, size = self.settings.body_idle_seconds, 0
        until = time.monotonic() + seconds
        chunks: list[bytes] = []
        try:
            while chunk := await with_timeout(until - time.monotonic(), self._next()):
                size += len(chunk)
                if size > limit:
                    raise too_large(f"The body is larger than {limit:,} bytes.")
                chunks.append(chunk)
        except TimeoutError:
            raise RequestTimeout(f"The body did not come whole within {seconds:g} seconds.") from None
        return b"".join(chunks)

    def _take_whole(self) -> bytes | None:
        """The body, if all of it is here and goes to the handler as it is; None: it is to be received."""
        if self._whole is None or self._all_came or self._inflate is not None:
            return None
        body = self._whole.take_body()
        self.at_end = self._all_came = body is not None
        return body

    async def next_chunk(self) -> bytes:
        """The next bytes of the body, empty at its end. Raises `RequestTimeout`, `ClientGoneError`."""
        try:
            return await self.receive(self.settings.body_idle_seconds)
        except TimeoutError:
            seconds = self.settings.body_idle_seconds
            raise RequestTimeout(f"No byte of the body came for {seconds:g} seconds.") from None

    def rewind(self, body: bytes, without: frozenset[bytes]) -> None:
        """Let the body, which was read whole and inflated, be read once more, without the headers that it obeyed."""
        headers = [(name, value) for name, value in self.scope["headers"] if name not in without]
        self.scope = {**self.scope, "headers": headers}
        self._fields = {name: value for name, value in self._fields.items() if name not in without}
        pieces = (body[n : n + PIECE] for n in range(0, len(body), PIECE))
        self._inflate, self._inflated, self.at_end = None, pieces, False

    def another(self, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> Exchange:
        """Another request of the same client, whose body is here; its answer goes where `answer_to` says."""
        scope = {**self.scope, "method": "POST", "path": path, "query_string": query, "headers": headers}
        made = Exchange(scope, self._receive, self._send, self.site)
        made.caller, made.instance, made.trace = self.caller, self.instance, self.trace
        made._inflated, made._all_came = iter([body]), True
        return made

    async def receive(self, pause: float) -> bytes:
        """The next bytes of the body, empty at its end. Raises `TimeoutError` after `pause` seconds without any."""
        return await with_timeout(pause, self._next())

    async def gone(self) -> None:
        """Wait until the client of a request without a body closes the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next(self) -> bytes:
        while True:
            if self._inflated is not None:
                if chunk := next(self._inflated, b""):
                    await asyncio.sleep(0)  # inflating takes time, and never waits for the network
                    return chunk
                self._inflated = None
            if self._all_came:
                self.at_end = True
                return b""
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            self._all_came = not message.get("more_body", False)
            body = bytes(message.get("body") or b"")
            if self._inflate is not None:
                self._inflated = self._inflate(body, self._all_came)
            elif body:
                self.at_end = self._all_came
                return body

    def when_bytes_come(self, count: Callable[[int], None]) -> None:
        """Tell of the bytes of the body as they come, as they are sent."""
        receive, self._whole = self._receive, None

        async def counted() -> ASGIMessage:
            message = await receive()
            if body := message.get("body"):
                count(len(body))
            return message

        self._receive = counted

    # ------------------------------------------------------------------------------------------------------ answer
    def always(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Headers of whatever the answer will be."""
        send, self._whole = self._send, None

        async def with_headers(message: ASGIMessage) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        self._send = with_headers

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer_to(self, send: Send, work: Awaitable[None]) -> None:
        """Do the work with its answer going elsewhere."""
        client, whole = self._send, self._whole
        self._send, self._whole = send, None
        try:
            await work
        finally:
            self._send, self._whole, self.status = client, whole, 0

    async def reply(
        self,
        status: int,
        body: bytes,
        content_type: bytes = b"application/json",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """A whole answer to a request whose body was read."""
        if self._whole is not None and not headers and self._whole.answer(status, content_type, body):
            self.status = status
            return
        await self.start(status, [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers])
        await self._write_whole(body)

    async def reply_without_body(self, status: int, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """An answer that is its status and headers."""
        await self.start(status, [*headers] if status in {204, 304} else [(b"content-length", b"0"), *headers])
        await self.write(b"", more=False)

    async def refuse(self, error: InlakeError) -> None:
        """Answer with a problem document, whatever is left of the body."""
        if isinstance(error, Busy | QuotaExceeded):
            await self._skip_small_body()
        await self.give(*problem_response(error, self.instance, self.settings.root_path))

    async def _skip_small_body(self) -> None:
        """Take what most requests have with their headers: the connection of a client that comes back can stay."""
        length = self.content_length
        if length and length < SMALL:
            with suppress(TimeoutError, ClientGoneError):
                while not self.at_end:
                    await self.receive(SMALL_SECONDS)

    async def give(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A whole answer. What is left of the request's body is read up to a limit: a client that watches stops
        sending, one that does not gets to its answer, and one that never ends is cut off."""
        if self.at_end or not self.has_body():
            await self.start(status, headers)
            await self._write_whole(body)
            return
        await self.start(status, [*headers, (b"connection", b"close")])
        await self.write(body, more=True)
        await self._drain()
        await self.write(b"", more=False)

    async def _write_whole(self, body: bytes) -> None:
        """The body of an answer; a large one piece by piece, each once the client has taken most of the one before.
        Until all are written its memory counts, and its request holds its place."""
        if len(body) <= PIECE:
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
            return
        with self.site.admission.counted(len(body)):
            for at in range(0, len(body), PIECE):
                await self.write(body[at : at + PIECE], more=True)
            await self.write(b"", more=False)

    async def turn_away(self, error: InlakeError) -> None:
        """Answer at once whatever is left of the body; an answer that has begun is cut."""
        if not self.status:
            status, headers, body = problem_response(error, self.instance, self.settings.root_path)
            await self.start(status, [*headers, (b"connection", b"close")])
            await self.write(body, more=False)

    def has_body(self) -> bool:
        return bool(self.header(b"content-length").strip("0") or self.header(b"transfer-encoding"))

    async def _drain(self) -> None:
        left = self.settings.drain_bytes
        self._inflate = self._inflated = None  # what is thrown away is not inflated
        with suppress(TimeoutError, ClientGoneError):
            async with asyncio.timeout(self.settings.drain_seconds):
                while left > 0 and (chunk := await self.receive(self.settings.drain_seconds)):
                    left -= len(chunk)
