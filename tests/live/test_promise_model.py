"""Records and binaries in any order, given up, swept and sent twice, by processes that die at any step: what design
calls true after an answer stays true, on the folder and on S3."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from inlake.model import Event
from inlake.promises.promise import read
from inlake.promises.shipments.entries import OPEN as SHIPPING
from inlake.promises.shipments.entries import read as read_shipment
from tests import live_servers as servers
from tests.gateways import Answer, Gateway, embedded, form
from tests.processes import Crash, Steps, World

EXAMPLES = int(os.environ.get("INLAKE_TEST_MODELS", "12"))
"""Runs of the model on the folder; on S3 a third of them."""
RECORDS, BINARIES = "/ingress/record-json?schema=note", "/ingress/record-json-and-binary?schema=note"
PLACES = ["scans/spot.obj", "letters/1.txt"]
TUS = {"tus-resumable": "1.0.0"}
BYTES = "application/offset+octet-stream"
DIED = None


@dataclass
class Sent:
    """What a client knows of a promise it made."""

    puuid: str
    content: bytes
    complete: bool = False
    """It was told that all bytes are stored."""
    waiting: list[str] = field(default_factory=list)
    """Titles of its records that were answered 202."""


@dataclass
class Shipped:
    """What a client knows of a shipment: by its lines, where their files go, what they hold and their titles."""

    id: str
    files: dict[int, tuple[str, bytes, str]]


process = st.fixed_dictionaries(
    {
        "dies_at": st.none() | st.none() | st.integers(0, 14),
        "patience": st.sampled_from([60.0, 60.0, 60.0, -1.0]),
        "elsewhere": st.booleans(),
        "number": st.integers(0, 2),
    }
)


class Promises(RuleBasedStateMachine):
    """Clients, processes and sweeps on one deployment. The checks are `invariant`s and `teardown`."""

    promises = Bundle("promises")
    shipments = Bundle("shipments")

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._open = AsyncExitStack()
        folder = Path(self._open.enter_context(tempfile.TemporaryDirectory()))
        self._world = World(self._run(self._open.enter_async_context(embedded(folder, **variables))))
        self._living = self._world.process()
        self._processes = [self._world.process(), self._world.process()]
        """Processes that live long, and remember what they have read and written."""
        self._sent: list[Sent] = []
        self._may_be: set[str] = set()
        """Titles of records that may be on the bus."""
        self._repeatable: set[str] = set()
        """Ids of events after whose publishing a process died."""
        self._count = 0

    # ------------------------------------------------------------------------------------------------------ what happens
    @rule(target=promises, how=process, size=st.integers(0, 40))
    def a_binary_comes(self, how: dict[str, Any], size: int) -> Any:
        content = self._content(size)
        answer = self._ask(how, "/ingress/binary", content, "model/obj")
        if answer is None:
            return multiple()
        assert answer.status == 200, answer
        return self._known(answer.json()["puuid"], content, complete=True)

    @rule(target=promises, how=process, size=st.integers(1, 40), brings=st.sampled_from([0, 0, 3, 100]))
    def a_binary_is_announced(self, how: dict[str, Any], size: int, brings: int = 0) -> Any:
        content = self._content(size)
        headers, first = {**TUS, "upload-length": str(len(content))}, content[:brings]
        answer = self._ask(how, "/uploads", first, BYTES if brings else None, headers=headers)
        if answer is None or (answer.status == 410 and how["patience"] < 0):  # what brings bytes finds it over
            return multiple()
        assert answer.status == 201, answer
        complete = answer.headers.get("upload-offset") == str(len(content))
        return self._known(answer.headers["location"].rpartition("/")[2], content, complete=complete)

    @rule(how=process, sent=promises, cut=st.sampled_from([100, 100, 7]))
    def bytes_of_it_come(self, how: dict[str, Any], sent: Sent, cut: int) -> None:
        at = self._ask(None, f"/uploads/{sent.puuid}", b"", None, method="HEAD", headers=TUS)
        if at is None or at.status != 200:
            return
        offset = int(at.headers["upload-offset"])
        piece = sent.content[offset : offset + cut]
        headers = {**TUS, "upload-offset": str(offset)}
        how = {**how, "elsewhere": False}  # its lease would be waited for
        answer = self._ask(how, f"/uploads/{sent.puuid}", piece, BYTES, method="PATCH", headers=headers)
        if answer and answer.status == 204 and int(answer.headers["upload-offset"]) == len(sent.content):
            sent.complete = True

    @rule(how=process, sent=promises)
    def a_record_claims_it(self, how: dict[str, Any], sent: Sent) -> None:
        title, body = self._record(sent.puuid)
        answer = self._ask(how, RECORDS, body)
        if answer is None:
            self._may_be.add(title)
        elif answer.status == 202:
            sent.waiting.append(title)
            self._may_be.add(title)
        else:
            assert answer.status in {201, 404, 409, 410}, answer
            self._judge(title, answer)

    @rule(target=promises, first=process, then=process, cut=st.sampled_from([100, 7]))
    def a_record_comes_before_its_binary(self, first: dict[str, Any], then: dict[str, Any], cut: int) -> Any:
        patient = {"dies_at": None, "patience": 60.0, "elsewhere": False, "number": 2}
        sent = self.a_binary_is_announced(patient, 20)
        self.a_record_claims_it(first, sent)
        self.bytes_of_it_come(then, sent, cut)
        return sent

    @rule(how=process, sent=promises)
    def a_record_that_does_not_fit_claims_it(self, how: dict[str, Any], sent: Sent) -> None:
        answer = self._ask(how, RECORDS, b'{"title": 1, "__resource_path__": "%b"}' % sent.puuid.encode())
        assert answer is None or answer.status in {404, 409, 410, 422}, answer

    @rule(how=process, place=st.sampled_from([None, *PLACES]), fits=st.booleans(), file_first=st.booleans())
    def both_come_together(self, how: dict[str, Any], place: str | None, fits: bool, file_first: bool) -> None:
        title, record = self._record(place, fits=fits)
        parts = [("record", record, None, None), ("file", self._content(9), "a.obj", None)]
        body, kind = form(*(reversed(parts) if file_first else parts))
        answer = self._ask(how, BINARIES, body, kind)
        if answer is None:
            self._may_be |= {title} if fits else set()
            return
        assert answer.status in {201, 409, 422}, answer
        assert fits or answer.status != 201
        self._judge(title, answer)

    @rule(how=process, lines=st.lists(st.none() | promises, min_size=1, max_size=4))
    def lines_come(self, how: dict[str, Any], lines: list[Sent | None]) -> None:
        records = [self._record(sent.puuid if sent else None) for sent in lines]
        answer = self._ask(how, RECORDS, b"\n".join(body for _, body in records), "application/x-ndjson")
        if answer is None:
            self._may_be |= {title for title, _ in records}
            return
        for (title, _), sent, line in zip(records, lines, answer.lines(), strict=False):
            if line["status"] == 202 and sent:
                sent.waiting.append(title)
                self._may_be.add(title)
            elif line["status"] == 201:
                self._may_be.add(title)
                assert line["id"] in {event.id for event in self._world.seen}

    @rule(how=process, sent=promises, number=st.integers(0, 3))
    def a_record_claims_it_with_a_key(self, how: dict[str, Any], sent: Sent, number: int) -> None:
        title = f"keyed {number} {sent.puuid}"
        body = b'{"title": "%b", "__resource_path__": "%b"}' % (title.encode(), sent.puuid.encode())
        answer = self._ask(how, RECORDS, body, headers={"idempotency-key": title.replace(" ", "-")})
        if answer is None or answer.status in {201, 202}:
            self._may_be.add(title)
            if answer and answer.status == 202:
                sent.waiting.append(title)

    @rule(how=process, sent=promises)
    def it_is_given_up(self, how: dict[str, Any], sent: Sent) -> None:
        answer = self._ask(how, f"/promises/{sent.puuid}", b"", None, method="DELETE")
        assert answer is None or answer.status in {204, 404, 409, 410}, answer

    @rule(target=shipments, how=process, sizes=st.lists(st.integers(0, 40), min_size=1, max_size=3))
    def a_shipment_is_announced(self, how: dict[str, Any], sizes: list[int]) -> Any:
        contents, titles, lines = [self._content(size) for size in sizes], [], []
        for data in contents:
            title, record = self._record(None)
            file = {"filename": "a.obj", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            titles.append(title)
            lines.append(json.dumps({"file": file, "record": json.loads(record)}))
        self._may_be |= {*titles}
        answer = self._ask(how, "/shipments?schema=note", "\n".join(lines).encode(), "application/x-ndjson")
        if answer is None or (answer.status == 410 and how["patience"] < 0):  # no URL is signed for what is over
            return multiple()
        assert answer.status == 201, answer
        *told, summary = answer.lines()
        urls = (each["put"]["url"] for each in told)
        return Shipped(summary["id"], dict(enumerate(zip(urls, contents, titles, strict=True), 1)))

    @rule(how=process, shipped=shipments, n=st.integers(1, 3), right=st.booleans())
    def a_file_of_it_comes(self, how: dict[str, Any], shipped: Shipped, n: int, right: bool) -> None:
        if n in shipped.files:
            url, data, _ = shipped.files[n]
            if not url.startswith("/"):
                url = f"/shipments/{shipped.id}/{n}"
            answer = self._ask(how, url, data if right else data + b"more", "model/obj", method="PUT")
            assert answer is None or answer.status in ({200, 410} if right else {410, 422}), answer

    @rule(how=process, shipped=shipments)
    def it_is_completed(self, how: dict[str, Any], shipped: Shipped) -> None:
        answer = self._ask(how, f"/shipments/{shipped.id}/complete", b"", None)
        if answer is None or answer.status in {409, 410}:
            return
        *lines, _ = answer.lines()
        assert [line["line"] for line in lines] == [*shipped.files]
        published = {event.id for event in self._world.seen}
        for line in lines:
            assert line["status"] in {201, 409}, line
            assert line["status"] == 409 or line["id"] in published

    @rule(how=process, shipped=shipments)
    def the_rest_of_it_is_given_up(self, how: dict[str, Any], shipped: Shipped) -> None:
        answer = self._ask(how, f"/shipments/{shipped.id}", b"", None, method="DELETE")
        assert answer is None or answer.status in {204, 409}, answer

    @rule(how=process, overdue=st.booleans())
    def somebody_sweeps(self, how: dict[str, Any], overdue: bool) -> None:
        sweeper = self._process(how, overdue=overdue)
        before = len(self._world.seen)
        if self._dies(sweeper.deployment.sweep.run()) is DIED:
            self._repeatable |= {event.id for event in self._world.seen[before:]}

    # ------------------------------------------------------------------------------------------------- what stays true
    @invariant()
    def every_event_names_an_object_that_is_there_and_repeats_are_equal(self) -> None:
        first: dict[str, Event] = {}
        for event in self._world.seen:
            assert first.setdefault(event.id, event) == event
            headers = dict(event.headers)
            if "inlake_puuid" in headers:
                self._check_object(headers)

    @invariant()
    def a_promise_has_one_event_and_it_comes_once_where_no_process_died(self) -> None:
        ids: dict[bytes, set[str]] = {}
        for event in self._world.seen:
            if puuid := dict(event.headers).get("inlake_puuid"):
                ids.setdefault(puuid, set()).add(event.id)
        assert all(len(found) == 1 for found in ids.values()), ids
        times = Counter(event.id for event in self._world.seen)
        assert {event for event, n in times.items() if n > 1} <= self._repeatable

    @invariant()
    def nothing_refused_is_published(self) -> None:
        for event in self._world.seen:
            assert any(title.encode() in event.value for title in self._may_be), event

    def teardown(self) -> None:
        try:
            self._run(self._world.settle())
            self.every_event_names_an_object_that_is_there_and_repeats_are_equal()
            self.nothing_refused_is_published()
            for sent in self._sent:
                self._check_waiting(sent)
            self._run(self._check_remains())
        finally:
            self._run(self._open.aclose())
            self._loop.close()

    # ---------------------------------------------------------------------------------------------------------- how
    def _check_object(self, headers: dict[str, bytes]) -> None:
        uri, sha256 = headers["inlake_resource_uri"].decode(), headers["inlake_resource_sha256"].decode()
        found = self._run(self._bytes(uri))
        assert hashlib.sha256(found).hexdigest() == sha256, uri
        assert len(found) == int(headers["inlake_resource_size"])

    async def _bytes(self, uri: str) -> bytes:
        store = self._living.deployment.store
        return b"".join([chunk async for chunk in store.read(uri.removeprefix(store.uri("-")[:-1]))])

    def _check_waiting(self, sent: Sent) -> None:
        """One that was accepted, and whose binary came whole, is on the bus."""
        if sent.complete and sent.waiting:
            titles = [title.encode() for title in sent.waiting]
            assert any(title in event.value for event in self._world.seen for title in titles), sent

    async def _check_remains(self) -> None:
        """Objects are those of events and of promises that wait; nothing else is left."""
        store = self._living.deployment.store
        named = {dict(event.headers).get("inlake_resource_uri", b"").decode() for event in self._world.seen}
        waiting = [await read(store, key.rpartition("/")[2]) async for key in store.list(".inlake/open/")]
        for promise in waiting:  # a mark without a log waits too, until nobody can come and write entry 0
            assert promise is None or (promise.end is None and promise.published is None), promise
        of_waiting = {promise.key for promise in waiting if promise}
        for key in [key async for key in store.list(SHIPPING)]:
            shipment = await read_shipment(store, key.rpartition("/")[2])
            of_waiting |= {file.key for file in shipment.left} if shipment and shipment.end is None else set()
        async for key in store.list(""):
            assert key.startswith(".inlake/") or store.uri(key) in named or key in of_waiting, key
        for sent in self._sent:
            promise = await read(store, sent.puuid)
            if promise is not None and promise.end is not None:
                assert await store.pieces.abort(promise.key) == 0

    def _ask(
        self,
        how: dict[str, Any] | None,
        path: str,
        body: bytes,
        kind: str | None = "application/json",
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> Answer | None:
        """The answer, or None when the process died over it."""
        process = self._process(how) if how else self._living
        before = len(self._world.seen)
        answer: Answer | None = self._dies(process.post(path, body, kind, method=method, headers=headers or {}))
        if answer is DIED:
            self._repeatable |= {event.id for event in self._world.seen[before:]}
        return answer

    def _dies(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What a process does, or DIED."""
        try:
            return self._run(work)
        except Crash:
            return DIED
        except BaseExceptionGroup as several:  # as a task group raises it
            if several.split(Crash)[1]:
                raise
            return DIED

    def _process(self, how: dict[str, Any], *, overdue: bool = False) -> Gateway:
        dies_at = how["dies_at"]
        if dies_at is None and how["patience"] > 0 and how["number"] < 2 and not overdue:
            living: Gateway = self._processes[how["number"]]
            return living
        steps = None if dies_at is None else Steps(dies_at)
        return self._world.process(
            steps, patience=how["patience"], elsewhere=dies_at is not None and how["elsewhere"], overdue=overdue
        )

    def _judge(self, title: str, answer: Answer) -> None:
        if answer.status == 201:
            self._may_be.add(title)
            assert answer.json()["id"] in {event.id for event in self._world.seen}

    def _known(self, puuid: str, content: bytes, *, complete: bool = False) -> Sent:
        sent = Sent(puuid, content, complete)
        self._sent.append(sent)
        return sent

    def _content(self, size: int) -> bytes:
        self._count += 1
        return f"{self._count}:".encode() + b"v" * size

    def _record(self, resource: str | None, *, fits: bool = True) -> tuple[str, bytes]:
        self._count += 1
        title = f"title {self._count}."
        path = f'"{resource}"' if resource else "null"
        extra = "" if fits else ', "year": "soon"'
        return title, f'{{"title": "{title}", "__resource_path__": {path}{extra}}}'.encode()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)


def run(examples: int, **variables: str) -> None:
    run_state_machine_as_test(
        lambda: Promises({name: value.replace("RANDOM", uuid4().hex) for name, value in variables.items()}),  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_what_is_answered_stays_true_on_the_folder_whoever_dies() -> None:
    run(EXAMPLES)


@pytest.mark.live
def test_what_is_answered_stays_true_on_s3_whoever_dies() -> None:
    servers.require("The S3 server", servers.S3_ENDPOINT)
    run(
        max(1, EXAMPLES // 3),
        store=f"s3://{servers.S3_BUCKET}/model/RANDOM",
        **servers.S3_VARIABLES,
    )
