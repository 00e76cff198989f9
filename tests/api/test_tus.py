"""tus 1.0.0 at /uploads, point by point of the protocol's text, over a gateway on a folder."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import Any
from uuid import uuid4

import pytest

from inlake.model import PART
from inlake.promises.promise import read
from inlake.promises.sweep import Sweep
from tests.gateways import Answer, Gateway, embedded, form
from tests.processes import Crash, Steps, World

TUS = {"tus-resumable": "1.0.0"}
BYTES = "application/offset+octet-stream"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with embedded(tmp_path, max_binary_bytes=100_000_000) as found:
        yield found


async def ask(
    gateway: Gateway, method: str, path: str, body: bytes | Iterable[bytes] = b"", *, vanish: bool = False, **more: Any
) -> Answer:
    """A tus request; headers by their names with `_` for `-`."""
    headers = TUS | {name.replace("_", "-"): str(value) for name, value in more.items()}
    kind = headers.pop("content-type", None)
    return await gateway.post(path, body, kind, method=method, headers=headers, vanish=vanish)


async def create(gateway: Gateway, size: int, **more: Any) -> str:
    answer = await ask(gateway, "POST", "/uploads", upload_length=str(size), **more)
    assert answer.status == 201, answer
    assert answer.headers["tus-resumable"] == "1.0.0"
    return answer.headers["location"]


async def patch(
    gateway: Gateway, path: str, offset: int, body: bytes | Iterable[bytes], *, vanish: bool = False, **more: Any
) -> Answer:
    more = {"content_type": BYTES, "upload_offset": str(offset)} | more
    return await ask(gateway, "PATCH", path, body, vanish=vanish, **more)


async def offset(gateway: Gateway, path: str) -> int:
    answer = await ask(gateway, "HEAD", path)
    assert answer.status == 200, answer
    return int(answer.headers["upload-offset"])


async def stored(gateway: Gateway, path: str) -> bytes:
    """The object of a finished upload."""
    (key,) = [key for key in await gateway.objects() if path.rpartition("/")[2] in key]
    data = await gateway.deployment.store.get(key)
    assert data is not None
    return data


def checksum(algorithm: str, body: bytes) -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, body).digest()).decode()}"


def metadata(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


async def test_the_list_of_promises_says_how_much_of_an_upload_has_come(gateway: Gateway) -> None:
    path = await create(gateway, 10)
    assert (await patch(gateway, path, 0, b"seven__")).status == 204
    (listed,) = (await gateway.post("/promises", method="GET")).json()["promises"]
    assert (listed["puuid"], listed["received"], listed["size"]) == (path.rpartition("/")[2], 7, 10)
    assert b"7 bytes of 10 bytes" in (await gateway.post("/console/waiting", method="GET")).body


# ------------------------------------------------------------------------------------------------------- core protocol
async def test_an_upload_in_two_pieces_is_stored_whole_and_claimed_by_its_puuid(gateway: Gateway) -> None:
    path = await create(gateway, 11, upload_metadata=metadata(filename="hello.txt", filetype="text/plain"))
    first = await patch(gateway, path, 0, b"hello ")
    assert (first.status, first.body) == (204, b"")
    assert first.headers["upload-offset"] == "6"
    assert first.headers["tus-resumable"] == "1.0.0"
    assert await gateway.objects() == [], "invisible until it is complete"
    second = await patch(gateway, path, 6, b"world")
    assert (second.status, second.headers["upload-offset"]) == (204, "11")
    assert await stored(gateway, path) == b"hello world"
    puuid = path.rpartition("/")[2]
    record = json.dumps({"title": "Hello", "__resource_path__": puuid}).encode()
    receipt = await gateway.post("/ingress/record-json?schema=note", record)
    assert receipt.status == 201, receipt
    resource = receipt.json()["resource"]
    assert resource["sha256"] == hashlib.sha256(b"hello world").hexdigest()
    assert (resource["content_type"], resource["filename"], resource["size"]) == ("text/plain", "hello.txt", 11)
    assert len(await gateway.events()) == 1
    assert await gateway.open_promises() == []


async def test_a_record_that_comes_first_is_published_with_the_last_byte(gateway: Gateway) -> None:
    path = await create(gateway, 5)
    await patch(gateway, path, 0, b"123")
    record = json.dumps({"title": "First", "__resource_path__": path.rpartition("/")[2]}).encode()
    answer = await gateway.post("/ingress/record-json?schema=note", record)
    assert answer.status == 202, answer
    assert await gateway.events() == []
    assert (await patch(gateway, path, 3, b"45")).status == 204
    (event,) = await gateway.events()
    assert dict(event.headers)["inlake_resource_sha256"].decode() == hashlib.sha256(b"12345").hexdigest()


async def test_head_says_offset_length_and_metadata_and_must_not_be_cached(gateway: Gateway) -> None:
    sent = metadata(filename="数字.obj") + ",is_confidential"
    path = await create(gateway, 10, upload_metadata=sent)
    answer = await ask(gateway, "HEAD", path)
    assert (answer.status, answer.headers["upload-offset"], answer.headers["upload-length"]) == (200, "0", "10")
    assert answer.headers["upload-metadata"] == sent
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert "upload-defer-length" not in answer.headers
    await patch(gateway, path, 0, b"0123456789")
    answer = await ask(gateway, "HEAD", path)
    assert (answer.status, answer.headers["upload-offset"], answer.headers["upload-length"]) == (200, "10", "10")
    assert "upload-expires" not in answer.headers, "it is finished"


async def test_another_offset_is_a_conflict_and_changes_nothing(gateway: Gateway) -> None:
    path = await create(gateway, 10)
    await patch(gateway, path, 0, b"012")
    for wrong in (0, 2, 4, 10):
        answer = await patch(gateway, path, wrong, b"x" * min(1, 10 - wrong))
        assert answer.status == 409, answer
        assert answer.headers["upload-offset"] == "3"
    assert (await patch(gateway, path, 11, b"")).status == 409
    assert await offset(gateway, path) == 3
    await patch(gateway, path, 3, b"3456789")
    assert (await patch(gateway, path, 5, b"")).status == 409
    assert (await patch(gateway, path, 10, b"")).status == 204, "the answer to the last one was lost, say"
    assert await stored(gateway, path) == b"0123456789"


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "text/plain"])
async def test_a_patch_of_another_media_type_is_415(gateway: Gateway, kind: str | None) -> None:
    path = await create(gateway, 3)
    answer = await gateway.post(path, b"123", kind, method="PATCH", headers={**TUS, "upload-offset": "0"})
    assert answer.status == 415
    assert await offset(gateway, path) == 0


async def test_a_patch_without_an_offset_or_with_a_bad_one_is_400(gateway: Gateway) -> None:
    path = await create(gateway, 3)
    answer = await gateway.post(path, b"123", BYTES, method="PATCH", headers=TUS)
    assert (answer.status, answer.json()["code"]) == (400, "missing_parameter")
    for wrong in ("-1", "1.5", "x", "0x0", "9" * 19):
        answer = await patch(gateway, path, 0, b"123", upload_offset=wrong)
        assert (answer.status, answer.json()["code"]) == (400, "bad_parameter")


async def test_what_is_not_there_is_404_without_an_offset(gateway: Gateway) -> None:
    for name in (str(uuid4()), "x", str(uuid4()).upper()):
        for method in ("HEAD", "PATCH", "DELETE"):
            answer = await ask(gateway, method, f"/uploads/{name}", upload_offset="0", content_type=BYTES)
            assert answer.status == 404
            assert "upload-offset" not in answer.headers
            assert answer.headers["tus-resumable"] == "1.0.0"


async def test_a_binary_that_came_in_one_request_is_no_upload(gateway: Gateway) -> None:
    sent = await gateway.post("/ingress/binary", b"bytes", "text/plain")
    assert (await ask(gateway, "HEAD", f"/uploads/{sent.json()['puuid']}")).status == 404


@pytest.mark.parametrize("version", [None, "0.2.2", "1.0.1", "1.0"])
async def test_another_version_is_412_and_nothing_is_done(gateway: Gateway, version: str | None) -> None:
    headers = {} if version is None else {"tus-resumable": version}
    answer = await gateway.post("/uploads", b"", None, headers={**headers, "upload-length": "1"})
    assert answer.status == 412
    assert answer.headers["tus-version"] == "1.0.0"
    assert await gateway.open_promises() == []


@pytest.mark.parametrize("path", ["/uploads", "/uploads/24b1c426-1d70-4477-9eb3-fe5744462ae7"])
@pytest.mark.parametrize("headers", [{}, {"tus-resumable": "0.2.2"}])
async def test_options_tell_what_there_is_whatever_the_version(
    gateway: Gateway, path: str, headers: dict[str, str]
) -> None:
    answer = await gateway.post(path, b"", None, method="OPTIONS", headers=headers)
    assert answer.status == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-max-size"] == "100000000"
    assert set(answer.headers["tus-extension"].split(",")) == {
        "creation", "creation-with-upload", "creation-defer-length", "termination", "checksum", "checksum-trailer",
        "expiration", "concatenation",
    }  # fmt: skip
    assert set(answer.headers["tus-checksum-algorithm"].split(",")) == {"sha1", "sha256"}


async def test_the_method_may_stand_in_a_header(gateway: Gateway) -> None:
    path = await create(gateway, 3)
    over: dict[str, Any] = {"x_http_method_override": "PATCH", "content_type": BYTES, "upload_offset": "0"}
    answer = await ask(gateway, "POST", path, b"123", **over)
    assert (answer.status, answer.headers["upload-offset"]) == (204, "3")
    assert (await ask(gateway, "POST", path, x_http_method_override="HEAD")).headers["upload-offset"] == "3"
    assert (await ask(gateway, "POST", path, x_http_method_override="DELETE")).status == 204
    answer = await ask(gateway, "POST", path, x_http_method_override="GET")
    assert (answer.status, answer.headers["allow"]) == (405, "HEAD, PATCH, DELETE, OPTIONS")
    assert (await ask(gateway, "POST", path)).status == 405
    assert (await ask(gateway, "PUT", "/uploads")).status == 405


@pytest.mark.parametrize(
    ("method", "meant"), [("OPTIONS", "POST"), ("HEAD", "PATCH"), ("OPTIONS", "DELETE"), ("DELETE", "PATCH")]
)
async def test_only_a_post_is_what_its_header_says(gateway: Gateway, method: str, meant: str) -> None:
    path = await create(gateway, 3)
    more: dict[str, Any] = {
        "x_http_method_override": meant,
        "content_type": BYTES,
        "upload_offset": "0",
        "upload_length": "3",
    }
    answer = await ask(gateway, method, "/uploads" if meant == "POST" else path, b"123", **more)
    assert (answer.status, "PATCH" in answer.headers["allow"]) == (405, meant != "POST")
    assert await offset(gateway, path) == 0, "nothing was taken, nothing given up"
    assert len(await gateway.open_promises()) == 1
    same: dict[str, Any] = {"x_http_method_override": "PATCH", "content_type": BYTES, "upload_offset": "0"}
    assert (await ask(gateway, "PATCH", path, b"123", **same)).status == 204


# ------------------------------------------------------------------------------------------------------------ creation
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"upload_length": "-1"},
        {"upload_length": "x"},
        {"upload_defer_length": "2"},
        {"upload_length": "1", "upload_defer_length": "1"},
        {"upload_length": "1", "upload_metadata": "filename ***"},
        {"upload_length": "1", "upload_metadata": "a YQ==,a YQ=="},
        {"upload_length": "1", "upload_metadata": "name \xe4"},
    ],
)
async def test_a_creation_that_says_too_little_or_too_much_is_400(gateway: Gateway, headers: dict[str, Any]) -> None:
    answer = await ask(gateway, "POST", "/uploads", **headers)
    assert answer.status == 400, answer
    assert await gateway.open_promises() == []


async def test_an_upload_beyond_the_largest_is_413(gateway: Gateway) -> None:
    answer = await ask(gateway, "POST", "/uploads", upload_length="100000001")
    assert (answer.status, answer.json()["code"]) == (413, "binary_too_large")
    path = (await ask(gateway, "POST", "/uploads", upload_defer_length="1")).headers["location"]
    assert (await patch(gateway, path, 0, b"", upload_length="100000001")).status == 413


async def test_an_empty_upload_is_complete_at_once(gateway: Gateway) -> None:
    path = await create(gateway, 0)
    assert await offset(gateway, path) == 0
    assert await stored(gateway, path) == b""


async def test_metadata_of_any_length_and_script_comes_back_as_sent(gateway: Gateway) -> None:
    sent = metadata(name="Ὀδύσσεια/第一章.tiff", type="image/tiff", note="✒" * 10_000)
    path = await create(gateway, 1, upload_metadata=sent)
    assert (await ask(gateway, "HEAD", path)).headers["upload-metadata"] == sent
    await patch(gateway, path, 0, b"x")
    record = json.dumps({"title": "x", "__resource_path__": path.rpartition("/")[2]}).encode()
    resource = (await gateway.post("/ingress/record-json?schema=note", record)).json()["resource"]
    assert (resource["filename"], resource["content_type"]) == ("Ὀδύσσεια/第一章.tiff", "image/tiff")


async def test_an_object_with_a_very_long_name_can_be_read(gateway: Gateway) -> None:
    """The header that names it was longer than what clients read."""
    name = metadata(filename="🎼" * 5_000 + ".tiff")
    path = await create(gateway, 1, upload_metadata=name, content_type=BYTES)
    await patch(gateway, path, 0, b"x")
    answer = await gateway.post(path.replace("uploads", "resources"), method="GET")
    assert (answer.status, answer.body) == (200, b"x")
    assert len(answer.headers["content-disposition"]) < 3_000  # the name twice: in ASCII, and percent-encoded
    assert answer.headers["content-disposition"].endswith("%8E%BC.tiff")


async def test_a_creation_may_bring_bytes(gateway: Gateway) -> None:
    answer = await ask(gateway, "POST", "/uploads", b"hello", upload_length="11", content_type=BYTES)
    assert (answer.status, answer.headers["upload-offset"]) == (201, "5")
    path = answer.headers["location"]
    assert (await patch(gateway, path, 5, b" world")).status == 204
    whole = await ask(gateway, "POST", "/uploads", b"hello", upload_length="5", content_type=BYTES)
    assert (whole.status, whole.headers["upload-offset"]) == (201, "5")
    assert await stored(gateway, whole.headers["location"]) == b"hello"


class Asked:
    """A store that notes what it is asked."""

    def __init__(self, store: Any, calls: list[str]) -> None:
        self._store, self._calls = store, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name == "pieces":
            return Asked(found, self._calls)
        if callable(found) and name != "uri":
            self._calls.append(name)
        return found


async def test_a_small_upload_asks_the_store_for_hardly_more_than_a_form(gateway: Gateway) -> None:
    calls: list[str] = []
    store: Any = Asked(gateway.deployment.store, calls)
    one = World(Gateway(gateway.app, replace(gateway.deployment, store=store))).process()

    async def with_record(path: str) -> None:
        record = json.dumps({"title": "x", "__resource_path__": path.rpartition("/")[2]}).encode()
        assert (await one.post("/ingress/record-json?schema=note", record)).status == 201

    async def asked(work: Coroutine[Any, Any, None]) -> Counter[str]:
        calls.clear()
        await work
        return Counter(calls)

    async def by_form() -> None:
        body, kind = form(("record", b'{"title": "x"}', None, None), ("file", b"hello", "a.obj", None))
        assert (await one.post("/ingress/record-json-and-binary?schema=note", body, kind)).status == 201

    async def with_its_bytes() -> None:
        made = await ask(one, "POST", "/uploads", b"hello", upload_length="5", content_type=BYTES)
        assert (made.status, made.headers["upload-offset"]) == (201, "5")
        await with_record(made.headers["location"])

    async def in_two_requests() -> None:
        path = await create(one, 5)
        assert (await patch(one, path, 0, b"hello")).status == 204
        await with_record(path)

    common = {"create": 5, "delete": 1}
    assert await asked(by_form()) == {**common, "put": 1}
    assert await asked(with_its_bytes()) == {**common, "put_new": 1, "get": 1}
    assert await asked(in_two_requests()) == {**common, "put_new": 1, "get": 2}


async def test_a_small_upload_that_is_cut_goes_on_where_it_was_cut(gateway: Gateway) -> None:
    path = await create(gateway, 11)
    await patch(gateway, path, 0, [b"hel", b"lo "], vanish=True)
    assert await offset(gateway, path) == 6
    assert (await patch(gateway, path, 6, b"world")).status == 204
    assert await stored(gateway, path) == b"hello world"


async def test_what_one_request_brings_whole_is_noted_though_its_process_died(gateway: Gateway) -> None:
    for last, held in ((0, 0), (1, 5)):
        path, world = await create(gateway, 5), World(gateway)
        headers = {**TUS, "upload-offset": "0"}
        with pytest.raises(Crash):
            await world.process(Steps(last)).post(path, b"hello", BYTES, method="PATCH", headers=headers)
        assert await offset(gateway, path) == held
        if not held:
            assert (await patch(gateway, path, 0, b"hello")).status == 204
        while not (await gateway.deployment.uploads.find(path.rpartition("/")[2], "anonymous")).stored:
            await asyncio.sleep(0.01)
        assert await stored(gateway, path) == b"hello"
        assert (await patch(gateway, path, 5, b"")).status == 204
        while [key async for key in gateway.deployment.store.list(".inlake/leases/")]:  # it is forgotten, too
            await asyncio.sleep(0.01)


async def test_what_a_head_called_whole_is_noted_and_published_by_the_sweep(gateway: Gateway) -> None:
    """Two processes died: one that had put the object, and one that was about to note it after the question."""
    path, world, d = await create(gateway, 5), World(gateway), gateway.deployment
    record = json.dumps({"title": "x", "__resource_path__": path.rpartition("/")[2]}).encode()
    assert (await gateway.post("/ingress/record-json?schema=note", record)).status == 202
    headers = {**TUS, "upload-offset": "0"}
    with pytest.raises(Crash):
        await world.process(Steps(1)).post(path, b"hello", BYTES, method="PATCH", headers=headers)
    promise = await d.uploads.find(path.rpartition("/")[2], "anonymous")
    assert (promise.stored, await d.uploads.received(promise)) == (None, 5)
    await d.gateway.promises.progress(promise, received=5)  # as HEAD does, which then said 5
    sweep = Sweep(d.store, d.gateway.promises, d.uploads, bus_timeout=-1e6, upload_timeout=600)
    assert (await sweep.run())["finished"] == 1
    assert len(await gateway.events()) == 1


async def test_a_wrong_offset_of_a_small_upload_is_told_the_right_one_and_leaves_no_lease(gateway: Gateway) -> None:
    path = await create(gateway, 10)
    conflict = await patch(gateway, path, 5, b"hello")
    assert (conflict.status, conflict.headers["upload-offset"], conflict.json()["upload_offset"]) == (409, "0", 0)
    assert (await patch(gateway, path, 0, b"0123456789")).status == 204
    assert [key async for key in gateway.deployment.store.list(".inlake/leases/")] == []


async def test_who_began_an_upload_late_hears_that_another_brought_it_whole(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, d = await create(gateway, 10), gateway.deployment
    promise = await d.uploads.find(path.rpartition("/")[2], "anonymous")
    append = d.store.pieces.append

    async def after_another(*given: Any, **more: Any) -> int:
        async def whole() -> AsyncIterator[bytes]:
            yield b"0123456789"

        await d.uploads.append(promise, 0, whole())
        return await append(*given, **more)

    monkeypatch.setattr(d.store.pieces, "append", after_another)
    late = await patch(gateway, path, 0, b"01234")
    assert (late.status, late.headers["upload-offset"]) == (409, "10")


async def test_of_two_who_bring_a_small_upload_at_once_the_sha256_is_of_what_is_stored(tmp_path: Path) -> None:
    """One brings all of it, the other one a piece after the other; they may meet between any two steps."""
    async with embedded(tmp_path) as one, embedded(tmp_path, registry=f"dir:{tmp_path / 'schemas'}") as other:
        for turn in range(30):
            path = await create(one, 6)

            async def in_pieces(path: str = path, turn: int = turn) -> None:
                for start in (0, 3):
                    await patch(other, path, start, b"abcdef"[start : start + 3])
                    await asyncio.sleep(turn / 3_000)

            async def whole(path: str = path, turn: int = turn) -> int:
                await asyncio.sleep((30 - turn) / 1_000)
                return (await patch(one, path, 0, b"123456")).status

            _, status = await asyncio.gather(in_pieces(), whole())
            assert status in {204, 409, 423}
            promise = await other.deployment.uploads.find(path.rpartition("/")[2], "anonymous")
            assert promise.stored
            data = await stored(one, path)
            assert data == (b"123456" if status == 204 else b"abcdef")
            assert promise.stored.sha256 == hashlib.sha256(data).hexdigest()


async def test_the_location_is_a_path_from_the_root_whatever_the_folder_was_called(tmp_path: Path) -> None:
    for root in ("", "/gw"):
        async with embedded(tmp_path / root.strip("/"), root_path=root) as gateway:
            for folder in ("/uploads", "/uploads/"):
                location = (await ask(gateway, "POST", folder, upload_length="1")).headers["location"]
                assert re.fullmatch(rf"{root}/uploads/[0-9a-f-]{{36}}", location)


async def partial(gateway: Gateway, content: bytes) -> str:
    path = await create(gateway, len(content), upload_concat="partial")
    assert (await patch(gateway, path, 0, content)).status == 204
    return path


async def test_partial_uploads_become_one(gateway: Gateway) -> None:
    paths = [await partial(gateway, content) for content in (b"hello ", b"", b"world")]
    final = f"final;{paths[0]} http://127.0.0.1{paths[1]} {paths[2]}"
    name = metadata(filename="hello.txt", filetype="text/plain")
    made = await ask(gateway, "POST", "/uploads", upload_concat=final, upload_metadata=name)
    assert made.status == 201
    path = made.headers["location"]
    assert await stored(gateway, path) == b"hello world"
    asked = await ask(gateway, "HEAD", path)
    told = {name: asked.headers[name] for name in ("upload-concat", "upload-offset", "upload-length")}
    assert told == {"upload-concat": final, "upload-offset": "11", "upload-length": "11"}
    assert (await ask(gateway, "HEAD", paths[0])).headers["upload-concat"] == "partial"
    assert (await patch(gateway, path, 11, b"more")).status == 403


@pytest.mark.parametrize(
    "kind", ["other", "final", "final;", "final;{whole}", "final;{unfinished}", "final;/uploads/x"]
)
async def test_what_cannot_be_made_one_is_refused(gateway: Gateway, kind: str) -> None:
    whole = await create(gateway, 0)
    unfinished = await create(gateway, 5, upload_concat="partial")
    concat = kind.format(whole=whole, unfinished=unfinished)
    answer = await ask(gateway, "POST", "/uploads", upload_concat=concat)
    assert answer.status == (404 if kind.endswith("/x") else 400)
    both = await ask(gateway, "POST", "/uploads", upload_concat=f"final;{whole}", upload_length="0")
    assert both.status == 400


async def test_a_body_of_another_type_is_not_dropped_when_an_upload_begins(gateway: Gateway) -> None:
    answer = await ask(gateway, "POST", "/uploads", b"hello", content_type="text/plain", upload_length="5")
    assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_conflict_tells_the_offset(gateway: Gateway) -> None:
    path = await create(gateway, 11)
    await patch(gateway, path, 0, b"hello ")
    answer = await patch(gateway, path, 0, b"world")
    assert (answer.status, answer.headers["upload-offset"]) == (409, "6")


async def test_a_length_may_come_later_and_once(gateway: Gateway) -> None:
    created = await ask(gateway, "POST", "/uploads", upload_defer_length="1")
    assert created.status == 201
    path = created.headers["location"]
    head = await ask(gateway, "HEAD", path)
    assert head.headers["upload-defer-length"] == "1"
    assert "upload-length" not in head.headers
    assert (await patch(gateway, path, 0, b"hello ")).status == 204
    assert (await patch(gateway, path, 6, b"", upload_length="5")).status == 400, "it has more already"
    assert (await patch(gateway, path, 6, b"", upload_length="11")).status == 204
    assert (await patch(gateway, path, 6, b"", upload_length="12")).status == 400
    head = await ask(gateway, "HEAD", path)
    assert (head.headers["upload-length"], "upload-defer-length" in head.headers) == ("11", False)
    assert (await patch(gateway, path, 6, b"world", upload_length="11")).status == 204
    assert await stored(gateway, path) == b"hello world"


async def test_an_offset_beyond_the_largest_upload_is_a_conflict_before_the_length_is_known(gateway: Gateway) -> None:
    created = await ask(gateway, "POST", "/uploads", upload_defer_length="1")
    answer = await patch(gateway, created.headers["location"], 100_000_001, b"x")
    assert (answer.status, answer.json()["code"]) == (409, "offset_conflict")


async def test_more_bytes_than_announced_are_413(gateway: Gateway) -> None:
    path = await create(gateway, 3)
    assert (await patch(gateway, path, 0, b"1234")).status == 413
    assert await offset(gateway, path) == 0
    answer = await patch(gateway, path, 0, [b"12", b"34"])  # no Content-Length: it shows only when they come
    assert answer.status == 413
    assert await offset(gateway, path) == 3


# ------------------------------------------------------------------------------------------- termination and expiration
async def test_a_terminated_upload_is_gone_with_what_it_held(gateway: Gateway, tmp_path: Path) -> None:
    for size in (10, 3):
        path = await create(gateway, size)
        await patch(gateway, path, 0, b"123")
        answer = await ask(gateway, "DELETE", path)
        assert (answer.status, answer.body) == (204, b"")
        for method in ("HEAD", "PATCH", "DELETE"):
            again = await ask(gateway, method, path, upload_offset="3", content_type=BYTES)
            assert again.status == 410
            assert "upload-offset" not in again.headers
    assert await gateway.objects() == []
    assert not [file for file in (tmp_path / "store/.inlake/uploads").rglob("*") if file.is_file()]


async def test_a_claimed_upload_cannot_be_terminated_once_it_is_complete(gateway: Gateway) -> None:
    path = await create(gateway, 3)
    await patch(gateway, path, 0, b"123")
    record = json.dumps({"title": "x", "__resource_path__": path.rpartition("/")[2]}).encode()
    assert (await gateway.post("/ingress/record-json?schema=note", record)).status == 201
    assert (await ask(gateway, "DELETE", path)).status == 409
    assert await offset(gateway, path) == 3


async def test_an_unfinished_upload_says_when_it_expires_and_does(tmp_path: Path) -> None:
    async with embedded(tmp_path, promise_seconds=1.5) as gateway:
        created = await ask(gateway, "POST", "/uploads", upload_length="10")
        path = created.headers["location"]
        expires = parsedate_to_datetime(created.headers["upload-expires"])
        assert -1 <= expires.timestamp() - time() <= 2
        patched = await patch(gateway, path, 0, b"123")
        assert patched.headers["upload-expires"].endswith("GMT")
        while (answer := await ask(gateway, "HEAD", path)).status == 200:
            await asyncio.sleep(0.1)
        assert answer.status == 410
        await gateway.deployment.sweep.run()
        assert (await patch(gateway, path, 3, b"4567890")).status == 410
        assert not [file for file in (tmp_path / "store/.inlake/uploads").rglob("*") if file.is_file()]


async def test_progress_moves_the_expiry_on(tmp_path: Path) -> None:
    async with embedded(tmp_path, promise_seconds=1.2) as gateway:
        path = await create(gateway, 20)
        for start in range(20):
            assert (await patch(gateway, path, start, b"x")).status == 204
            await asyncio.sleep(0.12)
        assert await stored(gateway, path) == b"x" * 20


# ------------------------------------------------------------------------------------------------------------ checksum
@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_a_body_with_its_checksum_is_taken_and_with_another_is_460(gateway: Gateway, algorithm: str) -> None:
    path = await create(gateway, 10)
    answer = await patch(gateway, path, 0, b"hello", upload_checksum=checksum(algorithm, b"hullo"))
    assert (answer.status, answer.json()["code"]) == (460, "checksum_mismatch")
    assert await offset(gateway, path) == 0
    answer = await patch(gateway, path, 0, b"hello", upload_checksum=checksum(algorithm, b"hello"))
    assert (answer.status, answer.headers["upload-offset"]) == (204, "5")
    answer = await patch(gateway, path, 5, [b"wor", b"ld"], upload_checksum=checksum(algorithm, b"world"))
    assert answer.status == 204
    assert await stored(gateway, path) == b"helloworld"


async def test_an_algorithm_that_is_not_there_is_400_and_nothing_is_taken(gateway: Gateway) -> None:
    path = await create(gateway, 5)
    for wrong in ("md5 XUFAKrxLKna5cZ2REBfFkg==", "SHA1 x", "sha1", "sha1 !!!"):
        answer = await patch(gateway, path, 0, b"hello", upload_checksum=wrong)
        assert answer.status in {400, 460}, wrong
    assert await offset(gateway, path) == 0


async def test_a_checked_body_that_breaks_off_is_not_taken(gateway: Gateway) -> None:
    path = await create(gateway, 5)
    await patch(gateway, path, 0, b"hel", vanish=True, upload_checksum=checksum("sha1", b"hello"))
    assert await offset(gateway, path) == 0


async def test_a_checked_body_is_bounded(gateway: Gateway) -> None:
    path = await create(gateway, 4 * PART)
    answer = await patch(gateway, path, 0, bytes(PART + 1), upload_checksum=checksum("sha1", b""))
    assert (answer.status, answer.json()["code"]) == (413, "checked_body_too_large")
    chunked = [bytes(PART), b"1"]
    answer = await patch(gateway, path, 0, chunked, upload_checksum=checksum("sha1", b"".join(chunked)))
    assert answer.status == 413
    assert await offset(gateway, path) == 0
    body = os.urandom(PART)
    assert (await patch(gateway, path, 0, body, upload_checksum=checksum("sha1", body))).status == 204


async def test_a_creation_with_a_wrong_checksum_says_so(gateway: Gateway) -> None:
    sent: dict[str, Any] = {"upload_length": "5", "content_type": BYTES, "upload_checksum": checksum("sha1", b"hullo")}
    assert (await ask(gateway, "POST", "/uploads", b"hello", **sent)).status == 460


# --------------------------------------------------------------------------------------- cut off, taken over, concurrent
async def test_a_patch_cut_in_the_middle_keeps_what_arrived(gateway: Gateway) -> None:
    data = os.urandom(2 * PART + 1000)
    path, held = await create(gateway, len(data)), 0
    for end in (1, 5_000, PART, PART + 70_000, 2 * PART + 1):
        body = data[held:end]
        await patch(gateway, path, held, [body[:700], body[700:]], vanish=True)
        held = await offset(gateway, path)
        assert held == end
    assert (await patch(gateway, path, held, data[held:])).status == 204
    assert await stored(gateway, path) == data


async def test_any_process_takes_any_patch(tmp_path: Path) -> None:
    data = os.urandom(100_000)
    async with embedded(tmp_path) as one, embedded(tmp_path, registry=f"dir:{tmp_path / 'schemas'}") as other:
        path, both = await create(one, len(data)), (other, one)
        for n, start in enumerate(range(0, len(data), 10_000)):
            answer = await patch(both[n % 2], path, start, data[start : start + 10_000])
            assert (answer.status, answer.headers["upload-offset"]) == (204, str(start + 10_000))
            assert await offset(both[1 - n % 2], path) == start + 10_000
        record = json.dumps({"title": "x", "__resource_path__": path.rpartition("/")[2]}).encode()
        answer = await other.post("/ingress/record-json?schema=note", record)
        assert answer.json()["resource"]["sha256"] == hashlib.sha256(data).hexdigest()


async def test_the_sha256_is_of_what_is_stored_whoever_brought_which_byte(tmp_path: Path) -> None:
    """A client that sends other bytes after a cut, to another process: what the first one had hashed does not count."""
    async with embedded(tmp_path) as one, embedded(tmp_path, registry=f"dir:{tmp_path / 'schemas'}") as other:
        for cut in (True, False):
            path = await create(one, 9)
            await patch(one, path, 0, [b"abc", b"def"], vanish=cut)
            assert (await patch(other, path, 6, b"gh")).status == 204
            assert (await patch(one, path, 8, b"i")).status == 204
            promise = await one.deployment.uploads.find(path.rpartition("/")[2], "anonymous")
            assert promise.stored
            assert promise.stored.sha256 == hashlib.sha256(await stored(one, path)).hexdigest()


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_request_that_stands_still_gives_way_to_the_next(tmp_path: Path, elsewhere: bool) -> None:
    """The client lost its network: the server does not know yet that the first connection is dead."""
    async with embedded(tmp_path) as one, embedded(tmp_path, registry=f"dir:{tmp_path / 'schemas'}") as two:
        path = await create(one, 10)
        headers = {**TUS, "upload-offset": "0"}
        stuck = asyncio.create_task(one.post(path, [b"0123"], BYTES, method="PATCH", headers=headers, stall=True))
        while not (await two.deployment.uploads.find(path.rpartition("/")[2], "anonymous")).upload:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # it is begun in the store, and takes the bytes that have come next
        other = two if elsewhere else one
        assert await offset(other, path) == 4
        assert (await stuck).status == 423
        assert (await patch(other, path, 4, b"456789")).status == 204
        assert await stored(one, path) == b"0123456789"


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_request_that_writes_to_an_upload_that_is_deleted_hears_of_it(tmp_path: Path, elsewhere: bool) -> None:
    async with embedded(tmp_path) as one, embedded(tmp_path, registry=f"dir:{tmp_path / 'schemas'}") as two:
        path = await create(one, 10)
        headers = {**TUS, "upload-offset": "0"}
        stuck = asyncio.create_task(one.post(path, [b"0123"], BYTES, method="PATCH", headers=headers, stall=True))
        while not (await two.deployment.uploads.find(path.rpartition("/")[2], "anonymous")).upload:
            await asyncio.sleep(0.01)
        assert (await ask(two if elsewhere else one, "DELETE", path)).status == 204
        async with asyncio.timeout(20):
            assert (await stuck).status == 410
        await World(one).settle()
        assert [key async for key in one.deployment.store.list(".inlake/") if "/promises/" not in key] == []


async def test_many_patches_at_once_leave_one_order_of_bytes(gateway: Gateway) -> None:
    path = await create(gateway, 8)
    answers = await asyncio.gather(*[patch(gateway, path, 0, b"01234567") for _ in range(6)])
    assert {answer.status for answer in answers} <= {204, 409, 423}
    assert 204 in {answer.status for answer in answers}
    assert await stored(gateway, path) == b"01234567"
    assert len(await gateway.open_promises()) == 1


async def test_a_crash_before_the_end_is_noted_is_made_good_by_the_next_question(gateway: Gateway) -> None:
    """All bytes are in the store, and the process died: tus clients ask with HEAD, and send nothing more."""
    for complete in (False, True):
        path = await create(gateway, 5)
        await patch(gateway, path, 0, b"")  # from here on the store knows of it
        promise = await gateway.deployment.uploads.find(path.rpartition("/")[2], "anonymous")
        store, key, upload = gateway.deployment.store, promise.key, promise.upload
        assert upload

        async def body() -> AsyncIterator[bytes]:
            yield b"hello"

        await store.pieces.append(key, upload, 0, body(), size=5)
        if complete:
            await store.pieces.complete(key, upload)
        assert await offset(gateway, path) == 5
        while (await gateway.deployment.uploads.find(path.rpartition("/")[2], "anonymous")).stored is None:
            await asyncio.sleep(0.01)
        assert await stored(gateway, path) == b"hello"


async def test_a_crash_after_the_last_byte_is_made_good_by_the_sweep(gateway: Gateway) -> None:
    path = await create(gateway, 5)
    await patch(gateway, path, 0, b"")  # from here on the store knows of it
    d = gateway.deployment
    promise = await d.uploads.find(path.rpartition("/")[2], "anonymous")
    record = json.dumps({"title": "x", "__resource_path__": path.rpartition("/")[2]}).encode()
    assert (await gateway.post("/ingress/record-json?schema=note", record)).status == 202

    async def body() -> AsyncIterator[bytes]:
        yield b"hello"

    assert promise.upload
    await d.store.pieces.append(promise.key, promise.upload, 0, body(), size=5)
    await d.gateway.promises.progress(promise, received=5)
    sweep = Sweep(d.store, d.gateway.promises, d.uploads, bus_timeout=-1e6, upload_timeout=600)
    assert (await sweep.run())["finished"] == 1
    assert len(await gateway.events()) == 1


async def test_a_sweep_makes_no_object_of_an_upload_that_lacks_bytes(gateway: Gateway) -> None:
    """Its log may have noted bytes that died with the process, or with the connection to the store."""
    path = await create(gateway, 5)
    await patch(gateway, path, 0, b"hel")
    d = gateway.deployment
    await d.gateway.promises.progress(await d.uploads.find(path.rpartition("/")[2], "anonymous"), received=5)
    sweep = Sweep(d.store, d.gateway.promises, d.uploads, bus_timeout=-1e6, upload_timeout=600)
    assert [finding async for finding in sweep.findings()] == []
    assert await gateway.objects() == []
    assert (await offset(gateway, path), (await patch(gateway, path, 3, b"lo")).status) == (3, 204)
    assert await stored(gateway, path) == b"hello"


async def test_an_empty_upload_that_a_crash_left_at_any_step_is_dealt_with(gateway: Gateway) -> None:
    """One that was reserved and never begun has all its bytes, so to speak."""
    world = World(gateway)
    for last in range(100):
        try:
            await ask(world.process(Steps(last), patience=0), "POST", "/uploads", upload_length="0")
        except Crash:
            await world.settle()
            for mark in await gateway.open_promises():  # it is given up, or complete and waits for its record
                promise = await read(gateway.deployment.store, mark.rpartition("/")[2])
                assert promise is not None
                assert promise.stored is not None, last
        else:
            assert last > 3
            return


async def no_lease_is_left(gateway: Gateway) -> None:
    await gateway.open_promises()
    assert [key async for key in gateway.deployment.store.list(".inlake/leases/")] == []


@pytest.mark.parametrize("record_first", [True, False])
async def test_an_upload_whose_event_is_out_leaves_no_lease_behind(gateway: Gateway, record_first: bool) -> None:
    path = await create(gateway, 5)
    record = json.dumps({"title": "x", "__resource_path__": path.rpartition("/")[2]}).encode()
    if record_first:
        await gateway.post("/ingress/record-json?schema=note", record)
    for start in range(5):
        await patch(gateway, path, start, b"x")
    if not record_first:
        await gateway.post("/ingress/record-json?schema=note", record)
    assert len(await gateway.events()) == 1
    await no_lease_is_left(gateway)


async def test_a_terminated_upload_leaves_no_lease_behind(gateway: Gateway) -> None:
    path = await create(gateway, 5)
    await patch(gateway, path, 0, b"x")
    await ask(gateway, "DELETE", path)
    await no_lease_is_left(gateway)
