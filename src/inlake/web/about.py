"""What is known about schemas and health: the routes that publish nothing."""

from __future__ import annotations

import asyncio
import html
from importlib.resources import files
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from inlake.errors import InlakeError, RouteNotFound, every_error
from inlake.metrics import Metrics
from inlake.web import parse
from inlake.web.components import SCHEMAS, ref
from inlake.web.documented import problems
from inlake.wiring import Deployment

CHECK_SECONDS = 5.0
STATIC = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
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
}
READY = {"status": "ready", "checks": {name: {"ok": True, "warnings": []} for name in ("bus", "store", "registry")}}

NOT_READY = {
    "status": "not ready",
    "checks": {**READY["checks"], "store": {"ok": False, "code": "store_unavailable", "detail": "…"}},  # type: ignore[dict-item]
}


def about_routes(d: Deployment, metrics: Metrics) -> APIRouter:
    """Routes for `/schemas`, `/health`, `/metrics` and the pages under `/docs`."""
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
    async def schema(name: str, version: Annotated[int | None, Query(ge=1, le=999_999_999)] = None) -> Response:
        """One schema: its text, its versions, and a record that fits it."""
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
        answer["example"] = (await d.gateway.codecs.find(name, version)).codec.example()
        return _json(answer)

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

    @router.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """The routes, to read and to try; everything the page needs comes from here."""
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Inlake: the routes",
            swagger_js_url="/docs/static/swagger-ui-bundle.js",
            swagger_css_url="/docs/static/swagger-ui.css",
            swagger_favicon_url="data:,",
            swagger_ui_parameters={"tryItOutEnabled": True, "defaultModelsExpandDepth": -1},
        )

    @router.get("/docs/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        """The files of Swagger UI that the package carries."""
        if name not in STATIC:
            raise RouteNotFound(f"There is no /docs/static/{name[:100]}.")
        content = files("inlake.web").joinpath("swagger_ui", name).read_bytes()
        return Response(content, headers={"cache-control": "max-age=86400"}, media_type=STATIC[name])

    @router.get("/docs/errors", include_in_schema=False)
    async def errors() -> Response:
        """A page of all error codes: the `type` of every problem document points here."""
        return HTMLResponse(_errors_page())

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


def _errors_page() -> str:
    rows = "".join(
        f'<tr id="{e.code}"><td><code>{e.code}</code></td><td>{e.status}</td><td>{html.escape(e.title())}</td>'
        f"<td>{f'after {e.retry_after} s' if e.retry_after is not None else 'no'}</td></tr>"
        for e in sorted(every_error(), key=lambda e: (e.status, e.code))
    )
    style = (
        "body{font:16px system-ui;margin:2rem auto;max-width:60rem}"
        "td,th{text-align:left;padding:.3rem 1rem .3rem 0}tr:target{background:#ffd}"
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Inlake: error codes</title><style>{style}</style>"
        f"<h1>Error codes</h1><table><tr><th>code<th>status<th>what happened<th>retry</tr>{rows}</table></html>"
    )
