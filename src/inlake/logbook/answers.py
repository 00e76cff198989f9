"""Requests with an `Idempotency-Key`: what they were answered is kept in the store, and a repeat is answered the same.

The header is that of draft-ietf-httpapi-idempotency-key-header-07. A request with a key is a log of create-once
entries, `.inlake/receipts/<sha256 of principal, route and key>/<n>`; what an entry does not say is as it was before:

begun ── held longer, taken over, more of the request known * ── answered
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, Protocol
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct, structs

from inlake.errors import IdempotencyInFlight, IdempotencyKeyReused, InlakeError
from inlake.logbook import process
from inlake.logbook.log import STATE, Log
from inlake.model import Label, Submission, Trace
from inlake.ports import Store

log = logging.getLogger("inlake.idempotency")
ANSWERS = f"{STATE}/receipts/"
NAMESPACE = UUID("3f0c4d0e-6a38-5d0b-9d2a-7f6f0d8c1b52")
"""The namespace of event ids: `uuid5(NAMESPACE, ...)` of principal, route, key and line, joined by newlines."""
LEASE_SECONDS = 30.0
"""How long a process holds a request without a sign of life; it gives one three times as often."""
LOOKS = 96
"""How often sweep looks for what is over in the time that answers are kept; a sixteenth of the logs each time."""
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The digit of a UUID that says its variant (RFC 9562, 4.1), for one of the hash."""


class Finder(Protocol):
    """Knows the latest version of a schema."""

    async def find(self, name: str) -> Any: ...


class Answer(Struct, frozen=True):
    """An answer as a client gets it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Entry(Struct, frozen=True, omit_defaults=True):
    """One entry, or all entries of a log together. None: as before."""

    at: int | None = None
    """The time when the request was first accepted; milliseconds since 1970."""
    parts: dict[str, str] | None = None
    """The request's fingerprint: sha256 of each of its parts that is known, hexadecimal."""
    versions: dict[str, int] | None = None
    """Version of each schema that was the latest then: a repeat takes the same."""
    traceparent: str | None = None
    tracestate: str | None = None
    puuid: str | None = None
    """The puuid of the promise that the request's file gets."""
    owner: str | None = None
    until: float | None = None
    """The time until which the owner holds the request; seconds since 1970."""
    answer: Answer | None = None

    @property
    def trace(self) -> Trace | None:
        return Trace(self.traceparent, self.tracestate or "") if self.traceparent else None


_decode = msgspec.json.Decoder(Entry).decode


