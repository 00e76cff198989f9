"""A large file: its bytes go to the store in parts, or by tus through the gateway; then its record claims them.

The journal has its promise before the first byte goes out, so that the next run sends the parts that are missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

from inlake.client.collection import Explain, Outcome, attempted, failed, filled
from inlake.client.files import Item
from inlake.client.gateway import Address, Gateway
from inlake.client.journal import File, Journal, Underway
from inlake.client.problems import Failed, Refused
from inlake.client.receipts import Receipt, is_receipt
from inlake.client.tables import Fault
from inlake.client.upload.mover import Moved, Mover
from inlake.client.upload.promises import Incomplete, Part, Promises

LARGE = 64 << 20
"""A file of more bytes goes so."""
BLOCK = 1 << 20
"""Bytes that are read at once for the SHA-256."""
ROUNDS = 4
"""Times that parts go out again which turn out not to be there."""
ENDED = frozenset({"promise_expired", "promise_not_found", "size_mismatch", "digest_mismatch"})
NO_PARTS = "direct_upload_not_available"


class NotMoved(Exception):
    """Parts that did not go out, and why."""

    def __init__(self, moved: Moved) -> None:
        super().__init__(moved.detail)
        self.moved = moved


class LargeFiles:
    """Sends large files, one after the other."""

    def __init__(
        self, gateway: Gateway, to: Address, journal: Journal, mover: Mover, *, field: str, explained: Explain
    ) -> None:
        """`field`: of the records, which names the promise."""
        self._gateway, self._to, self._journal, self._mover = gateway, to, journal, mover
        self._field, self._explained = field, explained
        self._promises = Promises(gateway)

    def send(self, item: Item, *, direct: bool | None) -> Outcome:
        """Send a file that is not in, or what is missing of it.

        `direct`: to the store, or through the gateway; None: to the store where it can be reached.
        """
        assert item.path is not None
        reading = Reading(item.path)
        with ThreadPoolExecutor(1, thread_name_prefix="sha256") as beside:
            digest = beside.submit(reading.sha256)
            try:
                return attempted(item, lambda: self._send(item, direct, digest), self._explained)
            finally:
                reading.stop()

    def _send(self, item: Item, direct: bool | None, digest: Future[str]) -> Outcome:
        assert item.path is not None
        assert item.record is not None
        found = item.path.stat()
        file = File(item.name, found.st_size, found.st_mtime_ns, "", hashlib.sha256(item.record).hexdigest())
        begun, parts = self._underway(file), list[Part]()
        underway = begun
        if underway is None:
            underway, parts = self._begin(item.path, file, direct)
        try:
            # an earlier run may have been killed when all was there: then it has no parts any more
            stored = (self._promises.sha256(underway.puuid) if begun else None) or self._stored(
                underway, item.path, parts
            )
        except NotMoved as error:
            if error.moved.state == "unreachable" and direct is None:
                self._forget(underway)
                return self._send(item, False, digest)
            return _not_in(item, error.moved)
        except Refused as error:
            if error.code in ENDED:  # the next run begins anew
                self._forget(underway)
            return failed(item, error)
        return self._claimed(item, underway, stored, digest)

    def _underway(self, file: File) -> Underway | None:
        """The upload of the file that an earlier run began, if it is still the same, and its promise is open."""
        known = self._journal.underway_large(file.name)
        if known is None or (known.file == file and self._promises.is_open(known.puuid)):
            return known
        self._forget(known)
        return None

    def _begin(self, path: Path, file: File, direct: bool | None) -> tuple[Underway, list[Part]]:
        """A new promise, which the journal knows of, and the first of its parts."""
        underway, parts = None, list[Part]()
        if direct is not False:
            try:
                puuid, parts = self._promises.begin_parts(path, file.size)
                underway = Underway(file, puuid, "parts")
            except Failed as error:
                if error.code != NO_PARTS or direct:
                    raise
        if underway is None:
            underway = Underway(file, self._promises.begin_tus(path, file.size), "tus")
        self._journal.begin_large(underway)
        return underway, parts

    def _forget(self, underway: Underway) -> None:
        self._promises.cancel(underway.puuid)
        self._journal.end_large(underway.file.name)

    # ------------------------------------------------------------------------------------------------------ the bytes
    def _stored(self, underway: Underway, path: Path, parts: list[Part]) -> str:
        """The SHA-256 of what the gateway holds, once it holds all. Raises `NotMoved`."""
        puuid, size = underway.puuid, underway.file.size
        if underway.way == "tus":
            return self._appended(puuid, path, size)
        left, rounds = size, ROUNDS
        pages: Iterable[list[Part]] = [parts] if parts else self._promises.parts(puuid, path, but=underway.done)
        while True:
            for page in pages:
                self._put(underway, page)
            try:
                return self._promises.complete(puuid, size)
            except Incomplete as error:
                rounds = ROUNDS if error.count < left else rounds - 1
                if not rounds:
                    raise NotMoved(Moved("failed", str(error))) from error
                left, pages = error.count, self._promises.parts(puuid, path, only=error.missing)

    def _put(self, underway: Underway, parts: Sequence[Part]) -> None:
        def stored(index: int) -> None:
            self._journal.note_part(underway.file.name, parts[index].number)

        moves = self._mover.put_all([part.put for part in parts], stored)
        worst = next((move for move in moves if move.state not in {"stored", "stale"}), None)
        if worst:
            raise NotMoved(worst)

    def _appended(self, puuid: str, path: Path, size: int) -> str:
        while self._promises.append(puuid, path, size) < size:
            if self._mover.stopped:
                raise NotMoved(Moved("stopped"))
        sha256 = self._promises.sha256(puuid)
        if sha256 is None:
            raise NotMoved(Moved("failed", "the upload is whole, and the gateway has not read it yet"))
        return sha256

    # ----------------------------------------------------------------------------------------------------- the record
    def _claimed(self, item: Item, underway: Underway, stored: str, digest: Future[str]) -> Outcome:
        """The record goes out with the promise, if what is stored is the file."""
        assert item.path is not None
        assert item.record is not None
        file = underway.file
        if digest.result() != stored:
            self._forget(underway)
            detail = f"What arrived has the SHA-256 {stored}, and is not the file."
            if _is_as_it_was(item.path, file):
                return Outcome(item, "failed", (Fault("store", detail, "The same command sends it anew."),))
            return Outcome(item, "wrong", (Fault("file_changed", f"The file changed while it was sent. {detail}"),))
        receipt = self._receipt(filled(item.record, self._field, json.dumps(underway.puuid).encode()), underway)
        sent = file._replace(sha256=stored).sent(receipt)
        self._journal.add(sent)
        self._journal.end_large(file.name)
        if not _is_as_it_was(item.path, file):
            detail = f"The file changed since it was read; what it was then is in, with the SHA-256 {stored}."
            return Outcome(item, "changed", (Fault("file_changed", detail),), sent)
        return Outcome(item, "accepted", sent=sent)

    def _receipt(self, record: bytes, underway: Underway) -> Receipt:
        try:
            return self._gateway.send_text(self._to, record, key=f"{self._journal.run}-{underway.puuid}")
        except Refused as error:
            receipt = error.document.get("receipt")
            if error.code == "promise_used" and isinstance(receipt, dict) and is_receipt(receipt):
                return receipt  # published by an attempt whose key is forgotten
            self._forget(underway)
            raise


class Reading:
    """The reading of a file for its SHA-256, while its bytes go out. Nobody waits for the rest once it is stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stopped = Event()

    def sha256(self) -> str:
        """The SHA-256 of the file. Raises `OSError`."""
        made = hashlib.sha256()
        with self._path.open("rb", buffering=0) as file:
            while not self._stopped.is_set() and (block := file.read(BLOCK)):
                made.update(block)
        return made.hexdigest()

    def stop(self) -> None:
        self._stopped.set()


def _is_as_it_was(path: Path, file: File) -> bool:
    try:
        found = path.stat()
    except OSError:  # it is gone
        return False
    return (found.st_size, found.st_mtime_ns) == (file.size, file.modified)


def _not_in(item: Item, move: Moved) -> Outcome:
    if move.state == "changed":
        return Outcome(item, "wrong", (Fault("file_changed", move.detail),))
    if move.state == "stopped":
        return Outcome(item, "not sent")
    return Outcome(item, "failed", (Fault("store", f"The store did not take the file: {move.detail}."),))
