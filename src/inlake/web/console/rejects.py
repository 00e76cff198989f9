"""Rejects by their causes, mended in place and sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from inlake.client.mending import as_json, meant, set_values, without_indexes
from inlake.errors import FieldError, InlakeError, RejectNotFound
from inlake.rejects.reject import Reject
from inlake.web.console.page import form, go, moment, show
from inlake.web.console.title import title_of
from inlake.web.request.exchange import Exchange
from inlake.web.routes import rejects as route
from inlake.wiring import Deployment

SHOWN = 20
"""Records of a cause that one can mend one by one."""
AT_ONCE = 8
MOST = 1_000
"""Records that one form sends again, if their texts are not too long together."""


T = TypeVar("T")
STRANGE = "The text has characters that its encoding does not have."


class Change(Struct):
    """A change of one record by mending all at once."""

    title: str
    before: str
    """The value that stands there."""
    after: str
    problem: str = ""
    """Why it would be refused again; empty if it would not."""


async def causes(x: Exchange, d: Deployment) -> None:
    """A page of the causes of rejects."""
    found = await route.list_causes(x, d, route.Filter())
    await show(x, "rejects.html", title="Rejects", causes=found)


async def cause(x: Exchange, d: Deployment) -> None:
    """One cause: its records, to be mended each, or all by one value."""
    await _show_cause(x, d, x.path_parameter("cause"))


async def mend_all(x: Exchange, d: Deployment) -> None:
    """Put a value at the place of the cause in all of its records: show what that changes, or send them again so."""
    fields = await form(x)
    name, pointer, typed = x.path_parameter("cause"), fields.get("pointer", ""), fields.get("value", "")
    if pointer and not typed.strip():
        wrong = 'Write what is to stand there. An empty text is "", with the quotes.'
        await _show_cause(x, d, name, wrong=wrong, pointer=pointer)
        return
    found, more = await route.list_page(x, d, route.Page(cause=name, limit=MOST))
    value = as_json(typed)
    if fields.get("do") != "send":
        changes = await _with_each(found, lambda reject: _change(x, d, reject, pointer, value))
        await _show_cause(x, d, name, changes=changes, pointer=pointer, value=typed)
        return
    answers = await _with_each(found, lambda reject: _mend_and_send(x, d, reject, pointer, value))
    refused = [answer for answer in answers if answer]
    said = f"{len(answers) - len(refused):,} sent and accepted, {len(refused):,} still refused."
    if refused:
        said += f" The first: {refused[0]}"
    if more:
        said += " There are more: send the form again for them."
    await _show_cause(x, d, name, said=said, pointer=pointer, value=typed)


async def _with_each(found: Sequence[Reject], work: Callable[[Reject], Awaitable[T]]) -> list[T]:
    """The results of the work with each of them, some at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(reject: Reject) -> T:
        async with room:
            return await work(reject)

    return await asyncio.gather(*map(one, found))


async def _mend_and_send(x: Exchange, d: Deployment, reject: Reject, pointer: str, value: str) -> str:
    """Why it is still refused, empty if it is not."""
    text = await asyncio.to_thread(_mended, reject, pointer, value) if pointer else reject.text
    return await _again(x, d, reject, text)


async def _change(x: Exchange, d: Deployment, reject: Reject, pointer: str, value: str) -> Change:
    """The change that a value would make in a record."""
    before = [error.got or "nothing" for error in reject.errors if _is_at(error, pointer)]
    change = Change(called(reject), ", ".join(before) or "not looked up", value if pointer else "as it came")
    text = await asyncio.to_thread(_mended, reject, pointer, value) if pointer else reject.text
    try:
        if isinstance(text, ValueError):
            change.problem = str(text)
        else:
            await route.check_again(x, d, reject, text.encode("latin-1" if reject.is_bytes else "utf-8"))
    except UnicodeEncodeError:
        change.problem = STRANGE
    except InlakeError as error:
        change.problem = error.detail
    return change


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
        return STRANGE
    return "" if answer.status in {201, 202} else "It was refused before, and is so again."


def _mended(reject: Reject, pointer: str, value: str) -> str | ValueError:
    """The text with the value at each place that the pointer means: `*` is that of the reject's own errors."""
    try:
        return set_values(reject.text, meant(pointer, [error.pointer for error in reject.errors]), value)
    except ValueError as error:
        return error


def _is_at(error: FieldError, pointer: str) -> bool:
    """Whether an error of a record is at the place of its cause, in which indexes are `*`."""
    return without_indexes(error.pointer) == pointer


def called(reject: Reject) -> str:
    """The name that a person would give a reject: its title, or its line, or when it came."""
    try:
        title = title_of(msgspec.json.decode(reject.text))
    except (msgspec.DecodeError, ValueError, RecursionError):
        title = ""
    return title or (f"line {reject.line:,}" if reject.line else f"sent {moment(reject.at)}")


async def _show_cause(x: Exchange, d: Deployment, name: str, **shown: Any) -> None:
    """`shown`: what came of a form (`said`, `wrong`, `changes`), and what it had."""
    found, _ = await route.list_page(x, d, route.Page(cause=name, limit=SHOWN))
    counted = [each for each in await route.list_causes(x, d, route.Filter()) if each.id == name]
    if not found and not shown.get("said"):
        raise RejectNotFound("No record of this cause is left.")
    await show(
        x, "cause.html", title="Rejects", cause=counted[0] if counted else None, rejects=found, name=name,
        told=[route.told(each) for each in found], pretty_text=_pretty, called=called,
        **{"said": "", "wrong": "", "text": "", "at": "", "pointer": "", "value": "", "changes": [], **shown},
    )  # fmt: skip


def _pretty(reject: Reject) -> str:
    """The text with line breaks, if it is JSON whose numbers stay what they are."""
    try:
        return msgspec.json.format(reject.text.encode(), indent=2).decode()
    except (msgspec.DecodeError, ValueError, RecursionError):
        return reject.text
