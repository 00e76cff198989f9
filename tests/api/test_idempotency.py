"""`Idempotency-Key`: one event and one answer, however often a request is sent."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid5

import pytest

from inlake.logbook.answers import NAMESPACE, KeptAnswers
from inlake.model import Message
from inlake.promises.entries import Promised, Tus
from inlake.web.app import create_app
from inlake.web.request.exchange import PIECE
from inlake.web.routes import stream as ndjson
from tests.gateways import NOTE, Answer, Gateway, embedded, form

RECORDS = "/ingress/record-json?schema=note"
BINARIES = "/ingress/record-json-and-binary?schema=note"
NDJSON = "application/x-ndjson"
RECORD = b'{"title": "Spot"}'
KEY = {"idempotency-key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
NAME = f"anonymous\n/ingress/record-json\n{KEY['idempotency-key'][1:-1]}"
"""The beginning of the names that event ids are made of."""
REPLAYED = "idempotent-replayed"


def event_ids(events: list[Message]) -> list[str]:
    return [dict(event.headers)["ce_id"].decode() for event in events]


def same(first: Answer, again: Answer) -> None:
    """`again` is `first`, byte for byte, and says that it was given before."""
    assert REPLAYED not in first.headers
    assert again.headers.get(REPLAYED) == "true", again
    assert {**again.headers, REPLAYED: ""} == {**first.headers, REPLAYED: ""}
    assert (again.status, again.body) == (first.status, first.body)


async def receipts(gateway: Gateway) -> list[str]:
    return sorted([key async for key in gateway.deployment.store.list(".inlake/receipts/")])


async def test_a_repeat_gets_the_answer_of_before_and_publishes_nothing(gateway: Gateway) -> None:
    first = await gateway.post(RECORDS, RECORD, headers=KEY)
    assert first.status == 201
    for _ in range(3):
        same(first, await gateway.post(RECORDS, RECORD, headers=KEY))
    [event] = await gateway.events()
    assert event_ids([event]) == [first.json()["id"]] == [str(uuid5(NAMESPACE, f"{NAME}\n1"))]
    assert len(await receipts(gateway)) == 2, "two small objects for a request with a key"


async def test_without_a_key_every_request_is_a_new_one_and_nothing_is_kept(gateway: Gateway) -> None:
    assert [(await gateway.post(RECORDS, RECORD)).status for _ in range(2)] == [201, 201]
    assert len(await gateway.events()) == 2
    assert await receipts(gateway) == []


async def test_the_answer_outlives_the_process_that_gave_it(tmp_path: Path) -> None:
    async with embedded(tmp_path) as before:
        first = await before.post(RECORDS, RECORD, headers=KEY)
    async with embedded(tmp_path, registry=f"dir:{tmp_path / 'schemas'}") as after:
        same(first, await after.post(RECORDS, RECORD, headers=KEY))
        assert len(await after.events()) == 1


async def test_a_key_with_and_without_quotes_is_the_same_key(gateway: Gateway) -> None:
    first = await gateway.post(RECORDS, RECORD, headers={"idempotency-key": '"a-\\"b\\"" ; c=1'.replace(" ;", ";")})
    assert first.status == 201
    bare = await gateway.post(RECORDS, RECORD, headers={"idempotency-key": '"k-1"'})
    same(bare, await gateway.post(RECORDS, RECORD, headers={"idempotency-key": " k-1 "}))


@pytest.mark.parametrize("key", ["", '""', '"a', 'a"b', "a, b", "a b", "é", '"\\x"', "k" * 256, '"' + "k" * 256 + '"'])
async def test_what_is_no_key_is_refused(gateway: Gateway, key: str) -> None:
    answer = await gateway.post(RECORDS, RECORD, headers={"idempotency-key": key})
    assert (answer.status, answer.json()["code"]) == (400, "bad_idempotency_key")
    assert await gateway.events() == []


async def test_a_key_of_255_characters_is_taken(gateway: Gateway) -> None:
    assert (await gateway.post(RECORDS, RECORD, headers={"idempotency-key": "k" * 255})).status == 201


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        (RECORDS, b'{"title": "Other"}', "application/json"),
        (f"{RECORDS}&destination=db", RECORD, "application/json"),
        (RECORDS, RECORD, "application/x-ndjson"),
    ],
)
async def test_a_key_used_for_another_request_is_422(gateway: Gateway, path: str, body: bytes, kind: str) -> None:
    first = await gateway.post(RECORDS, RECORD, headers=KEY)
    answer = await gateway.post(path, body, kind, headers=KEY)
    assert (answer.status, answer.json()["code"]) == (422, "idempotency_key_reused")
    same(first, await gateway.post(RECORDS, RECORD, headers=KEY))
    assert len(await gateway.events()) == 1


async def test_a_key_belongs_to_a_route_and_a_principal(tmp_path: Path) -> None:
    lines = [f"{name}:{sha256(name.encode()).hexdigest()}" for name in ("tate", "moma")]
    (tmp_path / "keys").write_text("\n".join(lines))
    async with embedded(tmp_path, api_keys=tmp_path / "keys", unsecured_routes="true") as gateway:
        ids = set()
        for name in ("tate", "moma"):
            headers = {**KEY, "authorization": f"Bearer {name}"}
            for path in (RECORDS, "/ingress/unsecured/record-json?schema=note"):
                first = await gateway.post(path, RECORD, headers=headers)
                same(first, await gateway.post(path, RECORD, headers=headers))
                ids.add(first.json()["id"])
        assert len(ids) == 4
        assert len(await gateway.events()) == 4


async def test_a_refusal_is_an_answer_too(gateway: Gateway) -> None:
    first = await gateway.post(RECORDS, b'{"title": 1}', headers=KEY)
    assert first.status == 422
    same(first, await gateway.post(RECORDS, b'{"title": 1}', headers=KEY))


async def test_what_failed_on_our_side_is_not_kept_and_the_next_attempt_makes_the_same_event(tmp_path: Path) -> None:
    async with embedded(tmp_path, bus=f"sqlite:{tmp_path / 'events.db' / 'in' / 'a' / 'file'}") as away:
        (tmp_path / "events.db").write_bytes(b"")
        failed = await away.post(RECORDS, RECORD, headers=KEY)
        assert failed.status == 503
        (tmp_path / "events.db").unlink()
        good = await away.post(RECORDS, RECORD, headers=KEY)
        assert (good.status, REPLAYED in good.headers) == (201, False)
        same(good, await away.post(RECORDS, RECORD, headers=KEY))


async def test_of_many_at_once_one_publishes_and_the_others_are_told_to_wait(gateway: Gateway) -> None:
    answers = await asyncio.gather(*(gateway.post(RECORDS, RECORD, headers=KEY) for _ in range(20)))
    [first] = {answer.body for answer in answers if answer.status == 201}
    for answer in answers:
        if answer.status != 201:
            assert (answer.status, answer.json()["code"]) == (409, "idempotency_in_flight")
            assert answer.headers["retry-after"] == "1"
    assert (await gateway.post(RECORDS, RECORD, headers=KEY)).body == first
    assert len(await gateway.events()) == 1


async def test_a_stream_has_one_answer_and_an_event_id_a_line(gateway: Gateway) -> None:
    body = b'{"title": "a"}\n\n{"title": 2}\n' + b"".join(b'{"title": "%d"}\n' % n for n in range(2_500))
    first = await gateway.post(RECORDS, body, NDJSON, headers=KEY)
    assert first.status == 207
    assert first.lines()[-1]["summary"] == {"accepted": 2_501, "pending": 0, "rejected": 1, "failed": 0}
    same(first, await gateway.post(RECORDS, body, NDJSON, headers=KEY))
    ids = event_ids(await gateway.events())
    assert ids == [line["id"] for line in first.lines() if "id" in line]
    assert len(set(ids)) == 2_501
    assert len(await receipts(gateway)) == 2


async def test_a_large_body_has_its_lines_whole_wherever_it_is_cut(gateway: Gateway) -> None:
    """It is read again in pieces; receipts that nobody wants are not written."""
    titles = [f"{n} " + "x" * (n % 997) for n in range(700)]
    body = b"".join(json.dumps({"title": title}).encode() + b"\n" for title in titles) + b'{"title": 1}'
    assert len(body) > 3 * PIECE
    answer = await gateway.post(f"{RECORDS}&receipts=rejects", body, NDJSON, headers=KEY)
    [refused, last] = answer.lines()
    assert (refused["line"], refused["status"]) == (701, 422)
    assert last["summary"] == {"accepted": 700, "pending": 0, "rejected": 1, "failed": 0}
    events = await gateway.events()
    assert event_ids(events) == [str(uuid5(NAMESPACE, f"{NAME}\n{n}")) for n in range(1, 701)]
    assert all(title.encode() in (event.value or b"") for title, event in zip(titles, events, strict=True))


async def test_the_kept_answer_to_a_stream_is_bounded(gateway: Gateway) -> None:
    """A short line may have a hundred reasons, each as long as itself, and all of them were held in memory."""
    line = json.dumps({"title": 1, **dict.fromkeys(map(str, range(100)), 1)}).encode()
    body = b"\n".join([line] * 3_500)
    first = await gateway.post(RECORDS, body, NDJSON, headers=KEY)
    assert len(first.body) < ndjson.ANSWER_BYTES + 1_000
    *kept, last = first.body.splitlines()
    told = json.loads(last)
    assert (told["summary"]["rejected"], told["complete"]) == (3_500, True)
    assert 0 < told["receipts_left_out"] == 3_500 - len(kept)
    same(first, await gateway.post(RECORDS, body, NDJSON, headers=KEY))


async def test_a_body_read_whole_is_bounded(tmp_path: Path) -> None:
    async with embedded(tmp_path, idempotent_bytes=1_000) as gateway:
        lines = b'{"title": "a"}\n' * 100
        for body, headers in ((lines, KEY), (gzip.compress(lines), {**KEY, "content-encoding": "gzip"})):
            answer = await gateway.post(RECORDS, [body[:40], body[40:]], NDJSON, headers=headers)
            assert (answer.status, answer.json()["code"]) == (413, "idempotent_too_large")
            assert "cut the stream" in answer.json()["detail"]
        answer = await gateway.post(RECORDS, b"\n" * 900, NDJSON, headers=KEY)
        assert (answer.status, answer.json()["code"]) == (400, "empty_body")
    async with embedded(tmp_path) as gateway:
        answer = await gateway.post(RECORDS, b"\n" * 100_001, NDJSON, headers={"idempotency-key": "lines"})
        assert (answer.status, answer.json()["code"]) == (413, "idempotent_too_large")


async def test_a_compressed_body_is_the_same_request_as_a_plain_one(gateway: Gateway) -> None:
    first = await gateway.post(RECORDS, gzip.compress(RECORD), headers={**KEY, "content-encoding": "gzip"})
    assert first.status == 201
    same(first, await gateway.post(RECORDS, RECORD, headers=KEY))


async def test_with_mode_atomic_too_there_is_one_answer(gateway: Gateway) -> None:
    body = b'{"title": "a"}\n{"title": "b"}\n'
    first = await gateway.post(f"{RECORDS}&mode=atomic", body, NDJSON, headers=KEY)
    assert first.status == 201
    same(first, await gateway.post(f"{RECORDS}&mode=atomic", body, NDJSON, headers=KEY))
    assert len(await gateway.events()) == 2


def with_file(content: bytes, record: bytes = RECORD, *, file_first: bool = False) -> tuple[bytes, str]:
    """A form; each has a boundary of its own, as with real clients."""
    parts = [("record", record, None, "application/json"), ("file", content, "a.bin", None)]
    return form(*(parts[::-1] if file_first else parts), boundary=f"b{len(content)}{hash(record)}")


@pytest.mark.parametrize("file_first", [False, True])
async def test_with_a_binary_a_repeat_stores_nothing(gateway: Gateway, file_first: bool) -> None:
    body, kind = with_file(b"x" * 100_000, file_first=file_first)
    first = await gateway.post(BINARIES, body, kind, headers=KEY)
    assert first.status == 201
    other = body.replace(b"b100000", b"other"), kind.replace("b100000", "other")
    same(first, await gateway.post(BINARIES, *other, headers=KEY))
    assert len(await gateway.objects()) == len(await gateway.events()) == 1
    for changed in (
        with_file(b"y" * 100_000, file_first=file_first),
        with_file(b"x" * 100_000, b'{"title": "T"}', file_first=file_first),
    ):
        answer = await gateway.post(BINARIES, *changed, headers=KEY)
        assert (answer.status, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await gateway.objects()) == len(await gateway.events()) == 1
    assert await gateway.open_promises() == []


@pytest.mark.parametrize("file_first", [False, True])
async def test_a_refused_record_with_a_binary_is_refused_again(gateway: Gateway, file_first: bool) -> None:
    body, kind = with_file(b"x" * 1000, b'{"title": 1}', file_first=file_first)
    first = await gateway.post(BINARIES, body, kind, headers=KEY)
    assert first.status == 422
    again = await gateway.post(BINARIES, body, kind, headers=KEY)
    assert (again.status, again.body, again.headers[REPLAYED]) == (422, first.body, "true")
    assert await gateway.objects() == []


async def test_a_binary_cut_off_is_sent_again_with_the_same_key(gateway: Gateway) -> None:
    body, kind = with_file(b"x" * 1000)
    assert (await gateway.post(BINARIES, [body[:-200]], kind, headers=KEY, vanish=True)).status == 0
    assert (await gateway.post(BINARIES, body[:-200], kind, headers=KEY)).status == 400
    assert (await gateway.post(BINARIES, [body[:-200]], kind, headers=KEY, stall=True)).status == 408
    good = await gateway.post(BINARIES, body, kind, headers=KEY)
    assert good.status == 201
    same(good, await gateway.post(BINARIES, body, kind, headers=KEY))
    assert len(await gateway.objects()) == len(await gateway.events()) == 1


def with_lease(gateway: Gateway, seconds: float) -> Gateway:
    """The same deployment, with another lease."""
    d = gateway.deployment
    deployment = replace(d, answers=KeptAnswers(d.store, ttl=60, lease=seconds))
    return Gateway(create_app(deployment), deployment)


async def test_a_slow_body_is_not_held_before_it_is_there(gateway: Gateway) -> None:
    gateway = with_lease(gateway, 0.1)
    assert (await gateway.post(RECORDS, [RECORD[:5]], headers=KEY, stall=True)).status == 408
    assert await receipts(gateway) == []


async def test_a_slow_upload_holds_its_key(gateway: Gateway) -> None:
    gateway = with_lease(gateway, 0.3)
    body, kind = with_file(b"x" * 1000)
    slow = asyncio.create_task(gateway.post(BINARIES, [body[:-200]], kind, headers=KEY, stall=True))
    while len(await receipts(gateway)) < 5:
        await asyncio.sleep(0.01)
    answer = await gateway.post(BINARIES, body, kind, headers=KEY)
    assert (answer.status, answer.json()["code"]) == (409, "idempotency_in_flight")
    assert (await slow).status == 408
    assert (await gateway.post(BINARIES, body, kind, headers=KEY)).status == 201


async def test_the_first_inlakes_form_takes_a_key(gateway: Gateway) -> None:
    body, kind = form(("file", b"x", "a.bin", None))
    path = "/ingress/record-json-and-binary?key_inlk=note&content=%7B%22title%22%3A%22Spot%22%7D"
    first = await gateway.post(path, body, kind, headers=KEY)
    assert first.status == 201
    same(first, await gateway.post(path, body, kind, headers=KEY))


async def test_a_binary_alone_has_one_promise(gateway: Gateway) -> None:
    first = await gateway.post("/ingress/binary?filename=a.txt", b"text", "text/plain", headers=KEY)
    assert first.status == 200
    same(first, await gateway.post("/ingress/binary?filename=a.txt", b"text", "text/plain", headers=KEY))
    assert len(await gateway.objects()) == 1
    answer = await gateway.post("/ingress/binary?filename=a.txt", b"other", "text/plain", headers=KEY)
    assert (answer.status, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_record_that_names_a_promise_can_be_sent_again(gateway: Gateway) -> None:
    promise = (await gateway.post("/ingress/binary", b"text", "text/plain")).json()["puuid"]
    record = json.dumps({"title": "Spot", "__resource_path__": promise}).encode()
    first = await gateway.post(RECORDS, record, headers=KEY)
    assert first.status == 201
    same(first, await gateway.post(RECORDS, record, headers=KEY))
    assert (await gateway.post(RECORDS, record, headers={"idempotency-key": "other"})).status == 409
    assert len(await gateway.events()) == 1


async def test_location_comes_again_too(gateway: Gateway) -> None:
    announced = await announce(gateway)
    record = json.dumps({"title": "Spot", "__resource_path__": announced}).encode()
    first = await gateway.post(RECORDS, record, headers=KEY)
    assert (first.status, first.headers["location"]) == (202, f"/promises/{announced}")
    same(first, await gateway.post(RECORDS, record, headers=KEY))


async def announce(gateway: Gateway) -> str:
    promises = gateway.deployment.gateway.promises
    return (await promises.reserve(promises.new(Promised("a.bin", "text/plain", Tus()), "anonymous"))).puuid


async def test_a_repeat_takes_the_version_of_the_schema_and_the_time_of_the_first_attempt(tmp_path: Path) -> None:
    """The bus is away at first; meanwhile the schema gets a new version."""
    blocked = tmp_path / "events.db"
    async with embedded(tmp_path, bus=f"sqlite:{blocked / 'log'}", registry_latest_seconds=0) as gateway:
        blocked.write_bytes(b"")
        envelope = json.dumps({"schema": "note", "record": json.loads(RECORD)}).encode()
        bodies = [(RECORDS, RECORD, "application/json"), ("/ingress/record-json", envelope + b"\n{}", NDJSON)]
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        for path, body, kind in bodies:
            first = await gateway.post(
                path, body, kind, headers={**KEY, "idempotency-key": kind[12:], "traceparent": trace}
            )
            assert first.status in {503, 207}, first
        newer: dict[str, Any] = {**NOTE, "fields": [*NOTE["fields"], {"name": "more", "type": "string", "default": ""}]}
        await gateway.register("note", newer)
        blocked.unlink()
        for path, body, kind in bodies:
            answer = await gateway.post(path, body, kind, headers={"idempotency-key": kind[12:]})
            assert answer.lines()[0]["schema"]["version"] == 1, answer
        new = await gateway.post(RECORDS, RECORD, headers={"idempotency-key": "new"})
        assert new.json()["schema"]["version"] == 2
        for event in (await gateway.events())[:2]:
            assert dict(event.headers)["traceparent"].decode() == trace


async def test_what_is_over_is_removed_and_what_is_not_stays(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        await gateway.post(RECORDS, RECORD, headers=KEY)
        assert await gateway.deployment.answers.remove() == 0
    async with embedded(tmp_path, idempotency_ttl=1e-6, registry=f"dir:{tmp_path / 'schemas'}") as gateway:
        assert await gateway.deployment.answers.remove(dry_run=True) == 1
        assert await gateway.deployment.answers.remove() == 1
        assert await receipts(gateway) == []
        again = await gateway.post(RECORDS, RECORD, headers=KEY)
        assert (again.status, REPLAYED in again.headers) == (201, False)
        assert len(await gateway.events()) == 1, "the embedded log knows the event by its id"
        assert await gateway.deployment.answers.remove() == 1
        other = await gateway.post(RECORDS, b'{"title": "Other"}', headers=KEY)
        assert (other.status, other.json()["code"]) == (422, "idempotency_key_reused"), (
            "never 201 for what is not there"
        )


async def test_openapi_tells_of_the_header(gateway: Gateway) -> None:
    paths = (await gateway.post("/openapi.json", method="GET")).json()["paths"]
    for path in ("/ingress/record-json", "/ingress/record-json-and-binary", "/ingress/binary"):
        assert "Idempotency-Key" in [p["name"] for p in paths[path]["post"]["parameters"]], path
