"""Schemas with their versions, what differs between two of them, an example, and snippets."""

from __future__ import annotations

import difflib
import json

from inlake.web.console.page import pretty, show
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.web.routes.schemas import Which, list_all, tell
from inlake.wiring import Deployment


async def schemas(x: Exchange, d: Deployment) -> None:
    """All schemas."""
    await show(x, "schemas.html", title="Schemas", schemas=await list_all(x, d))


async def schema(x: Exchange, d: Deployment) -> None:
    """One schema: its text, its versions, what changed with this one, an example."""
    name, which = x.path_parameter("name"), query(x, Which)
    told = await tell(x, d, name, which)
    before = max((number for number in told.versions if number < told.version), default=None)
    changed: list[str] = []
    if before is not None:
        old = await d.registry.find(d.settings.subject_of(name), before)
        changed = list(
            difflib.unified_diff(
                readable(old.schema.schema_str or "").splitlines(),
                readable(told.schema).splitlines(),
                f"version {before}",
                f"version {told.version}",
                lineterm="",
            )
        )
    address = f"{x.seen.scheme}://{x.seen.host}{x.address('')}"
    await show(
        x, "schema.html", title=name, schema=told, text=readable(told.schema), changed=changed, before=before,
        example=pretty(told.example), address=address,
    )  # fmt: skip


def readable(text: str) -> str:
    """The text of a schema with line breaks."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text
