"""The pages under `/docs`: the routes to read and to try, and the error codes. They need nothing from elsewhere."""

from __future__ import annotations

import html
from functools import cache
from importlib.resources import files

import msgspec
from fastapi.openapi.docs import get_swagger_ui_html

from inlake.errors import RouteNotFound, every_error
from inlake.web.request.exchange import Exchange
from inlake.wiring import Deployment

STATIC = {"swagger-ui-bundle.js": b"text/javascript; charset=utf-8", "swagger-ui.css": b"text/css; charset=utf-8"}
HTML = b"text/html; charset=utf-8"
LINES_AS_THEY_ARE = """requestInterceptor: (request) => {
  const kind = (request.headers || {})["Content-Type"] || ""
  if (kind.includes("ndjson") && typeof request.body === "string" && request.body.startsWith('"')) {
    try { request.body = JSON.parse(request.body) } catch { /* as it was typed */ }
  }
  return request
},"""
"""Swagger UI takes application/x-ndjson for JSON, and shows and sends lines as one JSON string."""


async def openapi(x: Exchange, _: Deployment) -> None:
    """The OpenAPI document."""
    await x.reply(200, msgspec.json.encode(x.scope["app"].openapi()))


async def docs(x: Exchange, _: Deployment) -> None:
    """The routes, to read and to try; everything the page needs comes from here."""
    page = get_swagger_ui_html(
        openapi_url=x.address("/openapi.json"),
        title="Inlake: the routes",
        swagger_js_url=x.address("/docs/static/swagger-ui-bundle.js"),
        swagger_css_url=x.address("/docs/static/swagger-ui.css"),
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"tryItOutEnabled": True, "defaultModelsExpandDepth": -1},
    )
    start = b"SwaggerUIBundle({"
    await x.reply(200, bytes(page.body).replace(start, start + LINES_AS_THEY_ARE.encode(), 1), HTML)


async def static(x: Exchange, _: Deployment) -> None:
    """The files of Swagger UI that the package carries."""
    name = x.path_parameter("file")
    if name not in STATIC:
        raise RouteNotFound(f"There is no /docs/static/{name[:100]}.")
    await x.reply(200, _file(name), STATIC[name], [(b"cache-control", b"max-age=86400")])


async def errors(x: Exchange, _: Deployment) -> None:
    """A page of all error codes: the `type` of every problem document points here."""
    await x.reply(200, _errors_page().encode(), HTML)


@cache
def _file(name: str) -> bytes:
    return files("inlake.web").joinpath("swagger_ui", name).read_bytes()


@cache
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
