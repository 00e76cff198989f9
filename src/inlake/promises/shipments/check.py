"""Which files of a shipment are in the store, and are what was announced."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Sequence

from inlake.errors import DigestMismatch, InlakeError, SizeMismatch
from inlake.ports import Store
from inlake.promises.shipments.entries import File


async def whole(store: Store, files: Sequence[File]) -> tuple[set[int], dict[int, InlakeError]]:
    """The lines whose objects are there, and what is wrong with others that are.

    Sizes come from listings. The SHA-256 was signed or compared on the way; whether the store enforces what is signed
    shows in one object, and if it does not, every object is asked, and read where the store has no checksum of it.
    """
    sizes = await store.sizes([file.key for file in files])
    there, wrong = [], dict[int, InlakeError]()
    for file in files:
        size = sizes.get(file.key)
        if size == file.size:
            there.append(file)
        elif size is not None:
            wrong[file.line] = SizeMismatch(f"The object has {size:,} bytes, and {file.size:,} were announced.")
    if store.direct is not None and there and not await _is_vouched_for(store, there[0]):
        for file in there:
            if not (await _is_vouched_for(store, file) or await _digest(store, file) == file.sha256):
                wrong[file.line] = DigestMismatch("The object has another SHA-256 than was announced.")
    return {file.line for file in there if file.line not in wrong}, wrong


async def _is_vouched_for(store: Store, file: File) -> bool:
    """Whether the store says that the object has the SHA-256 that was announced: it compared it with what came."""
    assert store.direct is not None
    facts = await store.direct.facts(file.key)
    return facts is not None and facts.checksum_sha256 == b64encode(bytes.fromhex(file.sha256)).decode()


async def _digest(store: Store, file: File) -> str:
    digest = hashlib.sha256()
    async for chunk in store.read(file.key):
        await asyncio.to_thread(digest.update, chunk)
    return digest.hexdigest()
