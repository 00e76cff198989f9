"""A connection to one gateway: one request, one answer; what goes wrong on the way comes out as a `ClientError`."""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from http.client import SWITCHING_PROTOCOLS, HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from inlake import __version__
from inlake.client.network import broken, not_connected, proxy_for, strange
from inlake.client.problems import ClientError, NotAGateway, Unreachable, problem_of
from inlake.client.response import BLOCK, Response

REDIRECTS = 5
"""The most redirects of a request that follows any."""


class Request(NamedTuple):
    """A request before it is sent; a body that is no bytes can be sent once."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = {}
    body: bytes | Iterable[bytes] = b""
    elsewhere: bool = False
    """A redirect may be followed: the store gives the bytes of an object."""
    timeout: float | None = None
    """Seconds without any progress, where the answer takes longer than others."""


class Connection:
    """The connections to one gateway, by Python's own http.client. No POST follows a redirect: it would go where nobody
    sent it."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        """Raises ValueError for a URL or a token that cannot be one."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not the address of a gateway: it starts with http:// or https://")
        self.url = url.rstrip("/")
        self.timeout = timeout
        try:
            self._place = place = urlsplit(self.url)
            self._port = place.port or (443 if place.scheme == "https" else 80)
            if not place.hostname or not url.isprintable() or " " in url:
                raise ValueError("it names no host, or holds a blank")
            self._host = place.hostname.encode("idna").decode() if not place.hostname.isascii() else place.hostname
        except ValueError as error:
            raise ValueError(f"{url!r} is not the address of a gateway: {error}") from None
        self.authorization = _basic("Authorization", self.url)
        """The header that says who sends."""
        if token and token.strip():
            self.authorization = {"Authorization": f"Bearer {_checked(token.strip())}"}
        self._headers = {"User-Agent": f"inlake/{__version__}", "Accept": "*/*", **self.authorization}
        self._path = quote(place.path, safe="/%:@!$&'()*+,;=~")
        self._free: list[HTTPConnection] = []
        """Connections that wait for a request."""

    def close(self) -> None:
        while self._free:
            self._free.pop().close()

    @contextmanager
    def answer(self, request: Request) -> Iterator[Response]:
        """An answer while it is read. Raises `Unreachable`, `CutOff`."""
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        with self._asked(request, f"{self._path}{request.path}{query}") as answer:
            if not (request.elsewhere and answer.is_redirect):
                yield answer
                return
            base, location = f"{self._place.scheme}://{self._place.netloc}{self._path}{request.path}", answer.location
        with self._followed(request, base, location, REDIRECTS) as found:
            yield found

    @contextmanager
    def _followed(self, request: Request, base: str, location: str, left: int) -> Iterator[Response]:
        """The answer of another place, which is not told who asks. `base`: what `location` may be relative to. Raises
        `NotAGateway` for a location that is none."""
        try:
            place = urljoin(base, location)
            parts = urlsplit(place)
            other = Connection(f"{parts.scheme}://{parts.netloc}", None, self.timeout)
        except ValueError:
            raise NotAGateway(f"{self.url} redirects to {location!r}, which is no address: is it a gateway?") from None
        try:
            with other._asked(request, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}") as answer:
                if not answer.is_redirect or not left:
                    yield answer
                    return
                further = answer.location
            with self._followed(request, place, further, left - 1) as found:
                yield found
        finally:
            other.close()

    @contextmanager
    def _asked(self, request: Request, target: str) -> Iterator[Response]:
        """The answer to a request for a path; the connection is kept when it was read to its end."""
        allowed = self.timeout if request.timeout is None else request.timeout
        http, response = self._connected(allowed), None
        try:
            begun = self._exchange(http, request, target, allowed)
            response = Response(begun, lambda error: broken(error, self.url, allowed, answered=True))
            yield response
        finally:
            is_good = response is not None and response.may_be_followed
            if response is not None:
                response.close()
            if is_good:
                self._free.append(http)
            else:
                http.close()

    def _exchange(self, http: HTTPConnection, request: Request, target: str, allowed: float) -> HTTPResponse:
        """Send a request, and read the head of its answer; one that comes early ends the sending."""
        is_whole = False
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                self._send(http, request, target)
                is_whole = True
            response = http.getresponse()
            response.will_close = response.will_close or not is_whole
            return response
        except _Unreadable as unreadable:
            raise unreadable.error from None
        except (OSError, HTTPException) as error:
            raise broken(error, self.url, allowed, answered=False) from error

    def _send(self, http: HTTPConnection, request: Request, target: str) -> None:
        body = request.body
        proxy = self._proxy() if self._place.scheme == "http" else None
        if proxy:  # it is told the whole address
            target = f"http://{self._place.netloc.rpartition('@')[2]}{target}"
        headers = {**self._headers, **request.headers, **(_basic("Proxy-Authorization", proxy) if proxy else {})}
        if isinstance(body, bytes):
            if body or request.method not in {"GET", "HEAD", "DELETE"}:
                headers["Content-Length"] = str(len(body))
        elif "Content-Length" not in headers:
            headers["Transfer-Encoding"] = "chunked"
        http.putrequest(request.method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            http.putheader(name, value)
        http.endheaders()
        is_chunked = "Transfer-Encoding" in headers
        for block in _blocks(body) if isinstance(body, bytes) else _read(body):
            http.send(b"%x\r\n%b\r\n" % (len(block), block) if is_chunked else block)
        if is_chunked:
            http.send(b"0\r\n\r\n")

    def _connected(self, allowed: float) -> HTTPConnection:
        """A connection for one request: one that waits, and that the other side has not ended, or a new one."""
        with suppress(IndexError):  # none waits; asked for so, since other threads take some, too
            while True:
                http = self._free.pop()
                if http.sock and not _has_ended(http.sock):
                    http.sock.settimeout(allowed)
                    return http
                http.close()
        http = self._made(allowed)
        try:
            http.connect()
        except (OSError, HTTPException) as error:
            http.close()
            raise not_connected(error, self.url) from error
        return http

    def _made(self, allowed: float) -> HTTPConnection:
        """A connection that is not open yet, by way of the proxy that the environment names."""
        proxy, host, port = self._proxy(), self._host, self._port
        if proxy:
            at = urlsplit(proxy)
            if at.scheme not in {"http", "https"}:
                raise Unreachable(f"The proxy that the environment names is none of HTTP: {at.scheme}://", sent=False)
            host, port = str(at.hostname), at.port or 80
        if self._place.scheme == "http":
            http = HTTPConnection(host, port, timeout=allowed)
        else:
            http = HTTPSConnection(host, port, timeout=allowed, context=_authorities())
        http.response_class = _Final
        if proxy and self._place.scheme == "https":
            http.set_tunnel(self._host, self._port, _basic("Proxy-Authorization", proxy))
        return http

    def _proxy(self) -> str | None:
        proxy = proxy_for(self.url)
        return f"http://{proxy}" if proxy and "//" not in proxy else proxy

    def document(self, request: Request) -> dict[str, Any]:
        """The JSON object that a request is answered with. Raises `Problem`, `NotAGateway` too."""
        with self.answer(request) as answer:
            document = _object(answer.read())
            if not answer.is_success or document is None:
                raise self.problem(answer)
            return document

    def problem(self, answer: Response) -> Exception:
        """The error that an answer is which says no: `Problem`, or `NotAGateway` without a problem document."""
        document = _object(answer.read()) if answer.status >= 400 else None
        if document is None or "status" not in document:
            return strange(answer, self.url)
        return problem_of(answer.status, document, answer.headers.get("Retry-After"))


class _Final(HTTPResponse):
    """The response that ends a request: others with 1xx may come before it (RFC 9110, 15.2), as 103 of a proxy;
    http.client by itself skips only 100."""

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200 and self.status != SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment]  # else there is nothing to begin
            super().begin()


