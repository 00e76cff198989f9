"""S3's calls on multipart uploads, which obstore does not have: any process continues and ends them."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import ClientConnectionResetError, ClientError, ClientSession, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter
from aiohttp.payload import Payload
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AnswerError
from yarl import URL

from inlake.errors import DirectUploadNotAvailable, InlakeError, NotFound, PartsRefused, StoreUnavailable
from inlake.model import ObjectFacts, Part
from inlake.store.keys import check_ascii
from inlake.store.s3.environment import Bucket, client_arguments
from inlake.store.s3.errors import explain_answer, explain_failure
from inlake.store.s3.signing import Presigner

ERROR_CODE = re.compile(r"<Code>(\w+)</Code>")
URL_SECONDS = 3_600
PAGE = 1_000
"""Most parts or uploads in one answer."""
PARTS_AT_FAULT = {"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "InvalidRequest", "BadDigest", "MalformedXML"}


class Multipart:
    """One client per process, made when it is first needed; its calls raise errors of ours."""

    def __init__(self, bucket: Bucket, *, timeout: float, stall: float) -> None:
        """`timeout`, `stall`: seconds for a small call, and for one that moves data. `ValueError` names the variable
        that is wrong."""
        self._bucket, self._timeout, self._stall = bucket, timeout, stall
        self._signer = Presigner(bucket)
        self._arguments, self._encryption = client_arguments(bucket.environment, stall)
        self._making = asyncio.Lock()
        self._open = AsyncExitStack()
        self._made: Any = None
        self._http: ClientSession | None = None

    async def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str], sha256: bool) -> str:
        """The upload's id. `sha256`: each part comes with its own."""
        check_ascii({"Content-Type": content_type, **metadata})
        checksum = {"ChecksumAlgorithm": "SHA256"} if sha256 else {}
        about: dict[str, Any] = {
            "ContentType": content_type,
            "Metadata": dict(metadata),
            **self._encryption,
            **checksum,
        }
        answer = await self._ask_for("create_multipart_upload", key, **about)
        return str(answer["UploadId"])

    async def put(self, key: str, upload: str, number: int, chunks: Sequence[bytes]) -> Part:
        """Store part `number`, over what was there. `NotFound` when there is no such upload.

        A signed URL and a plain PUT, the chunks one by one: 0.4 s of CPU for a GiB where botocore takes 0.9.
        """
        for pause in (0.1, 0.3, 1.0):
            try:
                return await self._try_put(key, upload, number, chunks)
            except StoreUnavailable:
                await asyncio.sleep(pause)
        return await self._try_put(key, upload, number, chunks)

    async def _try_put(self, key: str, upload: str, number: int, chunks: Sequence[bytes]) -> Part:
        client = self._http or await self._connect()
        try:
            request = await self._signer.part(key, upload, number, {}, time.time() + URL_SECONDS)
            async with (
                asyncio.timeout(self._stall),
                client.put(URL(request.url, encoded=True), data=_Chunks(chunks)) as answer,
            ):
                text = (await answer.read()).decode(errors="replace")
        except (ClientError, OSError, TimeoutError) as error:
            raise explain_failure(self._bucket.where, error) from None
        except DirectUploadNotAvailable as error:  # no credentials to sign with
            raise StoreUnavailable(error.detail) from None
        if answer.status != 200:
            found = ERROR_CODE.search(text)
            raise self._explain(answer.status, found[1] if found else "")
        return Part(number, sum(map(len, chunks)), answer.headers["ETag"])

    async def find(self, key: str, upload: str) -> list[Part] | None:
        """All parts, by number; None when there is no such upload."""
        found: list[Part] = []
        while True:
            marker = found[-1].number if found else 0
            try:
                page = await self._ask_for("list_parts", key, UploadId=upload, PartNumberMarker=marker, MaxParts=PAGE)
            except NotFound:
                return None
            found += [
                Part(part["PartNumber"], part["Size"], part["ETag"], part.get("ChecksumSHA256"))
                for part in page.get("Parts", [])
            ]
            if not page.get("IsTruncated") or not page.get("Parts"):
                return found

    async def complete(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Make the object. `NotFound` when there is no such upload, `PartsRefused`."""
        wanted = {"Parts": [_wanted(part) for part in parts]}
        path = self._bucket.path(key)
        await self._ask("complete_multipart_upload", None, Key=path, UploadId=upload, MultipartUpload=wanted)

    async def abort(self, key: str, upload: str) -> None:
        """Give up an upload with its parts; none there is no error."""
        try:
            await self._ask_for("abort_multipart_upload", key, UploadId=upload)
        except NotFound:
            return

    async def uploads(self, key: str) -> list[str]:
        """Ids of the unfinished uploads to the key."""
        found: list[str] = []
        path = self._bucket.path(key)
        marker: dict[str, Any] = {}
        while True:
            page = await self._ask("list_multipart_uploads", self._timeout, Prefix=path, MaxUploads=PAGE, **marker)
            found += [upload["UploadId"] for upload in page.get("Uploads", []) if upload["Key"] == path]
            if not page.get("IsTruncated"):
                return found
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}

    async def facts(self, key: str) -> ObjectFacts | None:
        """Size, ETag and the SHA-256 of the whole object where the store has it; None when there is no object."""
        try:
            head = await self._ask_for("head_object", key, ChecksumMode="ENABLED")
        except NotFound:
            return None
        whole = head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
        return ObjectFacts(head["ContentLength"], head["ETag"], head.get("ChecksumSHA256") if whole else None)

    async def close(self) -> None:
        """Let go of the connections."""
        self._made = self._http = None
        await self._open.aclose()

    async def _ask_for(self, call: str, key: str, **arguments: Any) -> Any:
        """A small call on one object."""
        return await self._ask(call, self._timeout, Key=self._bucket.path(key), **arguments)

    async def _ask(self, call: str, timeout: float | None, **arguments: Any) -> Any:  # noqa: ASYNC109
        """The answer within `timeout` seconds (None: its requests are bounded)."""
        try:
            async with asyncio.timeout(timeout):
                client = self._made or await self._client()
                return await getattr(client, call)(Bucket=self._bucket.name, **arguments)
        except AnswerError as error:
            answer = error.response
            status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            raise self._explain(status, str(answer.get("Error", {}).get("Code", ""))) from None
        except (BotoCoreError, OSError, TimeoutError) as error:
            raise explain_failure(self._bucket.where, error) from None

    async def _client(self) -> Any:
        async with self._making:
            if self._made is None:
                arguments = {**self._arguments, "config": AioConfig(**self._arguments["config"])}
                self._made = await self._open.enter_async_context(get_session().create_client("s3", **arguments))
            return self._made

    async def _connect(self) -> ClientSession:
        async with self._making:
            if self._http is None:
                ca = self._arguments["verify"]
                tls = ssl.create_default_context(cafile=ca) if ca else True
                connector = TCPConnector(limit=0, ssl=tls, keepalive_timeout=12)
                self._http = await self._open.enter_async_context(
                    ClientSession(connector=connector, timeout=ClientTimeout(sock_connect=min(5, self._stall)))
                )
            return self._http

    def _explain(self, status: int, code: str) -> InlakeError:
        if code in {"NoSuchUpload", "NoSuchKey", "404"}:
            return NotFound("The store has no such upload or object.")
        if code in PARTS_AT_FAULT:
            return PartsRefused(f"The store refuses the parts: {code}.")
        return explain_answer(self._bucket.where, status, code)


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
        """For aiohttp's debug output only."""
        return f"{self._size} bytes in {encoding} and {errors}"


def _wanted(part: Part) -> dict[str, Any]:
    checksum = {} if part.checksum_sha256 is None else {"ChecksumSHA256": part.checksum_sha256}
    return {"PartNumber": part.number, "ETag": part.etag, **checksum}
