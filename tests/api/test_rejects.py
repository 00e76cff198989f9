"""Refused records are kept, grouped by cause, and sent again: over HTTP, on the embedded gateway."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from inlake.errors import StoreUnavailable
from tests.gateways import Answer, Gateway, embedded, form

ROUTE = "/ingress/record-json?schema=note"


async def rejects(gateway: Gateway, query: str = "") -> list[Any]:
    answer = await gateway.post(f"/rejects{query}", method="GET")
    assert answer.status == 200, answer.body
    found: list[Any] = answer.json()["rejects"]
    return found


async def causes(gateway: Gateway, query: str = "") -> list[Any]:
    found: list[Any] = (await gateway.post(f"/rejects/causes{query}", method="GET")).json()["causes"]
    return found


async def test_a_refused_record_is_kept_as_it_came(gateway: Gateway) -> None:
    text = b'{"title": 7,   "year": "soon"}'
    headers = {"content-disposition": 'attachment; filename="works.json"', "authorization": "Bearer secret-key"}
    assert (await gateway.post(ROUTE + "&destination=a/b", text, headers=headers)).status == 422
    (kept,) = await rejects(gateway)
    assert kept["text"] == text.decode()
    assert (kept["schema"], kept["destination"], kept["filename"], kept["line"]) == ("note", "a/b", "works.json", 0)
    assert [error["pointer"] for error in kept["errors"]] == ["/title", "/year"]
    assert (kept["principal"], kept["code"], kept["status"]) == ("anonymous", "record_rejected", 422)
    assert "secret" not in json.dumps(kept)
    assert (await gateway.post(f"/rejects/{kept['id']}", method="GET")).json() == kept


async def test_what_is_accepted_or_fails_for_another_reason_is_not_kept(gateway: Gateway) -> None:
    assert (await gateway.post(ROUTE, b'{"title": "x"}')).status == 201
    assert (await gateway.post("/ingress/record-json?schema=none", b"{}")).status == 404
    assert (await gateway.post("/ingress/record-json?schema=..", b"{}")).status == 400
    assert (await gateway.post("/ingress/validate?schema=note", b"{}")).status == 422
    assert await rejects(gateway) == []


async def test_lines_of_a_stream_are_kept_with_their_numbers_and_grouped_by_cause(gateway: Gateway) -> None:
    lines = [b'{"title": "x", "tags": ["a", %d]}' % n if n % 3 else b'{"title": "x"}' for n in range(300)]
    lines[30] = b'{"title": '
    lines[60] = b"\xff"
    await gateway.post(ROUTE, b"\n".join(lines), "application/x-ndjson")
    found = await causes(gateway)
    assert [(cause["count"], cause["reasons"]) for cause in found] == [
        (200, [{"code": "wrong_type", "pointer": "/tags/*"}]),
        (2, [{"code": "malformed_json", "pointer": ""}]),
    ]
    newest = await rejects(gateway, "?limit=1000")
    assert sorted(kept["line"] for kept in newest) == sorted({n + 1 for n in range(300) if n % 3} | {31, 61})
    (broken,) = [kept for kept in newest if kept["is_bytes"]]
    assert broken["text"] == "\xff"
    one = await rejects(gateway, f"?cause={found[1]['id']}")
    assert len(one) == 2


async def test_pages_follow_each_other(gateway: Gateway) -> None:
    await gateway.post(ROUTE, b"\n".join(b'{"title": %d}' % n for n in range(25)), "application/x-ndjson")
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = (await gateway.post(f"/rejects?limit=10&after={after}", method="GET")).json()
        seen += [kept["id"] for kept in page["rejects"]]
        after = page["next"]
    assert len(seen) == len(set(seen)) == 25


async def test_envelopes_are_kept_with_their_schema_or_as_they_came(gateway: Gateway) -> None:
    good, bad = b'{"schema": "note", "record": {"title": 1}}', b'{"schema": "note", "recrod": {}}'
    await gateway.post("/ingress/record-json", good + b"\n" + bad, "application/x-ndjson")
    await gateway.post("/ingress/record-json", bad)
    found = {(kept["schema"], kept["text"], kept["code"]) for kept in await rejects(gateway)}
    assert found == {("note", '{"title": 1}', "record_rejected"), ("", bad.decode(), "bad_envelope")}
    (kept,) = [kept for kept in await rejects(gateway) if kept["line"] == 2]
    mended = b'{"schema": "note", "record": {"title": "x"}}'
    assert (await gateway.post(f"/rejects/{kept['id']}/resend", mended)).status == 201


async def test_a_mended_reject_is_published_once_and_marked(gateway: Gateway) -> None:
    await gateway.post(ROUTE, b'{"title": 7}')
    (kept,) = await rejects(gateway)
    resend = f"/rejects/{kept['id']}/resend"
    again = await gateway.post(resend, b"", None)
    assert (again.status, again.json()["code"]) == (422, "record_rejected")
    assert (await gateway.post(resend, b'{"title": 8}')).status == 422
    assert len(await rejects(gateway)) == 1, "what is refused again is no other reject"
    sent = await gateway.post(resend, b'{"title": "seven"}')
    assert sent.status == 201, sent.body
    (event,) = await gateway.events()
    assert dict(event.headers)["ce_id"].decode() == sent.json()["id"]
    assert await rejects(gateway) == []
    (mended,) = await rejects(gateway, "?state=mended")
    assert mended["mended"] == sent.json()["id"]
    twice = await gateway.post(resend, b'{"title": "eight"}')
    assert (twice.status, twice.json()["code"]) == (409, "reject_mended")
    assert len(await gateway.events()) == 1


async def test_a_record_that_came_with_a_file_is_not_sent_without_one(gateway: Gateway) -> None:
    for order in (("record", "file"), ("file", "record")):
        parts: dict[str, Any] = {
            "record": ("record", b'{"title": 1}', None, "application/json"),
            "file": ("file", b"pixels", "scan.tif", "image/tiff"),
        }
        body, kind = form(*[parts[name] for name in order])
        assert (await gateway.post("/ingress/record-json-and-binary?schema=note", body, kind)).status == 422
    first, _ = kept = await rejects(gateway)
    assert {(r["filename"], r["has_file"], r["schema"]) for r in kept} == {("scan.tif", True, "note")}
    refused = await gateway.post(f"/rejects/{first['id']}/resend", b'{"title": "x"}')
    assert (refused.status, refused.json()["code"]) == (409, "reject_needs_file")
    puuid = (await gateway.post("/ingress/binary", b"pixels", "image/tiff")).json()["puuid"]
    mended = json.dumps({"title": "x", "__resource_path__": puuid}).encode()
    sent = await gateway.post(f"/rejects/{first['id']}/resend", mended)
    assert (sent.status, sent.json()["resource"]["size"]) == (201, 6)


async def test_the_unsecured_routes_keep_nothing(tmp_path: Path) -> None:
    async with embedded(tmp_path, unsecured_routes=True) as gateway:
        assert (await gateway.post("/ingress/unsecured/record-json?schema=note", b'{"a":')).status in {201, 400}
        await gateway.post("/ingress/unsecured/record-json", b'{"nothing": 1}')
        assert await rejects(gateway) == []


async def test_a_principal_sees_its_own_and_an_administrator_all(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    names = ("one", "two", "curator", "keeper")
    keys.write_text("".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in names))
    rights = tmp_path / "rights.toml"
    rights.write_text(
        '[[rule]]\nwho = ["token:curator"]\nmay = ["read", "administer"]\n'
        '[[rule]]\nwho = ["token:keeper"]\nmay = ["administer"]\nschemas = ["other"]\n'
        '[[rule]]\nwho = ["*"]\nmay = ["ingest"]\n'
    )
    async with embedded(tmp_path, api_keys=keys, rights=rights) as gateway:

        async def get(name: str, path: str) -> Any:
            return await gateway.post(path, method="GET", headers={"authorization": f"Bearer {name}"})

        for name in ("one", "two"):
            await gateway.post(ROUTE, b'{"title": 1}', headers={"authorization": f"Bearer {name}"})
        assert (await gateway.post("/rejects", method="GET")).status == 401
        (mine,) = (await get("one", "/rejects")).json()["rejects"]
        assert mine["principal"] == "token:one"
        (other,) = (await get("two", "/rejects")).json()["rejects"]
        assert (await get("one", f"/rejects/{other['id']}")).status == 404
        hidden = await gateway.post(
            f"/rejects/{other['id']}/resend", b'{"title": "x"}', headers={"authorization": "Bearer one"}
        )
        assert hidden.status == 404
        assert len((await get("curator", "/rejects")).json()["rejects"]) == 2
        (cause,) = (await get("curator", "/rejects/causes")).json()["causes"]
        assert cause["count"] == 2
        assert (await get("one", "/rejects/causes")).json()["causes"][0]["count"] == 1
        for path in ("/rejects", "/rejects?schema=note", "/rejects?schema=other", "/rejects/causes?schema=other"):
            answer = await get("keeper", path)
            assert next(iter(answer.json().values())) == [], "another schema than the one administered"
        assert (await get("keeper", f"/rejects/{other['id']}")).status == 404


async def test_anonymous_clients_that_others_can_reach_see_no_rejects(tmp_path: Path) -> None:
    async with embedded(tmp_path, allow_anonymous=True) as gateway:
        assert (await gateway.post("/rejects", method="GET")).status == 403


async def test_a_gateway_that_keeps_none_says_so(tmp_path: Path) -> None:
    async with embedded(tmp_path, rejects="off") as gateway:
        assert (await gateway.post(ROUTE, b'{"title": 1}')).status == 422
        answer = await gateway.post("/rejects", method="GET")
        assert (answer.status, answer.json()["code"]) == (404, "reject_not_found")


async def test_a_reject_that_cannot_be_kept_changes_no_answer_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a-folder").mkdir()
    async with embedded(tmp_path, rejects=f"sqlite:{tmp_path / 'a-folder'}") as gateway:
        refused = await gateway.post(ROUTE, b'{"title": 1}')
        assert (refused.status, refused.json()["code"]) == (422, "record_rejected")
        assert (await gateway.post("/rejects", method="GET")).json()["code"] == StoreUnavailable.code
        metrics = (await gateway.post("/metrics", method="GET")).body.decode()
        assert "inlake_rejects_lost_total 1" in metrics


async def test_metrics_count_what_is_kept_by_the_code_of_its_reasons(gateway: Gateway) -> None:
    await gateway.post(ROUTE, b'{"title": 1, "yaer": 2}')
    await rejects(gateway)
    metrics = (await gateway.post("/metrics", method="GET")).body.decode()
    assert 'inlake_rejects_kept_total{code="unknown_field"} 1' in metrics
    assert 'inlake_rejects_kept_total{code="wrong_type"} 1' in metrics


async def test_rejects_are_there_after_a_restart(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        await gateway.post(ROUTE, b'{"title": 1}')
    async with embedded(tmp_path) as gateway:
        assert len(await rejects(gateway)) == 1


async def test_a_reject_that_several_send_again_is_one_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, rights = tmp_path / "keys", tmp_path / "rights.toml"
    keys.write_text("".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("one", "boss")))
    rights.write_text(
        '[[rule]]\nwho = ["token:boss"]\nmay = ["ingest", "read", "administer"]\n'
        '[[rule]]\nwho = ["*"]\nmay = ["ingest", "read"]\n'
    )
    async with embedded(tmp_path, api_keys=keys, rights=rights) as gateway:

        async def resend(name: str, reject_id: str) -> Answer:
            headers = {"authorization": f"Bearer {name}"}
            return await gateway.post(f"/rejects/{reject_id}/resend", b'{"title": "x"}', headers=headers)

        key: Any = {"headers": {"authorization": "Bearer one"}}
        for title in (7, 8):
            await gateway.post(ROUTE, b'{"title": %d}' % title, **key)
        first, second = (await gateway.post("/rejects", method="GET", **key)).json()["rejects"]
        at_once = await asyncio.gather(*(resend(name, first["id"]) for name in ("one", "boss")))
        assert 201 in {answer.status for answer in at_once}
        assert len(await gateway.events()) == 1

        async def fail(_: object) -> None:
            raise StoreUnavailable("the disk is full")

        assert gateway.deployment.rejects is not None
        with monkeypatch.context() as patch:
            patch.setattr(gateway.deployment.rejects, "mend", fail)
            assert (await resend("one", second["id"])).status == 503
        assert len(await gateway.events()) == 2, "the event is out, and not marked"
        again = await resend("boss", second["id"])
        assert again.status == 201
        assert [dict(event.headers)["ce_id"].decode() for event in await gateway.events()][1] == again.json()["id"]
        assert len(await gateway.events()) == 2


async def test_who_administers_one_schema_sees_its_rejects_and_everybody_its_own(tmp_path: Path) -> None:
    keys, rights = tmp_path / "keys", tmp_path / "rights.toml"
    names = ("one", "of-note", "of-others")
    keys.write_text("".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in names))
    rights.write_text(
        '[[rule]]\nwho = ["token:of-note"]\nmay = ["ingest", "administer"]\nschemas = ["note"]\n'
        '[[rule]]\nwho = ["token:of-others"]\nmay = ["ingest"]\nschemas = ["note"]\n'
        '[[rule]]\nwho = ["token:of-others"]\nmay = ["ingest", "administer"]\n'
        '[[rule]]\nwho = ["*"]\nmay = ["ingest"]\n'
    )
    async with embedded(tmp_path, api_keys=keys, rights=rights) as gateway:
        for name in names:
            await gateway.post(ROUTE, b'{"title": 7}', headers={"authorization": f"Bearer {name}"})
        for name, count in (("of-note", 3), ("of-others", 1), ("one", 1)):
            key: Any = {"method": "GET", "headers": {"authorization": f"Bearer {name}"}}
            for query in ("", "?schema=note"):
                found = (await gateway.post(f"/rejects{query}", **key)).json()["rejects"]
                assert len(found) == count, (name, query)
                assert f"token:{name}" in {kept["principal"] for kept in found}
                (cause,) = (await gateway.post(f"/rejects/causes{query}", **key)).json()["causes"]
                assert cause["count"] == count, (name, query)


OF_DESTINATIONS = """
[[rule]]
who = ["token:curator"]
may = []
schemas = ["note"]
destinations = ["secret/*"]
[[rule]]
who = ["token:curator"]
may = ["administer"]
[[rule]]
who = ["token:london"]
may = ["administer"]
destinations = ["london", "london/*"]
[[rule]]
who = ["*"]
may = ["ingest"]
"""


async def test_an_administrator_sees_the_destinations_that_are_its_own_and_no_others(tmp_path: Path) -> None:
    keys, rights = tmp_path / "keys", tmp_path / "rights.toml"
    names = ("sender", "curator", "london")
    keys.write_text("".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in names))
    rights.write_text(OF_DESTINATIONS)
    seen: dict[str, set[str | None]] = {
        "sender": {None, "secret/x", "london/x"},
        "curator": {None, "london/x"},
        "london": {"london/x"},
    }
    async with embedded(tmp_path, api_keys=keys, rights=rights) as gateway:
        for destination in ("", "&destination=secret/x", "&destination=london/x"):
            for record in (b'{"title": 7}', b'{"title": "x"}'):
                await gateway.post(f"{ROUTE}{destination}", record, headers={"authorization": "Bearer sender"})
        for name in names:
            key: Any = {"method": "GET", "headers": {"authorization": f"Bearer {name}"}}
            for query in ("", "?schema=note"):
                found = (await gateway.post(f"/rejects{query}", **key)).json()["rejects"]
                assert {kept["destination"] for kept in found} == seen[name]
                (cause,) = (await gateway.post(f"/rejects/causes{query}", **key)).json()["causes"]
                assert cause["count"] == len(seen[name])
            if name == "sender":
                every = found
            for kept in every:
                status = 200 if kept["destination"] in seen[name] else 404
                assert (await gateway.post(f"/rejects/{kept['id']}", **key)).status == status


async def test_anonymous_clients_see_the_rejects_that_they_administer_and_no_others(tmp_path: Path) -> None:
    rights = tmp_path / "rights.toml"
    rights.write_text(
        '[[rule]]\nwho = ["anonymous"]\nmay = ["ingest", "administer"]\nschemas = ["note"]\n'
        '[[rule]]\nwho = ["*"]\nmay = ["ingest"]\n'
    )
    async with embedded(tmp_path, allow_anonymous=True, rights=rights) as gateway:
        await gateway.post(ROUTE, b'{"title": 7}')
        await gateway.post(ROUTE.replace("note", "other"), b'{"title": "')
        assert [kept["schema"] for kept in await rejects(gateway)] == ["note"]
        assert [cause["schema"] for cause in await causes(gateway)] == ["note"]


async def test_a_page_of_long_rejects_ends_early_and_the_next_goes_on(gateway: Gateway) -> None:
    record = b'{"title": 7, "more": "' + b"a" * 890_000 + b'"}'
    for _ in range(15):
        assert (await gateway.post(ROUTE, record)).status == 422
    first = (await gateway.post("/rejects?limit=1000", method="GET")).json()
    assert len(first["rejects"]) == 10, "8 MiB"
    second = (await gateway.post(f"/rejects?limit=1000&after={first['next']}", method="GET")).json()
    assert (len(second["rejects"]), second["next"]) == (5, None)
    assert len({kept["id"] for kept in first["rejects"] + second["rejects"]}) == 15


async def test_what_was_sent_again_and_refused_can_be_mended_once_more(gateway: Gateway) -> None:
    await gateway.post(ROUTE, b'{"title": 7}')
    (kept,) = await rejects(gateway)
    for path in ("no-such", "nor-such", "no-such"):
        record = json.dumps({"title": "x", "__resource_path__": path}).encode()
        refused = await gateway.post(f"/rejects/{kept['id']}/resend", record)
        assert (refused.status, refused.json()["code"]) == (422, "resource_not_a_promise")
    assert (await gateway.post(f"/rejects/{kept['id']}/resend", b'{"title": "x"}')).status == 201
    assert len(await gateway.events()) == 1