class _Unreadable(Exception):
    """The body of a request cannot be read further; nothing is wrong with the network."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _blocks(body: bytes) -> Iterator[bytes]:
    """A body in pieces: the time-out of a socket is for each, and means one without progress."""
    yield from (body[n : n + BLOCK] for n in range(0, len(body), BLOCK))


def _has_ended(waiting: socket.socket) -> bool:
    """Whether the other side has closed a connection that waits: nothing else can be read from it."""
    ready = select.poll()
    ready.register(waiting, select.POLLIN)
    return bool(ready.poll(0))


def _read(body: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks of a body, but for empty ones, which would end it. Raises `_Unreadable`."""
    try:
        yield from filter(None, body)
    except (OSError, ClientError) as error:
        raise _Unreadable(error) from error


def _basic(header: str, url: str) -> dict[str, str]:
    """The header with the name and the password that stand in an address (RFC 7617); none where there are none."""
    at = urlsplit(url)
    if not at.username:
        return {}
    secret = f"{unquote(at.username)}:{unquote(at.password or '')}"
    return {header: f"Basic {b64encode(secret.encode()).decode()}"}


@lru_cache(1)
def _authorities() -> ssl.SSLContext:
    """Whose certificates are trusted: to read them takes a twentieth of a second, and an upload has several clients."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context()
    import truststore  # noqa: PLC0415 - those of the system, also where that keeps them in no file

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def media_type(answer: Response) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _checked(token: str) -> str:
    """A token that a header can hold; it is a secret, and in no message."""
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("The token holds a blank, a line break or a character that is not ASCII: it is not the key.")
    return token
