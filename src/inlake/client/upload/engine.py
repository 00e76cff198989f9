"""The files of a collection on their way: what an earlier run left first, then shipment by shipment, five at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import NamedTuple, Self

from inlake.client.collection import (
    Explain,
    Outcome,
    cannot_be_read,
    changed_since,
    explain,
    failed,
    is_as_it_was,
    refused,
)
from inlake.client.files import Item, size_of
from inlake.client.gateway import Address, Gateway
from inlake.client.journal import Announcement, Journal
from inlake.client.problems import ClientError, Refused
from inlake.client.tables import Fault
from inlake.client.upload.delivery import Delivery
from inlake.client.upload.forms import Forms, names_a_place
from inlake.client.upload.large import LARGE, LargeFiles
from inlake.client.upload.mover import Mover
from inlake.client.upload.reading import ROOM, Read, batches, put_of, read
from inlake.client.upload.shipments import Shipments

AT_ONCE = 5
"""Shipments: some are announced or completed, which a gateway with much to do takes a while for, while the files of
others are sent."""
FORMS_AT_ONCE = 8
"""Requests with one file each, to a gateway that has no shipments."""
TOO_LARGE = frozenset({"idempotent_too_large", "shipment_too_large"})
NO_SHIPMENTS = frozenset({"route_not_found", "method_not_allowed"})
"""Codes of a gateway that is older than shipments."""
OUT_OF_REACH = Fault("store", "The store cannot be reached from here.", "--via gateway sends through the gateway.")
Job = Callable[[], list[Outcome]]


class Options(NamedTuple):
    """The options of a transfer."""

    field: str
    """The field of the records that the gateway fills with the address of the object."""
    jobs: int = 32
    """Most requests at once."""
    direct: bool | None = None
    """Files go to the store by themselves; False: all through the gateway; None: through it where the store cannot be
    reached."""
    large: int = LARGE
    """A file of more bytes goes by itself, and in parts."""


class Engine:
    """One run to one gateway."""

    def __init__(
        self, client: Gateway, to: Address, journal: Journal, options: Options, explained: Explain = explain
    ) -> None:
        self._client, self._to, self._journal = client, to, journal
        self._options, self._explained = options, explained
        self._own = threading.local()
        self._clients: list[Gateway] = []
        self._mover = Mover(most=options.jobs, timeout=client.connection.timeout, retry=client.retry)
        self._shipments = options.direct is not False
        """The gateway has them, and the store can be reached."""
        self._most: int | None = None
        """Files of a shipment, where the gateway takes fewer than we send."""
        self._stopped = False
        self._in = frozenset[str]()
        """The names of files that went in before this run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._mover.close()
        for client in self._clients:
            client.close()

    @property
    def sent(self) -> int:
        """Bytes that are in the store by now, also of files that nothing is said of yet."""
        return self._mover.sent

    def send(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """Send items; yields what becomes of each as it is known.

        After a failure that another attempt did not help nothing further is begun. What is interrupted ends first.
        """
        by_name = {item.name: item for item in items}
        self._in = frozenset(file.name for file in self._journal.files())
        settled = set[str]()
        for outcome in self._each(partial(self._resume, one, by_name) for one in self._journal.underway()):
            settled.add(outcome.item.name)
            yield outcome
        left = [item for item in items if item.name not in settled]
        yield from self._each(partial(self._ship, batch) for batch in batches(left, self._batch_of))

    def _batch_of(self) -> int | None:
        """Files that may go together at most."""
        return self._most if self._shipments else 1

    def _each(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """The outcomes of all jobs, several at once; of an interrupted run those that have begun end, and are told."""
        waiting: set[Future[list[Outcome]]] = set()
        pool = ThreadPoolExecutor(FORMS_AT_ONCE, thread_name_prefix="shipment")
        try:
            for job in jobs:
                waiting.add(pool.submit(job))
                while len(waiting) >= (AT_ONCE if self._shipments else FORMS_AT_ONCE):
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from self._settled(done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from self._settled(done)
        except KeyboardInterrupt:
            self._stop(pool)
            ended = self._settled(future for future in waiting if not future.cancelled())
            yield from (outcome for outcome in ended if outcome.state != "not sent")
            raise
        finally:
            if waiting:
                self._stop(pool)
            pool.shutdown()

    def _stop(self, pool: ThreadPoolExecutor) -> None:
        """Begin nothing more; returns once what has begun has ended."""
        self._stopped = True
        self._mover.stop()
        pool.shutdown(cancel_futures=True)

    def _settled(self, futures: Iterable[Future[list[Outcome]]]) -> Iterator[Outcome]:
        for future in futures:
            for outcome in future.result():
                self._stopped = self._stopped or outcome.state == "failed"
                yield outcome

    # ---------------------------------------------------------------------------------------- on the threads of a pool
    def _ship(self, items: list[Item]) -> list[Outcome]:
        """Files that are not in go out together; the others are compared with what is."""
        if self._stopped:
            return [Outcome(item, "not sent") for item in items]
        outcomes, new, room = list[Outcome](), list[Read](), ROOM
        for item in items:
            try:
                if item.name in self._in and (sent := self._journal.find(item.name)):
                    outcomes.append(changed_since(item, sent))
                elif names_a_place(item, self._options.field):
                    outcomes.append(self._forms.send(item))
                elif size_of(item) > self._options.large:
                    outcomes.append(self._large_files.send(item, direct=self._direct))
                elif not self._shipments:
                    outcomes.append(self._forms.send(item))
                else:
                    new.append(read(item, keep=room > 0))
                    room -= len(new[-1].data or b"")
            except OSError as error:
                outcomes.append(Outcome(item, "wrong", (cannot_be_read(error),)))
        return outcomes + (self._announce(new) if new else [])

    def _announce(self, new: list[Read]) -> list[Outcome]:
        """Files that are not in, as one shipment; as several where the gateway takes fewer."""
        if self._most and self._most < len(new):
            return self._announce(new[: self._most]) + self._announce(new[self._most :])
        body = b"".join(one.line() for one in new)
        announcement = self._journal.announce([one.file for one in new], body)
        try:
            told = self._delivery.announce(announcement, self._to)
        except Refused as error:
            if error.code in NO_SHIPMENTS:
                self._shipments = False
                return [self._forms.send(one.item) for one in new]
            if error.code in TOO_LARGE and len(new) > 1:
                self._most = len(new) // 2
                return self._announce(new)
            document = {**error.document, "status": error.status}
            return [refused(one.item, document, self._explained) for one in new]
        except ClientError as error:
            return [failed(one.item, error) for one in new]
        puts = {line: new[line - 1].put(target) for line, target in told.targets.items()}
        items = {line: one.item for line, one in enumerate(new, 1)}
        outcomes, unreachable = self._delivery.carry(announcement, told, items, puts)
        if unreachable and self._options.direct:
            return outcomes + [Outcome(item, "failed", (OUT_OF_REACH,)) for item in unreachable]
        if unreachable:
            self._shipments = False
        return outcomes + [self._forms.send(item) for item in unreachable]

    def _resume(self, announcement: Announcement, by_name: Mapping[str, Item]) -> list[Outcome]:
        """Go on with what an earlier run announced: files that are as they were are sent, what is there is published.

        Of the others nothing is said here: they are announced anew.
        """
        named = ((line, by_name.get(file.name)) for line, file in enumerate(announcement.files, 1))
        items = {line: item for line, item in named if item}
        try:
            told = self._delivery.find(announcement, self._to)
        except Refused:
            return []
        except ClientError as error:
            return [failed(item, error) for item in items.values()]
        puts = {}
        for line, target in told.targets.items():
            file = announcement.files[line - 1]
            if line in items and is_as_it_was(items[line], file):
                puts[line] = put_of(items[line], file, target)
        return self._delivery.carry(announcement, told._replace(refused={}), items, puts).outcomes

    @property
    def _gateway(self) -> Gateway:
        """The client of this thread."""
        if not hasattr(self._own, "client"):
            self._own.client = self._client.another()
            self._clients.append(self._own.client)
        client: Gateway = self._own.client
        return client

    @property
    def _delivery(self) -> Delivery:
        return Delivery(Shipments(self._gateway), self._mover, self._journal, self._explained)

    @property
    def _direct(self) -> bool | None:
        """As the options have it, and by what was found out since."""
        return self._options.direct if self._shipments or self._options.direct else False

    @property
    def _large_files(self) -> LargeFiles:
        field, explained = self._options.field, self._explained
        return LargeFiles(self._gateway, self._to, self._journal, self._mover, field=field, explained=explained)

    @property
    def _forms(self) -> Forms:
        return Forms(self._gateway, self._to, self._journal, self._explained)
