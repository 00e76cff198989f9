"""`Idempotency-Key` on the routes that publish: an answer is held back until it is kept, a repeat gets it again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable
from contextlib import suppress

from msgspec import structs

from inlake.errors import (
    BadIdempotencyKey,
    Conflict,
    DigestMismatch,
    IdempotencyKeyReused,
    IdempotentTooLarge,
    InlakeError,
    MalformedMultipart,
    PromiseExpired,
    QuotaExceeded,
    RequestTimeout,
)
from inlake.gateway import Gateway
from inlake.group import TimeSlice
from inlake.logbook.answers import Answer, Attempt, digest
from inlake.model import Binary
from inlake.promises.arrival import in_background
from inlake.web.request import address
from inlake.web.request.digests import FIELD_NAMES, check_body
from inlake.web.request.exchange import ASGIMessage, Exchange
from inlake.web.request.problems import problem_response
from inlake.web.request.route import Handler
from inlake.web.request.trace import trace_of
from inlake.web.routes import stream as ndjson
from inlake.wiring import Deployment

LINES = 100_000
"""Most lines of a body: each has a receipt, and all of them are kept in one object."""
KEY_LENGTH = 255
REPLAYED = (b"idempotent-replayed", b"true")
PASSING = (
    Conflict,
    DigestMismatch,
    IdempotencyKeyReused,
    MalformedMultipart,
    PromiseExpired,
    QuotaExceeded,
    RequestTimeout,
)
"""Refusals of what the line or another request did, not of what was sent: another attempt may do better."""
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"(?:;[ -~]*)?')
"""A String of RFC 8941, 3.3.3; parameters behind it mean nothing."""
_BARE = re.compile(r"[!#-+\--:<-~]+")
"""Keys as most clients send them: visible ASCII without quotes, commas and semicolons."""


class Answered(Exception):
    """The request is what was answered before: nothing is to be done."""


def with_body(handle: Handler) -> Handler:
    """The handler for requests with an `Idempotency-Key` whose body is read before it, and then once more by it."""

    async def obey(x: Exchange, d: Deployment) -> None:
        attempt = _attempt(x, d)
        limit = x.settings.idempotent_bytes

        async def work() -> None:
            await _begin_whole(x, d.gateway, attempt, limit)
            await handle(x, d)

        with x.site.admission.set_aside(_memory(x, limit)):
            await _run(x, attempt, work())

    return obey


def with_file(handle: Handler) -> Handler:
    """The handler for requests with an `Idempotency-Key` that it reads as a stream: it begins the attempt itself."""

    async def obey(x: Exchange, d: Deployment) -> None:
        await _run(x, _attempt(x, d), handle(x, d))

    return obey


def _attempt(x: Exchange, d: Deployment) -> Attempt:
    """The attempt at a request that its key names. Raises `BadIdempotencyKey`."""
    given = [value for name, value in x.scope["headers"] if name == b"idempotency-key"]
    x.attempt = d.answers.attempt(x.keyed_by or x.principal, x.scope["path"], _key(given))
    return x.attempt


def _memory(x: Exchange, limit: int) -> int:
    """Bytes for body, records, receipts and answer; the receipts of short lines are many times as long as they are."""
    length = None if x.header(b"content-encoding") else x.content_length
    body = min(length or limit, limit)
    lines = address.media_type(x.header(b"content-type")) in address.NDJSON
    return 4 * body + (min(16 * body, ndjson.ANSWER_BYTES) if lines else 0)


async def begin_with_file(
    x: Exchange,
    gateway: Gateway,
    file: Binary,
    to: address.Address,
    record: bytes | None = None,
    kind: str | None = None,
) -> Binary:
    """Begin the attempt, if it is one, that a form with a file is: the file, with the promise that it gets.

    `record` is None if it comes after the file; then `learn_record` tells it. Of a request that was answered before the
    file is read to its end if the answer depends on it. Raises `Answered`.
    """
    attempt = x.attempt
    if attempt is None:
        return file
    parts = {"query, file name or file type": digest(x.scope["query_string"], file.filename, file.content_type)}
    schemas = set[str]()
    if record is not None:
        parts["record"] = digest(kind or "", record)
        schemas = await _schemas(x, to, [record])
    await attempt.begin(gateway.codecs, schemas, parts, trace_of(x))
    if attempt.answer is None:
        if attempt.repeated:
            await attempt.go_on_as(await gateway.promises.resume(attempt.puuid))
        return structs.replace(file, puuid=attempt.puuid)
    if attempt.file or record is None:
        sha256 = hashlib.sha256()
        async for chunk in file.chunks:
            sha256.update(chunk)
        attempt.compare({"file": sha256.hexdigest()})
    if record is not None:
        raise Answered
    return file


async def learn_record(x: Exchange, gateway: Gateway, to: address.Address, record: bytes, kind: str | None) -> None:
    """The record of a form that came after its file. Raises `Answered`."""
    if x.attempt is not None:
        await x.attempt.learn(gateway.codecs, await _schemas(x, to, [record]), {"record": digest(kind or "", record)})
        if x.attempt.answer is not None:
            raise Answered


async def _begin_whole(x: Exchange, gateway: Gateway, attempt: Attempt, limit: int) -> None:
    """Read the body, which can then be read once more, and begin. Raises `Answered`, `IdempotentTooLarge`."""
    to, kind = address.of_caller(x.scope["query_string"], x.caller), x.header(b"content-type")
    x.inflate()
    received = bytearray()
    while chunk := await x.next_chunk():
        received += chunk
        if len(received) > limit:
            raise IdempotentTooLarge(
                f"With an Idempotency-Key a body has at most {limit:,} bytes (INLAKE_IDEMPOTENT_BYTES): cut the stream "
                "into several requests, each with its key."
            )
    body = bytes(received)
    del received
    if x.has_one_of(FIELD_NAMES):
        check_body(x, body)
    lines = [body]
    if address.media_type(kind) in address.NDJSON:
        if body.count(b"\n") > LINES:
            raise IdempotentTooLarge(
                f"With an Idempotency-Key a body has at most {LINES:,} lines: cut the stream into several requests."
            )
        lines = body.split(b"\n") if to.schema is None else []
    parts = {"query or content type": digest(x.scope["query_string"], kind), "body": digest(body)}
    trace = trace_of(x)
    await attempt.begin(gateway.codecs, await _schemas(x, to, lines), parts, trace)
    if attempt.answer is not None:
        raise Answered
    x.rewind(body, FIELD_NAMES | {b"content-encoding"})


async def _schemas(x: Exchange, to: address.Address, records: list[bytes]) -> set[str]:
    """The schemas of which the latest version is wanted."""
    if to.schema is not None:
        return {to.schema} if to.version is None else set()
    found, time_slice = set[str](), TimeSlice()
    for record in records:
        with suppress(InlakeError):  # what is no envelope, or not allowed, is refused when its turn comes
            s = address.submission(to, record.removeprefix(address.BOM), caller=x.caller, tagged=False, trace=None)
            if s.label.version is None:
                found.add(s.label.schema)
        await time_slice.yield_if_long()
    return found


async def _run(x: Exchange, attempt: Attempt, work: Awaitable[None]) -> None:
    """Do the work with its answer held back, keep it, then give it. What is not kept is raised, or given as it is."""
    held = Held()
    try:
        async with in_background(attempt.renew()):
            await x.answer_to(held, work)
        answer = held.answer
        if attempt.begun:
            answer = await _settled(attempt, answer)
    except Answered:
        assert attempt.answer is not None
        await _give(x, attempt.answer, REPLAYED)
        return
    except InlakeError as error:
        if not attempt.begun:
            raise
        if error.status >= 500 or isinstance(error, PASSING):
            await attempt.release()
            raise
        if x.keyed_by and await attempt.forget():
            raise
        answer = await attempt.keep(_answer(*problem_response(error, x.instance, x.settings.root_path)))
    except BaseException:
        await asyncio.shield(attempt.release())
        raise
    await _give(x, answer)


async def _settled(attempt: Attempt, answer: Answer) -> Answer:
    """The answer, kept; unless it has lines of which nobody knows what became, or which the next attempt publishes."""
    if dict(answer.headers).get("content-type") == ndjson.CONTENT_TYPE.decode():
        last = answer.body.rstrip().rpartition(b"\n")[2]
        if json.loads(last)["summary"]["failed"]:
            await attempt.release()
            return answer
    return await attempt.keep(answer)


class Held:
    """Takes an answer in place of the client."""

    def __init__(self) -> None:
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()

    async def __call__(self, message: ASGIMessage) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message["headers"]
        else:
            self._body += message["body"]

    @property
    def answer(self) -> Answer:
        """The whole answer."""
        return _answer(self._status, self._headers, bytes(self._body))


def _answer(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer:
    kept = [(name.decode(), value.decode("latin-1")) for name, value in headers if name != b"content-length"]
    return Answer(status, kept, body)


async def _give(x: Exchange, answer: Answer, *more: tuple[bytes, bytes]) -> None:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers]
    await x.give(answer.status, [*headers, (b"content-length", b"%d" % len(answer.body)), *more], answer.body)


def _key(given: list[bytes]) -> str:
    """The key in the values of the header. Raises `BadIdempotencyKey`."""
    text = given[0].decode("latin-1").strip() if len(given) == 1 else ""
    if quoted := _STRING.fullmatch(text):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    else:
        key = text if _BARE.fullmatch(text) else ""
    if not 0 < len(key) <= KEY_LENGTH:
        raise BadIdempotencyKey(
            f'Idempotency-Key must be one text in quotes, such as "8e03978e-40d5", of 1 to {KEY_LENGTH} visible ASCII '
            "characters; the quotes may be left out."
        )
    return key
