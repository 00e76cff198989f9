"""A connection to one gateway: one request, one answer; what goes wrong on the way comes out as a `ClientError`."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import httpx2

from inlake import __version__
from inlake.client.network import broken, strange
from inlake.client.problems import problem_of


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
    """A pool of connections to one gateway. No POST follows a redirect: it would go where nobody sent it."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        """Raises ValueError for a URL or a token that cannot be one."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not the address of a gateway: it starts with http:// or https://")
        self.authorization = {"Authorization": f"Bearer {_checked(token.strip())}"} if token and token.strip() else {}
        """The header that says who sends."""
        self._headers = {"User-Agent": f"inlake/{__version__}", **self.authorization}
        self.url = url.rstrip("/")
        self.timeout = timeout
        try:
            self._http = self._client(_authorities() if url.startswith("https:") else _nobody())
        except (httpx2.InvalidURL, ValueError) as error:
            raise ValueError(f"{url!r} is not the address of a gateway: {error}") from None
        self._elsewhere = self._http if url.startswith("https:") else None

    def _client(self, trusted: ssl.SSLContext) -> httpx2.Client:
        return httpx2.Client(
            base_url=self.url, headers=self._headers, timeout=self.timeout, follow_redirects=False, verify=trusted
        )

    def _following(self) -> httpx2.Client:
        """A pool whose requests may be redirected from http to https."""
        if self._elsewhere is None:
            self._elsewhere = self._client(_authorities())
        return self._elsewhere

    def close(self) -> None:
        self._http.close()
        if self._elsewhere is not None:
            self._elsewhere.close()

    @contextmanager
    def answer(self, request: Request) -> Iterator[httpx2.Response]:
        """A response while it is read. Raises `Unreachable`, `CutOff`."""
        method, path, query, headers, body, elsewhere, timeout = request
        allowed = self.timeout if timeout is None else timeout
        http = self._following() if elsewhere else self._http
        prepared = http.build_request(method, path, params=query, headers=headers, content=body, timeout=allowed)
        response = None
        try:
            response = http.send(prepared, stream=True, follow_redirects=elsewhere)
            yield response
        except httpx2.HTTPError as error:
            raise broken(error, self.url, allowed, answered=response is not None) from error
        finally:
            if response is not None:
                response.close()

    def document(self, request: Request) -> dict[str, Any]:
        """The JSON object that a request is answered with. Raises `Problem`, `NotAGateway` too."""
        with self.answer(request) as answer:
            document = _object(answer.read())
            if not answer.is_success or document is None:
                raise self.problem(answer)
            return document

    def problem(self, answer: httpx2.Response) -> Exception:
        """The error that an answer is which says no: `Problem`, or `NotAGateway` without a problem document."""
        document = _object(answer.read()) if answer.status_code >= 400 else None
        if document is None or "status" not in document:
            return strange(answer, self.url)
        return problem_of(answer.status_code, document, answer.headers.get("Retry-After"))


@lru_cache(1)
def _authorities() -> ssl.SSLContext:
    """Whose certificates are trusted: to read them takes a twentieth of a second, and an upload has several clients."""
    return httpx2.create_ssl_context()


def _nobody() -> ssl.SSLContext:
    """No certificate is trusted: for http, where to read those of all authorities would be time for nothing."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def media_type(answer: httpx2.Response) -> str:
    return str(answer.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _checked(token: str) -> str:
    """A token that a header can hold; it is a secret, and in no message."""
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("The token holds a blank, a line break or a character that is not ASCII: it is not the key.")
    return token
