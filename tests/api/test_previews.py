"""Previews over HTTP: for whom the object is, made once, kept in the store, and gone with the object."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from inlake.previews import keeper
from tests.gateways import Gateway, embedded, form

BOTH = "/ingress/record-json-and-binary?schema=note"


def tiff() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (2400, 800), "teal").save(buffer, "TIFF", compression="tiff_lzw")
    return buffer.getvalue()


async def sent(gateway: Gateway, content: bytes, kind: str, name: str = "scan.tif", **headers: str) -> str:
    body, content_type = form(("record", b'{"title": "a"}', None, None), ("file", content, name, kind))
    answer = await gateway.post(BOTH, body, content_type, headers=headers)
    assert answer.status == 201, answer.body
    puuid: str = answer.json()["resource"]["puuid"]
    return puuid


async def test_a_tiff_has_a_preview_in_two_sizes_that_is_drawn_once(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        puuid = await sent(gateway, tiff(), "image/tiff")
        path = f"/resources/{puuid}/preview"
        large = await gateway.post(path, method="GET")
        assert (large.status, large.headers["content-type"]) == (200, "image/jpeg")
        assert large.headers["x-content-type-options"] == "nosniff"
        assert large.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert Image.open(io.BytesIO(large.body)).size == (1200, 400)
        small = await gateway.post(f"{path}?size=small", method="GET")
        assert Image.open(io.BytesIO(small.body)).size == (160, 53)
        assert await gateway.deployment.store.get(f".inlake/previews/{puuid}") is not None
        known = {"if-none-match": large.headers["etag"]}
        assert (await gateway.post(path, method="GET", headers=known)).status == 304
        await gateway.deployment.store.delete(keeper.preview_key(puuid))
        assert (await gateway.post(path, method="GET")).body == large.body  # drawn anew, as it was
        assert (await gateway.post(f"{path}?size=huge", method="GET")).status == 400


async def test_what_has_no_preview_says_why(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        for content, kind, said in (
            (b"hello", "text/plain", "There are no previews of text/plain."),
            (b"hello", "image/tiff", "The file is no picture that can be read, whatever its type says."),
            (b"", "image/tiff", "The object is empty."),
        ):
            path = f"/resources/{await sent(gateway, content, kind)}/preview"
            for _ in range(2):  # the second is remembered
                answer = await gateway.post(path, method="GET")
                assert (answer.status, answer.json()["code"]) == (404, "preview_not_available")
                assert answer.json()["detail"] == said
        assert [key async for key in gateway.deployment.store.list(".inlake/previews/")] == []


async def test_a_preview_is_for_whom_the_object_is(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("ann", "bob")))
    async with embedded(tmp_path, api_keys=keys) as gateway:
        puuid = await sent(gateway, tiff(), "image/tiff", authorization="Bearer ann")
        path = f"/resources/{puuid}/preview"
        answers = [
            await gateway.post(path, method="GET", headers={"authorization": f"Bearer {name}"})
            for name in ("ann", "bob")
        ]
        assert [answer.status for answer in answers] == [200, 404]
        assert answers[1].json()["code"] == "promise_not_found"
        assert (await gateway.post(path, method="GET")).status == 401


async def test_who_asks_for_a_preview_at_once_shares_one_drawing(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        path = f"/resources/{await sent(gateway, tiff(), 'image/tiff')}/preview"
        answers = await asyncio.gather(*(gateway.post(path, method="GET") for _ in range(8)))
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1


async def test_a_preview_goes_with_its_object(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        puuid = (await gateway.post("/ingress/binary", tiff(), "image/tiff")).json()["puuid"]
        assert (await gateway.post(f"/resources/{puuid}/preview", method="GET")).status == 200
        assert (await gateway.post(f"/promises/{puuid}", method="DELETE")).status in {200, 204}
        assert (await gateway.post(f"/resources/{puuid}/preview", method="GET")).status == 410
        assert await gateway.deployment.store.get(keeper.preview_key(puuid)) is None


async def test_a_preview_of_a_line_goes_with_the_shipment_that_is_given_up(tmp_path: Path) -> None:
    scan = tiff()
    file = {"size": len(scan), "sha256": hashlib.sha256(scan).hexdigest(), "content_type": "image/tiff"}
    lines = [{"file": {**file, "filename": f"{n}.tif"}, "record": {"title": "a"}} for n in range(2)]
    async with embedded(tmp_path) as gateway:
        body = "\n".join(map(json.dumps, lines)).encode()
        *told, summary = (await gateway.post("/shipments?schema=note", body, "application/x-ndjson")).lines()
        for each in told:
            put = each["put"]
            kind = put["headers"].pop("content-type")
            stored = await gateway.post(put["url"], scan, kind, method=put["method"], headers=put["headers"])
            assert stored.status == 200
            assert (await gateway.post(f"/resources/{each['puuid']}/preview", method="GET")).status == 200
        assert (await gateway.post(f"/shipments/{summary['id']}", method="DELETE")).status == 204
        assert [key async for key in gateway.deployment.store.list(".inlake/previews/")] == []


async def test_the_page_of_an_event_shows_the_preview_of_what_a_browser_cannot_show(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        puuid = await sent(gateway, tiff(), "image/tiff")
        page = (await gateway.post("/console/events/inlake.note/0/1", method="GET")).body.decode()
        assert f'<img class="shown" data-preview src="/resources/{puuid}/preview"' in page


@pytest.mark.parametrize(
    ("kind", "shown", "policy"),
    [
        ("model/gltf-binary", "<model-viewer ", "'wasm-unsafe-eval'"),
        ("model/stl", 'data-mesh="stl"', "script-src 'self';"),
        ("model/obj", 'data-mesh="obj"', "script-src 'self';"),
    ],
)
async def test_the_page_of_an_event_shows_a_form_in_3d(tmp_path: Path, kind: str, shown: str, policy: str) -> None:
    async with embedded(tmp_path) as gateway:
        await sent(gateway, b"solid x", kind, "form")
        page = await gateway.post("/console/events/inlake.note/0/1", method="GET")
        assert shown in page.body.decode()
        assert policy in page.headers["content-security-policy"]
        for file in ("mesh.js", "three.module.min.js", "three.STLLoader.js"):
            assert (await gateway.post(f"/console/static/any/{file}", method="GET")).status == 200