class Attempt:
    """One request with a key, which may be the first or a repeat."""

    def __init__(self, store: Store, me: str, lease: float, principal: str, route: str, key: str) -> None:
        """`me`: this process (`process.me`); `lease`: see `KeptAnswers`."""
        self._me = me
        self._lease = lease
        self._id = (principal, route, key)
        self._log = _log(store, hashlib.sha256("\n".join(self._id).encode()).hexdigest())
        self._entries = 0
        self._known = Entry()
        self._unknown: dict[str, InlakeError] = {}
        """Why a schema has no version here."""
        self._ids = hashlib.sha1(NAMESPACE.bytes + "\n".join((*self._id, "")).encode(), usedforsecurity=False)
        """The event ids of all lines begin with this (RFC 9562, 5.5): Python's uuid5 hashes it anew for each."""
        self._bound: tuple[Label, Entry, Label] | None = None
        """The label that was bound last, what was known then, and the label that all its records get."""
        self._one_at_a_time = asyncio.Lock()
        self.begun = False
        """Whether this process holds the request."""
        self._is_new = False
        """No other attempt has begun that may have published something."""
        self._file: str | None = None

    @property
    def answer(self) -> Answer | None:
        """The answer that the request got before."""
        return self._known.answer

    @property
    def puuid(self) -> str:
        """The puuid of the promise that the request's file gets."""
        assert self._known.puuid is not None
        return self._known.puuid

    @property
    def file(self) -> str | None:
        """sha256 of the file that the answer depends on, hexadecimal."""
        return (self._known.parts or {}).get("file", self._file)

    @file.setter
    def file(self, sha256: str) -> None:
        self._file = sha256

    @property
    def repeated(self) -> bool:
        """Another attempt began before this one."""
        return self._entries > 1

    async def begin(
        self, codecs: Finder, schemas: Iterable[str], parts: Mapping[str, str], trace: Trace | None
    ) -> None:
        """Take the request on, unless it has its `answer`.

        `schemas`: those whose latest version it takes; `parts`: its fingerprint, as far as it is known. Raises
        `IdempotencyKeyReused`, `IdempotencyInFlight`.
        """
        await self._read()
        found: dict[str, int] | None = None
        while self.answer is None:
            self.compare(parts)
            if time.time() < (self._known.until or 0) and not process.is_certainly_dead(self._known.owner or ""):
                raise IdempotencyInFlight(
                    "A request with this Idempotency-Key is being worked on: send it again for its answer."
                )
            if found is None:
                found = await self._versions(codecs, schemas)
            if self._known.at is not None:
                trace = self._known.trace
            entry = Entry(
                at=self._known.at or time.time_ns() // 1_000_000,
                parts={**parts, **(self._known.parts or {})},
                versions={**found, **(self._known.versions or {})},
                traceparent=trace.parent if trace else None,
                tracestate=trace.state if trace and trace.state else None,
                puuid=self._known.puuid or str(uuid4()),
                owner=self._me,
                until=time.time() + self._lease,
            )
            is_new = not self._known.parts
            if await self._append(entry):
                self.begun, self._is_new = True, is_new
                return
            await self._read()
        self.compare(parts)

    def compare(self, parts: Mapping[str, str]) -> None:
        """Raises `IdempotencyKeyReused` when a part of the request is not what it was."""
        known = self._known.parts or {}
        for name, digest in parts.items():
            if known.get(name, digest) != digest:
                raise IdempotencyKeyReused(
                    f"This Idempotency-Key was used for a request with another {name}: a new request takes a new key."
                )

    async def learn(self, codecs: Finder, schemas: Iterable[str], parts: Mapping[str, str]) -> None:
        """More of the request is known now. Raises `IdempotencyKeyReused`, `IdempotencyInFlight`."""
        self.compare(parts)
        if self.answer is None and not parts.keys() <= (self._known.parts or {}).keys():
            found = await self._versions(codecs, schemas)
            versions = {**found, **(self._known.versions or {})}
            await self._add(Entry(parts={**(self._known.parts or {}), **parts}, versions=versions))

    async def go_on_as(self, puuid: str) -> None:
        """The request's file gets this promise from now on. Raises `IdempotencyInFlight`."""
        if puuid != self._known.puuid:
            await self._add(Entry(puuid=puuid))

    def bind(self, s: Submission, line: int = 1) -> Submission:
        """Gives the record the `ce_id`, time and schema version that all attempts share.

        Raises why its schema was not found when the request began.
        """
        return Submission(self.label(s.label), s.record, s.file, self.event_ids([line])[0], self.accepted_ms)

    def event_ids(self, lines: Iterable[int]) -> list[str]:
        """The `ce_id` of the record of each line, the same for all attempts."""
        copy_of, made = self._ids.copy, list[str]()
        for line in lines:  # a call for each would take half as long again
            ids = copy_of()
            ids.update(b"%d" % line)
            h = ids.hexdigest()
            made.append(f"{h[:8]}-{h[8:12]}-5{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:32]}")
        return made

    @property
    def accepted_ms(self) -> int | None:
        """The time when the request was first accepted, milliseconds since 1970."""
        return self._known.at

    def label(self, label: Label) -> Label:
        """The label with version and trace of the first attempt: one object for all records that have the same.

        Raises why its schema was not found when the request began.
        """
        known = self._known
        if self._bound is None or self._bound[1] is not known or self._bound[0] != label:
            version = label.version
            if version is None:
                if error := self._unknown.get(label.schema):
                    raise copy(error)
                version = (known.versions or {}).get(label.schema)
            self._bound = label, known, structs.replace(label, version=version, trace=known.trace)
        return self._bound[2]

    async def keep(self, answer: Answer) -> Answer:
        """The answer of the request from now on: this one, unless another attempt has taken the request over, whose
        answer counts then once there is one."""
        parts = self._known.parts or {}
        entry = Entry(parts={**parts, "file": self.file} if self.file else None, answer=answer)
        try:
            if not (self.begun and await self._go_on(entry)):
                await self._read()
        except InlakeError as error:  # all is done but this: a repeat does it once more, with the same bytes
            log.warning("the answer to a request with an Idempotency-Key is not kept: %s", error.detail)
        return self.answer or answer

    async def release(self) -> None:
        """The request has no answer to be kept: the next attempt need not wait."""
        if not self.begun:
            return
        try:
            await self._go_on(Entry(until=0.0))
        except InlakeError as error:
            log.warning("a request with an Idempotency-Key waits for its lease to end: %s", error.detail)

    async def forget(self) -> bool:
        """The request was refused, and the next one with its key may be another; False if an attempt before this one
        may have published something."""
        if self._is_new and self.begun:
            await self._go_on(Entry(parts={}, versions={}, until=0.0))
        return self._is_new

    async def renew(self) -> None:
        """Once it has begun, hold the request for as long as this runs."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                if self.begun:
                    await self._go_on(Entry(until=time.time() + self._lease))
            except InlakeError:  # the store is away for a moment
                pass

    async def _versions(self, codecs: Finder, schemas: Iterable[str]) -> dict[str, int]:
        """The latest versions now, but for those known; why one has none is kept in `_unknown`."""
        found = {}
        for name in sorted(set(schemas) - (self._known.versions or {}).keys()):
            try:
                schema = (await codecs.find(name)).schema
                if schema is not None:
                    found[name] = schema.version
            except InlakeError as error:
                self._unknown[name] = error
        return found

    async def _add(self, entry: Entry) -> None:
        if not await self._go_on(entry):
            raise IdempotencyInFlight("Another attempt with this Idempotency-Key has gone on: send it again.")

    async def _go_on(self, entry: Entry) -> bool:
        """Add an entry of a request that this attempt holds; False when another attempt has taken it over: then this
        one writes no more.

        What stands there otherwise is this attempt's own: a renewal that was cancelled, or that the store took although
        it failed.
        """
        while not await self._append(entry):
            if any(of_another.owner or of_another.answer for of_another in await self._read()):
                self.begun = False
                return False
        return True

    async def _append(self, entry: Entry) -> bool:
        """Add the next entry of the log as this attempt knows it; False when another's stands there."""
        async with self._one_at_a_time:
            if not await self._log.add(self._entries, entry):
                return False
            self._entries += 1
            self._known = _after(self._known, entry)
            return True

    async def _read(self) -> list[Entry]:
        """The entries that are new, once the log is read."""
        async with self._one_at_a_time:
            new = await self._log.read(self._entries)
            for entry in new:
                self._known = _after(self._known, entry)
                self._entries += 1
            return new


