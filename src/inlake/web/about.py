"""What is known about schemas and health: the routes that publish nothing."""

from __future__ import annotations

import asyncio
import html
from typing import Any

import msgspec
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from inlake.errors import InlakeError, every_error
from inlake.web import parse
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
}
READY = {"status": "ready", "checks": {name: {"ok": True, "warnings": []} for name in ("bus", "store", "registry")}}


def about_routes(d: Deployment) -> APIRouter:
    """Routes for `/schemas`, `/health` and the page of error codes."""
    router = APIRouter()
    before, _, after = d.settings.subject.partition("{schema}")

    @router.get("/schemas", tags=["schemas"], responses=_example({"schemas": [SCHEMA_ENTRY]}))
    async def schemas() -> Response:
        """All schemas that a record can name."""
        subjects = [s for s in await d.registry.subjects() if s.startswith(before) and s.endswith(after)]
        listed = [{"name": s[len(before) : len(s) - len(after)], "subject": s} for s in subjects]
        return _json({"schemas": [entry for entry in listed if entry["name"]]})

    @router.get("/schemas/{name}", tags=["schemas"], responses=_example(SCHEMA))
    async def schema(name: str, version: int | None = None) -> Response:
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

    @router.get("/health/live", tags=["health"], responses=_example({"status": "live"}))
    async def live() -> Response:
        """The process runs and answers."""
        return _json({"status": "live"})

    @router.get("/health/ready", tags=["health"], responses=_example(READY))
    async def ready() -> Response:
        """Bus, store and registry can be used; 503 with the reasons when one cannot."""
        checks = {"bus": d.bus.check(), "store": d.store.check(), "registry": d.registry.check()}
        results = dict(zip(checks, await asyncio.gather(*map(_checked, checks.values())), strict=True))
        if all(r["ok"] for r in results.values()):
            return _json({"status": "ready", "checks": results})
        return _json({"status": "not ready", "checks": results}, 503, {"retry-after": "5"})

    @router.get("/docs/errors", include_in_schema=False)
    async def errors() -> Response:
        """A page of all error codes: the `type` of every problem document points here."""
        return HTMLResponse(_errors_page())

    return router


def _example(value: object) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"example": value}}}}


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
