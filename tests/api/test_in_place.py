"""Objects that are in a store already go into events by their URI: not copied, never deleted, and none beside them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from inlake.settings import SettingsError
from tests.api.test_console import with_keys
from tests.api.test_shipments import announce, ask
from tests.gateways import Gateway, embedded, form

DATA = b"a scan of before"


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "scans"
    (folder / "box 1").mkdir(parents=True)
    (folder / "box 1" / "caf\u00e9 1.tif").write_bytes(DATA)
    (folder / "two.tif").write_bytes(b"two")
    (folder / ".env").write_text("SECRET=1")
    (tmp_path / "data" / "secret.tif").write_bytes(b"secret")
    (folder / "link.tif").symlink_to(tmp_path / "data" / "secret.tif")
    (folder / "linked").symlink_to(tmp_path / "data")
    return folder


@pytest.fixture
async def gateway(tmp_path: Path, scans: Path) -> AsyncIterator[Gateway]:
    async with embedded(tmp_path, in_place=f"file:{scans}, file:{tmp_path / 'other'}") as gateway:
        yield gateway


def line(uri: str, **file: Any) -> dict[str, Any]:
    return {"file": {"uri": uri, **file}, "record": {"title": uri[-10:]}}


async def test_an_object_is_named_by_its_event_and_read_and_stays_where_it_is(gateway: Gateway, scans: Path) -> None:
    path = scans / "box 1" / "caf\u00e9 1.tif"
    plain, encoded = f"file://{path}", path.as_uri()
    answer = await announce(gateway, line(plain, content_type="image/tiff"), line((scans / "two.tif").as_uri()))
    first, second, summary = answer.lines()
    assert (answer.status, first["status"], "put" in first, "put" in second) == (201, 202, False, False)
    missing = await ask(gateway, f"/shipments/{summary['id']}?missing=true")
    assert missing.json()["lines"] == []
    assert (await ask(gateway, f"/promises/{first['puuid']}")).json()["state"] == "stored"
    done = await ask(gateway, f"/shipments/{summary['id']}/complete", "POST")
    receipt = done.lines()[0]
    assert (done.status, receipt["resource"]) == (
        201,
        {
            "puuid": first["puuid"],
            "uri": encoded,
            "size": len(DATA),
            "sha256": hashlib.sha256(DATA).hexdigest(),
            "content_type": "image/tiff",
            "filename": "caf\u00e9 1.tif",
        },
    )
    event, _ = await gateway.events()
    headers = dict(event.headers)
    assert headers["inlake_resource_uri"].decode() == encoded
    assert encoded.encode() in (event.value or b"")
    got = await gateway.post(f"/resources/{first['puuid']}", method="GET", headers={"range": "bytes=2-5"})
    assert (got.status, got.body) == (206, DATA[2:6])
    assert await gateway.objects() == []
    path.write_bytes(b"another")
    gone = await gateway.post(f"/resources/{first['puuid']}", method="GET")
    assert (gone.status, gone.json()["code"]) == (409, "object_changed")


async def test_nothing_beside_the_prefix_can_be_named(gateway: Gateway, scans: Path, tmp_path: Path) -> None:
    refused = [
        f"file://{tmp_path}/data/secret.tif", f"file://{scans}/../secret.tif", f"file://{scans}/%2e%2e/secret.tif",
        f"file://{scans}/.env", f"file://{scans}/%2Eenv", f"file://{scans}", f"file://{scans}/", f"file://{scans}x/y",
        "s3://bucket/x", "/etc/passwd", "file:///etc/passwd", f"FILE://{scans}/two.tif",
    ]  # fmt: skip
    absent = [f"file://{scans}/{name}" for name in ("none.tif", "link.tif", "linked/secret.tif", "box 1", "two.tif/x")]
    bad = [f"file://{scans}//two.tif", f"file://{scans}/a%00b"]
    answer = await announce(gateway, *map(line, refused + absent + bad))
    *told, summary = answer.lines()
    assert [each["status"] for each in told] == [403] * len(refused) + [404] * len(absent) + [422] * len(bad), told
    assert summary["state"] == "refused"
    for uri in refused[0], refused[1], f"file://{scans}/.env", "s3://bucket/":
        assert (await gateway.post(f"/in-place?uri={uri}", method="GET")).status in {403, 422}


async def test_what_is_below_a_prefix_is_listed(gateway: Gateway, scans: Path) -> None:
    answer = await gateway.post(f"/in-place?uri=file://{scans}", method="GET")
    *found, last = answer.lines()
    assert {(each["uri"], each["size"]) for each in found} == {
        ((scans / "two.tif").as_uri(), 3), ((scans / "box 1" / "caf\u00e9 1.tif").as_uri(), len(DATA)),
    }  # fmt: skip
    assert last == {"objects": 2, "complete": True}
    inside = await gateway.post(f"/in-place?uri=file://{scans}/box%201/", method="GET")
    assert [each.get("size") for each in inside.lines()] == [len(DATA), None]
    linked = await gateway.post(f"/in-place?uri=file://{scans}/linked", method="GET")
    assert (linked.status, b"secret" in linked.body) == (404, False), "a link leads out of the prefix"
    empty = await gateway.post(f"/in-place?uri=file://{scans}/none", method="GET")
    assert (empty.status, empty.json()["code"]) == (404, "object_not_found")


@pytest.mark.parametrize("name", [b"b\nc.tif", b"\x01\x7f.tif", b"caf\xe9.tif", b"50%.tif", b"a\\b?c#d.tif"])
async def test_any_name_that_a_file_can_have_is_listed_and_named(gateway: Gateway, scans: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(scans / "box 1" / "new") + name))
    path.write_bytes(b"named")
    answer = await gateway.post("/in-place", method="GET")
    *found, last = answer.lines()
    (uri,) = (each["uri"] for each in found if each["size"] == 5)
    assert (uri, last["objects"]) == (path.as_uri(), 3)
    announced = await announce(gateway, line(uri))
    done = await ask(gateway, f"/shipments/{announced.lines()[-1]['id']}/complete", "POST")
    receipt = done.lines()[0]
    assert (done.status, receipt["resource"]["uri"]) == (201, uri)
    got = await gateway.post(f"/resources/{receipt['resource']['puuid']}", method="GET")
    assert (got.status, got.body) == (200, b"named")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (None, "box%201%2Fcaf%C3%A9%201.tif"),
        ("forbidden", "..%2Fsecret.tif"),
        ("forbidden", "%2e%2e%2Fsecret.tif"),
        ("forbidden", "box%201/../two.tif"),
        ("forbidden", "./two.tif"),
        ("object_not_found", "%252e%252e/secret.tif"),
        ("object_not_found", "two.tif?x=1"),
        ("object_not_found", "two.tif#x"),
        ("object_not_found", "%"),
        ("object_not_found", "%FF"),
        ("bad_place", "two.tif/"),
        ("bad_place", "box%201%2F%2Fcaf%C3%A9%201.tif"),
        ("bad_place", "%2F%2Fetc/passwd"),
        ("bad_place", "x" * 300),
    ],
)
async def test_a_uri_is_decoded_once_and_leads_nowhere_else(
    gateway: Gateway, scans: Path, code: str | None, name: str
) -> None:
    answer = await announce(gateway, line(f"file://{scans}/{name}"))
    assert answer.lines()[0].get("code") == code


async def test_a_key_of_s3_is_text(tmp_path: Path) -> None:
    aws = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    async with embedded(tmp_path, in_place="s3://museum/scans", **aws) as gateway:
        answer = await announce(gateway, line("s3://museum/scans/%FF.tif"), line("s3://museum/scans/"))
        assert [each["code"] for each in answer.lines()[:2]] == ["bad_place", "forbidden"]


async def test_links_in_a_circle_lead_to_nothing(gateway: Gateway, scans: Path) -> None:
    (scans / "circle").symlink_to("circle")
    answer = await announce(gateway, line(f"file://{scans}/circle"), line(f"file://{scans}/circle/a.tif"))
    assert [each.get("status") for each in answer.lines()] == [404, 404, None]
    assert (await gateway.post(f"/in-place?uri=file://{scans}/circle", method="GET")).status == 404
    assert (await gateway.post(f"/in-place?uri=file://{scans}", method="GET")).lines()[-1]["objects"] == 2


async def test_what_is_announced_is_compared_and_a_change_before_the_end_is_told(gateway: Gateway, scans: Path) -> None:
    uri = (scans / "two.tif").as_uri()
    answer = await announce(
        gateway, line(uri, size=4), line(uri, sha256="0" * 64), line(uri, size=3), {"file": {}, "record": {}}
    )
    *told, summary = answer.lines()
    assert [each.get("code") for each in told] == ["size_mismatch", "digest_mismatch", None, "bad_envelope"]
    (scans / "two.tif").write_bytes(b"2wo")
    os.utime(scans / "two.tif", (1, 1))
    done = await ask(gateway, f"/shipments/{summary['id']}/complete", "POST")
    assert (done.status, done.lines()[0]["code"]) == (409, "object_changed")
    assert await gateway.events() == []


async def test_who_gives_a_shipment_up_deletes_nothing(gateway: Gateway, scans: Path) -> None:
    answer = await announce(gateway, line((scans / "two.tif").as_uri()))
    shipment = answer.lines()[-1]["id"]
    assert (await ask(gateway, f"/shipments/{shipment}", "DELETE")).status == 204
    assert (scans / "two.tif").read_bytes() == b"two"


async def test_without_the_setting_nothing_is_in_place(tmp_path: Path, scans: Path) -> None:
    async with embedded(tmp_path) as gateway:
        answer = await announce(gateway, line((scans / "two.tif").as_uri()))
        assert (answer.status, answer.lines()[0]["code"]) == (403, "forbidden")


async def test_objects_of_the_gateway_are_not_in_place(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "scan.tif").write_bytes(b"of all")
    (shared / "linked").symlink_to(shared)
    async with embedded(tmp_path, store=f"file:{shared / 'linked' / 'store'}", in_place=f"file:{shared}") as gateway:
        await gateway.post("/ingress/binary", b"of another", "text/plain")
        (key,) = await gateway.objects()
        for uri in f"file://{shared}/store/{key}", f"file://{shared}/linked/store/{key}":
            assert (await announce(gateway, line(uri))).status in {403, 404}
        listed = await gateway.post(f"/in-place?uri=file://{shared}", method="GET")
        assert b"objects/" not in listed.body
        assert json.loads(listed.body.splitlines()[-1])["complete"]


async def test_what_one_principal_sends_is_in_place_for_no_other_wherever_its_record_puts_it(tmp_path: Path) -> None:
    other = {"authorization": "Bearer two"}
    shared = tmp_path / "shared"
    places = {"store": f"file:{shared}/store", "in_place": f"file:{shared}"}
    async with with_keys(tmp_path, "one", "two", **places) as gateway:
        record = b'{"title": "t", "__resource_path__": "scans/private.bin"}'
        body, kind = form(("record", record, None, None), ("file", b"of one only", "p.bin", "text/plain"))
        path = "/ingress/record-json-and-binary?schema=note"
        sent = await gateway.post(path, body, kind, headers={"authorization": "Bearer one"})
        private = shared / "store" / "scans" / "private.bin"
        assert (sent.status, private.read_bytes()) == (201, b"of one only")
        listed = await gateway.post("/in-place", method="GET", headers=other)
        assert (listed.status, b"private" in listed.body, b"store/" in listed.body) == (200, False, False)
        for below in private.parent, shared / "store":
            answer = await gateway.post(f"/in-place?uri={below.as_uri()}", method="GET", headers=other)
            assert (answer.status, answer.json()["code"]) == (403, "forbidden")
        lines = json.dumps(line(private.as_uri())).encode()
        named = await gateway.post("/shipments?schema=note", lines, "application/x-ndjson", headers=other)
        assert named.lines()[0]["code"] == "forbidden"


@pytest.mark.parametrize(
    ("store", "in_place"),
    [
        ("file:{0}/store", "file:{0}/store"),
        ("file:{0}/store", "file:{0}/scans, file:{0}/store/scans"),
        ("file:{0}/linked/store", "file:{0}/store/scans"),
        ("file:{0}/store", "file:{0}/linked/store"),
        ("file:{0}/store", "file:{0}/Store/scans"),
        ("s3://museum", "s3://museum/scans"),
        ("s3://museum", "s3://museum"),
        ("s3://museum/inlake", "s3://museum/inlake/a%20b"),
    ],
)
async def test_a_prefix_in_the_store_of_the_gateway_is_refused_at_the_start(
    tmp_path: Path, store: str, in_place: str
) -> None:
    (tmp_path / "linked").symlink_to(tmp_path)
    with pytest.raises(SettingsError, match=r"INLAKE_IN_PLACE: .* lies in the gateway's own store, .*INLAKE_STORE"):
        async with embedded(tmp_path, store=store.format(tmp_path), in_place=in_place.format(tmp_path)):
            pass


async def test_a_prefix_of_the_same_bucket_beside_the_store_is_taken(tmp_path: Path) -> None:
    aws = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    for in_place in "s3://museum/inlake-scans", "s3://museum/Inlake", "s3://museum":
        async with embedded(tmp_path, store="s3://museum/inlake", in_place=in_place, **aws):
            pass


@pytest.mark.parametrize(
    ("variable", "file"),
    [
        ("bus", "sqlite:{}/scans/more/events.db"),
        ("bus", "sqlite:{}/linked/events.db"),
        ("rejects", "sqlite:{}/scans/refused.db"),
        ("api_keys", "{}/scans/keys"),
        ("rights", "{}/scans/rights.toml"),
    ],
)
async def test_a_prefix_that_holds_a_file_of_the_gateway_is_refused_at_the_start(
    tmp_path: Path, variable: str, file: str
) -> None:
    scans = tmp_path / "scans"
    (scans / "more").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(scans)
    (scans / "keys").write_text("")
    (scans / "rights.toml").write_text("")
    other = {variable: file.format(tmp_path)}
    with pytest.raises(SettingsError, match=rf"INLAKE_IN_PLACE: .*scans holds .* \(INLAKE_{variable.upper()}\)"):
        async with embedded(tmp_path, in_place=f"file:{scans}", **other):
            pass


async def test_what_no_client_can_name_may_lie_below_a_prefix(tmp_path: Path) -> None:
    hidden = tmp_path / "scans" / ".inlake"
    hidden.mkdir(parents=True)
    (hidden / "keys").write_text("")
    settings = {"bus": f"sqlite:{hidden}/events.db", "api_keys": str(hidden / "keys")}
    async with embedded(tmp_path, in_place=f"file:{tmp_path}/scans", **settings):
        pass
