"""Objects in S3, or whatever speaks its protocol, through obstore: streamed in parts, created once by If-None-Match."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from os.path import commonprefix
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote
from uuid import uuid4

import obstore.store
from obstore.exceptions import AlreadyExistsError, BaseError

from inlake.errors import NotFound, StoreUnavailable
from inlake.model import PART, Listed, ObjectFacts
from inlake.store.keys import check_ascii, check_key
from inlake.store.s3.body import Abandoned, Body, Chunk, chained
from inlake.store.s3.direct import S3Direct
from inlake.store.s3.environment import Bucket, client_options, retry_config, s3_config
from inlake.store.s3.errors import error_code, explain
from inlake.store.s3.multipart import Multipart
from inlake.store.s3.pieces import S3Pieces
from inlake.store.s3.signing import Presigner

if TYPE_CHECKING:
    from obstore import GetOptions

IN_FLIGHT = 4
"""Parts on their way at once; with the one that waits, memory of a put is five times PART whatever its size."""
MAX_PARTS = 10_000
"""The most parts of a multipart upload (Amazon S3 User Guide, Multipart upload limits): 80 GiB with parts of 8 MiB."""
CONFLICT_RETRIES = 4
CHECK_SECONDS = 3.0
READ_SIZE = 256 << 10
PATH_CHARACTERS = "/:@!$&'()*+,;="
CREATOR = "inlake-creator"
"""Metadata of a created object: tells who won when the answer to the first attempt was lost."""

T = TypeVar("T")


class S3Store:
    """The Store port on a bucket that is read-after-write and list-after-write consistent."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        environment: Mapping[str, str],
        timeout: float = 10,
        transfer_timeout: float | None = None,
        public_endpoint: str | None = None,
    ) -> None:
        """`environment`: the AWS_* variables; `timeout`: seconds for a small operation with all its retries;
        `transfer_timeout`: seconds in which a request of `put` must be answered and `read` must go on: a part takes no
        longer (default: six times `timeout`); `public_endpoint`: URL of the server as clients see it, if it is another.
        `ValueError` names the variable that is wrong.
        """
        self._bucket = Bucket(bucket, f"{check_key(prefix)}/" if prefix else "", environment)
        self._timeout, self.max_parts = timeout, MAX_PARTS
        transfer_timeout = 6 * timeout if transfer_timeout is None else transfer_timeout
        try:
            self._s3 = obstore.store.S3Store(
                bucket,
                prefix=prefix or None,
                config=s3_config(environment),
                client_options=client_options(environment, transfer_timeout),
                retry_config=retry_config(transfer_timeout),
            )
        except BaseError as error:
            raise ValueError(f"The AWS_* variables cannot be used: {str(error).splitlines()[0]}.") from None
        self._multipart = Multipart(self._bucket, timeout=timeout, transfer_timeout=transfer_timeout)
        self.pieces = S3Pieces(self, self._multipart)
        self.direct = S3Direct(self._multipart, Presigner(self._bucket, public_endpoint=public_endpoint))

    async def create(self, key: str, data: bytes) -> bool:
        path, creator = check_key(key), uuid4().hex

        async def attempt() -> bool:
            return await self._put_new(path, data, {CREATOR: creator}) or await self._creator(path) == creator

        return await self._ask(attempt, self._timeout)

    async def put_new(self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str]) -> bool:
        path, attributes = check_key(key), {"Content-Type": content_type, **metadata}
        check_ascii(attributes)
        return await self._ask(lambda: self._put_new(path, data, attributes), None)

    async def _put_new(self, path: str, data: bytes, attributes: dict[str, str]) -> bool:
        for left in range(CONFLICT_RETRIES, -1, -1):
            try:
                await self._s3.put_async(path, data, attributes=attributes, mode="create", use_multipart=False)
            except AlreadyExistsError as error:
                if error_code(error) in {"PreconditionFailed", ""}:
                    return False
                # AWS answers 409 while a delete is under way, a store on files while its folder is being removed
                if left == 0:
                    raise
                await asyncio.sleep(0.05)
            else:
                break
        return True

    async def _creator(self, path: str) -> str | None:
        try:
            found = await self._s3.get_async(path, options=cast("GetOptions", {"head": True}))
        except FileNotFoundError:
            return None  # the winner's object is deleted already
        return found.attributes.get(CREATOR)

    async def put(
        self, key: str, chunks: AsyncIterator[Chunk], *, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Cancelled in the very last step, while the store puts the parts together, it may still leave the object.

        S3 may keep an upload that is aborted while parts are on their way (API Reference, AbortMultipartUpload): who
        gives the key up calls `pieces.abort`, which here would end another's `put` to the key.
        """
        path, attributes = check_key(key), {"Content-Type": content_type, **metadata}
        check_ascii(attributes)
        # The end of `chunks` is awaited before anything is committed: it may still raise.
        first, second = await anext(chunks, b""), await anext(chunks, None)
        if second is not None:
            return await self._put_parts(path, chained(first, second, chunks), attributes)
        await self._ask(lambda: self._s3.put_async(path, first, attributes=attributes, use_multipart=False), None)
        return None

    async def _put_parts(self, path: str, chunks: AsyncIterator[Chunk], attributes: dict[str, str]) -> None:
        body = Body()
        upload: asyncio.Future[Any] = asyncio.ensure_future(
            self._s3.put_async(
                path,
                body,
                attributes=attributes,
                use_multipart=True,
                chunk_size=PART,
                max_concurrency=IN_FLIGHT,
            )
        )
        upload.add_done_callback(_observe)
        try:
            await body.feed(chunks, upload, self.max_parts)
            await self._ask(lambda: self._end_of(upload, path, body), None)
        except BaseException:
            # obstore aborts the multipart upload when its iterator raises, and leaves it behind when cancelled
            body.give(Abandoned())
            await asyncio.wait({upload}, timeout=self._timeout)
            upload.cancel()
            raise

    async def _end_of(self, upload: asyncio.Future[Any], path: str, body: Body) -> None:
        try:
            await asyncio.shield(upload)
        except FileNotFoundError:
            # The store has put the parts together, its answer was lost, and obstore has asked again; or who may has
            # aborted the upload, and there is no object.
            if await self.head(path) != body.size:
                raise

    async def get(self, key: str) -> bytes | None:
        path = check_key(key)

        async def whole() -> bytes:
            return bytes(await (await self._s3.get_async(path)).bytes_async())

        return await self._ask_for(whole)

    async def head(self, key: str) -> int | None:
        path = check_key(key)
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
        found = await self._ask_for(lambda: self._s3.get_async(check_key(key), options=options))
        if found is None:
            raise NotFound(f"There is no object {key}.")
        stream = found.stream(min_chunk_size=READ_SIZE)
        while (chunk := await self._ask(lambda: anext(stream, None), None)) is not None:
            yield bytes(chunk)

    async def facts(self, key: str) -> ObjectFacts | None:
        return await self._multipart.facts(check_key(key))

    async def list(self, prefix: str) -> AsyncIterator[str]:
        async for found in self.objects(prefix):
            yield found.key

    async def objects(self, prefix: str) -> AsyncIterator[Listed]:
        pages = self._s3.list(check_key(prefix.removesuffix("/")) if prefix else None, chunk_size=1_000)
        while page := await self._ask(lambda: anext(pages, None), self._timeout):
            for found in page:
                yield Listed(found["path"], found["size"], found["last_modified"].timestamp())

    async def sizes(self, keys: Sequence[str]) -> dict[str, int]:
        """Lists what begins as all keys do, a thousand objects a request, and nothing else: obstore lists folders,
        and a store that keeps objects as files looks at each one that follows in the folder."""
        if len(keys) < 3:
            found = {key: await self.head(key) for key in keys}
            return {key: size for key, size in found.items() if size is not None}
        wanted, common = set(keys), commonprefix(keys)  # noqa: RUF071 - of the text
        listed = await self._multipart.sizes(common)
        return {key: size for key, size in listed.items() if key in wanted}

    async def page(self, folder: str, after: str, count: int) -> Sequence[str]:
        names: list[str] = []
        pages = self._s3.list(check_key(folder.removesuffix("/")), offset=folder + after, chunk_size=min(count, 1_000))
        while len(names) < count and (page := await self._ask(lambda: anext(pages, None), self._timeout)):
            found = [meta["path"].removeprefix(folder) for meta in page]
            names += [name for name in found if "/" not in name and name > after]
        return names[:count]

    async def delete(self, key: str) -> None:
        path = check_key(key)
        await self._ask_for(lambda: self._s3.delete_async(path))

    def uri(self, key: str) -> str:
        """`s3://bucket/prefix/key`; what no path of a URI may have is percent-encoded (RFC 3986, 3.3)."""
        return f"s3://{self._bucket.name}/{quote(self._bucket.path(key), safe=PATH_CHARACTERS)}"

    async def check(self) -> Sequence[str]:
        """One listing of one key: it wants the endpoint, the bucket and the credentials to be right."""
        pages = self._s3.list(".inlake", chunk_size=1)
        await self._ask(lambda: anext(pages, None), min(CHECK_SECONDS, self._timeout))
        return []

    async def close(self) -> None:
        """obstore closes its connections itself."""
        await self._multipart.close()

    async def _ask_for(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """A small operation; None when there is no such object."""

        async def found() -> T | None:
            try:
                return await call()
            except FileNotFoundError as error:
                if error_code(error) == "NoSuchBucket":
                    raise
                return None

        return await self._ask(found, self._timeout)

    async def _ask(self, call: Callable[[], Awaitable[T]], timeout: float | None) -> T:  # noqa: ASYNC109
        """The answer within `timeout` seconds (None: each request of it is bounded), or an error of ours."""
        try:
            async with asyncio.timeout(timeout):
                return await call()
        except TimeoutError:
            raise StoreUnavailable(f"{self._bucket.where} did not answer in time.") from None
        except (BaseError, OSError, ValueError) as error:
            raise explain(self._bucket.where, error) from None


def _observe(upload: asyncio.Future[Any]) -> None:
    """An abandoned upload fails unheard."""
    if not upload.cancelled():
        upload.exception()
