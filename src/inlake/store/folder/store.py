"""Objects as files in a folder: durable when a call returns, created once by `link(2)`, never seen half written."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

from inlake.errors import BadPlace, InlakeError, NotFound, OutOfSpace, PlaceTaken, StoreUnavailable
from inlake.model import Listed, ObjectFacts, masked
from inlake.store.folder import beneath
from inlake.store.folder.files import HIDDEN, Files, facts, names_after, open_object, read_whole, size, sizes
from inlake.store.folder.pieces import FolderPieces
from inlake.store.keys import check_ascii, segments

READ_SIZE = 1 << 20
LIST_BATCH = 1_000

T = TypeVar("T")


class FolderStore:
    """The Store port on a folder of a POSIX file system with hard links; any number of processes may share it.

    Content type and metadata are not kept: the promise log has them. A symbolic link in the place of an object is
    not followed; one in the place of a folder is, since whoever can make it can write the files as well.
    """

    def __init__(self, root: Path, *, foreign: bool = False) -> None:
        """`root` is made when it is first needed; `foreign`: others write into it, so that no link of theirs is
        followed anywhere below it."""
        self._root = root.resolve() if foreign else root.absolute()
        self._foreign = foreign
        self._files = Files(self._root)
        self.pieces = FolderPieces(self._files, self._path, self._run)
        self.direct = None  # nobody but the gateway can write here

    async def create(self, key: str, data: bytes) -> bool:
        return await self._run(self._files.create, self._path(key), data)

    async def put(
        self, key: str, chunks: AsyncIterator[bytes | bytearray], *, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        check_ascii({"Content-Type": content_type, **metadata})
        path = self._path(key)
        file = self._files.temporary()
        try:
            await self._run(self._files.open, file)
            async for chunk in chunks:
                await self._run(file.write, chunk)
            await self._run(self._files.replace, file, path)
        finally:
            await self._run(file.discard)

    async def put_new(self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str]) -> bool:
        check_ascii({"Content-Type": content_type, **metadata})
        return await self.create(key, data)

    async def get(self, key: str) -> bytes | None:
        return await self._run(read_whole, self._path(key))

    async def head(self, key: str) -> int | None:
        return await self._run(size, self._path(key))

    async def sizes(self, keys: Sequence[str]) -> dict[str, int]:
        for key in keys:
            segments(key)
        return await self._run(sizes, str(self._root), keys)

    async def facts(self, key: str) -> ObjectFacts | None:
        if self._foreign:
            return await self._run(beneath.facts, self._root, segments(key, foreign=True))
        return await self._run(facts, self._path(key))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Chunks of up to 1 MiB. `NotFound` when there is no such object; nothing beyond its end."""
        if self._foreign:
            file = await self._run(beneath.open_file, self._root, segments(key, foreign=True))
        else:
            file = await self._run(open_object, self._path(key))
        if file is None:
            raise NotFound(f"There is no object {key}.")
        try:
            while end is None or start < end:
                wanted = READ_SIZE if end is None else min(READ_SIZE, end - start)
                chunk = await self._run(os.pread, file, wanted, start)
                if not chunk:
                    return
                yield chunk
                start += len(chunk)
        finally:
            os.close(file)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        async for found in self.objects(prefix):
            yield found.key

    async def objects(self, prefix: str) -> AsyncIterator[Listed]:
        below = prefix.removesuffix("/")
        if self._foreign:
            keys = beneath.walk(self._root, segments(below, foreign=True) if below else [])
        else:
            keys = self._files.walk(self._path(below) if below else self._root)
        try:
            while batch := await self._run(lambda: [*islice(keys, LIST_BATCH)]):
                for found in batch:
                    yield found
        finally:
            keys.close()

    async def page(self, folder: str, after: str, count: int) -> Sequence[str]:
        return await self._run(names_after, self._path(folder.removesuffix("/")), after, count)

    async def delete(self, key: str) -> None:
        await self._run(self._files.delete, self._path(key))

    def uri(self, key: str) -> str:
        """`file:///...`, percent-encoded (RFC 8089)."""
        return self._path(key).as_uri()

    async def check(self) -> Sequence[str]:
        return await self._run(self._files.try_out)

    async def close(self) -> None:
        """Nothing stays open between calls."""

    def _path(self, key: str) -> Path:
        if f"{key}/".startswith(tuple(f"{hidden}/" for hidden in HIDDEN)):
            raise BadPlace(f"The key {key!r} is among the temporary files of the store.")
        return self._root.joinpath(*segments(key, foreign=self._foreign))

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        """`call` in a thread, to its end even when cancelled: its file must not be closed under it."""
        work = asyncio.get_running_loop().run_in_executor(None, call, *arguments)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            while not work.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({work})
            work.exception()
            raise
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> InlakeError:
        file = masked(str(error.filename))
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                return OutOfSpace(f"The folder {self._root} has no space left: {error.strerror}.")
            case errno.ENAMETOOLONG:
                return BadPlace(f"A name is too long for the file system: {file}.")
            case errno.EISDIR | errno.ENOTDIR | errno.EEXIST if self._root.is_dir():
                return PlaceTaken(f"A file cannot be a folder at the same time: {file}.")
        return StoreUnavailable(f"The folder {self._root} cannot be used: {error.strerror} ({file}).")
