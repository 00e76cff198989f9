"""Sending: a form made from a schema, or JSON that is pasted; without a script the text is sent as it is."""

from __future__ import annotations

from typing import Any

import msgspec

from inlake.errors import InlakeError, MissingParameter, RecordRejected
from inlake.web.console.page import form, pretty, show
from inlake.web.request import address
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.web.routes import records
from inlake.web.routes.repeats import Held
from inlake.web.routes.schemas import Which, list_all, tell
from inlake.wiring import Deployment

RECORD = "/ingress/record-json"


async def choose(x: Exchange, d: Deployment) -> None:
    """Which schema a record is to be of."""
    await show(x, "choose.html", title="Send", schemas=await list_all(x, d))


async def compose(x: Exchange, d: Deployment) -> None:
    """A record of one schema, to be filled in and sent."""
    await _show_form(x, d, x.path_parameter("name"))


async def send(x: Exchange, d: Deployment) -> None:
    """Send the text of the form: what a page without a script does."""
    fields, name = await form(x), x.path_parameter("name")
    text = fields.get("record", "").strip()
    if not text:
        raise MissingParameter("The form has no record.")
    destination = fields.get("destination", "").strip() or None
    address.names(name, destination, None)
    held = Held()
    query_string = f"schema={name}" + (f"&destination={destination}" if destination else "")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text.encode()))]
    try:
        inner = x.another(RECORD, query_string.encode(), headers, text.encode())
        await inner.answer_to(held, records.record_json(inner, d))
    except InlakeError as error:
        await _show_form(x, d, name, text=text, error=error, destination=destination or "")
        return
    receipt: Any = msgspec.json.decode(held.answer.body)
    await _show_form(x, d, name, text=text, receipt=receipt, destination=destination or "")


async def _show_form(
    x: Exchange, d: Deployment, name: str, *, text: str = "", destination: str = "", **outcome: Any
) -> None:
    told = await tell(x, d, name, query(x, Which) if x.scope["method"] == "GET" else Which())
    error = outcome.get("error")
    await show(
        x,
        "compose.html",
        title=f"Send {name}",
        status=200 if error is None else error.status,
        schema=told,
        fields=msgspec.to_builtins(told.fields),
        text=text or pretty(told.example),
        is_given=bool(text),
        destination=destination,
        error=error,
        errors=error.errors if isinstance(error, RecordRejected) else [],
        receipt=outcome.get("receipt"),
    )
