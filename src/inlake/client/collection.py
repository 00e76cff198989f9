"""A collection checked as a whole before any of it is sent, and what becomes of each of its items."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

from inlake.client.batches import cut
from inlake.client.files import UNNAMED, Item
from inlake.client.gateway import Address, Gateway
from inlake.client.journal import File, Sent
from inlake.client.mending import set_values
from inlake.client.problems import ClientError, FileChanged, Refused
from inlake.client.retries import is_temporary
from inlake.client.tables import Fault

STATES = ("accepted", "pending", "in already", "rejected", "wrong", "changed", "failed", "not sent")
"""The outcomes of an item. `wrong`: of the file or its row, found here; `changed`: it is in, and is another now."""
GOOD = frozenset({"accepted", "pending", "in already"})
"""States of what is in, or will be."""
PLACEHOLDER = b'"https://inlake.invalid/objects/00000000-0000-4000-8000-000000000000/binary"'
"""Stands for the URI of an object while records are checked."""


Explain = Callable[[Item, Mapping[str, Any]], Fault]
"""Makes a fault of one of the gateway's reasons against the record of an item."""
Known = Callable[[str], Sent | None]
"""A function that finds what went in under a name; a journal's `find`."""


class Outcome(NamedTuple):
    """The outcome of an item."""

    item: Item
    state: str
    faults: tuple[Fault, ...] = ()
    """Why it is not in."""
    sent: Sent | None = None
    """The file that went in, now or in an earlier run."""


def target(client: Gateway, to: Address, *, in_place: bool = False) -> str:
    """The mark of a journal among others: gateway, schema and destination, and whether files are sent."""
    return json.dumps([client.url, *astuple(to), *(["in place"] if in_place else [])])


def explain(_: Item, error: Mapping[str, Any]) -> Fault:
    """A reason as it is, where no table is known."""
    pointer, detail = str(error.get("pointer") or ""), str(error.get("detail", ""))
    got = error.get("got") or "nothing"
    found = "" if got == "nothing" else f" Found {got}."
    return Fault(str(error.get("code", "")), f"{pointer and pointer + ': '}{detail}{found}", pointer=pointer)


def check(
    client: Gateway,
    to: Address,
    items: Iterable[Item],
    field: str,
    explained: Explain = explain,
    known: Known = lambda _: None,
) -> Iterator[Outcome]:
    """Finds the items that cannot go in: wrong by themselves, a file that cannot be read, a record that is refused.

    `field`: the one that the gateway fills with the object's URI. A file that no row names, as when the table has
    mended rows alone, is not wrong where it is `known` to be in.
    """
    lines = []
    asked: list[Item] = []
    for item in items:
        if earlier := _in_before(item, known):
            yield earlier
            continue
        faults = item.faults or (() if item.placed else _unreadable(item.path))
        if faults or item.record is None:
            yield Outcome(item, "wrong", faults)
        else:
            asked.append(item)
            lines.append(filled(item.record, field))
    for answer in client.validate_batches(to, cut(lines)):
        for receipt in answer.receipts:
            yield refused(asked[receipt["line"] - 1], receipt, explained)


def filled(record: bytes, field: str, value: bytes = PLACEHOLDER) -> bytes:
    """A record with a value, JSON text, in the field, where it has none: as it is checked, if the value is not given.

    The rest of its text stays.
    """
    name = json.dumps(field).encode()
    if name not in record and b"\\" not in record and record[:2] == b'{"':  # most are so, and need not be parsed
        return b"{%b:%b,%b" % (name, value, record[1:])
    try:
        document = json.loads(record)
    except (ValueError, RecursionError):
        return record
    if not isinstance(document, dict) or document.get(field) is not None:
        return record
    if field in document:
        pointer = "/" + field.replace("~", "~0").replace("/", "~1")
        return set_values(record.decode(), [pointer], value.decode()).encode()
    comma = b"," if document else b""
    return record.replace(b"{", b"{%b:%b%b" % (name, value, comma), 1)


def apart(items: Sequence[Item], files: Iterable[File]) -> tuple[list[Item], list[Item]]:
    """The items that are among the files that went in, as they were then, and all others; both in their order.

    Nothing is read of the former, and the gateway is not asked again about their records.
    """
    by_entry = {item.entry: item for item in items if item.faults in ((), (UNNAMED,))}
    same = {
        id(by_entry[file.name]) for file in files if file.name in by_entry and is_as_it_was(by_entry[file.name], file)
    }
    return [item for item in items if id(item) in same], [item for item in items if id(item) not in same]


