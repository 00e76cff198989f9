"""An ended promise is removed from the store: object, unfinished uploads, name, mark. Its log stays.

At a key of ours nobody else ever writes, so any number of processes may delete there, at any time. A place that a
client named is another's the moment its name is free, and no store here can look and delete in one step. So:

- who added the entry that ended the promise, or the next one, `removing`, deletes there and frees the name; nobody else
  frees it;
- all that is deleted there is deleted within `in_time` after that entry, and another process adds the next `removing`
  only after twice that time: a process that slept in between finds its time over.
"""

from __future__ import annotations

import asyncio
import logging
import time

from inlake.errors import InlakeError
from inlake.logbook.lease import forget
from inlake.ports import Store
from inlake.previews.keeper import preview_key
from inlake.promises.entries import Presigned, Removing, Tus
from inlake.promises.promise import Promise, add_next, marker_key, name_key

log = logging.getLogger("inlake.promises")
FORGOTTEN_AT_ONCE = 4
"""Uploads whose leases are removed at once in the background."""


class Cleanup:
    """Removes what an ended promise left."""

    def __init__(self, store: Store, *, in_time: float, me: str) -> None:
        """`in_time`: seconds; `me`: this process, as `process.me` has it."""
        self._store = store
        self._in_time = in_time
        self._me = me
        self._room = asyncio.Semaphore(FORGOTTEN_AT_ONCE)
        self._forgetting: set[asyncio.Task[None]] = set()

    async def delete_object(self, promise: Promise) -> None:
        """Delete the object and its unfinished uploads, unless they may be another's."""
        if not promise.may_be_deleted:
            return
        if promise.is_named and not (await self._holds_place(promise) and self._is_in_time(promise)):
            return
        if promise.stored is None:
            await self._store.pieces.abort(promise.key)
        else:
            await self._store.delete(preview_key(promise.puuid))
        await self._store.delete(promise.key)

    async def remove(self, promise: Promise) -> None:
        """Remove all that is left. For a named place only by who added the last entry of the log."""
        await self.delete_object(promise)
        if promise.is_named and await self._holds_place(promise):
            if not self._is_in_time(promise):
                return  # the next sweep goes on
            await self._store.delete(name_key(promise.key))
        if isinstance(promise.announced.way, Tus):
            await forget(self._store, promise.puuid)
        await self._store.delete(marker_key(promise.principal, promise.puuid))

    async def remove_failed(self, promise: Promise) -> None:
        """Remove what is left of a promise whose event the bus has refused."""
        if isinstance(promise.announced.way, Presigned):  # a URL may bring the object back: sweep comes once more
            await self.delete_object(promise)
        else:
            await self.remove(promise)

    async def remove_again(self, promise: Promise) -> bool:
        """Remove all when no slow writer can come any more; False when another process does it just now."""
        if promise.is_named:
            after = await add_next(self._store, promise, Removing(owner=self._me))
            if after is None:
                return False
            promise = after
        await self.remove(promise)
        return True

    async def forget(self, promise: Promise) -> None:
        """Remove the lease of what nobody writes to any more, if it has one, and the mark once its event is out."""
        if isinstance(promise.announced.way, Tus):
            await forget(self._store, promise.puuid)
        if promise.published:
            await self._store.delete(marker_key(promise.principal, promise.puuid))

    def forget_later(self, promise: Promise) -> None:
        """Forget it in the background: a lease has two entries for each request of the upload, and a client waits.

        The mark goes last, so that `Sweep` ends what this process does not.
        """

        async def in_turn() -> None:
            async with self._room:
                try:
                    await self.forget(promise)
                except InlakeError as error:
                    log.warning("promise %s: its lease stays until it is swept: %s", promise, error.detail)

        task = asyncio.create_task(in_turn())
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def close(self) -> None:
        """Stop what was begun in the background."""
        for task in self._forgetting:
            task.cancel()
        if self._forgetting:
            await asyncio.wait(self._forgetting)

    async def _holds_place(self, promise: Promise) -> bool:
        return await self._store.get(name_key(promise.key)) == promise.puuid.encode()

    def _is_in_time(self, promise: Promise) -> bool:
        return time.time() < promise.at + self._in_time
