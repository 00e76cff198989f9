"""A shipment of objects in place that fails for now, and is ended by the next run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

from inlake.client import in_place
from inlake.client.collection import Outcome
from inlake.client.connection import Request
from inlake.client.files import Item, Placed
from inlake.client.gateway import Address, Gateway
from inlake.client.journal import Journal

TO = Address("scan")
AWAY = {"line": 1, "status": 503, "code": "bus_unavailable", "detail": "Kafka is away."}
IN = {"line": 1, "status": 201, "id": "e1", "topic": "scan", "resource": {"sha256": "0" * 64}}


class Connection:
    """Remembers what was given up."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    def answer(self, request: Request) -> Any:
        self.deleted.append(request.path)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    status = 204


class Announcing:
    """A gateway that completes shipments as it is told."""

    url, retry = "http://gateway", 0.0

    def __init__(self, *says: dict[str, Any]) -> None:
        self.says, self.keys, self.connection = list(says), list[str](), Connection()

    def json_lines(self, request: Request) -> list[dict[str, Any]]:
        if request.path == "/shipments":
            self.keys.append(request.headers["Idempotency-Key"])
            return [{"line": 1, "status": 201}, {"id": "s1", "complete": True}]
        return [self.says.pop(0), {"complete": True}]


def item(record: bytes) -> Item:
    return Item("a.tif", None, record, placed=Placed("s3://b/a.tif", 5, 7))


def sent(gateway: Announcing, journal: Path, record: bytes = b"{}") -> Sequence[Outcome]:
    with Journal(journal, "to") as known:
        return [*in_place.send(cast("Gateway", gateway), TO, [item(record)], known)]


def test_lines_that_fail_for_now_are_completed_by_the_next_run_under_the_same_key(tmp_path: Path) -> None:
    gateway = Announcing(AWAY, IN)
    assert [one.state for one in sent(gateway, tmp_path / "j")] == ["failed"]
    assert [one.state for one in sent(gateway, tmp_path / "j")] == ["accepted"]
    assert len(set(gateway.keys)) == 1
    assert gateway.connection.deleted == []
    assert [one.state for one in sent(gateway, tmp_path / "j")] == ["in already"]


def test_a_record_that_was_mended_meanwhile_is_said_to_be_another(tmp_path: Path) -> None:
    gateway = Announcing(AWAY, IN)
    sent(gateway, tmp_path / "j", b'{"title":"old"}')
    (outcome,) = sent(gateway, tmp_path / "j", b'{"title":"new"}')
    assert outcome.state == "changed"
    assert outcome.sent is not None
    assert outcome.sent.record == hashlib.sha256(b'{"title":"old"}').hexdigest()


def test_what_is_refused_for_good_is_given_up(tmp_path: Path) -> None:
    gateway = Announcing({"line": 1, "status": 422, "code": "size_mismatch", "detail": "It has another size."}, IN)
    assert [one.state for one in sent(gateway, tmp_path / "j")] == ["rejected"]
    assert gateway.connection.deleted == ["/shipments/s1"]
    with Journal(tmp_path / "j", "to") as known:
        assert [*known.underway()] == []
