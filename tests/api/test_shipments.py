"""Many binaries with their records over HTTP, in a folder: announced, sent and published together."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_two_requests import key, keyed
from tests.gateways import Answer, Gateway, embedded

NDJSON = "application/x-ndjson"


def content(n: int) -> bytes:
    return f"v {n}".encode()


def line(n: int, **record: Any) -> dict[str, Any]:
    data = content(n)
    file = {"filename": f"{n}.obj", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {"file": {**file, "content_type": "model/obj"}, "record": {"title": f"t{n}", **record}}


def body(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def announce(
    gateway: Gateway, *lines: dict[str, Any], query: str = "?schema=note", headers: dict[str, str] | None = None
) -> Answer:
    return await gateway.post(f"/shipments{query}", body(*lines), NDJSON, headers=headers or {})


async def send(gateway: Gateway, told: dict[str, Any], n: int | None = None) -> Answer:
    put = told["put"]
    headers = dict(put["headers"])
    kind = headers.pop("content-type")
    data = content(told["line"] if n is None else n)
    return await gateway.post(put["url"], data, kind, method=put["method"], headers=headers)


async def ask(gateway: Gateway, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    return await gateway.post(path, b"", None, method=method, headers=headers or {})


async def test_a_shipment_is_announced_sent_and_published_in_order(gateway: Gateway) -> None:
    answer = await announce(gateway, *(line(n) for n in range(1, 4)))
    assert answer.status == 201
    *told, summary = answer.lines()
    where = answer.headers["location"]
    assert where == f"/shipments/{summary['id']}"
    assert summary["summary"] == {"accepted": 0, "pending": 3, "rejected": 0, "failed": 0}
    assert (summary["complete"], summary["state"]) == (True, "open")
    assert [(each["line"], each["status"], each["put"]["method"]) for each in told] == [
        (1, 202, "PUT"),
        (2, 202, "PUT"),
        (3, 202, "PUT"),
    ]
    assert await gateway.events() == []
    stored = await send(gateway, told[0])
    assert (stored.status, stored.json()["puuid"]) == (200, told[0]["puuid"])
    await send(gateway, told[2])
    answer = await ask(gateway, f"{where}/complete", "POST")
    first, missing, third, summary = answer.lines()
    assert (answer.status, first["status"], third["status"]) == (207, 201, 201)
    assert (missing["line"], missing["status"], missing["code"]) == (2, 409, "upload_incomplete")
    assert (summary["summary"]["accepted"], summary["summary"]["pending"], summary["state"]) == (2, 1, "open")
    assert (first["id"], first["key"], first["resource"]["puuid"]) == (told[0]["id"], "note", told[0]["puuid"])
    assert first["resource"]["sha256"] == hashlib.sha256(content(1)).hexdigest()
    await send(gateway, told[1])
    again = await ask(gateway, f"{where}/complete", "POST")
    assert (again.status, again.lines()[0], again.lines()[-1]["state"]) == (201, first, "published")
    events = await gateway.events()
    assert [dict(event.headers)["ce_id"].decode() for event in events] == [told[n]["id"] for n in (0, 2, 1)]
    headers = dict(events[0].headers)
    assert headers["inlake_puuid"].decode() == told[0]["puuid"]
    assert headers["inlake_resource_uri"].decode() == first["resource"]["uri"]
    assert events[0].value is not None
    assert first["resource"]["uri"].encode() in events[0].value
    assert len(await gateway.objects()) == 3
    assert [key async for key in gateway.deployment.store.list(".inlake/shipping/")] == []


async def test_the_events_of_a_shipment_that_is_completed_count_as_memory(gateway: Gateway) -> None:
    *_, summary = (await announce(gateway, line(1), line(2))).lines()
    path, admission = f"/shipments/{summary['id']}/complete", gateway.app.table[0]._site.admission
    other = admission.admit(gateway.deployment.settings.max_memory - gateway.deployment.settings.shipment_files * 4096)
    answer = await ask(gateway, path, "POST")
    assert (answer.status, answer.json()["code"], "retry-after" in answer.headers) == (503, "busy", True)
    admission.release(other)
    assert (await ask(gateway, path, "POST")).status == 409
    assert (admission.requests, admission.memory) == (0, 0)


async def test_an_event_is_counted_when_it_is_published_and_not_again(gateway: Gateway) -> None:
    *told, summary = (await announce(gateway, line(1), line(2))).lines()
    for each in told:
        await send(gateway, each)
    for _ in range(2):
        assert (await ask(gateway, f"/shipments/{summary['id']}/complete", "POST")).status == 201
    counted = (await ask(gateway, "/metrics")).body.decode()
    assert 'inlake_records_total{result="accepted"} 2\n' in counted
    assert 'inlake_records_total{result="pending"} 2\n' in counted


async def test_refused_lines_are_no_part_of_it(gateway: Gateway) -> None:
    no_file, bad_digest, named = {"record": {"title": "a"}}, line(4), line(5, __resource_path__="a/b")
    bad_digest["file"]["sha256"] = "12"
    answer = await announce(gateway, line(1), line(2, year="soon"), no_file, bad_digest, named, line(6))
    assert answer.status == 201
    *told, summary = answer.lines()
    assert [each["status"] for each in told] == [202, 422, 400, 400, 422, 202]
    assert told[1]["errors"][0]["pointer"] == "/year"
    assert summary["summary"] == {"accepted": 0, "pending": 2, "rejected": 4, "failed": 0}
    for each in (told[0], told[5]):
        assert (await send(gateway, each)).status == 200
    done = await ask(gateway, f"/shipments/{summary['id']}/complete", "POST")
    assert (done.status, [each.get("line") for each in done.lines()]) == (201, [1, 6, None])


async def test_with_mode_atomic_one_refuses_all(gateway: Gateway) -> None:
    answer = await announce(gateway, line(1), line(2, year="soon"), query="?schema=note&mode=atomic")
    assert (answer.status, answer.json()["code"], answer.json()["lines"][0]["line"]) == (422, "body_rejected", 2)
    assert [key async for key in gateway.deployment.store.list(".inlake/")] == []
    assert (await announce(gateway, line(1), query="?schema=note&mode=atomic")).status == 201


async def test_a_shipment_of_refused_lines_is_none(gateway: Gateway) -> None:
    answer = await announce(gateway, line(1, year="soon"), line(2, year="later"))
    assert answer.status == 422
    assert answer.lines()[-1]["id"] is None
    mixed = await announce(gateway, line(1, year="soon"), {"record": {}})
    assert mixed.status == 207
    assert [key async for key in gateway.deployment.store.list(".inlake/")] == []


async def test_lines_in_envelopes_name_their_schema(gateway: Gateway) -> None:
    enveloped = {**line(1), "schema": "note", "destination": "db"}
    first = {"file": line(2)["file"], "key_inlk": "note/x", "content": json.dumps({"title": "a"})}
    answer = await announce(gateway, enveloped, first, query="")
    assert answer.status == 201, answer
    for each in answer.lines()[:2]:
        await send(gateway, each)
    done = await ask(gateway, f"{answer.headers['location']}/complete", "POST")
    assert [each.get("key") for each in done.lines()[:2]] == ["note/db", "note/x"]


@pytest.mark.parametrize(("size", "code"), [(2, "size_mismatch"), (4, "size_mismatch"), (3, "digest_mismatch")])
async def test_a_file_that_is_not_what_was_announced_is_refused(gateway: Gateway, size: int, code: str) -> None:
    told, summary = (await announce(gateway, line(1))).lines()
    answer = await gateway.post(told["put"]["url"], b"x" * size, "model/obj", method="PUT")
    assert (answer.status, answer.json()["code"]) == (422, code)
    assert await gateway.objects() == []
    assert (await send(gateway, told)).status == 200
    assert (await ask(gateway, f"/shipments/{summary['id']}/complete", "POST")).status == 201


async def test_what_is_missing_is_told_and_where_it_goes(gateway: Gateway) -> None:
    *told, summary = (await announce(gateway, line(1), line(2))).lines()
    where = f"/shipments/{summary['id']}"
    await send(gateway, told[0])
    found = (await ask(gateway, where)).json()
    assert (found["state"], found["files"], found["published"]) == ("open", 2, 0)
    assert [each["state"] for each in found["lines"]] == ["stored", "announced"]
    (missing,) = (await ask(gateway, f"{where}?missing=true")).json()["lines"]
    assert (missing["line"], missing["put"]) == (2, told[1]["put"])
    await ask(gateway, f"{where}/complete", "POST")
    found = (await ask(gateway, where)).json()
    assert [each["state"] for each in found["lines"]] == ["published", "announced"]


async def test_each_line_is_a_promise_and_a_resource(gateway: Gateway) -> None:
    *told, summary = (await announce(gateway, line(1), line(2))).lines()
    puuid = told[0]["puuid"]
    reserved = (await ask(gateway, f"/promises/{puuid}")).json()
    assert (reserved["state"], reserved["way"], reserved["received"]) == ("reserved", "shipment", 0)
    assert (await ask(gateway, f"/resources/{puuid}")).status == 404
    await send(gateway, told[0])
    assert (await ask(gateway, f"/promises/{puuid}")).json()["state"] == "stored"
    assert (await ask(gateway, f"/resources/{puuid}")).body == content(1)
    await ask(gateway, f"/shipments/{summary['id']}/complete", "POST")
    published = (await ask(gateway, f"/promises/{puuid}")).json()
    assert (published["state"], published["receipt"]["id"]) == ("published", told[0]["id"])
    assert (await ask(gateway, f"/shipments/{summary['id']}", "DELETE")).status == 204
    gone = await ask(gateway, f"/promises/{told[1]['puuid']}")
    assert (gone.status, gone.json()["code"]) == (410, "promise_expired")
    assert (await ask(gateway, f"/resources/{puuid}")).body == content(1)
    claimed = json.dumps({"title": "a", "__resource_path__": told[1]["puuid"]}).encode()
    assert (await gateway.post("/ingress/record-json?schema=note", claimed)).status == 404


async def test_a_shipment_given_up_is_gone_with_its_files(gateway: Gateway) -> None:
    told, summary = (await announce(gateway, line(1))).lines()
    where = f"/shipments/{summary['id']}"
    await send(gateway, told)
    assert (await ask(gateway, where, "DELETE")).status == 204
    assert await gateway.objects() == []
    for answer in (await ask(gateway, f"{where}/complete", "POST"), await send(gateway, told)):
        assert (answer.status, answer.json()["code"]) == (410, "shipment_expired")
    assert (await ask(gateway, where)).json()["state"] == "expired"
    assert (await ask(gateway, where, "DELETE")).status == 204, "again is no error"


async def test_a_shipment_is_its_principals(tmp_path: Path) -> None:
    async with keyed(tmp_path) as gateway:
        ada, bob = key("ada"), key("bob")
        told, summary = (await announce(gateway, line(1), headers=ada)).lines()
        where = f"/shipments/{summary['id']}"
        for path, method in ((where, "GET"), (where, "DELETE"), (f"{where}/complete", "POST"), (f"{where}/1", "PUT")):
            answer = await ask(gateway, path, method, bob)
            assert (answer.status, answer.json()["code"]) == (404, "shipment_not_found")
        assert (await ask(gateway, f"/promises/{told['puuid']}", headers=bob)).status == 404
        assert (await ask(gateway, f"/shipments/{told['puuid']}", headers=ada)).status == 404, "a puuid is no id"
        listed = (await ask(gateway, "/shipments", headers=ada)).json()
        assert [each["id"] for each in listed["shipments"]] == [summary["id"]]
        assert (await ask(gateway, "/shipments", headers=bob)).json() == {"shipments": [], "next": None}


async def test_an_idempotency_key_makes_one_shipment_of_two_requests(gateway: Gateway) -> None:
    headers = {"idempotency-key": "one"}
    first = await announce(gateway, line(1), headers=headers)
    again = await announce(gateway, line(1), headers=headers)
    assert (again.status, again.body, again.headers["idempotent-replayed"]) == (201, first.body, "true")
    other = await announce(gateway, line(2), headers=headers)
    assert (other.status, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len([key async for key in gateway.deployment.store.list(".inlake/shipments/")]) == 1


async def test_bounds_are_told(tmp_path: Path) -> None:
    async with embedded(tmp_path, shipment_files=2, shipment_bytes=2_000) as gateway:
        many = await announce(gateway, *(line(n) for n in range(3)))
        assert (many.status, many.json()["code"]) == (413, "shipment_too_large")
        large = await announce(gateway, line(1, tags=["x" * 2_000]))
        assert (large.status, large.json()["code"]) == (413, "shipment_too_large")
        assert "INLAKE_SHIPMENT_BYTES" in large.json()["detail"]


async def test_another_body_is_refused(gateway: Gateway) -> None:
    assert (await gateway.post("/shipments?schema=note", b"{}", "application/json")).status == 415
    assert (await gateway.post("/shipments?schema=note", b"", NDJSON)).json()["code"] == "empty_body"
    assert (await gateway.post("/shipments?schema=none", body(line(1)), NDJSON)).status == 404
    broken = await gateway.post("/shipments?schema=note", b'{"file"\n', NDJSON)
    assert (broken.status, broken.lines()[0]["code"]) == (400, "malformed_json")


async def test_what_nobody_completes_is_published_where_it_is_there_and_given_up_where_not(tmp_path: Path) -> None:
    async with embedded(tmp_path, promise_seconds=0.3) as gateway:
        *told, _ = (await announce(gateway, line(1), line(2))).lines()
        assert (await send(gateway, told[0])).status == 200
        while not (done := dict(await gateway.deployment.sweep.run())):
            pass
        assert done == {"expired": 1}
        (event,) = await gateway.events()
        assert dict(event.headers)["ce_id"].decode() == told[0]["id"]


async def test_one_that_has_ended_still_gives_the_receipts_of_what_was_published(tmp_path: Path) -> None:
    async with embedded(tmp_path, promise_seconds=0.3) as gateway:
        *told, summary = (await announce(gateway, line(1), line(2))).lines()
        assert (await send(gateway, told[0])).status == 200
        while not dict(await gateway.deployment.sweep.run()):
            pass
        receipt, ended, last = (await ask(gateway, f"/shipments/{summary['id']}/complete", "POST")).lines()
        assert (receipt["id"], receipt["status"]) == (told[0]["id"], 201)
        assert (ended["line"], ended["status"], ended["code"]) == (2, 410, "shipment_expired")
        assert (last["state"], len(await gateway.events())) == ("expired", 1)
