"""Objects that are in the gateway's store already: listed by it, announced with their records, and published."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from inlake.client.collection import Explain, Outcome, changed_since, explain, failed, refused
from inlake.client.connection import Request
from inlake.client.files import Item, Placed
from inlake.client.gateway import NDJSON, Address, Gateway
from inlake.client.journal import Announcement, File, Journal, Sent, beside
from inlake.client.media_types import media_type
from inlake.client.multipart import readable
from inlake.client.problems import ClientError, Refused
from inlake.client.receipts import Receipt
from inlake.client.records import BrokenFile
from inlake.client.retries import is_temporary
from inlake.client.upload.shipments import Shipments

FILES = 500
"""The most files of one shipment: a gateway takes 1,000 (INLAKE_SHIPMENT_FILES)."""
TEXT = 2 << 20
"""Bytes of its lines: a gateway takes 8 MiB with an Idempotency-Key (INLAKE_IDEMPOTENT_BYTES)."""
CONTENT = 1 << 30
"""Bytes of its objects, but of one at least: the gateway may read them all before it answers."""
SLOWLY = 10_000_000
"""Bytes a second that the gateway reads at least."""


def find(client: Gateway, uris: Iterable[str]) -> dict[str, Placed]:
    """The objects below each URI, by their paths there. `BrokenFile` for two of one name, or where there is nothing."""
    found: dict[str, Placed] = {}
    for uri in uris:
        below = unquote(uri, errors="surrogateescape").rstrip("/") + "/"
        for told in client.json_lines(Request("GET", "/in-place", {"uri": uri}))[:-1]:
            one = Placed(told["uri"], told["size"], int(told["modified"] * 1e9))
            name = readable(unquote(one.uri, errors="surrogateescape").removeprefix(below))
            if found.setdefault(name, one) != one:
                raise BrokenFile(name, f"{found[name].uri} and {one.uri} would both be called so; name one of them.")
    return dict(sorted(found.items()))


def journal_of(uri: str) -> Path:
    """The journal for what is below a URI: in the folder of the process, by the URI's last part."""
    return beside(Path(uri.rstrip("/").rpartition("/")[2]))


def send(
    client: Gateway, to: Address, items: Sequence[Item], journal: Journal, explained: Explain = explain
) -> Iterator[Outcome]:
    """Make events for the objects of items, a shipment at a time; yields what becomes of each as it is known.

    A shipment that an earlier run began is ended first. After a failure that another attempt did not help, no further
    one is begun.
    """
    left = {item.placed.uri: item for item in items if item.placed}
    lost: ClientError | None = None
    try:
        for begun in journal.underway():
            yield from _settle(journal, begun, _ship(client, to, begun), left, explained)
        for uri in [*left]:
            if sent := journal.find(uri):
                yield changed_since(left.pop(uri), sent)
        for files, body in _shipments([*left.values()]):
            begun = journal.announce(files, body)
            yield from _settle(journal, begun, _ship(client, to, begun), left, explained)
    except Refused:
        raise
    except ClientError as error:
        lost = error
    for n, item in enumerate(left.values()):
        yield Outcome(item, "not sent") if n or lost is None else failed(item, lost)


class _Shipped(NamedTuple):
    """The gateway's last answer to each line of a shipment."""

    answers: Sequence[Receipt]
    is_over: bool
    """Nothing more will come of it: what was not published is given up."""


def _settle(
    journal: Journal, begun: Announcement, shipped: _Shipped, left: dict[str, Item], explained: Explain
) -> Iterator[Outcome]:
    """Write down what became of the lines of a shipment, and take them out of those that are left."""
    sent, outcomes = [], []
    for file, answer in zip(begun.files, shipped.answers, strict=True):
        item = left.pop(file.name, None) or Item(file.name, None, None)
        if answer["status"] < 400:
            sent.append(file._replace(sha256=answer["resource"]["sha256"]).sent(answer))
            outcomes.append(_in(item, sent[-1]) if item.placed else Outcome(item, "accepted", sent=sent[-1]))
        else:
            outcomes.append(refused(item, answer, explained))
    journal.settle(begun, sent, ended=shipped.is_over)
    yield from outcomes


def _in(item: Item, sent: Sent) -> Outcome:
    """An item that is in, and whether its record is still what it was when it was announced."""
    found = changed_since(item, sent)
    return Outcome(item, "accepted", sent=sent) if found.state == "in already" else found


def _ship(client: Gateway, to: Address, begun: Announcement) -> _Shipped:
    """Announce lines and complete them. A shipment with lines that fail for now is left as it is, for the next run."""
    headers = {"Content-Type": NDJSON, "Idempotency-Key": f'"{begun.key}"'}
    timeout = 60 + sum(file.size for file in begun.files) / SLOWLY
    *answers, summary = client.json_lines(
        Request("POST", "/shipments", to.query(), headers, begun.body, timeout=timeout)
    )
    told, shipment = {answer["line"]: answer for answer in answers}, summary.get("id")
    if shipment:
        *answers, _ = client.json_lines(Request("POST", f"/shipments/{shipment}/complete", {}))
        told |= {answer["line"]: answer for answer in answers}
    refusals = [answer for answer in told.values() if answer["status"] >= 400]
    is_later = any(map(is_temporary, refusals))
    is_over = not is_later and (not refusals or not shipment or Shipments(client).cancel(shipment))
    return _Shipped([told[n] for n in range(1, len(begun.files) + 1)], is_over)


def _shipments(items: Sequence[Item]) -> Iterator[tuple[list[File], bytes]]:
    """The items as files and lines, cut into shipments."""
    files, lines, content = list[File](), bytearray(), 0
    for item in items:
        assert item.placed is not None
        about = json.dumps({"uri": item.placed.uri, "content_type": media_type(item.name)})
        line = b'{"file":%b,"record":%b}\n' % (about.encode(), item.record or b"null")
        if files and (len(files) == FILES or len(lines) + len(line) > TEXT or content + item.placed.size > CONTENT):
            yield files, bytes(lines)
            files, lines, content = [], bytearray(), 0
        files.append(File(*item.placed, "", _digest(item)))
        lines += line
        content += item.placed.size
    if files:
        yield files, bytes(lines)


def _digest(item: Item) -> str:
    return hashlib.sha256(item.record or b"").hexdigest()
