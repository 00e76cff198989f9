"""The log of a shipment, and the puuids of its lines."""

from __future__ import annotations

from uuid import UUID

import msgspec

from inlake.promises.shipments.entries import (
    PREFIX,
    Announced,
    Completing,
    Expired,
    Line,
    Names,
    Published,
    Refused,
    Shipment,
    is_of_shipment,
)


def line(n: int) -> Line:
    file = {"line": n, "puuid": str(n), "filename": "a", "content_type": "a/b", "size": 1, "sha256": "", "key": "a"}
    event = {"id": f"e{n}", "topic": "t", "event_key": "k", "value": b"", "context": 0, "schema": None}
    return msgspec.convert(file | event, Line)


def shipment(lines: int = 3) -> Shipment:
    announced = Announced(
        id="id", principal="ada", secret="", expires=100.0, contexts=[[]], lines=[line(n) for n in range(1, lines + 1)]
    )
    return Shipment(announced, 1, announced, 100.0)


def completing(*lines: int) -> Completing:
    return Completing(owner="me", lines=[*lines], expires=200.0)


def test_puuids_of_a_shipment_are_uuids_of_version_8_that_share_48_bits() -> None:
    names = Names()
    puuids = [names.id, *(names.puuid(n) for n in range(1, 500))]
    assert len({*puuids}) == 500
    assert {puuid[:PREFIX] for puuid in puuids} == {names.id[:PREFIX]}
    for puuid in puuids:
        assert (UUID(puuid).version, UUID(puuid).variant) == (8, "specified in RFC 4122")
        assert is_of_shipment(puuid)
    assert len({puuid[PREFIX:] for puuid in puuids}) == 500
    assert Names().id[:PREFIX] != names.id[:PREFIX]
    assert not is_of_shipment("62a2814e-2481-463c-bb00-a9367dedf24c")


def test_lines_are_published_a_part_at_a_time_until_none_is_left() -> None:
    open_ = shipment()
    assert (open_.state, [file.line for file in open_.left]) == ("open", [1, 2, 3])
    busy = open_.after(completing(1, 2))
    assert (busy.state, busy.expires, busy.completing is not None) == ("completing", 200.0, True)
    after = busy.after(Published(lines=[1], positions=[("t", 0, 7)], refused=[Refused(2, "too_large", "big", False)]))
    assert (after.state, [file.line for file in after.left]) == ("open", [3])
    assert [after.state_of(n) for n in (1, 2, 3)] == ["published", "failed", "announced"]
    last = after.after(completing(3)).after(Published(lines=[3], positions=[("t", 0, 8)]))
    assert (last.state, last.left) == ("published", [])


def test_between_completing_and_published_nothing_else_fits_but_another_completing() -> None:
    expired = Expired(reason="cancelled", owner="me")
    published = Published(lines=[], positions=[])
    open_, busy = shipment(), shipment().after(completing(1))
    assert [open_.allows(entry) for entry in (completing(1), published, expired)] == [True, False, True]
    assert [busy.allows(entry) for entry in (completing(1), published, expired)] == [True, True, False]
    ended = open_.after(expired)
    assert [ended.allows(entry) for entry in (completing(1), published, expired)] == [False, False, False]
    assert (ended.state, ended.state_of(1)) == ("expired", "expired")
