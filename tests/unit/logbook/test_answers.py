"""The log of a request with an `Idempotency-Key`: who holds it, who may take it over, and which answer counts."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid5

import pytest
import pytest_asyncio

from inlake.codecs import Compiled, Unchecked
from inlake.errors import IdempotencyInFlight, IdempotencyKeyReused, SchemaNotFound, StoreUnavailable
from inlake.logbook import process as owner
from inlake.logbook.answers import ANSWERS, NAMESPACE, Answer, Attempt, KeptAnswers
from inlake.model import Label, SchemaVersion, Submission, Trace
from inlake.settings import load
from inlake.store.folder.store import FolderStore

DEAD = owner.me().rpartition(":")[0] + ":0"
ANSWER = Answer(201, [("content-type", "application/json")], b"{}")
UNCHECKED = Unchecked(load({}))


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[FolderStore]:
    store = FolderStore(tmp_path)
    yield store
    await store.close()


def attempt(store: FolderStore, *, process: str | None = None, key: str = "k", lease: float = 30) -> Attempt:
    return KeptAnswers(store, ttl=60, lease=lease, me=process).attempt("anonymous", "/ingress/record-json", key)


async def begun(
    store: FolderStore, *, process: str | None = None, body: str = "b", trace: Trace | None = None, lease: float = 30
) -> Attempt:
    new = attempt(store, process=process, lease=lease)
    await new.begin(UNCHECKED, [], {"body": body}, trace)
    return new


class Versions:
    """Schemas by name with the version that is the latest now."""

    def __init__(self, **versions: int) -> None:
        self.versions = versions

    async def find(self, name: str, version: int | None = None, message: str | None = None) -> Compiled:
        compiled = await UNCHECKED.find(name, version, message)
        if name not in self.versions:
            raise SchemaNotFound(f"There is no schema {name}.")
        return Compiled(compiled.codec, SchemaVersion(name, self.versions[name], 1), "t", b"", ())


async def test_what_a_living_process_holds_nobody_takes(store: FolderStore) -> None:
    await begun(store)
    with pytest.raises(IdempotencyInFlight):
        await begun(store)


async def test_what_a_dead_process_held_goes_on_at_once_as_it_began(store: FolderStore) -> None:
    before = await begun(store, process=DEAD, trace=Trace("first", "a=1"))
    after = await begun(store, trace=Trace("second"))
    assert after.begun
    assert after.repeated
    assert after.puuid == before.puuid
    s = Submission(Label("note"), b"{}")
    assert after.bind(s) == before.bind(s)
    assert after.bind(s).label.trace == Trace("first", "a=1")
    assert after.bind(s, 1) == after.bind(s)
    assert after.bind(s, 2).event_id != after.bind(s, 1).event_id


async def test_records_of_a_request_have_the_ids_of_their_lines_and_one_label(store: FolderStore) -> None:
    attempt = await begun(store)
    bound = [attempt.bind(Submission(Label("note", "a"), b"{}"), n) for n in (1, 2, 300)]
    names = [str(uuid5(NAMESPACE, f"anonymous\n/ingress/record-json\nk\n{n}")) for n in (1, 2, 300)]
    assert [s.event_id for s in bound] == names
    assert bound[0].label is bound[1].label is bound[2].label
    other = attempt.bind(Submission(Label("note", "b"), b"{}"), 4)
    assert (other.label.destination, other.label.version) == ("b", bound[0].label.version)


async def test_a_lease_that_ended_is_taken_over_and_its_holder_finds_out(store: FolderStore) -> None:
    slow = await begun(store, lease=-1)
    quick = await begun(store)
    with pytest.raises(IdempotencyInFlight):
        await slow.go_on_as("another promise")
    assert await quick.keep(ANSWER) == ANSWER
    late = Answer(201, [], b"late")
    assert await slow.keep(late) == ANSWER, "the first answer counts"


@pytest.mark.parametrize("finds_out", [True, False], ids=["finds out before its end", "finds out at its end"])
async def test_who_was_taken_over_changes_nothing_of_what_the_next_one_holds(
    store: FolderStore, finds_out: bool
) -> None:
    async def ended(key: str, end: Callable[[Attempt], Awaitable[object]]) -> None:
        slow = attempt(store, key=key, lease=-1)
        await slow.begin(UNCHECKED, [], {"body": "1"}, None)
        quick = attempt(store, key=key)
        await quick.begin(UNCHECKED, [], {"body": "1"}, None)
        if finds_out:
            with pytest.raises(IdempotencyInFlight):
                await slow.go_on_as("another promise")
        await end(slow)
        with pytest.raises(IdempotencyInFlight):
            await attempt(store, key=key).begin(UNCHECKED, [], {"body": "1"}, None)
        with pytest.raises(IdempotencyKeyReused):
            await attempt(store, key=key).begin(UNCHECKED, [], {"body": "2"}, None)
        assert await quick.keep(ANSWER) == ANSWER

    await ended("released", Attempt.release)
    await ended("refused for good", Attempt.forget)
    await ended("answered", lambda slow: slow.keep(Answer(410, [], b"the next one has given its file up")))


async def test_what_is_released_is_free(store: FolderStore) -> None:
    first = await begun(store)
    await first.release()
    assert (await begun(store)).begun


async def test_an_answer_is_known_to_every_process(store: FolderStore) -> None:
    await (await begun(store)).keep(ANSWER)
    again = await begun(store)
    assert (again.answer, again.begun) == (ANSWER, False)


async def test_another_body_is_refused_held_or_answered(store: FolderStore) -> None:
    first = await begun(store)
    with pytest.raises(IdempotencyKeyReused, match="another body"):
        await begun(store, body="other")
    await first.keep(ANSWER)
    with pytest.raises(IdempotencyKeyReused):
        await begun(store, body="other")


async def test_the_latest_version_is_that_of_the_first_attempt(store: FolderStore) -> None:
    first = attempt(store, process=DEAD)
    await first.begin(Versions(a=1), ["a", "b"], {}, None)
    assert first.bind(Submission(Label("a"), b"{}")).label.version == 1
    assert first.bind(Submission(Label("a", version=7), b"{}")).label.version == 7
    with pytest.raises(SchemaNotFound):
        first.bind(Submission(Label("b"), b"{}"))
    second = attempt(store)
    await second.begin(Versions(a=2, b=5), ["a", "b"], {}, None)
    assert second.bind(Submission(Label("a"), b"{}")).label.version == 1
    assert second.bind(Submission(Label("b"), b"{}")).label.version == 5, "nothing was published by it before"


class TakesTwice(FolderStore):
    """A store that took an entry before the connection broke, and is asked again by its library."""

    async def create(self, key: str, data: bytes) -> bool:
        await super().create(key, data)
        return await super().create(key, data)


async def test_an_entry_that_the_store_took_before_it_was_asked_again_is_ours(tmp_path: Path) -> None:
    store: Any = TakesTwice(tmp_path)
    first = attempt(store)
    await first.begin(UNCHECKED, [], {"body": "b"}, None)
    assert first.begun
    assert await first.keep(ANSWER) == ANSWER


class Unsure(FolderStore):
    """A store that takes an entry, and whose answer is lost."""

    async def create(self, key: str, data: bytes) -> bool:
        await super().create(key, data)
        raise StoreUnavailable(f"{key} may be there or not.")


async def test_a_renewal_that_was_written_though_it_failed_is_not_taken_for_another_attempt(
    tmp_path: Path, store: FolderStore
) -> None:
    first = await begun(store, lease=0.03)
    first._log._store = Unsure(tmp_path)
    holds = asyncio.create_task(first.renew())
    while not await store.get(first._log._key(1)):
        await asyncio.sleep(0.01)
    holds.cancel()
    await asyncio.wait([holds])
    first._log._store = store
    await first.go_on_as("a promise")
    assert first.puuid == "a promise"
    await first.release()
    assert (await begun(store)).begun, "nobody waits for a lease"


class Away(FolderStore):
    async def create(self, key: str, data: bytes) -> bool:
        raise StoreUnavailable(f"{key} with {len(data)} bytes is not to be had now.")


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(tmp_path: Path, store: FolderStore) -> None:
    first = await begun(store)
    first._log._store = Away(tmp_path)
    assert await first.keep(ANSWER) == ANSWER
    await first.release()


async def test_looks_go_through_all_logs_a_part_at_a_time(store: FolderStore) -> None:
    for n in range(20):
        await attempt(store, key=str(n)).begin(UNCHECKED, [], {}, None)
    over = KeptAnswers(store, ttl=1e-9)
    assert sum([await over.remove(digit) for digit in "0123456789abcdef"]) == 20
    assert [key async for key in store.list(ANSWERS)] == []
    kept = KeptAnswers(store, ttl=86_400)
    assert await kept.look() == 0
    assert await kept.look() == 0


class Many(FolderStore):
    """A store with the answers of many requests."""

    async def list(self, prefix: str) -> AsyncIterator[str]:
        for n in range(30_000):
            yield f"{prefix}{n:064x}/0"


async def test_a_look_keeps_no_names_of_the_logs_that_it_leaves_out(tmp_path: Path) -> None:
    answers = KeptAnswers(Many(tmp_path), ttl=60)
    tracemalloc.start()
    try:
        assert await answers.remove("f") == 0
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


async def test_a_log_of_version_0_5_0_is_read(store: FolderStore) -> None:
    """Who held the request has died; or has answered it."""
    owner_, until = DEAD, 1e12
    entries = [
        f'{{"at":1796004054502,"parts":{{"body":"b"}},"versions":{{"a":1}},"traceparent":"tp","puuid":"p","owner":"{owner_}","until":{until}}}',
        '{"parts":{"body":"b","more":"c"},"versions":{"a":1}}',
        '{"answer":{"status":201,"headers":[["content-type","application/json"]],"body":"e30="}}',
    ]
    first = attempt(store)
    folder = first._log._folder
    for n, entry in enumerate(entries[:2]):
        await store.create(f"{folder}/{n}", entry.encode())
    await first.begin(UNCHECKED, [], {"body": "b"}, None)
    assert (first.begun, first.repeated, first.puuid) == (True, True, "p")
    assert first.bind(Submission(Label("a"), b"")).label.version == 1
    await store.create(f"{folder}/3", entries[2].encode())
    again = await begun(store)
    assert (again.begun, again.answer) == (False, ANSWER)
