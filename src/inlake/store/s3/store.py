"""Objects in S3, or whatever speaks its protocol, through obstore: streamed in parts, created once by If-None-Match."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

import obstore.store
from obstore.exceptions import AlreadyExistsError, BaseError

from inlake.errors import BinaryTooLarge, NotFound, StoreUnavailable
from inlake.model import PART, Blob, ObjectFacts, Part, SignedRequest
from inlake.store.keys import check_ascii, segments
from inlake.store.s3.environment import client_options, endpoint, retry_config, s3_config
from inlake.store.s3.errors import error_code, explain
from inlake.store.s3.parts import PartCalls
from inlake.store.s3.signing import Presigner
from inlake.store.s3.uploads import S3Uploads

if TYPE_CHECKING:
    from obstore import GetOptions

IN_FLIGHT = 4
"""Parts on their way at once; with the one that waits, memory of a put is five times PART whatever its size."""
MAX_PARTS = 10_000
"""Of one multipart upload (Amazon S3 User Guide, Multipart upload limits): 80 GiB with parts of 8 MiB."""
CONFLICT_RETRIES = 4
CHECK_SECONDS = 3.0
READ_SIZE = 256 << 10
CREATOR = "inlake-creator"
"""Metadata of a created object: tells who won when the answer to the first attempt was lost."""

T = TypeVar("T")
Chunk = bytes | bytearray


class S3Store:
    """The Store port on a bucket that is read-after-write and list-after-write consistent."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        environment: Mapping[str, str],
        timeout: float = 10,
        stall: float | None = None,
        max_parts: int = MAX_PARTS,
        public_endpoint: str | None = None,
    ) -> None:
        """`environment`: the AWS_* variables; `timeout`: seconds for a small operation with all its retries;
        `stall`: seconds in which a request of `put` must be answered and a `read` must go on: a part takes no longer
        (default: six times `timeout`); `public_endpoint`: URL of the server as clients see it, if it is another.
        `ValueError` names the variable that is wrong.
        """
        self._base = "/".join(["s3:/", bucket, *(segments(prefix) if prefix else [])])
        self._where = f"The bucket {bucket} at {endpoint(environment) or 'AWS'}"
        self._timeout, self._max_parts = timeout, max_parts
        stall = 6 * timeout if stall is None else stall
        try:
            self._s3 = obstore.store.S3Store(
                bucket,
                prefix=prefix or None,
                config=s3_config(environment),
                client_options=client_options(environment, stall),
                retry_config=retry_config(stall),
            )
        except BaseError as error:
            raise ValueError(f"The AWS_* variables cannot be used: {str(error).splitlines()[0]}.") from None
        self._prefix = f"{prefix}/" if prefix else ""
        self._calls = PartCalls(bucket, where=self._where, environment=environment, timeout=timeout, stall=stall)
        self._uploads = S3Uploads(self, self._calls, self._prefix)
        self._presigner = Presigner(bucket, environment=environment, public_endpoint=public_endpoint)

    async def create(self, key: str, data: bytes) -> bool:
        path, creator = _path(key), uuid4().hex

        async def attempt(left: int = CONFLICT_RETRIES) -> bool:
            try:
                await self._s3.put_async(path, data, attributes={CREATOR: creator}, mode="create", use_multipart=False)
            except AlreadyExistsError as error:
                if error_code(error) in {"PreconditionFailed", ""}:
                    return await self._creator(path) == creator
                # AWS answers 409 while a delete is under way, a store on files while its folder is being removed
                if left == 0:
                    raise
                await asyncio.sleep(0.05)
                return await attempt(left - 1)
            return True

        return await self._ask(attempt)

    async def _creator(self, path: str) -> str | None:
        try:
            found = await self._s3.get_async(path, options=cast("GetOptions", {"head": True}))
        except FileNotFoundError:
            return None  # the winner's object is deleted already
        return found.attributes.get(CREATOR)

    async def put(
        self, key: str, chunks: AsyncIterator[Chunk], *, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Cancelled in the very last step, while the store puts the parts together, it may still leave the object."""
        path, attributes = _path(key), {"Content-Type": content_type, **metadata}
        check_ascii(attributes)
        # The end of `chunks` is awaited before anything is committed: it may still raise.
        first, second = await anext(chunks, b""), await anext(chunks, None)
        if second is not None:
            return await self._put_parts(path, _chain(first, second, chunks), attributes)
        await self._ask(
            lambda: self._s3.put_async(path, first, attributes=attributes, use_multipart=False), within=None
        )
        return None

    async def _put_parts(self, path: str, chunks: AsyncIterator[Chunk], attributes: dict[str, str]) -> None:
        parts = _Parts()
        upload: asyncio.Future[Any] = asyncio.ensure_future(
            self._s3.put_async(
                path,
                parts,
                attributes=attributes,
                use_multipart=True,
                chunk_size=PART,
                max_concurrency=IN_FLIGHT,
            )
        )
        upload.add_done_callback(_observe)
        try:
            await self._feed(parts, chunks, upload)
            await self._ask(lambda: asyncio.shield(upload), within=None)
        except BaseException:
            # obstore aborts the multipart upload when its iterator raises, and leaves it behind when cancelled
            parts.give(_Abandoned())
            await asyncio.wait({upload}, timeout=self._timeout)
            upload.cancel()
            raise

    async def _feed(self, parts: _Parts, chunks: AsyncIterator[Chunk], upload: asyncio.Future[Any]) -> None:
        """Give `chunks` to the upload, each when it asks for it, until the end or until the upload fails."""
        for _ in range(self._max_parts):
            await asyncio.wait({parts.asked, upload}, return_when=asyncio.FIRST_COMPLETED)
            if upload.done():
                return
            chunk = await anext(chunks, None)
            parts.give(chunk)
            if chunk is None:
                return
        if await anext(chunks, None) is not None:
            limit = self._max_parts * PART
            raise BinaryTooLarge(f"A binary whose length is not known may have {limit} bytes at most.", limit=limit)
        parts.give(None)

    async def get(self, key: str) -> bytes | None:
        path = _path(key)

        async def whole() -> bytes:
            return bytes(await (await self._s3.get_async(path)).bytes_async())

        return await self._ask_for(whole)

    async def head(self, key: str) -> int | None:
        path = _path(key)
        found = await self._ask_for(lambda: self._s3.head_async(path))
        return None if found is None else found["size"]

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Chunks of about 256 KiB. `NotFound` when there is no such object; nothing beyond its end."""
        size = await self.head(key)
        if size is None:
            raise NotFound(f"There is no object {key}.")
        end = size if end is None else min(end, size)
        if start >= end:  # S3 has no empty ranges
            return
        options = cast("GetOptions", {"range": (start, end)})
        found = await self._ask_for(lambda: self._s3.get_async(_path(key), options=options))
        if found is None:
            raise NotFound(f"There is no object {key}.")
        stream = found.stream(min_chunk_size=READ_SIZE)
        while (chunk := await self._ask(lambda: anext(stream, None), within=None)) is not None:
            yield bytes(chunk)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        pages = self._s3.list(_path(prefix.removesuffix("/")) if prefix else None, chunk_size=1_000)
        while page := await self._ask(lambda: anext(pages, None)):
            for found in page:
                yield found["path"]

    async def delete(self, key: str) -> None:
        path = _path(key)
        await self._ask_for(lambda: self._s3.delete_async(path))

    def uri(self, key: str) -> str:
        """`s3://bucket/prefix/key`, the key as it is: s3 addresses are not percent-encoded by custom."""
        return f"{self._base}/{_path(key)}"

    async def check(self) -> None:
        """One listing of one key: it wants the endpoint, the bucket and the credentials to be right."""
        pages = self._s3.list(".inlake", chunk_size=1)
        await self._ask(lambda: anext(pages, None), within=min(CHECK_SECONDS, self._timeout))

    async def close(self) -> None:
        """obstore closes its connections itself."""
        await self._calls.close()

    async def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str], size: int | None = None) -> str:
        check_ascii({"Content-Type": content_type, **metadata})
        return await self._uploads.begin(_path(key), content_type=content_type, metadata=metadata, size=size)

    async def received(self, key: str, upload: str) -> int | None:
        return await self._uploads.received(_path(key), upload)

    async def append(
        self, key: str, upload: str, offset: int, chunks: AsyncIterator[bytes], *, size: int | None = None
    ) -> int:
        return await self._uploads.append(_path(key), upload, offset, chunks, size)

    async def complete(self, key: str, upload: str) -> None:
        await self._uploads.complete(_path(key), upload)

    async def abort(self, key: str) -> int:
        return await self._uploads.abort(_path(key))

    async def check_direct(self) -> None:
        await self._presigner.keys()

    async def begin_parts(self, key: str, *, content_type: str, metadata: Mapping[str, str], sha256: bool) -> str:
        check_ascii({"Content-Type": content_type, **metadata})
        path = self._prefix + _path(key)
        return await self._calls.begin(path, content_type=content_type, metadata=metadata, sha256=sha256)

    async def parts(self, key: str, upload: str) -> Sequence[Part]:
        found = await self._calls.find(self._prefix + _path(key), upload)
        if found is None:
            raise NotFound("There is no such upload.")
        return found

    async def complete_parts(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        await self._calls.complete(self._prefix + _path(key), upload, parts)

    async def facts(self, key: str) -> ObjectFacts | None:
        return await self._calls.facts(self._prefix + _path(key))

    async def sign_put(
        self, key: str, blob: Blob, *, content_type: str, metadata: Mapping[str, str], expires: float
    ) -> SignedRequest:
        headers = {"content-type": content_type, **{f"x-amz-meta-{name}": metadata[name] for name in metadata}}
        check_ascii(headers)
        return await self._presigner.put(self._prefix + _path(key), headers | _facts_of(blob), expires)

    async def sign_part(self, key: str, upload: str, number: int, blob: Blob, *, expires: float) -> SignedRequest:
        return await self._presigner.part(self._prefix + _path(key), upload, number, _facts_of(blob), expires)

    async def sign_get(self, key: str, *, content_type: str, disposition: str, expires: float) -> SignedRequest:
        answer = {"content-type": content_type, "content-disposition": disposition}
        return await self._presigner.get(self._prefix + _path(key), answer, expires)

    async def _ask_for(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """As `_ask`; None when there is no such object."""
        try:
            return await self._ask(call)
        except FileNotFoundError:
            return None

    async def _ask(self, call: Callable[[], Awaitable[T]], *, within: float | None = -1) -> T:
        """The answer `within` seconds (default: `timeout`; None: as its requests are bounded), or an error of ours."""
        try:
            async with asyncio.timeout(self._timeout if within == -1 else within):
                return await call()
        except TimeoutError:
            raise StoreUnavailable(f"{self._where} did not answer in time.") from None
        except FileNotFoundError as error:
            if error_code(error) == "NoSuchBucket":
                raise explain(self._where, error) from None
            raise
        except (BaseError, OSError, ValueError) as error:
            raise explain(self._where, error) from None


class _Parts:
    """What obstore pulls parts from. It runs in obstore's own task: nothing of the caller is awaited here."""

    def __init__(self) -> None:
        self._given: asyncio.Queue[Chunk | Exception | None] = asyncio.Queue()
        self.asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done while obstore waits for a part."""

    def give(self, part: Chunk | Exception | None) -> None:
        """A part, None at the end, or an exception to raise in obstore."""
        self.asked = asyncio.get_running_loop().create_future()
        self._given.put_nowait(part)

    def __aiter__(self) -> _Parts:
        return self

    async def __anext__(self) -> Chunk:
        if not self.asked.done():
            self.asked.set_result(None)
        match await self._given.get():
            case None:
                raise StopAsyncIteration
            case Exception() as error:
                raise error
            case part:
                return part


class _Abandoned(Exception):
    """Makes obstore abort; what really happened is raised to the caller."""


async def _chain(first: Chunk, second: Chunk, rest: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
    yield first
    yield second
    async for chunk in rest:
        yield chunk


def _observe(upload: asyncio.Future[Any]) -> None:
    """An abandoned upload fails unheard."""
    if not upload.cancelled():
        upload.exception()


def _facts_of(blob: Blob) -> dict[str, str]:
    """The headers that let through these bytes and no others."""
    headers = {"content-length": str(blob.size)}
    if blob.sha256 is not None:
        headers["x-amz-checksum-sha256"] = b64encode(bytes.fromhex(blob.sha256)).decode()
    return headers


def _path(key: str) -> str:
    return "/".join(segments(key))
