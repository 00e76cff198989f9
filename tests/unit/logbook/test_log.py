"""A log of create-once entries: one of many writers gets a number, and who loses reads on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from inlake.logbook.log import Log
from inlake.store.folder.store import FolderStore


class Word(msgspec.Struct, frozen=True):
    word: str


def log(folder: Path, suffix: str = "") -> Log[Word]:
    return Log(FolderStore(folder), "words", msgspec.json.Decoder(Word).decode, suffix=suffix)


async def test_of_many_that_add_an_entry_one_does(tmp_path: Path) -> None:
    words = [Word(str(n)) for n in range(8)]
    added = await asyncio.gather(*(log(tmp_path).add(0, word) for word in words))
    assert added.count(True) == 1
    assert await log(tmp_path).read() == [words[added.index(True)]]


async def test_a_log_is_read_from_any_entry_on_up_to_the_first_that_is_missing(tmp_path: Path) -> None:
    words = log(tmp_path, ".json")
    for n in (0, 1, 2, 4):
        assert await words.add(n, Word(str(n)))
    assert [word.word for word in await words.read()] == ["0", "1", "2"]
    assert [word.word for word in await words.read(2)] == ["2"]
    assert await words.read(3) == []
    assert await words.last() == 4
    assert await words.get(4) == Word("4")


async def test_a_deleted_log_is_empty(tmp_path: Path) -> None:
    words = log(tmp_path, ".json")
    for n in range(12):
        await words.add(n, Word(str(n)))
    await words.delete()
    assert await words.last() is None
    assert [key async for key in FolderStore(tmp_path).list("")] == []
