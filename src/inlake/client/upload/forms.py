"""A file with its record in one request: for a gateway without shipments, and for a record that names a place."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from inlake.client.collection import Explain, Outcome, attempted
from inlake.client.files import Item
from inlake.client.gateway import Address, Gateway
from inlake.client.journal import Journal, Sent
from inlake.client.receipts import Receipt
from inlake.client.tables import Fault


class Forms:
    """Sends files, each with a key that the journal, its name and its bytes make."""

    def __init__(self, gateway: Gateway, to: Address, journal: Journal, explained: Explain) -> None:
        self._gateway, self._to, self._journal, self._explained = gateway, to, journal, explained

    def send(self, item: Item) -> Outcome:
        """Send a file that is not in."""
        return attempted(item, lambda: self._send(item), self._explained)

    def _send(self, item: Item) -> Outcome:
        assert item.path is not None
        assert item.record is not None
        record = hashlib.sha256(item.record).hexdigest()
        found = item.path.stat()
        with item.path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        key = hashlib.sha256(f"{item.name}\n{sha256}\n{record}".encode()).hexdigest()
        receipt = self._gateway.send_file(self._to, item.record, item.path, key=f"{self._journal.run}-{key[:40]}")
        outcome = _received(item, receipt, Sent(item.name, found.st_size, found.st_mtime_ns, sha256, record, receipt))
        assert outcome.sent is not None
        self._journal.add(outcome.sent)
        return outcome


def names_a_place(item: Item, field: str) -> bool:
    """Whether the record says where its object shall be: then it is no line of a shipment."""
    record = item.record or b""
    if _quoted(field) not in record:
        return False
    try:
        document = json.loads(record)
    except RecursionError:  # the gateway says so
        return False
    return isinstance(document, dict) and document.get(field) is not None


@lru_cache(8)
def _quoted(field: str) -> bytes:
    return json.dumps(field).encode()


def _received(item: Item, receipt: Receipt, sent: Sent) -> Outcome:
    resource = receipt.get("resource") or {}
    if "topic" not in receipt:
        return Outcome(item, "pending", sent=sent)
    if resource.get("sha256") != sent.sha256:
        detail = f"The file changed while it was sent: what is in has the SHA-256 {resource.get('sha256')}."
        sent = sent._replace(sha256=str(resource.get("sha256")))
        return Outcome(item, "changed", (Fault("file_changed", detail),), sent)
    return Outcome(item, "accepted", sent=sent)
