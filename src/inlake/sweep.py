"""What a crash or a lost connection left is finished or removed, judged by the entries of the promises alone."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter

from inlake import owner
from inlake.errors import InlakeError
from inlake.ports import Store
from inlake.promise_log import OPEN, Promise, append, read
from inlake.promises import Promises

log = logging.getLogger("inlake.sweep")


class Sweep:
    """Goes through the promises that have work left. Any number of processes may sweep at once."""

    def __init__(self, store: Store, promises: Promises, *, bus_timeout: float, upload_timeout: float) -> None:
        """Times in seconds. A clock decides only who tries; the next entry of a log decides who won."""
        self._store = store
        self._promises = promises
        self._patience = 2 * bus_timeout
        self._late = 2 * upload_timeout

    async def run_for_ever(self, pause: float) -> None:
        """Sweep now and after every pause (seconds), until cancelled. A store that is away is tried again."""
        while True:
            try:
                done = await self.run()
                if done:
                    log.info("sweep: %s", ", ".join(f"{count} {what}" for what, count in sorted(done.items())))
            except InlakeError:
                pass  # the store is away
            except Exception:
                log.exception("sweep: it did not get through")
            await asyncio.sleep(pause)

    async def run(self) -> Counter[str]:
        """One sweep. Counts of what was done: `finished`, `expired`, `removed`."""
        done: Counter[str] = Counter()
        async for marker in self._store.list(OPEN):
            try:
                if what := await self._settle(marker):
                    done[what] += 1
            except InlakeError as error:
                log.warning("sweep: promise %s… waits: %s", marker.rpartition("/")[2][:8], error.detail)
            except Exception:  # what one promise has wrong must not keep the others waiting
                log.exception("sweep: promise %s… cannot be read", marker.rpartition("/")[2][:8])
        return done

    async def _settle(self, marker: str) -> str | None:
        puuid = marker.rpartition("/")[2]
        promise = await read(self._store, puuid)
        now = time.time()
        if promise is None:
            return await self._settle_unwritten(marker, now)
        dead = owner.is_certainly_dead(promise.owner)
        if promise.published:
            if dead or now > promise.at + self._patience:
                await self._store.delete(marker)
                return "removed"
        elif promise.ended is not None:
            return await self._remove(promise, now)
        elif promise.stored and promise.claim:
            if dead or now > promise.claim.at + self._patience:
                await self._promises.finish(promise, again=True)
                return "finished"
        elif dead or now > promise.expires:
            promise = await append(self._store, promise, "expired", {"reason": "no progress"})
            if promise.ended is not None:
                await self._promises.delete_object(promise)
                return "expired"
        return None

    async def _settle_unwritten(self, marker: str, now: float) -> str | None:
        """A crash between marker and entry 0: nothing else was written, nothing can be promised."""
        made = await self._store.get(marker)
        if made is None or now < json.loads(made)["at"] + self._late:
            return None
        await self._store.delete(marker)
        return "removed"

    async def _remove(self, promise: Promise, now: float) -> str | None:
        """The object was deleted when the promise ended, and is once more when no slow writer can come after."""
        assert promise.ended is not None
        if now < promise.ended + (self._patience if promise.claim and promise.stored else self._late):
            return None
        await self._promises.end(promise)
        return "removed"
