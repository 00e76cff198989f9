"""What is known about schemas and health: the routes that publish nothing."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response

from inlake.errors import InlakeError, InvalidSchema
from inlake.formats import has_records
from inlake.metrics import Metrics
from inlake.web.components import SCHEMAS, ref
from inlake.web.openapi import problems
from inlake.web.request import address as parse
from inlake.wiring import Deployment

CHECK_SECONDS = 5.0
SCHEMA_ENTRY = {"name": "tate.artwork", "subject": "tate.artwork"}
SCHEMA = {
    **SCHEMA_ENTRY,
    "version": 1,
    "id": 7,
    "versions": [1],
    "type": "AVRO",
    "schema": '{"type": "record", "name": "Artwork", "fields": [{"name": "acno", "type": "string"}]}',
    "references": [],
    "example": {"acno": "text"},
    "fields": [{"name": "acno", "type": "text", "required": True}],
    "resource_field": None,
}
READY = {"status": "ready", "checks": {name: {"ok": True, "warnings": []} for name in ("bus", "store", "registry")}}

NOT_READY = {
    "status": "not ready",
    "checks": {**READY["checks"], "store": {"ok": False, "code": "store_unavailable", "detail": "…"}},  # type: ignore[dict-item]
}


def schema_routes(d: Deployment) -> APIRouter:
    """`/schemas` and `/schemas/{name}`."""
    router = APIRouter()
    before, _, after = d.settings.subject.partition("{schema}")

    @router.get(
        "/schemas", tags=["schemas"], responses=_documented("SchemaList", {"schemas": [SCHEMA_ENTRY]}, 401, 403, 503)
    )
    async def schemas() -> Response:
        """All schemas that a record can name."""
        subjects = [s for s in await d.registry.subjects() if s.startswith(before) and s.endswith(after)]
        listed = [{"name": s[len(before) : len(s) - len(after)], "subject": s} for s in subjects]
        return _json({"schemas": [entry for entry in listed if entry["name"]]})

    @router.get(
        "/schemas/{name}", tags=["schemas"], responses=_documented("Schema", SCHEMA, 400, 401, 403, 404, 422, 501, 503)
    )
    async def schema(
        name: str, version: Annotated[int | None, Query(ge=1, le=999_999_999)] = None, message: str | None = None
    ) -> Response:
        """One schema: its text, its versions, its fields, and a record that fits it."""
        parse.names(name, None, None)
        found = await d.registry.find(d.settings.subject_of(name), version)
        answer: dict[str, Any] = {
            "name": name,
            "subject": found.subject,
            "version": found.version,
            "id": found.schema_id,
            "versions": await d.registry.versions(d.settings.subject_of(name)),
            "type": found.schema.schema_type or "AVRO",
            "schema": found.schema.schema_str,
            "references": [r.to_dict() for r in found.schema.references or []],
        }
        try:
            codec = (await d.gateway.codecs.find(name, version, message)).codec
            answer["example"] = codec.example()
            answer["fields"] = codec.shape().fields
            answer["resource_field"] = d.settings.resource_field if codec.has_resource_field else None
        except InvalidSchema:
            references = await d.registry.references(found.schema)
            if await asyncio.to_thread(has_records, found.schema, references):
                raise
            # a .proto without messages, for others to import
            answer |= {"example": None, "fields": [], "resource_field": None}
        return _json(answer)

    return router


def health_routes(d: Deployment, metrics: Metrics) -> APIRouter:
    """`/health/live`, `/health/ready` and `/metrics`."""
    router = APIRouter()

    @router.get("/health/live", tags=["health"], responses=_documented("Live", {"status": "live"}))
    async def live() -> Response:
        """The process runs and answers."""
        return _json({"status": "live"})

    @router.get(
        "/health/ready",
        tags=["health"],
        responses={**_documented("Readiness", READY), 503: _documented("Readiness", NOT_READY)[200]},
    )
    async def ready() -> Response:
        """Bus, store and registry can be used; 503 with the reasons when one cannot."""
        checks = {"bus": d.bus.check(), "store": d.store.check(), "registry": d.registry.check()}
        results = dict(zip(checks, await asyncio.gather(*map(_checked, checks.values())), strict=True))
        if all(r["ok"] for r in results.values()):
            return _json({"status": "ready", "checks": results})
        return _json({"status": "not ready", "checks": results}, 503, {"retry-after": "5"})

    @router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def counters() -> Response:
        """Counters of this process in the Prometheus text format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _documented(shape: str, example: object, *errors: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": ref(shape), "example": example}}
    description = SCHEMAS[shape]["description"]
    return {200: {"description": description, "content": content}, **problems(*errors)}


async def _checked(check: Any) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return {"ok": True, "warnings": await check or []}
    except InlakeError as error:
        return {"ok": False, "code": error.code, "detail": error.detail}
    except TimeoutError:
        return {"ok": False, "code": "no_answer", "detail": f"No answer within {CHECK_SECONDS:g} seconds."}


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")
