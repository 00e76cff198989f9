"""Files of a shipment are compared with what was announced: those in the store, and one that comes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Sequence

from inlake.errors import DigestMismatch, InlakeError, ObjectChanged, ShipmentExpired, SizeMismatch, every_error
from inlake.ports import Store
from inlake.promises.shipments.entries import File, Refused, Shipment
from inlake.promises.shipments.in_place import InPlace, digest_of

BY_CODE = {error.code: error for error in every_error()}


async def present(store: Store, files: Sequence[File]) -> set[int]:
    """The lines whose objects are there, by their names; one that stood there before is."""
    sizes = await store.sizes([file.key for file in files if not file.in_place])
    return {file.line for file in files if file.in_place or file.key in sizes}


async def whole(store: Store, in_place: InPlace, files: Sequence[File]) -> tuple[set[int], dict[int, InlakeError]]:
    """The lines whose objects are there, and what is wrong with others that are.

    Sizes come from listings. The SHA-256 was signed or compared on the way; whether the store enforces what is signed
    shows in one object, and if it does not, every object is asked, and read where the store has no checksum of it.
    """
    sizes = await store.sizes([file.key for file in files if not file.in_place])
    there, wrong, standing = [], dict[int, InlakeError](), set[int]()
    for file in files:
        if file.in_place:
            if await in_place.is_same(file.in_place.uri, file.in_place.etag):
                standing.add(file.line)
            else:
                wrong[file.line] = ObjectChanged("The object is another than it was when it was announced.")
            continue
        size = sizes.get(file.key)
        if size == file.size:
            there.append(file)
        elif size is not None:
            wrong[file.line] = SizeMismatch(f"The object has {size:,} bytes, and {file.size:,} were announced.")
    if store.direct is not None and there and not await _is_vouched_for(store, there[0]):
        for file in there:
            if not (await _is_vouched_for(store, file) or await digest_of(store, file.key) == file.sha256):
                wrong[file.line] = DigestMismatch("The object has another SHA-256 than was announced.")
    return standing | {file.line for file in there if file.line not in wrong}, wrong


async def _is_vouched_for(store: Store, file: File) -> bool:
    """Whether the store says that the object has the SHA-256 that was announced: it compared it with what came."""
    facts = await store.facts(file.key)
    return facts is not None and facts.checksum_sha256 == b64encode(bytes.fromhex(file.sha256)).decode()


async def exactly(file: File, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, of as many bytes as were announced. Raises `SizeMismatch`."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > file.size:
            break
        yield chunk
    if size != file.size:
        raise SizeMismatch(
            f"The body has {'more' if size > file.size else 'fewer'} bytes than the {file.size:,} announced."
        )


def error_of(refused: Refused) -> InlakeError:
    """The error by which the bus refused the event of a line."""
    return BY_CODE.get(refused.code, InlakeError)(refused.detail)


def check_wanted(shipment: Shipment, line: int) -> None:
    """Raises `ShipmentExpired` where it has ended, and the error by which the bus has refused the line."""
    if refused := shipment.refused.get(line):
        raise error_of(refused)
    check_open(shipment)


def check_open(shipment: Shipment) -> None:
    """Raises `ShipmentExpired` where it has ended."""
    if shipment.end is not None:
        raise ShipmentExpired(f"The shipment {shipment} has ended ({shipment.end.reason}): announce what is left anew.")
