"""One shipment from its announcement to its receipts: the journal knows of each step before the next is taken."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from inlake.client.collection import Explain, Outcome, failed, has_record, refused
from inlake.client.files import Item
from inlake.client.gateway import Address
from inlake.client.journal import Announcement, Journal, Sent
from inlake.client.problems import ClientError, Refused
from inlake.client.retries import Waits, is_temporary
from inlake.client.tables import Fault
from inlake.client.upload.mover import Moved, Mover, Put
from inlake.client.upload.shipments import Announced, Shipments

ROUNDS = 4
"""Times that files go out again which turn out not to be there."""
ENDED = frozenset({"shipment_expired", "shipment_not_found"})
NOT_THERE = frozenset({"upload_incomplete", "size_mismatch", "digest_mismatch", "shipment_expired"})
LATER = frozenset({"failed", "stopped"})
"""Outcomes of PUTs that the next run makes."""


class Delivered(NamedTuple):
    """Outcomes of the items of a shipment."""

    outcomes: list[Outcome]
    unreachable: list[Item]
    """The store could not be reached: they go another way."""


class Delivery:
    """Carries shipments out, one after the other."""

    def __init__(self, shipments: Shipments, mover: Mover, journal: Journal, explained: Explain) -> None:
        self._shipments, self._mover, self._journal, self._explained = shipments, mover, journal, explained

    def announce(self, announcement: Announcement, to: Address) -> Announced:
        """Where the files go. Raises `ClientError`; after `Refused` the journal has it no more."""
        try:
            told = self._shipments.announce(to, announcement.body, announcement.key)
        except Refused:
            self._journal.settle(announcement, (), ended=True)
            raise
        if told.shipment is None:
            self._journal.settle(announcement, (), ended=True)
        else:
            self._journal.announced(announcement, told.shipment)
        return told

    def find(self, announcement: Announcement, to: Address) -> Announced:
        """The same of what an earlier run announced."""
        if announcement.shipment is None:  # nobody knows: with its key it is the same one
            return self.announce(announcement, to)
        try:
            return Announced(announcement.shipment, self._shipments.missing(announcement.shipment), {})
        except Refused as error:
            if error.code in ENDED:
                self._journal.settle(announcement, (), ended=True)
            raise

    def carry(
        self, announcement: Announcement, told: Announced, items: Mapping[int, Item], puts: dict[int, Put]
    ) -> Delivered:
        """Send files, complete the shipment, note what went in; of an item that is not sent here nothing is said.

        `items`, `puts`: by line.
        """
        moved, answers = dict[int, Moved](), dict[int, dict[str, Any]]()
        if told.shipment is not None:
            try:
                answers = self._sent(told.shipment, puts, moved)
            except ClientError as error:
                if isinstance(error, Refused) and error.code in ENDED:
                    self._journal.settle(announcement, (), ended=True)
                return Delivered([failed(item, error) for item in items.values()], [])
            self._note(announcement, told.shipment, answers, moved)
        outcomes, unreachable = [], []
        for line, item in items.items():
            if line in told.refused:
                outcomes.append(refused(item, told.refused[line], self._explained))
            elif (answer := answers.get(line)) is None:
                continue  # no part of the shipment
            elif "topic" in answer:
                outcomes.append(_in(item, announcement.files[line - 1].sent(answer)))
            elif answer.get("code") not in NOT_THERE:
                outcomes.append(refused(item, answer, self._explained))
            elif (move := moved.get(line)) and move.state == "unreachable":
                unreachable.append(item)
            elif move:
                outcomes.append(_not_in(item, move))
        return Delivered(outcomes, unreachable)

    def _sent(self, shipment: str, puts: dict[int, Put], moved: dict[int, Moved]) -> dict[int, dict[str, Any]]:
        """The answers for all lines, once all files are there or will not be; `moved` is filled."""
        rounds, answers = ROUNDS, dict[int, dict[str, Any]]()
        while True:
            moved.update(zip(puts, self._mover.put_all([*puts.values()]), strict=True))
            answers = self._completed(shipment)
            again = [n for n in puts if answers[n].get("code") in NOT_THERE and moved[n].state in {"stored", "stale"}]
            rounds -= 1
            if not again or not rounds:
                return answers
            targets = self._shipments.missing(shipment)
            puts = {n: Put(*targets[n], puts[n].body) for n in again if n in targets}
            if not puts:
                return answers

    def _completed(self, shipment: str) -> dict[int, dict[str, Any]]:
        """The gateway's answer by line; it is asked again while lines fail for what may pass (the bus is away)."""
        waits = Waits(self._shipments.retry)
        while True:
            answers = self._shipments.complete(shipment)
            if not any(map(is_temporary, answers.values())) or not waits.wait():
                return answers

    def _note(
        self,
        announcement: Announcement,
        shipment: str,
        answers: Mapping[int, Mapping[str, Any]],
        moved: Mapping[int, Moved],
    ) -> None:
        """Write down what went in; a shipment that nothing more will come of is given up, and forgotten once it is."""
        files = announcement.files
        sent = [files[line - 1].sent(dict(answer)) for line, answer in answers.items() if "topic" in answer]
        rest = [line for line, answer in answers.items() if "topic" not in answer]
        later = any(is_temporary(answers[n]) or (n in moved and moved[n].state in LATER) for n in rest)
        self._journal.settle(announcement, sent, ended=not rest)
        if rest and not later and self._shipments.cancel(shipment):
            self._journal.settle(announcement, (), ended=True)


def _in(item: Item, sent: Sent) -> Outcome:
    """An item that is in, and whether its record and file are still what they were when they were announced."""
    assert item.path is not None
    if not has_record(item, sent.record):
        detail = "Its record changed since an earlier run announced it; what it was then is in."
        return Outcome(item, "changed", (Fault("record_changed", detail),), sent)
    try:
        found = os.stat(item.path)  # noqa: PTH116 (half the time of Path.stat)
    except OSError:  # moved away once it was sent
        return Outcome(item, "accepted", sent=sent)
    if (found.st_size, found.st_mtime_ns) == (sent.size, sent.modified):
        return Outcome(item, "accepted", sent=sent)
    detail = f"The file changed since it was read; what it was then is in, with the SHA-256 {sent.sha256}."
    return Outcome(item, "changed", (Fault("file_changed", detail),), sent)


def _not_in(item: Item, move: Moved) -> Outcome:
    """Why a file that was to be sent is not there."""
    if move.state == "changed":
        return Outcome(item, "wrong", (Fault("file_changed", move.detail),))
    if move.state == "stopped":
        return Outcome(item, "not sent")
    said = move.detail or "The store does not keep it"
    return Outcome(item, "failed", (Fault("store", f"The store did not take the file: {said}."),))
