"""`POST /ingress/record-json-and-binary`: streamed, checked first, nothing left of what is refused."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import quote

import pytest

from tests.gateways import Gateway, form

PATH = "/ingress/record-json-and-binary?schema=note"
RECORD = b'{"title": "Spot"}'
MESH = b"v 0 0 0\n" * 100_000
FILE = ("file", MESH, "spot.obj", "model/obj")


async def test_a_record_and_its_file_become_one_event_that_names_both(gateway: Gateway) -> None:
    answer = await gateway.post(PATH, *form(("record", RECORD, None, None), FILE))
    receipt = answer.json()
    assert answer.status == 201
    resource = receipt["resource"]
    assert (resource["size"], resource["filename"], resource["content_type"]) == (len(MESH), "spot.obj", "model/obj")
    assert resource["sha256"] == hashlib.sha256(MESH).hexdigest()
    assert resource["uri"].endswith(f"/objects/{resource['puuid']}/spot.obj")
    (event,) = await gateway.events()
    headers = {k: v.decode() for k, v in event.headers}
    assert headers["inlake_puuid"] == resource["puuid"]
    assert headers["inlake_resource_uri"] == resource["uri"]
    assert headers["inlake_resource_size"] == str(len(MESH))
    assert headers["inlake_resource_sha256"] == resource["sha256"]
    assert headers["inlake_resource_type"] == "model/obj"
    assert headers["inlake_resource_filename"] == "spot.obj"
    assert event.value is not None
    assert resource["uri"].encode() in event.value
    assert await gateway.deployment.store.get(f"objects/{resource['puuid']}/spot.obj") == MESH
    assert await gateway.open_promises() == []


async def test_the_file_may_come_first(gateway: Gateway) -> None:
    answer = await gateway.post(PATH, *form(FILE, ("record", RECORD, None, None)))
    assert answer.status == 201
    assert answer.json()["resource"]["sha256"] == hashlib.sha256(MESH).hexdigest()
    assert await gateway.open_promises() == []


async def test_the_first_inlake_s_form_has_the_record_in_the_query(gateway: Gateway) -> None:
    path = f"/ingress/record-json-and-binary?key_inlk=note/d&content={quote(RECORD)}&url_filestore=&topic_override="
    answer = await gateway.post(path, *form(FILE))
    assert (answer.status, answer.json()["key"]) == (201, "note/d")


async def test_an_envelope_may_stand_in_the_part_record(gateway: Gateway) -> None:
    envelope = json.dumps({"schema": "note", "record": {"title": "a"}}).encode()
    answer = await gateway.post("/ingress/record-json-and-binary", *form(("record", envelope, None, None), FILE))
    assert answer.status == 201


@pytest.mark.parametrize("named", ["scans/spot.obj", "spöt.obj"])
async def test_a_client_may_name_the_place_once(gateway: Gateway, named: str) -> None:
    record = json.dumps({"title": "a", "__resource_path__": named}).encode()
    first = await gateway.post(PATH, *form(("record", record, None, None), FILE))
    assert first.status == 201
    assert await gateway.deployment.store.get(named) == MESH
    assert first.json()["resource"]["uri"] == gateway.deployment.store.uri(named)
    again = await gateway.post(PATH, *form(("record", record, None, None), ("file", b"other", "x", None)))
    assert (again.status, again.json()["code"]) == (409, "place_taken")
    assert await gateway.deployment.store.get(named) == MESH
    by_uri = json.dumps({"title": "a", "__resource_path__": gateway.deployment.store.uri("by-uri")}).encode()
    assert (await gateway.post(PATH, *form(("record", by_uri, None, None), FILE))).status == 201


async def test_an_object_of_somebody_else_at_the_place_is_never_touched(gateway: Gateway) -> None:
    await gateway.deployment.store.create("scans/theirs.obj", b"theirs")
    record = b'{"title": "a", "__resource_path__": "scans/theirs.obj"}'
    answer = await gateway.post(PATH, *form(("record", record, None, None), FILE))
    assert (answer.status, answer.json()["code"]) == (409, "place_taken")
    assert await gateway.deployment.store.get("scans/theirs.obj") == b"theirs"
    assert await gateway.open_promises() == []


@pytest.mark.parametrize(
    "named", ["objects/x", ".inlake/open/x", "../x", "a//b", "https://elsewhere.org/x", "a%2fb", 7]
)
async def test_a_place_that_is_not_allowed_is_422(gateway: Gateway, named: object) -> None:
    record = json.dumps({"title": "a", "__resource_path__": named}).encode()
    answer = await gateway.post(PATH, *form(("record", record, None, None), FILE))
    assert (answer.status, answer.json()["code"]) == (422, "bad_place")
    assert await gateway.objects() == []


@pytest.mark.parametrize("record_first", [True, False])
async def test_a_refused_record_leaves_no_object_and_no_open_promise(gateway: Gateway, *, record_first: bool) -> None:
    parts = [("record", b'{"titel": 1}', None, None), FILE]
    answer = await gateway.post(PATH, *form(*(parts if record_first else parts[::-1])))
    assert (answer.status, answer.json()["code"]) == (422, "record_rejected")
    assert await gateway.objects() == []
    assert await gateway.open_promises() == []
    assert await gateway.events() == []


async def test_a_schema_without_the_field_is_422_no_resource_field(gateway: Gateway) -> None:
    await gateway.register("plain", {"type": "record", "name": "Plain", "fields": [{"name": "n", "type": "int"}]})
    body = form(("record", b'{"n": 1}', None, None), FILE)
    answer = await gateway.post("/ingress/record-json-and-binary?schema=plain", *body)
    assert (answer.status, answer.json()["code"]) == (422, "no_resource_field")


async def test_a_required_resource_field_is_filled_before_validation(gateway: Gateway) -> None:
    field = {"name": "__resource_path__", "type": "string"}
    await gateway.register("strict", {"type": "record", "name": "Strict", "fields": [field]})
    for record in (b"{}", b'{"__resource_path__": null}'):
        body = form(("record", record, None, None), FILE)
        assert (await gateway.post("/ingress/record-json-and-binary?schema=strict", *body)).status == 201


BODY, KIND = form(("record", RECORD, None, None), FILE)


@pytest.mark.parametrize(
    "length", [1, 20, 60, 120, 150, 400, len(BODY) // 2, len(BODY) - 30, len(BODY) - 5, len(BODY) - 3]
)
async def test_a_body_cut_anywhere_stores_and_publishes_nothing(gateway: Gateway, length: int) -> None:
    for vanish in (False, True):
        answer = await gateway.post(PATH, [BODY[:length]], KIND, vanish=vanish)
        assert answer.status == (0 if vanish else 400)
        assert await gateway.objects() == []
        assert await gateway.events() == []
        assert await gateway.open_promises() == []


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([], "missing_parameter"),
        ([("record", RECORD, None, None)], "missing_parameter"),
        ([FILE], "missing_parameter"),
        ([("record", RECORD, None, None), ("record", RECORD, None, None)], "malformed_multipart"),
        ([("other", RECORD, None, None), FILE], "malformed_multipart"),
        ([("record", RECORD, None, None), FILE, FILE], "malformed_multipart"),
        ([FILE, ("record", RECORD, None, None), FILE], "malformed_multipart"),
        ([("record", b"{", None, None), FILE], "malformed_json"),
    ],
)
async def test_a_form_with_other_parts_is_400_and_leaves_nothing(gateway: Gateway, parts: list[tuple[str, bytes, str | None, str | None]], code: str) -> None:  # fmt: skip
    answer = await gateway.post(PATH, *form(*parts))
    assert (answer.status, answer.json()["code"]) == (400, code)
    assert await gateway.objects() == []
    assert await gateway.open_promises() == []


async def test_a_body_that_is_no_form_is_415(gateway: Gateway) -> None:
    for kind in ("application/json", "multipart/form-data", None):
        assert (await gateway.post(PATH, b"{}", kind)).status == 415


@pytest.mark.parametrize("content", [b"", b"\r\n--frontier", b"\r\n--frontie", b"--frontier\r\n", b"\x00" * 9_000_000])
async def test_any_bytes_are_a_file(gateway: Gateway, content: bytes) -> None:
    boundary = "another" if b"--frontier" in content else "frontier"
    answer = await gateway.post(
        PATH, *form(("record", RECORD, None, None), ("file", content, None, None), boundary=boundary)
    )
    resource = answer.json()["resource"]
    assert (resource["size"], resource["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert resource["content_type"] == "application/octet-stream"


async def test_text_keeps_its_charset(gateway: Gateway) -> None:
    file = ("file", "Lettre à Élise".encode("latin-1"), "letter.txt", "text/plain; charset=iso-8859-1")
    answer = await gateway.post(PATH, *form(("record", RECORD, None, None), file))
    assert answer.json()["resource"]["content_type"] == "text/plain; charset=iso-8859-1"
