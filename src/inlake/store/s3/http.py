"""Requests to S3 that obstore does not have: signed in the URL, their body not copied, repeated where that helps."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from html import unescape
from typing import NamedTuple

from aiohttp import ClientConnectionResetError, ClientError, ClientSession, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter
from aiohttp.payload import Payload
from yarl import URL

from inlake.errors import DirectUploadNotAvailable, StoreUnavailable
from inlake.model import SignedRequest
from inlake.store.s3.environment import Bucket
from inlake.store.s3.errors import explain_failure
from inlake.store.s3.signing import Presigner

URL_SECONDS = 3_600
PAUSES = (0.1, 0.3, 1.0)
"""Seconds before a request is repeated that a server in trouble has not answered, or with a status that passes."""
_MEMBER = re.compile(r"<(\w+)>([^<]*)</\1>")


class Answer(NamedTuple):
    """An answer of S3."""

    status: int
    headers: Mapping[str, str]
    text: str

    def members(self) -> dict[str, str]:
        """The elements of the XML that hold text and nothing else; of equal ones the last."""
        return members(self.text)


class Http:
    """The connections of one process to a bucket, made when they are first needed."""

    def __init__(self, bucket: Bucket, *, transfer_timeout: float) -> None:
        """`transfer_timeout`: seconds for one request. `ValueError` names the variable that is wrong."""
        self._bucket, self._transfer_timeout = bucket, transfer_timeout
        self._signer = Presigner(bucket)
        self.encryption = self._signer.encryption
        """Headers that every new object comes with."""
        self._session: ClientSession | None = None

    async def ask(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str],
        *,
        headers: Mapping[str, str] | None = None,
        body: Sequence[bytes] = (),
    ) -> Answer:
        """The answer, whatever its status. `key`: None for the bucket itself; `body`: chunks that go out as they are.

        `StoreUnavailable` when there is none, also not to the repeats.
        """
        for pause in PAUSES:
            with suppress(_NoAnswer):
                answer = await self._try(method, key, query, headers or {}, body)
                if answer.status < 500 and answer.status != 429:
                    return answer
            await asyncio.sleep(pause)
        try:
            return await self._try(method, key, query, headers or {}, body)
        except _NoAnswer as error:
            raise StoreUnavailable(str(error)) from None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _try(
        self, method: str, key: str | None, query: Mapping[str, str], headers: Mapping[str, str], body: Sequence[bytes]
    ) -> Answer:
        try:
            request = await self._signer.sign(method, key, query, headers, time.time() + URL_SECONDS)
        except DirectUploadNotAvailable as error:  # no credentials to sign with
            raise StoreUnavailable(error.detail) from None
        try:
            return await self._send(request, body)
        except (ClientError, OSError, TimeoutError) as error:
            raise _NoAnswer(explain_failure(self._bucket.where, error).detail) from None

    async def _send(self, request: SignedRequest, body: Sequence[bytes]) -> Answer:
        session = self._session = self._session or self._connect()
        async with (
            asyncio.timeout(self._transfer_timeout),
            session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=_Chunks(body) if body else None,
                skip_auto_headers=("content-type",),
            ) as answer,
        ):
            text = (await answer.read()).decode(errors="replace")
            return Answer(answer.status, answer.headers, text)

    def _connect(self) -> ClientSession:
        ca = self._bucket.environment.get("AWS_CA_BUNDLE")
        tls = ssl.create_default_context(cafile=ca) if ca else True
        connector = TCPConnector(limit=0, ssl=tls, keepalive_timeout=12)
        return ClientSession(connector=connector, timeout=ClientTimeout(sock_connect=min(5, self._transfer_timeout)))


class _NoAnswer(Exception):
    """The object store cannot be reached, and may be a moment later."""


class _Chunks(Payload):
    """A body of chunks that go to the socket as they are, without a copy: a third less CPU than one by one."""

    _default_content_type = "application/octet-stream"

    def __init__(self, chunks: Sequence[bytes]) -> None:
        super().__init__(chunks)
        self._size = sum(map(len, chunks))

    async def write(self, writer: AbstractStreamWriter) -> None:
        assert isinstance(writer, StreamWriter)
        writer.send_headers()
        transport = writer.transport
        if transport is None:
            raise ClientConnectionResetError("The connection was closed.")
        transport.writelines(self._value)
        await writer.drain()

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002
        await self.write(writer)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text that aiohttp's debug output shows."""
        return f"{self._size} bytes in {encoding} and {errors}"


def members(text: str) -> dict[str, str]:
    """The elements of an XML text that hold text and nothing else; S3's have no attributes and no comments."""
    return {name: unescape(value) for name, value in _MEMBER.findall(text)}
