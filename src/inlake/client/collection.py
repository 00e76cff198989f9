"""A collection on its way to a gateway: checked as a whole, then file by file with its record, several at once."""

from __future__ import annotations

import hashlib
import json
import queue
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

from inlake.client.batches import cut
from inlake.client.files import Item
from inlake.client.gateway import Address, Gateway
from inlake.client.journal import Journal, Sent
from inlake.client.problems import ClientError, FileChanged, Refused
from inlake.client.receipts import Receipt
from inlake.client.tables import Fault

STATES = ("accepted", "pending", "in already", "rejected", "wrong", "changed", "failed", "not sent")
"""What becomes of an item. `wrong`: of the file or its row, found here; `changed`: it is in, and is another now."""
PLACEHOLDER = b'"https://inlake.invalid/objects/00000000-0000-4000-8000-000000000000/binary"'
"""Stands for the URI of an object while records are checked."""


Explain = Callable[[Item, Mapping[str, Any]], Fault]
"""Makes a fault of one of the gateway's reasons against the record of an item."""


class Outcome(NamedTuple):
    """What became of an item."""

    item: Item
    state: str
    faults: tuple[Fault, ...] = ()
    """Why it is not in."""
    sent: Sent | None = None
    """What went in, now or in an earlier run."""


def target(client: Gateway, to: Address) -> str:
    """What a journal tells from other ones: gateway, schema and destination."""
    return json.dumps([client.url, *astuple(to)])


def explain(_: Item, error: Mapping[str, Any]) -> Fault:
    """A reason as it is, where no table is known."""
    pointer, detail = str(error.get("pointer") or ""), str(error.get("detail", ""))
    got = error.get("got") or "nothing"
    found = "" if got == "nothing" else f" Found {got}."
    return Fault(str(error.get("code", "")), f"{pointer and pointer + ': '}{detail}{found}", pointer=pointer)


def check(
    client: Gateway, to: Address, items: Sequence[Item], field: str, explained: Explain = explain
) -> Iterator[Outcome]:
    """Finds the items that cannot go in: wrong by themselves, a file that cannot be read, a record that is refused.

    `field`: the one that the gateway fills with the object's URI.
    """
    lines = []
    asked: list[Item] = []
    for item in items:
        faults = item.faults or _unreadable(item.path)
        if faults or item.record is None:
            yield Outcome(item, "wrong", faults)
        else:
            asked.append(item)
            lines.append(filled(item.record, field))
    for answer in client.validate_batches(to, cut(lines)):
        for receipt in answer.receipts:
            yield _refused(asked[receipt["line"] - 1], receipt, explained)


