"""Rejects are written behind the requests' backs; who asks for them waits for no others than those before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from inlake.errors import Busy, StoreUnavailable
from inlake.metrics import Metrics
from inlake.rejects.keeper import BATCH, QUESTIONS, Keeper
from inlake.rejects.reject import Reason, Reject, Wanted
from inlake.rejects.sqlite.log import SqliteRejects


class SlowRejects(SqliteRejects):
    """A disk that takes a while."""

    async def add(self, rejects: Sequence[Reject]) -> Sequence[Reject]:
        await asyncio.sleep(0.02)
        return await super().add(rejects)


class BrokenRejects(SqliteRejects):
    """A disk that takes of so many rejects only these, and then of so many."""

    def __init__(self, path: Path, *taken: int) -> None:
        super().__init__(path, seconds=1e9, most_bytes=1 << 30)
        self._taken = list(taken)

    async def add(self, rejects: Sequence[Reject]) -> Sequence[Reject]:
        if not (taken := self._taken.pop(0)):
            raise StoreUnavailable(f"{len(rejects)} are too many")
        return await super().add(rejects[:taken])


def reject() -> Reject:
    return Reject(
        id=str(uuid4()),
        at=1_795_000_000_000,
        principal="token:museum",
        schema="tate.artwork",
        destination=None,
        version=None,
        message=None,
        tagged=False,
        text="{}",
        status=422,
        code="record_rejected",
        detail="/acno: A value is missing.",
        errors=[],
        reasons=[Reason("missing_field", "/acno")],
        request="1-1",
    )


async def test_who_asks_waits_for_what_was_refused_before_and_for_nothing_after_it(tmp_path: Path) -> None:
    keeper = Keeper(SlowRejects(tmp_path / "rejects.db", seconds=1e9, most_bytes=1 << 30))
    first, asked = reject(), asyncio.Event()
    for _ in range(BATCH):
        keeper.keep(reject())
    keeper.keep(first)

    async def others() -> None:
        """More than can be written: there is always one that waits."""
        while not asked.is_set():
            for _ in range(BATCH):
                keeper.keep(reject())
            await asyncio.sleep(0.001)

    coming = asyncio.create_task(others())
    found = await asyncio.wait_for(keeper.find(first.id), 20)
    asked.set()
    await coming
    assert found == first
    await keeper.close()


async def test_what_cannot_be_written_is_not_waited_for(tmp_path: Path) -> None:
    keeper = Keeper(BrokenRejects(tmp_path / "rejects.db", 0))
    lost = reject()
    keeper.keep(lost)
    assert await asyncio.wait_for(keeper.find(lost.id), 20) is None
    await keeper.close()


async def test_of_a_batch_that_is_kept_in_part_the_rest_is_lost(tmp_path: Path) -> None:
    metrics, sent = Metrics(), [reject() for _ in range(5)]
    keeper = Keeper(BrokenRejects(tmp_path / "rejects.db", 3))
    keeper.count_in(metrics)
    for each in sent:
        keeper.keep(each)
    await keeper.written()
    told = metrics.text()
    assert "inlake_rejects_lost_total 2" in told
    assert 'inlake_rejects_kept_total{code="missing_field"} 3' in told
    await keeper.close()


async def test_each_time_that_rejects_are_lost_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = Keeper(BrokenRejects(tmp_path / "rejects.db", 0, 0, 1, 0))
    for told in (1, 1, 1, 2):
        keeper.keep(reject())
        await keeper.written()
        assert len(caplog.messages) == told
    await keeper.close()


async def test_of_many_who_look_for_rejects_at_once_some_come_again_later(tmp_path: Path) -> None:
    keeper = Keeper(SqliteRejects(tmp_path / "rejects.db", seconds=1e9, most_bytes=1 << 30))
    answers = await asyncio.gather(
        *(keeper.page(Wanted(), 10) if n % 2 else keeper.causes(Wanted()) for n in range(QUESTIONS + 6)),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [list] * QUESTIONS + [Busy] * 6
    assert await keeper.page(Wanted(), 10) == []
    await keeper.close()
