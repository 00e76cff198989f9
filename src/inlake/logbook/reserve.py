"""Room in the store that is kept for entries that end something: a full store can be emptied, and says what it did.

.inlake/reserve/<n>   objects that mean nothing; one is deleted when such an entry does not fit, and then it fits
"""

from __future__ import annotations

import os
from contextlib import suppress

from inlake.errors import OutOfSpace
from inlake.ports import Store

RESERVE = ".inlake/reserve/"
OBJECTS = 16
SIZE = 16 << 10
"""Bytes of each: an entry and the folders that a store on files makes for it."""


async def fill(store: Store) -> None:
    """Make what is missing of the reserve, as far as there is room."""
    there = {key async for key in store.list(RESERVE)}
    with suppress(OutOfSpace):
        for n in range(OBJECTS):
            if f"{RESERVE}{n}" not in there:
                await store.create(f"{RESERVE}{n}", os.urandom(SIZE))  # what compresses would keep no room


async def make_room(store: Store) -> bool:
    """Delete an object of the reserve; False when none is left."""
    async for key in store.list(RESERVE):
        await store.delete(key)
        return True
    return False
