"""Requests in the forms of the first Inlake, built by the HTTP clients' own means as its users and tests did."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import requests

from tests import live_servers as live
from tests.command import serving
from tests.gateways import NOTE, Gateway, embedded

RECORD: dict[str, Any] = {"title": "Chambord", "year": 2022}
SCAN = b"solid scan\n" * 5000
PLACED = {**NOTE, "fields": [*NOTE["fields"][:-1], {"name": "resource_uri", "type": ["null", "string"]}]}


@pytest_asyncio.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway as its successor sets it up for such clients."""
    async with embedded(tmp_path, resource_field="resource_uri", unsecured_routes="true") as gateway:
        await gateway.register("placed", PLACED)
        yield gateway


@pytest_asyncio.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(gateway.app), base_url="http://127.0.0.1:8000"
    ) as client:
        yield client


def envelope(key: str, content: object) -> dict[str, Any]:
    return {"key_inlk": key, "content": content, "url_filestore": None, "topic_override": None}


async def send_file(client: httpx2.AsyncClient, route: str, key: str, record: dict[str, Any]) -> httpx2.Response:
    """The record in the query, the file as the only part."""
    return await client.post(
        f"/ingress/{route}",
        params=envelope(key, json.dumps(record)),
        files={"file": ("scan.stl", SCAN, "model/stl")},
    )


@pytest.mark.parametrize("content", [json.dumps(RECORD), json.dumps(RECORD, indent=2), RECORD], ids=["text", "indented", "object"])  # fmt: skip
@pytest.mark.parametrize("key", ["note", "note/survey/2022"])
async def test_a_record_in_their_envelope_becomes_an_event_with_their_key(
    gateway: Gateway, client: httpx2.AsyncClient, key: str, content: object
) -> None:
    answer = await client.post("/ingress/record-json", json=envelope(key, content))
    assert (answer.status_code, answer.json()["key"]) == (201, key)
    (event,) = await gateway.events()
    assert (event.position.topic, event.key) == ("inlake.note", key.encode())
    assert event.value is not None
    assert b"Chambord" in event.value


async def test_a_record_that_does_not_fit_is_refused_where_it_is_wrong_and_not_published(
    gateway: Gateway, client: httpx2.AsyncClient
) -> None:
    answer = await client.post(
        "/ingress/record-json", json=envelope("note", json.dumps({"title": "a", "year": "2022"}))
    )
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/year"]
    assert await gateway.events() == []


