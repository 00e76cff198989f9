"""The pages under `/docs`: the routes to read and to try, and the error codes. They need nothing from elsewhere."""

from __future__ import annotations

import html
from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from inlake.errors import RouteNotFound, every_error

STATIC = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


def page_routes() -> APIRouter:
    """`/docs`, `/docs/errors`, and the files of Swagger UI."""
    router = APIRouter()

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
        content = _file(name)
        return Response(content, headers={"cache-control": "max-age=86400"}, media_type=STATIC[name])

    @router.get("/docs/errors", include_in_schema=False)
    async def errors() -> Response:
        """A page of all error codes: the `type` of every problem document points here."""
        return HTMLResponse(_errors_page())

    return router


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
