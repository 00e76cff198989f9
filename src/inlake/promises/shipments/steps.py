"""The steps of a shipment: announce, send, complete. All state is in the store: any process does the next one."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

from inlake import ports
from inlake.errors import (
    DirectUploadNotAvailable,
    InlakeError,
    ShipmentBusy,
    ShipmentExpired,
    ShipmentNotFound,
    UploadIncomplete,
)
from inlake.logbook import process
from inlake.memory import Recent
from inlake.metrics import Counter
from inlake.model import Binary, Blob, Place, Position, Receipt, SignedRequest, masked
from inlake.previews.keeper import can_be_drawn, preview_key
from inlake.promises.arrival import Arrival
from inlake.promises.places import promise_named
from inlake.promises.shipments.check import check_open, check_wanted, error_of, exactly, present, whole
from inlake.promises.shipments.due import Due, Timeouts
from inlake.promises.shipments.entries import (
    Accepted,
    Announced,
    Completing,
    Entry,
    Expired,
    File,
    Line,
    Names,
    Published,
    Refused,
    Shipment,
    log_of,
    marker_key,
    read,
    read_whole,
    written_down,
)
from inlake.promises.shipments.in_place import InPlace

log = logging.getLogger("inlake.shipments")
LOOK, LONGEST_LOOK = 0.05, 1.0
"""Seconds between two looks whether another process has published: twice as long each time."""
READ_AT_ONCE = 2
"""Logs that are read at once where only a part of each is kept: the first entry has all events in it."""
TURN = 20
"""Requests that are signed before others have their turn."""
Result = Receipt | InlakeError


class Shipments:
    """Shipments of one deployment."""

    def __init__(
        self, store: ports.Store, bus: ports.Bus, timeouts: Timeouts, *, in_place: InPlace | None = None,
        direct: bool = True, me: str | None = None,
    ) -> None:  # fmt: skip
        """`in_place`: what may be named that is there already; `direct`: clients reach the store; `me`: who works here
        (default: `process.me`)."""
        self._store, self._bus, self._timeouts = store, bus, timeouts
        self.in_place = in_place or InPlace(())
        self._me = me or process.me()
        self._direct = store.direct if direct else None
        self._root = store.uri("-").removesuffix("-")
        """The beginning of the URIs of all objects: a key of ours needs no encoding."""
        self._reading = asyncio.Semaphore(READ_AT_ONCE)
        self._known = Recent[str, Shipment](20)
        """Shipments that files come for, as they were."""
        self._published = Recent[str, Published](100)
        """Outcomes of lines where the log does not say so yet; by the shipment's id and the entry's number."""
        self.accepted = Counter()
        """Events that this process has published, not those in an outbox; the gateway's own counter takes its place."""

    # ------------------------------------------------------------------------------------------------------- announce
    async def announce(self, names: Names, principal: str, lines: Sequence[Accepted]) -> Shipment:
        """Write down all files and events. From here on each event is fixed.

        What an attempt before wrote under these names is the shipment. Raises `ShipmentBusy`.
        """
        now = time.time()
        mark, made = marker_key(principal, names.id), json.dumps({"at": now}).encode()
        new = await self._store.create(mark, made)
        contexts, written = written_down(lines)
        expires = now + self._timeouts.shipment
        announced = Announced(
            at=now,
            id=names.id,
            principal=principal,
            secret=names.secret.hex(),
            expires=expires,
            contexts=contexts,
            lines=written,
        )
        if await log_of(self._store, names.id).add(0, announced):
            if not new:  # an attempt before made the mark, and sweep may have just removed it for being old
                await self._store.create(mark, made)
            return Shipment(announced, 1, announced, expires)
        found = await read(self._store, names.id)
        if found is None or found.id != names.id:
            await self._store.delete(mark)
            raise ShipmentBusy("Another shipment has this name: send it again.")
        return found

    async def find(self, shipment: str, principal: str, *, whole: bool = False) -> Shipment:
        """One's own shipment in any state, with its events if it is `whole`. Raises `ShipmentNotFound`, for another's
        too."""
        found = None
        if promise_named(shipment) == shipment:
            found = await (read_whole(self._store, shipment) if whole else self.read(shipment))
        if found is None or found.id != shipment or found.announced.principal != principal:
            raise ShipmentNotFound(f"There is no shipment {masked(shipment)} of yours.")
        return found

    async def read(self, name: str) -> Shipment | None:
        """The shipment without its events, by its id or a puuid of a line; a few are read at once."""
        async with self._reading:
            return await read(self._store, name)

    async def size(self, shipment: str) -> int:
        """Bytes of what was announced, which whoever completes it holds as text and as events; 0: there is none."""
        return await log_of(self._store, shipment).size(0) if promise_named(shipment) == shipment else 0

    async def find_line(self, puuid: str, principal: str) -> tuple[Shipment, File] | None:
        """One's own line by its puuid."""
        found = await self.read(puuid)
        if found is None or found.announced.principal != principal:
            return None
        return next(((found, file) for file in found.announced.lines if file.puuid == puuid), None)

    async def present(self, files: Sequence[File]) -> set[int]:
        """The lines whose objects are in the store."""
        return await present(self._store, files)

    async def receipt(self, shipment: Shipment, file: File) -> Receipt | None:
        """The receipt of a line whose event is out."""
        at = shipment.positions.get(file.line)
        if at is None:
            return None
        async with self._reading:
            written = await read_whole(self._store, shipment.id)
        line = written.file(file.line) if written else None
        return line.receipt(at, self._root) if isinstance(line, Line) else None

    # ----------------------------------------------------------------------------------------------------------- send
    async def offer(self, shipment: Shipment, files: Sequence[File], folder: str) -> list[SignedRequest]:
        """Says where each file goes: to the store, or to `folder` where the store takes nothing from clients.

        `folder`: the address of the shipment.
        """
        offered: list[SignedRequest] = []
        if self._direct is not None:
            with suppress(DirectUploadNotAvailable):  # no credentials just now; the next call may have some
                for n, file in enumerate(files, 1):
                    put = await self._direct.sign_put(
                        file.key,
                        Blob(file.size, file.sha256),
                        content_type=file.content_type,
                        metadata={"puuid": file.puuid},
                        expires=shipment.expires,
                    )
                    offered.append(put)
                    if n % TURN == 0:
                        await asyncio.sleep(0)
        rest = [(f"{folder}/{file.line}", {"content-type": file.content_type}) for file in files[len(offered) :]]
        return offered + [SignedRequest("PUT", url, headers) for url, headers in rest]

    async def put(self, shipment: str, line: int, principal: str, chunks: AsyncIterator[bytes]) -> File:
        """Store a file that comes through the gateway. It is what was announced, or nothing of it stays.

        Raises `ShipmentNotFound`, `ShipmentExpired`, `SizeMismatch`, `DigestMismatch`, and what refused its event.
        """
        known = self._known.recall(shipment)
        if known is None or known.announced.principal != principal:
            known = await self.find(shipment, principal)
        known = await read(self._store, shipment, known) or known
        self._known.keep(shipment, known)
        file = known.file(line)
        if file is None or file.in_place:
            raise ShipmentNotFound(f"The shipment {known} has no line {line} that is to be sent.")
        check_wanted(known, line)

        async def coming() -> AsyncIterator[bytes]:
            async for chunk in exactly(file, chunks):
                yield chunk
            if time.time() > arrival.expires:  # as it was; who completes other lines has moved it on
                arrival.expires = (await read(self._store, shipment, known) or known).expires

        arrival = Arrival(Binary(file.filename, file.content_type, coming(), file.sha256))
        arrival.expires = known.expires
        await self._store.put(file.key, arrival.parts(), content_type=file.content_type, metadata={"puuid": file.puuid})
        after = await read(self._store, shipment, known) or known
        if after.state_of(line) in {"expired", "failed"}:  # while it came
            if line not in after.kept:
                await self._store.delete(file.key)
            check_wanted(after, line)
        return file

    # ------------------------------------------------------------------------------------------------------- complete
    async def complete(self, shipment: str, principal: str) -> tuple[Shipment, list[tuple[int, Result]]]:
        """Publish the events of all lines whose object is there: what became of each line.

        Of one that has ended these are the receipts of what was published before. Raises `ShipmentNotFound`,
        `ShipmentExpired`, `ShipmentBusy`.
        """
        found = await self.find(shipment, principal, whole=True)
        failed = dict[int, InlakeError]()
        if found.end is None or not found.positions:
            found, failed = await self._complete(found)
        lines = [line for line in found.announced.lines if isinstance(line, Line)]
        return found, [(line.line, self._result(found, line, failed)) for line in lines]

    async def _complete(
        self, found: Shipment, *, until: float | None = None
    ) -> tuple[Shipment, dict[int, InlakeError]]:
        """The steps of `complete`, of a shipment with its events; why lines are not published though they are there.

        `until`: when it expires then; None: later, for somebody goes on with it.
        """
        failed: dict[int, InlakeError] = {}
        wait_until, pause = time.monotonic() + self._timeouts.publishing, LOOK
        while found.left:
            check_open(found)
            busy = found.completing
            if busy and (known := self._published.recall(_name(found))):
                return (await self._note(found, known)), failed
            if busy and not self._timeouts.are_over(busy):
                if time.monotonic() > wait_until:
                    raise ShipmentBusy("The shipment is being completed by another request: send this one again.")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_LOOK)
                found = await read(self._store, found.id, found) or found
                continue
            if busy:  # its process is gone
                there = {n for n in busy.lines if found.state_of(n) == "announced"}
            else:
                there, wrong = await whole(self._store, self.in_place, found.left)
                await self._delete([file for file in found.left if file.line in wrong])
                failed |= wrong
            if not there:
                break
            expires = time.time() + self._timeouts.shipment if until is None else until
            tried = found.tried
            found, added = await self._add(found, Completing(owner=self._me, lines=sorted(there), expires=expires))
            if added:
                found, errors = await self._publish(found, tried)
                failed |= errors
                if not busy:
                    break
        return found, failed

    async def _publish(self, found: Shipment, tried: frozenset[int]) -> tuple[Shipment, dict[int, InlakeError]]:
        """Publish the lines of the entry `completing`, which is this process's, and note what became of them.

        `tried`: those of which an attempt before may have published some.
        """
        assert found.completing is not None
        wanted = set(found.completing.lines)
        lines = [line for line in found.announced.lines if isinstance(line, Line) and line.line in wanted]
        assert isinstance(found.announced, Announced)
        contexts = [tuple([(name, value.encode()) for name, value in context]) for context in found.announced.contexts]
        results = await self._bus.publish([line.event(contexts, self._root) for line in lines])
        positions: dict[int, tuple[str, int | None, int | None]] = {}
        refused, failed = [], {}
        for line, result in zip(lines, results, strict=True):
            if isinstance(result, Place):
                positions[line.line] = (result.topic, result.partition, result.offset)
            else:
                failed[line.line] = result
                if not result.retryable:
                    refused.append(Refused(line.line, result.code, result.detail, line.line in tried))
        self.accepted.value += sum(isinstance(result, Position) for result in results)
        found = await self._note(found, Published(lines=[*positions], positions=[*positions.values()], refused=refused))
        gone = {one.line for one in refused if not one.kept}
        await self._delete([line for line in lines if line.line in gone])
        return found, failed

    async def _note(self, found: Shipment, entry: Published) -> Shipment:
        """Write what became of lines. If it cannot be written now, a later look does, and publishes nothing again."""
        name = _name(found)
        self._published.keep(name, entry)
        try:
            noted, added = await self._add(found, entry)
            self._published.pop(name, None)  # of two that complete it here the other may have written it
            if not noted.left and not noted.refused:
                await self._store.delete(marker_key(found.announced.principal, found.id))
            return noted if added else _told(noted, entry)
        except InlakeError as error:
            log.warning("shipment %s: its events are out, but its log does not say so: %s", found, error.detail)
            return _told(found, entry)

    def _result(self, found: Shipment, line: Line, failed: dict[int, InlakeError]) -> Result:
        if at := found.positions.get(line.line):
            return line.receipt(at, self._root)
        if refused := found.refused.get(line.line):
            return error_of(refused)
        if found.end is not None:
            return ShipmentExpired("The shipment ended before the file came: announce it anew.")
        return failed.get(line.line) or UploadIncomplete("The file is not in the store yet: send it, complete again.")

    # ------------------------------------------------------------------------------------------------------- the end
    async def cancel(self, shipment: str, principal: str) -> None:
        """Give up what is not published. Raises `ShipmentNotFound`, `ShipmentBusy`."""
        found = await self.find(shipment, principal)
        if found.end is None and found.left:
            found, _ = await self._expire(found, "cancelled")
            if found.end is None and found.left:
                raise ShipmentBusy("The shipment is being completed just now: ask how it went.")

    async def _expire(self, found: Shipment, reason: str) -> tuple[Shipment, bool]:
        found, added = await self._add(found, Expired(reason=reason, owner=self._me))
        if added:
            await self._delete(found.left)
        return found, added

    async def look(self, name: str, mark: str) -> Due:
        """The task that a shipment with work left has for sweep, if nobody is at it."""
        if found := await self.read(name):
            return self._timeouts.due(found, signed=self._direct is not None)
        made, now = await self._store.get(mark), time.time()  # a crash between mark and entry 0
        due = json.loads(made)["at"] + self._timeouts.removal if made else now
        return Due("removed" if made and now > due else None, "a mark without a log", due)

    async def settle(self, due: Due, mark: str) -> bool:
        """Carries out what is due; False when another process was quicker."""
        found = due.found
        if found is None or due.what == "removed":
            if found is not None:
                kept = found.kept
                await self._delete([file for file in found.announced.lines if file.line not in kept], last=True)
            await self._store.delete(mark)
            return True
        written = await read_whole(self._store, found.id)
        assert written is not None
        if due.what == "finished":
            await self._complete(written)
            return True
        if time.time() <= written.expires:  # somebody has gone on with it
            return False
        found, _ = await self._complete(written, until=written.expires)  # what is there is published, the rest given up
        if time.time() <= found.expires:
            return False
        return not found.left or (await self._expire(found, "no progress"))[1]

    async def _delete(self, files: Sequence[File], *, last: bool = False) -> None:
        """Delete the objects of lines, and previews, but for what was there before; the `last` time unfinished uploads,
        too, and any time where all files come through the gateway."""
        drawn = [preview_key(file.puuid) for file in files if can_be_drawn(file.content_type, file.filename)]
        for key in await self._store.sizes(drawn) if drawn else {}:
            await self._store.delete(key)
        files = [file for file in files if not file.in_place]
        sizes = await self._store.sizes([file.key for file in files]) if files else {}
        for key in sizes:
            await self._store.delete(key)
        if last or self._direct is None:  # a PUT through the gateway may have died
            for file in files:
                if file.key not in sizes:
                    await self._store.pieces.abort(file.key)

    async def _add(self, found: Shipment, entry: Entry) -> tuple[Shipment, bool]:
        """Add an entry if the log allows it: what the log adds up to then, and whether the entry is ours.

        Where another's stands there it is not tried again: what it says belongs to the log as it was.
        """
        ends = isinstance(entry, Published | Expired)
        if found.allows(entry) and await log_of(self._store, found.id).add(found.entries, entry, ends=ends):  # type: ignore[arg-type]
            return found.after(entry), True
        return await read(self._store, found.id, found) or found, False


def _told(found: Shipment, entry: Published) -> Shipment:
    """The shipment with outcomes that its log does not have, and as long as its log."""
    return replace(found.after(entry), entries=found.entries, last=found.last)


def _name(found: Shipment) -> str:
    return f"{found.id}/{found.entries}"