async def test_python_s_words_in_the_text_of_content_are_no_json(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/ingress/record-json", json=envelope("note", str({"title": "a", "year": None})))
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


@pytest.mark.parametrize(
    ("content", "value"),
    [(json.dumps(RECORD), json.dumps(RECORD)), ('{"of": "no schema"}', '{"of": "no schema"}')],
)
async def test_the_unsecured_route_publishes_what_came_to_a_topic_of_its_own(
    gateway: Gateway, client: httpx2.AsyncClient, content: str, value: str
) -> None:
    answer = await client.post("/ingress/unsecured/record-json", json=envelope("anything/db", content))
    assert (answer.status_code, answer.json()["key"]) == (201, "anything/db")
    (event,) = await gateway.events()
    assert (event.position.topic, event.key, event.value) == ("inlake-unsecured", b"anything/db", value.encode())


async def test_a_file_with_its_record_in_the_query_is_stored_at_the_place_in_the_store_that_the_record_names(
    gateway: Gateway, client: httpx2.AsyncClient
) -> None:
    place = gateway.deployment.store.uri("surveys/chambord.stl")
    answer = await send_file(client, "record-json-and-binary", "placed/survey", {**RECORD, "resource_uri": place})
    assert (answer.status_code, answer.json()["key"]) == (201, "placed/survey")
    assert answer.json()["resource"]["uri"] == place
    assert await gateway.deployment.store.get("surveys/chambord.stl") == SCAN
    (event,) = await gateway.events()
    assert event.value is not None
    assert place.encode() in event.value


@pytest.mark.parametrize("named", [{}, {"resource_uri": None}], ids=["absent", "null"])
async def test_a_record_that_names_no_place_gets_one(
    gateway: Gateway, client: httpx2.AsyncClient, named: dict[str, None]
) -> None:
    answer = await send_file(client, "record-json-and-binary", "placed", {**RECORD, **named})
    assert answer.status_code == 201
    resource = answer.json()["resource"]
    assert resource["uri"] == gateway.deployment.store.uri(f"objects/{resource['puuid']}/scan.stl")


@pytest.mark.parametrize(
    "place", ["s3://another-bucket/scan.stl", "s3a://another-bucket/scan.stl", "http://minio:9000/bucket/scan.stl"]
)
async def test_a_place_outside_the_store_is_refused_and_nothing_stored(
    gateway: Gateway, client: httpx2.AsyncClient, place: str
) -> None:
    answer = await send_file(client, "record-json-and-binary", "placed", {**RECORD, "resource_uri": place})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_place")
    assert await gateway.events() == []
    assert [key async for key in gateway.deployment.store.list("")] == []


async def test_a_place_that_is_taken_is_not_overwritten_any_more(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    record = {**RECORD, "resource_uri": "surveys/chambord.stl"}
    assert (await send_file(client, "record-json-and-binary", "placed", record)).status_code == 201
    answer = await send_file(client, "record-json-and-binary", "placed", record)
    assert (answer.status_code, answer.json()["code"]) == (409, "place_taken")


async def test_the_unsecured_route_takes_a_file_too(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    answer = await send_file(client, "unsecured/record-json-and-binary", "anything", {"of": "no schema"})
    assert answer.status_code == 201
    (event,) = await gateway.events()
    assert (event.position.topic, event.value) == ("inlake-unsecured", b'{"of": "no schema"}')
    assert dict(event.headers)["inlake_resource_uri"].decode() == answer.json()["resource"]["uri"]


@pytest.mark.parametrize("name", ["url_filestore", "topic_override"])
async def test_what_chose_topic_and_store_is_refused_when_it_has_a_value(client: httpx2.AsyncClient, name: str) -> None:
    answer = await client.post("/ingress/record-json", json={**envelope("note", json.dumps(RECORD)), name: "mine"})
    assert answer.status_code == 400
    assert name in answer.json()["detail"]
    answer = await client.post(
        "/ingress/record-json-and-binary",
        params={**envelope("note", json.dumps(RECORD)), name: "mine"},
        files={"file": ("scan.stl", SCAN)},
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")
    assert name in answer.json()["detail"]


@pytest.mark.live
def test_with_s3_the_place_is_an_s3_address_inside_the_store_and_no_other(tmp_path: Path) -> None:
    """As it was deployed: `resource_uri` holds a whole `s3://` address; sent by requests, which leaves None out."""
    settings = {name: value for name, value in live.deployment("unused").items() if name.startswith("AWS_")}
    store = f"s3://{live.S3_BUCKET}/first-{uuid.uuid4().hex}"
    (tmp_path / "placed.avsc").write_text(json.dumps(PLACED))
    with serving(tmp_path, INLAKE_STORE=store, INLAKE_RESOURCE_FIELD="resource_uri", **settings) as served:
        assert served.inlake("schemas", "add", "placed", tmp_path / "placed.avsc").returncode == 0
        for place, status in (
            (f"{store}/surveys/chambord.stl", 201),
            (f"{store}/surveys/chambord.stl", 409),
            (f"s3://{live.S3_BUCKET}/elsewhere/chambord.stl", 422),
            ("s3://another-bucket/chambord.stl", 422),
        ):
            answer = requests.post(
                f"{served.url}/ingress/record-json-and-binary",
                params=envelope("placed/survey", json.dumps({**RECORD, "resource_uri": place})),
                files={"file": ("scan.stl", SCAN)},
                timeout=30,
            )
            assert answer.status_code == status, answer.text
            if status == 422:
                assert answer.json()["code"] == "bad_place"
            if status == 201:
                assert answer.json()["resource"]["uri"] == place
