"""Schemas with their versions, what differs between two of them, an example, and snippets."""

from __future__ import annotations

import asyncio
import difflib
import json
from typing import Any

from inlake.errors import Conflict, Forbidden, InvalidSchema
from inlake.formats import compile_codec, has_records, with_text
from inlake.web.console.page import form, go, pretty, show
from inlake.web.request import address
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.web.routes.schemas import Which, list_all, tell
from inlake.wiring import Deployment


async def schemas(x: Exchange, d: Deployment) -> None:
    """All schemas."""
    await show(x, "schemas.html", title="Schemas", schemas=await list_all(x, d))


async def schema(x: Exchange, d: Deployment) -> None:
    """One schema: its text, its versions, what changed with this one, an example."""
    await _show_schema(x, d, x.path_parameter("name"), query(x, Which))


async def add(x: Exchange, d: Deployment) -> None:
    """Add a version of a schema, in its language and with its references, and show what it changes."""
    fields, name = await form(x), x.path_parameter("name")
    address.names(name, None, None)
    if not _may_add(x, d, name):
        raise Forbidden(f"Versions of {name} are added by those who administer it.")
    subject, text = d.settings.subject_of(name), fields.get("text", "").replace("\r\n", "\n")
    latest = await d.registry.find(subject)
    new = with_text(latest.schema, text)
    try:
        imported = await d.registry.references(new)
        if await asyncio.to_thread(has_records, new, imported):
            await asyncio.to_thread(compile_codec, new, imported, resource_field=d.settings.resource_field)
        added = await d.registry.register(subject, new)
    except (InvalidSchema, Conflict) as error:
        changed = _changed(latest.schema.schema_str or "", text, f"version {latest.version}", "yours")
        await _show_schema(x, d, name, Which(), status=error.status, text=text, wrong=error.detail, yours=changed)
        return
    await go(x, f"/console/schemas/{name}?version={added.version}")


def _may_add(x: Exchange, d: Deployment, name: str) -> bool:
    """Whether the person may add versions: who administers the schema, and who has the gateway to themselves."""
    is_own = not d.settings.has_authentication and not d.settings.allow_anonymous and x.caller.rights is None
    return is_own or x.caller.may("administer", name)


async def _show_schema(x: Exchange, d: Deployment, name: str, which: Which, *, status: int = 200, **given: Any) -> None:
    """`given`: a text that was refused, why, and what it would have changed."""
    told = await tell(x, d, name, which)
    before = max((number for number in told.versions if number < told.version), default=None)
    changed: list[str] = []
    if before is not None:
        old = await d.registry.find(d.settings.subject_of(name), before)
        changed = _changed(old.schema.schema_str or "", told.schema, f"version {before}", f"version {told.version}")
    origin = f"{x.seen.scheme}://{x.seen.host}{x.address('')}"
    await show(
        x, "schema.html", title=name, status=status, schema=told, shown=readable(told.schema), changed=changed,
        before=before, example=pretty(told.example), address=origin, may_add=_may_add(x, d, name),
        **{"text": readable(told.schema), "wrong": "", "yours": [], **given},
    )  # fmt: skip


def _changed(before: str, after: str, name: str, other: str) -> list[str]:
    """The lines that differ, with some around them."""
    old, new = readable(before).splitlines(), readable(after).splitlines()
    return list(difflib.unified_diff(old, new, name, other, lineterm=""))


def readable(text: str) -> str:
    """The text of a schema with line breaks."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text