def is_as_it_was(item: Item, then: File | Sent) -> bool:
    """Whether an item is as it was then, by size, time and digest of its record; without one now, by the others."""
    if not has_record(item, then.record):
        return False
    if item.placed:
        return (then.size, then.modified) == item.placed[1:]
    assert item.path is not None
    try:
        found = os.stat(item.path)  # noqa: PTH116 (half the time of Path.stat, for each of very many)
    except OSError:
        return False
    return (then.size, then.modified) == (found.st_size, found.st_mtime_ns)


def changed_since(item: Item, sent: Sent) -> Outcome:
    """The outcome of an item that went in before; one without a record now is compared without it. Raises OSError."""
    if is_as_it_was(item, sent):
        return Outcome(item, "in already", sent=sent)
    same_record = has_record(item, sent.record)
    if item.placed:
        return _compared(item, sent, {"object": (sent.size, sent.modified) == item.placed[1:], "record": same_record})
    assert item.path is not None
    with item.path.open("rb") as file:
        same_file = hashlib.file_digest(file, "sha256").hexdigest() == sent.sha256
    return _compared(item, sent, {"file": same_file, "record": same_record})


def failed(item: Item, error: ClientError) -> Outcome:
    """An item that another attempt did not help."""
    return Outcome(item, "failed", (Fault(getattr(error, "code", ""), str(error)),))


def _compared(item: Item, known: Sent, same: Mapping[str, bool]) -> Outcome:
    """`same`: whether each part of the item is what it was."""
    what = [name for name, is_same in same.items() if not is_same]
    if not what:
        return Outcome(item, "in already", sent=known)
    detail = f"Its {' and '.join(what)} changed since it was sent; what was sent is in as event {known.receipt['id']}."
    return Outcome(item, "changed", (Fault("changed_since", detail),), known)


def _in_before(item: Item, known: Known) -> Outcome | None:
    """An item that no row of the table names, and that went in with one that did."""
    if item.faults != (UNNAMED,):
        return None
    sent = known(item.entry)
    try:
        return changed_since(item, sent) if sent else None
    except OSError:
        return None  # that it cannot be read is said as of any other


def refused(item: Item, document: Mapping[str, Any], explained: Explain) -> Outcome:
    """A refusal; for what it says of the record as a whole there is one fault."""
    errors: list[Mapping[str, Any]] = [error for error in document.get("errors") or () if isinstance(error, dict)]
    state = "failed" if is_temporary(document) else "rejected"
    return Outcome(item, state, tuple(explained(item, error) for error in errors or [document]))


def attempted(item: Item, send: Callable[[], Outcome], explained: Explain) -> Outcome:
    """The outcome of sending an item, also where that raises what says that it is not in."""
    try:
        return send()
    except Refused as error:
        return refused(item, {**error.document, "status": error.status}, explained)
    except FileChanged as changed:
        return Outcome(item, "wrong", (Fault("file_changed", str(changed)),))
    except ClientError as error:
        return failed(item, error)
    except OSError as error:
        return Outcome(item, "wrong", (cannot_be_read(error),))


def has_record(item: Item, sha256: str) -> bool:
    """Whether this is the digest of the item's record, as it is written now or was formerly; without one it may be."""
    texts = (item.record, item.former)
    return item.record is None or any(text and hashlib.sha256(text).hexdigest() == sha256 for text in texts)


def _unreadable(path: Path | None) -> tuple[Fault, ...]:
    assert path is not None
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (as above) - opening a pipe would wait for who writes into it
            is_link = path.is_dir() and path.is_symlink()
            detail = "This is a link to a folder, which is not followed." if is_link else "This is no file."
            return (Fault("unreadable", detail, "Name it as a source of its own." if is_link else ""),)
        os.close(os.open(path, os.O_RDONLY))
        return ()
    except OSError as error:
        return (cannot_be_read(error),)


def cannot_be_read(error: OSError) -> Fault:
    """The fault of a file that the system does not give."""
    return Fault("unreadable", f"The file cannot be read: {error.strerror}.")
