"""What events get on acceptance: ids that grow, the time that is in them, and what chooses their partition."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from inlake.event import Stamp, make_event, partition_bytes
from inlake.model import Event, Label, Submission
from tests.gateways import embedded, form

RECORD = b""" { "acno" : "N00530",
    "maker": {"id": "Q159758", "name": "Turner, \\u00e9", "a/b": 1, "m~n": 2, "": "empty name"},
    "year": 1842.50, "big": 123456789012345678901234567890123456789012345, "sold": false, "none": null, "text": "",
    "parts": [ {"w": 1.0, "h": [ 2 , 3 ]}, "second" ], "a\\"b": "quoted", "\\u00e9": "escaped", "twice": 1, "twice": "last" } """


def test_ids_are_of_version_7_unique_and_in_order() -> None:
    stamp = Stamp()
    ids = [stamp.next_id() for _ in range(5000)]
    ids += [stamp.now().next_id() for _ in range(5000)]
    assert sorted(set(ids)) == ids
    assert {(UUID(one).version, UUID(one).variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert all(str(UUID(one)) == one for one in ids)


def test_an_id_and_its_event_have_the_same_time() -> None:
    stamp = Stamp()
    at = datetime.fromtimestamp((UUID(stamp.next_id()).int >> 80) / 1000, UTC)
    assert stamp.ce_time == at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
    assert abs((datetime.now(UTC) - at).total_seconds()) < 5


async def test_events_that_were_accepted_together_share_their_headers(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        compiled, stamp = await gateway.deployment.gateway.codecs.find("note"), Stamp()

        def accepted(ms: int | None, principal: str = "anonymous") -> Event:
            label = Label("note", principal=principal)  # as each request makes its own
            return make_event(Submission(label, b"{}", accepted_ms=ms), compiled, b"", stamp)

        then, also_then, now = accepted(1), accepted(1), accepted(None)
        assert then.context is also_then.context
        assert dict(accepted(1, "token:a").context)["inlake_principal"] == b"token%3Aa"
        assert dict(then.context)["ce_time"] == b"1970-01-01T00:00:00.001Z"
        assert dict(now.context)["ce_time"] == stamp.ce_time
        assert dict(accepted(2).context)["ce_time"] == b"1970-01-01T00:00:00.002Z"


def test_two_stamps_share_no_ids() -> None:
    one, two = Stamp(), Stamp()
    assert not {one.next_id()[14:24] for _ in range(10)} & {two.next_id()[14:24] for _ in range(10)}


# ------------------------------------------------------------------------------------------- what chooses the partition
@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/acno", b"N00530"),
        ("/maker/id", b"Q159758"),
        ("/maker/name", "Turner, é".encode()),
        ("/maker/a~1b", b"1"),
        ("/maker/m~0n", b"2"),
        ("/maker/", b"empty name"),
        ('/a"b', b"quoted"),
        ("/é", b"escaped"),
        ("/year", b"1842.50"),
        ("/big", b"123456789012345678901234567890123456789012345"),
        ("/sold", b"false"),
        ("/text", b""),
        ("/twice", b"last"),
        ("/parts/0", b'{"w":1.0,"h":[2,3]}'),
        ("/parts/0/h", b"[2,3]"),
        ("/parts/0/h/1", b"3"),
        ("/parts/1", b"second"),
        ("/none", None),
        ("/absent", None),
        ("/none/deeper", None),
        ("/acno/0", None),
        ("/year/deeper", None),
        ("/parts/2", None),
        ("/parts/-", None),
        ("/parts/01", None),
        ("/parts/w", None),
    ],
)
def test_a_pointer_takes_the_value_as_it_was_sent_and_nothing_when_it_is_absent(
    pointer: str, value: bytes | None
) -> None:
    assert partition_bytes(pointer, RECORD, "id") == value


@pytest.mark.parametrize("record", [b"[]", b"{}", b'"text"', b"3", b"null"])
def test_a_record_without_members_is_left_to_its_key(record: bytes) -> None:
    assert partition_bytes("/maker", record, "id") is None


def test_the_key_and_the_event_ask_nothing_of_the_record() -> None:
    assert partition_bytes("key", b"no json", "id") is None
    assert partition_bytes("event", b"no json", "id") == b"id"


async def prepared(folder: Path, rule: str, record: bytes) -> Event:
    """The event that the gateway makes of a record, before it is published."""
    async with embedded(folder, partition_by=rule) as gateway:
        submission = Submission(Label("note", "archive"), record)
        compiled = await gateway.deployment.gateway.codecs.find("note")
        return make_event(submission, compiled, b"payload")


async def test_the_key_bytes_stay_whatever_chooses_the_partition(tmp_path: Path) -> None:
    record = b'{"title": "Snow Storm", "year": 1842}'
    by_key, by_event, by_year, by_absent = [
        await prepared(tmp_path, rule, record) for rule in ("key", "event", "/year", "/tags/0")
    ]
    assert {event.key for event in (by_key, by_event, by_year, by_absent)} == {b"note/archive"}
    assert by_key.partition_by is None
    assert by_event.partition_by == by_event.id.encode()
    assert by_year.partition_by == b"1842"
    assert by_absent.partition_by is None


async def test_the_embedded_bus_takes_every_rule(tmp_path: Path) -> None:
    for rule in ("event", "/year"):
        async with embedded(tmp_path, partition_by=rule) as gateway:
            record = b'{"title": "a", "year": 1}'
            assert (await gateway.post("/ingress/record-json?schema=note", record)).status == 201
            body, kind = form(("record", record, None, None), ("file", b"bytes", "a.txt", "text/plain"))
            answer = await gateway.post("/ingress/record-json-and-binary?schema=note", body, kind)
            assert answer.status == 201, answer.body
