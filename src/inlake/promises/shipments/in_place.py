"""Objects that others have put into a store: looked at, read and named by events, never written or deleted."""

from __future__ import annotations

import asyncio
import hashlib
import os
from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from inlake.errors import Forbidden, ObjectChanged, ObjectNotFound
from inlake.model import Blob, Listed
from inlake.ports import Store

AT_ONCE = 8
"""Objects that are read at once for one request."""


class Found(NamedTuple):
    """An object as it was when it was looked at."""

    uri: str
    """The URI as the store writes it."""
    filename: str
    blob: Blob
    etag: str


class InPlace:
    """The prefixes of `INLAKE_IN_PLACE`: what a client may name by its URI, and nothing beside it."""

    def __init__(self, stores: Sequence[Store], own: Sequence[str] = ()) -> None:
        """`stores`: one for each prefix; `own`: URIs of the gateway's own store, with a slash at their ends, which may
        lie below a prefix. Raises ValueError for a prefix that lies in it."""
        self._roots = [(unquote(_root(store), errors="surrogateescape"), store) for store in stores]
        self._own = tuple(_comparable(unquote(uri, errors="surrogateescape")) for uri in own)
        for root, store in self._roots:
            if self._is_own(root):
                raise ValueError(
                    f"{_root(store)} lies in the gateway's own store, {own[0]}: what one principal sends would be "
                    "listed for and read by others. Name a prefix beside it, or give the store one of its own"
                )

    async def look(self, uri: str) -> Found:
        """The object with its SHA-256: the store's own, where it is of the whole object, else that of its bytes.

        Raises `Forbidden` beside the prefixes, `NotFound`, `ObjectChanged` where it is written meanwhile.
        """
        store, key = self._find(uri)
        facts = await store.facts(key)
        if facts is None:
            raise ObjectNotFound(f"There is no object {uri[:500]!r}.")
        told = facts.checksum_sha256
        if told is not None and len(told) == 44:  # else it is a checksum of checksums
            sha256 = b64decode(told).hex()
        else:
            sha256 = await digest_of(store, key)
            if await store.facts(key) != facts:
                raise ObjectChanged(f"The object {uri[:500]!r} changed while it was read.")
        name = os.fsencode(key.rpartition("/")[2]).decode(errors="backslashreplace")
        return Found(store.uri(key), name, Blob(facts.size, sha256), facts.etag)

    async def is_same(self, uri: str, etag: str) -> bool:
        """Whether the object is still the one that was looked at."""
        try:
            store, key = self._find(uri)
        except Forbidden:  # the setting is another now
            return False
        facts = await store.facts(key)
        return facts is not None and facts.etag == etag

    async def close(self) -> None:
        """Let go of the stores."""
        for _, store in self._roots:
            await store.close()

    def reader(self, uri: str) -> tuple[Store, str]:
        """The store that has the object, and its key there. Raises `Forbidden`."""
        return self._find(uri)

    async def list(self, uri: str) -> AsyncIterator[tuple[str, Listed]]:
        """The objects below a URI, in no set order, each with its own; what begins with a dot is left out.

        `uri`: empty for all that there are. Raises `Forbidden`.
        """
        below = [self._find(uri.rstrip("/") + "/", whole=False)] if uri else [(store, "") for _, store in self._roots]
        for store, key in below:
            async for found in store.objects(key):
                if _is_hidden(found.key):
                    continue
                named = store.uri(found.key)
                if not self._is_own(unquote(named, errors="surrogateescape")):
                    yield named, found

    def _find(self, uri: str, *, whole: bool = True) -> tuple[Store, str]:
        """The store and the key of a URI; `whole`: it is that of an object, not of a folder."""
        text = unquote(uri, errors="surrogateescape")
        for root, store in self._roots:
            key = text.removeprefix(root)
            if text.startswith(root) and (key or not whole) and not _is_hidden(key) and not self._is_own(text):
                return store, key
        where = ", ".join(_root(store) for _, store in self._roots)
        raise Forbidden(
            f"{uri[:500]!r} is not below a prefix of INLAKE_IN_PLACE"
            + (f": {where}." if where else ", which names none.")
        )

    def _is_own(self, text: str) -> bool:
        """Whether a URI leads into the gateway's own store: what is sent for one principal is no other's, also at the
        place that a record names."""
        return _comparable(text).startswith(self._own)


async def at_once(in_place: InPlace, uris: Sequence[str]) -> list[Found | Exception]:
    """The result or the error of `look` for each."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(uri: str) -> Found | Exception:
        async with room:
            try:
                return await in_place.look(uri)
            except Exception as error:  # noqa: BLE001 - told of its line
                return error

    return await asyncio.gather(*map(one, uris))


async def digest_of(store: Store, key: str) -> str:
    """SHA-256 of the bytes of an object, hexadecimal."""
    digest = hashlib.sha256()
    async for chunk in store.read(key):
        await asyncio.to_thread(digest.update, chunk)
    return digest.hexdigest()


def _root(store: Store) -> str:
    return store.uri("-").removesuffix("-")


def _comparable(text: str) -> str:
    """A decoded URI as it is compared: a file system may not tell case apart, S3 does."""
    return text.casefold() if text.startswith("file:") else text


def _is_hidden(key: str) -> bool:
    """Whether a segment begins with a dot: `.inlake`, `.env`, `..`."""
    return f"/{key}".find("/.") >= 0
