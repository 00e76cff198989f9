"""Rejects by their causes, mended in place and sent again."""

from __future__ import annotations

import asyncio

import msgspec

from inlake.client.mending import as_json, set_values
from inlake.errors import InlakeError, RejectNotFound
from inlake.rejects.reject import Reject, reasons_of
from inlake.web.console.page import form, go, show
from inlake.web.request.exchange import Exchange
from inlake.web.routes import rejects as route
from inlake.wiring import Deployment

SHOWN = 20
"""Records of a cause that one can mend one by one."""
AT_ONCE = 8
MOST = 1_000
"""Records that one form sends again, if their texts are not too long together."""


async def causes(x: Exchange, d: Deployment) -> None:
    """What records were refused for."""
    found = await route.list_causes(x, d, route.Filter())
    await show(x, "rejects.html", title="Rejects", causes=found)


async def cause(x: Exchange, d: Deployment) -> None:
    """One cause: its records, to be mended each, or all by one value."""
    await _show_cause(x, d, x.path_parameter("cause"))


async def mend_all(x: Exchange, d: Deployment) -> None:
    """Put a value at the place of the cause in all of its records, and send them again."""
    fields = await form(x)
    name = x.path_parameter("cause")
    found, more = await route.list_page(x, d, route.Page(cause=name, limit=MOST))
    pointer, value = fields.get("pointer", ""), as_json(fields.get("value", ""))
    room = asyncio.Semaphore(AT_ONCE)

    async def one(reject: Reject) -> str:
        async with room:
            text = await asyncio.to_thread(_mended, reject, pointer, value) if pointer else reject.text
            return await _again(x, d, reject, text)

    answers = await asyncio.gather(*map(one, found))
    refused = [answer for answer in answers if answer]
    said = f"{len(answers) - len(refused):,} sent and accepted, {len(refused):,} still refused."
    if refused:
        said += f" The first: {refused[0]}"
    if more:
        said += " There are more: send the form again for them."
    await _show_cause(x, d, name, said=said)


async def mend(x: Exchange, d: Deployment) -> None:
    """Send one record again, as it stands in the form."""
    fields = await form(x)
    reject = await route.find(x, d, x.path_parameter("reject"))
    text = fields.get("text", reject.text).replace("\r\n", "\n")
    if answer := await _again(x, d, reject, text):
        await _show_cause(x, d, reject.cause, said=answer, text=text, at=reject.id)
        return
    await go(x, f"/console/rejects/{reject.cause}")


async def _again(x: Exchange, d: Deployment, reject: Reject, text: str | ValueError) -> str:
    """Send it; why it is still refused, empty if it is not."""
    if isinstance(text, ValueError):
        return str(text)
    try:
        answer = await route.send_again(x, d, reject, text.encode("latin-1" if reject.is_bytes else "utf-8"))
    except InlakeError as error:
        return error.detail
    except UnicodeEncodeError:
        return "The text has characters that its encoding does not have."
    return "" if answer.status in {201, 202} else "It was refused before, and is so again."


def _mended(reject: Reject, pointer: str, value: str) -> str | ValueError:
    """The text with the value at each place that the pointer means: `*` is that of the reject's own errors."""
    try:
        places = [e.pointer for e in reject.errors if reasons_of("", [e])[0].pointer == pointer] or [pointer]
        return set_values(reject.text, places, value)
    except ValueError as error:
        return error


async def _show_cause(x: Exchange, d: Deployment, name: str, *, said: str = "", text: str = "", at: str = "") -> None:
    found, _ = await route.list_page(x, d, route.Page(cause=name, limit=SHOWN))
    counted = [each for each in await route.list_causes(x, d, route.Filter()) if each.id == name]
    if not found and not said:
        raise RejectNotFound("No record of this cause is left.")
    await show(
        x, "cause.html", title="Rejects", cause=counted[0] if counted else None, rejects=found, name=name,
        said=said, text=text, at=at, told=[route.told(each) for each in found], pretty_text=_pretty,
    )  # fmt: skip


def _pretty(reject: Reject) -> str:
    """The text with line breaks, if it is JSON whose numbers stay what they are."""
    try:
        return msgspec.json.format(reject.text.encode(), indent=2).decode()
    except (msgspec.DecodeError, ValueError, RecursionError):
        return reject.text