class KeptAnswers:
    """Requests with a key, and what they were answered."""

    def __init__(self, store: Store, *, ttl: float, lease: float = LEASE_SECONDS, me: str | None = None) -> None:
        """`ttl`: seconds that an answer is kept at least; `lease`: seconds that a process holds a request without a
        sign of life; `me`: this process (default: `process.me`)."""
        self._store = store
        self._me = me or process.me()
        self._ttl = ttl
        self._lease = lease
        self._last_look = 0

    def attempt(self, principal: str, route: str, key: str) -> Attempt:
        """One request; nothing is read or written yet."""
        return Attempt(self._store, self._me, self._lease, principal, route, key)

    async def look(self) -> int:
        """Remove a part of what is over, if it is time for it: how many logs were removed.

        Keys do not tell how old they are: each look reads the first entries of a sixteenth of the logs.
        """
        look = int(time.time() * LOOKS / self._ttl)
        if look == self._last_look:
            return 0
        self._last_look = look
        return await self.remove(f"{look % 16:x}")

    async def remove(self, digits: str = "0123456789abcdef", *, dry_run: bool = False) -> int:
        """Remove the logs that are over, or with `dry_run` only count them; `digits`: only those whose name begins with
        one of them."""
        names = set[str]()
        async for key in self._store.list(ANSWERS):  # there may be millions
            name = key.removeprefix(ANSWERS).partition("/")[0]
            if name[0] in digits:
                names.add(name)
        removed, over = 0, (time.time() - self._ttl) * 1000
        for name in names:
            entries = _log(self._store, name)
            first = await entries.get(0)
            if first and (first.at or 0) < over:
                if not dry_run:
                    await entries.delete()
                removed += 1
        return removed


def _log(store: Store, name: str) -> Log[Entry]:
    return Log(store, ANSWERS + name, _decode)


def digest(*parts: str | bytes) -> str:
    """sha256 of several texts, hexadecimal; where one ends and the next begins matters."""
    sha256 = hashlib.sha256()
    for part in parts:
        data = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        sha256.update(b"%d:" % len(data) + data)
    return sha256.hexdigest()


def _after(known: Entry, entry: Entry) -> Entry:
    said = {name: value for name in Entry.__struct_fields__ if (value := getattr(entry, name)) is not None}
    return structs.replace(known, **said)