def send(
    clients: Sequence[Gateway], to: Address, items: Iterable[Item], journal: Journal, explained: Explain = explain
) -> Iterator[Outcome]:
    """Send items, as many at once as there are clients; yields what becomes of each as it is known.

    After a failure that another attempt did not help, no further item is begun. What is interrupted ends first.
    """
    free: queue.SimpleQueue[Gateway] = queue.SimpleQueue()
    for client in clients:
        free.put(client)
    known = {sent.name: sent for sent in journal.sent()}
    pool = ThreadPoolExecutor(len(clients), thread_name_prefix="upload")
    waiting: set[Future[Outcome]] = set()
    lost = False

    def one(item: Item) -> Outcome:
        client = free.get()
        try:
            return _send_one(client, to, item, known.get(item.name), journal.run)
        except Refused as refused:
            return _refused(item, {**refused.document, "status": refused.status}, explained)
        finally:
            free.put(client)

    def settled(futures: Iterable[Future[Outcome]]) -> Iterator[Outcome]:
        nonlocal lost
        for future in futures:
            outcome = future.result()
            if outcome.sent is not None and outcome.sent is not known.get(outcome.item.name):
                journal.add(outcome.sent)
            lost = lost or outcome.state == "failed"
            yield outcome

    try:
        for item in items:
            if lost:
                yield Outcome(item, "not sent")
                continue
            waiting.add(pool.submit(one, item))
            if len(waiting) >= 2 * len(clients):
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from settled(done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from settled(done)
    finally:
        for future in waiting:
            future.cancel()
        list(settled(future for future in waiting if not future.cancelled()))
        pool.shutdown()


def filled(record: bytes, field: str) -> bytes:
    """A record as it is checked: with a URI in the field, where it names none; the rest of its text stays."""
    try:
        document = json.loads(record)
    except ValueError:
        return record
    if not isinstance(document, dict) or document.get(field) is not None:
        return record
    if field in document:
        return json.dumps({**document, field: json.loads(PLACEHOLDER)}).encode()
    comma = b"," if document else b""
    return record.replace(b"{", b"{%b:%b%b" % (json.dumps(field).encode(), PLACEHOLDER, comma), 1)


def _send_one(client: Gateway, to: Address, item: Item, known: Sent | None, run: str) -> Outcome:
    assert item.path is not None
    assert item.record is not None
    record = hashlib.sha256(item.record).hexdigest()
    try:
        found = item.path.stat()
        if known and (known.size, known.modified, known.record) == (found.st_size, found.st_mtime_ns, record):
            return Outcome(item, "in already", sent=known)
        with item.path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if known:
            return _compared(item, known, sha256, record)
        key = hashlib.sha256(f"{item.name}\n{sha256}\n{record}".encode()).hexdigest()
        receipt = client.send_file(to, item.record, item.path, key=f"{run}-{key[:40]}")
    except Refused:
        raise
    except FileChanged as changed:
        return Outcome(item, "wrong", (Fault("file_changed", str(changed)),))
    except ClientError as error:
        return Outcome(item, "failed", (Fault(getattr(error, "code", ""), str(error)),))
    except OSError as error:
        return Outcome(item, "wrong", (_cannot_be_read(error),))
    return _received(item, receipt, Sent(item.name, found.st_size, found.st_mtime_ns, sha256, record, receipt))


def _received(item: Item, receipt: Receipt, sent: Sent) -> Outcome:
    resource = receipt.get("resource") or {}
    if "topic" not in receipt:
        return Outcome(item, "pending", sent=sent)
    if resource.get("sha256") != sent.sha256:
        detail = f"The file changed while it was sent: what is in has the SHA-256 {resource.get('sha256')}."
        return Outcome(
            item, "changed", (Fault("file_changed", detail),), sent._replace(sha256=str(resource.get("sha256")))
        )
    return Outcome(item, "accepted", sent=sent)


def _compared(item: Item, known: Sent, sha256: str, record: str) -> Outcome:
    what = [name for name, same in (("file", sha256 == known.sha256), ("record", record == known.record)) if not same]
    if not what:
        return Outcome(item, "in already", sent=known)
    detail = f"Its {' and '.join(what)} changed since it was sent; what was sent is in as event {known.receipt['id']}."
    return Outcome(item, "changed", (Fault("changed_since", detail),), known)


def _refused(item: Item, document: Mapping[str, Any], explained: Explain) -> Outcome:
    """A refusal; for what it says of the record as a whole there is one fault."""
    errors: list[Mapping[str, Any]] = [error for error in document.get("errors") or () if isinstance(error, dict)]
    state = "failed" if document.get("status", 400) >= 500 else "rejected"
    return Outcome(item, state, tuple(explained(item, error) for error in errors or [document]))


def _unreadable(path: Path | None) -> tuple[Fault, ...]:
    assert path is not None
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for who writes into it
            return (Fault("unreadable", "This is no file."),)
        with path.open("rb"):
            return ()
    except OSError as error:
        return (_cannot_be_read(error),)


def _cannot_be_read(error: OSError) -> Fault:
    return Fault("unreadable", f"The file cannot be read: {error.strerror}.")
