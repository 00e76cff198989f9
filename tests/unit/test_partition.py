"""INLAKE_PARTITION_BY: what chooses the partition of an event, and that a promise keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlake.model import Event, Label, SchemaVersion, Submission
from inlake.partition import partition_bytes
from inlake.promises.entries import Promise, append, claim_entry, first_entry, read
from inlake.settings import SettingsError, load
from inlake.store.folder.store import FolderStore
from tests.gateways import embedded, form

RECORD = b""" { "acno" : "N00530",
    "maker": {"id": "Q159758", "name": "Turner, \\u00e9", "a/b": 1, "m~n": 2, "": "empty name"},
    "year": 1842.50, "big": 123456789012345678901234567890123456789012345, "sold": false, "none": null, "text": "",
    "parts": [ {"w": 1.0, "h": [ 2 , 3 ]}, "second" ], "twice": 1, "twice": "last" } """


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/acno", b"N00530"),
        ("/maker/id", b"Q159758"),
        ("/maker/name", "Turner, é".encode()),
        ("/maker/a~1b", b"1"),
        ("/maker/m~0n", b"2"),
        ("/maker/", b"empty name"),
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


@pytest.mark.parametrize("rule", ["key", "event", "/maker", "/maker/id", "/", "/a~1b/~0", "/0"])
def test_a_rule_that_can_be_followed_is_taken(rule: str) -> None:
    assert load({"INLAKE_PARTITION_BY": rule}).partition_by == rule


@pytest.mark.parametrize("rule", ["keys", "maker", "#/maker", "/a~2", "/a~", "$.maker", "Key"])
def test_any_other_rule_stops_the_start_with_a_sentence(rule: str) -> None:
    with pytest.raises(SettingsError, match=r"^INLAKE_PARTITION_BY: .* neither key nor event nor a JSON Pointer"):
        load({"INLAKE_PARTITION_BY": rule})


async def prepared(folder: Path, rule: str, record: bytes) -> Event:
    """The event that the gateway makes of a record, before it is published."""
    from inlake.event import make_event

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


# ---------------------------------------------------------------------------------------------- what a promise keeps
def promise() -> Promise:
    return Promise("p", "anonymous", "objects/p/a", "file:///a", "a", "text/plain", "me")


@pytest.mark.parametrize("by", [None, b"", b"Q159758", b"\xff\x00"])
async def test_a_claim_gives_back_what_chooses_the_partition(tmp_path: Path, by: bytes | None) -> None:
    store = FolderStore(tmp_path)
    event = Event("1", "inlake.note", b"note", b"\0value", (), by)
    reserved = await append(store, promise(), "reserved", first_entry(promise()))
    await append(store, reserved, "claimed", claim_entry(event, SchemaVersion("note", 1, 1)))
    found = await read(store, "p")
    assert found is not None
    assert found.claim is not None
    assert found.claim.event == event


def test_an_entry_made_before_there_was_a_choice_is_read_as_placed_by_its_key() -> None:
    entry = claim_entry(Event("1", "t", b"k", b"v", ()), SchemaVersion("note", 1, 1))
    assert set(entry["event"]) == {"id", "topic", "key", "value", "headers"}
