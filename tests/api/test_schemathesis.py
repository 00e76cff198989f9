"""The OpenAPI document and the gateway agree, whatever is sent: schemathesis tries every route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from inlake.promises.entries import Promised, Tus
from tests.command import Served, log_of, serving
from tests.gateways import NOTE, embedded, form

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
schemathesis.serializer.alias("application/x-ndjson", "text/plain")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("schemathesis")
    (folder / ".inlake" / "schemas").mkdir(parents=True)
    (folder / ".inlake" / "schemas" / "note.avsc").write_text(json.dumps(NOTE))
    with serving(folder, INLAKE_BODY_IDLE_SECONDS="2", INLAKE_UNSECURED_ROUTES="true") as served:
        yield served
        assert "Traceback" not in log_of(served)


@pytest.fixture(scope="module")
def api(served: Served) -> Any:
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


ROUTES = [
    ("POST", "/ingress/record-json"),
    ("POST", "/ingress/record-json-and-binary"),
    ("POST", "/ingress/unsecured/record-json"),
    ("POST", "/ingress/unsecured/record-json-and-binary"),
    ("POST", "/ingress/binary"),
    ("POST", "/ingress/validate"),
    ("GET", "/promises"),
    ("GET", "/promises/{puuid}"),
    ("DELETE", "/promises/{puuid}"),
    ("POST", "/promises"),
    ("POST", "/promises/{puuid}/complete"),
    ("GET", "/promises/{puuid}/parts"),
    ("GET", "/shipments"),
    ("POST", "/shipments"),
    ("GET", "/shipments/{shipment}"),
    ("DELETE", "/shipments/{shipment}"),
    ("PUT", "/shipments/{shipment}/{line}"),
    ("POST", "/shipments/{shipment}/complete"),
    ("POST", "/uploads"),
    ("OPTIONS", "/uploads"),
    ("HEAD", "/uploads/{puuid}"),
    ("PATCH", "/uploads/{puuid}"),
    ("DELETE", "/uploads/{puuid}"),
    ("POST", "/uploads/{puuid}"),
    ("OPTIONS", "/uploads/{puuid}"),
    ("GET", "/in-place"),
    ("GET", "/rejects"),
    ("GET", "/rejects/causes"),
    ("GET", "/rejects/{reject}"),
    ("POST", "/rejects/{reject}/resend"),
    ("GET", "/schemas"),
    ("GET", "/schemas/{name}"),
    ("GET", "/resources/{puuid}"),
    ("GET", "/resources/{puuid}/preview"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
]


def test_every_route_is_tried(api: Any) -> None:
    operations = [result.ok() for result in api.get_all_operations()]
    assert {(o.method.upper(), o.path) for o in operations} == set(ROUTES)


# not by its pytest plug-in, which does not work with this version of pytest
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_answer_is_a_documented_one(api: Any, method: str, path: str) -> None:
    @given(case=api[path][method].as_strategy(), known=st.booleans())
    @EXAMPLES
    def run(case: Any, known: bool) -> None:
        if known and "name" in (case.path_parameters or {}):
            case.path_parameters["name"] = "note"
        if known and ("ingress" in path or (method, path) == ("POST", "/shipments")):
            case.query = {**(case.query or {}), "schema": "note"}
        # a folder takes no uploads past the gateway: that is 501, and documented
        case.validate_response(case.call(), checks=CHECKS[1:] if (method, path) == ("POST", "/promises") else CHECKS)

    run()


async def test_the_document_is_complete(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        document = (await gateway.post("/openapi.json", method="GET")).json()
        assert list(_references(document)) != []
        for reference in _references(document):
            found = document
            for name in reference.removeprefix("#/").split("/"):
                found = found[name]
        for operations in document["paths"].values():
            for operation in operations.values():
                assert operation["description"]
                assert all(response["description"] for response in operation["responses"].values())
                assert "security" not in operation or operation["security"] == []


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    if isinstance(node, list):
        for value in node:
            yield from _references(value)


async def test_receipts_and_problems_fit_their_shapes(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        components = (await gateway.post("/openapi.json", method="GET")).json()["components"]

        def fits(value: Any, shape: str) -> None:
            validator_for({"$ref": f"#/components/schemas/{shape}", "components": components}).validate(value)

        parts = (("record", b'{"title": "a"}', None, None), ("file", b"v", "a.obj", None))
        stored = await gateway.post("/ingress/record-json-and-binary?schema=note", *form(*parts))
        fits(stored.json(), "Receipt")
        one = await gateway.post("/ingress/record-json?schema=note", b'{"title": "a"}')
        fits(one.json(), "Receipt")
        bad = await gateway.post("/ingress/record-json?schema=note", b"{}")
        fits(bad.json(), "Problem")
        good, reject, last = (
            await gateway.post("/ingress/record-json?schema=note", b'{"title": "a"}\n{}', "application/x-ndjson")
        ).lines()
        fits(good, "LineReceipt")
        fits(reject, "LineReject")
        fits(last, "Summary")
        kept = (await gateway.post("/ingress/binary", b"v", "model/obj")).json()
        fits(kept, "Promise")
        fits((await gateway.post("/promises", method="GET")).json(), "PromiseList")
        claimed = json.dumps({"title": "a", "__resource_path__": kept["puuid"]}).encode()
        assert (await gateway.post("/ingress/record-json?schema=note", claimed)).status == 201
        fits((await gateway.post(f"/promises/{kept['puuid']}", method="GET")).json(), "Promise")
        promises = gateway.deployment.gateway.promises
        coming = await promises.reserve(promises.new(Promised("a.obj", "model/obj", Tus()), "anonymous"))
        waiting = json.dumps({"title": "a", "__resource_path__": coming.puuid}).encode()
        fits((await gateway.post("/ingress/record-json?schema=note", waiting)).json(), "Pending")
        fits((await gateway.post("/ingress/validate?schema=note", b'{"title": "a"}')).json(), "Valid")
        file = {"filename": "a", "size": 0, "sha256": "0" * 64}
        lines = b"%b\n{}" % json.dumps({"file": file, "record": {"title": "a"}}).encode()
        accepted, reject, last = (await gateway.post("/shipments?schema=note", lines, "application/x-ndjson")).lines()
        fits(accepted, "LineAnnounced")
        fits(reject, "LineReject")
        fits(last, "ShipmentSummary")
        fits((await gateway.post(f"/shipments/{last['id']}", method="GET")).json(), "ShipmentFound")
        fits((await gateway.post("/shipments", method="GET")).json(), "ShipmentList")
        for path, shape in (("/schemas", "SchemaList"), ("/schemas/note", "Schema"), ("/health/ready", "Readiness")):
            fits((await gateway.post(path, method="GET")).json(), shape)


def test_a_gateway_with_keys_says_so_in_its_document(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"museum:{'0' * 64}")
    with serving(tmp_path, INLAKE_API_KEYS=str(tmp_path / "keys")) as served:
        document = httpx2.get(f"{served.url}/openapi.json", trust_env=False).json()
    assert document["security"] == [{"bearer": []}]
    assert document["paths"]["/health/live"]["get"]["security"] == []


async def test_the_document_is_valid(tmp_path: Path) -> None:
    async with embedded(tmp_path, unsecured_routes="true") as gateway:
        validate((await gateway.post("/openapi.json", method="GET")).json())
