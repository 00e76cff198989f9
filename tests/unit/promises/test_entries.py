"""What a promise's log keeps of an event: also what chooses its partition."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlake.model import Event, SchemaVersion
from inlake.promises.entries import Promise, append, claim_entry, first_entry, read
from inlake.store.folder.store import FolderStore


def promise() -> Promise:
    return Promise("p", "anonymous", "objects/p/a", "file:///a", "a", "text/plain", "me")


@pytest.mark.parametrize("by", [None, b"", b"Q159758", b"\xff\x00"])
async def test_a_claim_gives_back_what_chooses_the_partition(tmp_path: Path, by: bytes | None) -> None:
    store = FolderStore(tmp_path)
    event = Event("1", "inlake.note", b"note", b"\0value", (), by)
    reserved = await append(store, promise(), "reserved", first_entry(promise()))
    await append(store, reserved, "claimed", claim_entry(event, SchemaVersion("note", 1, 1)))
    found = await read(store, "p")
    assert found is not None
    assert found.claim is not None
    assert found.claim.event == event


def test_an_entry_made_before_there_was_a_choice_is_read_as_placed_by_its_key() -> None:
    entry = claim_entry(Event("1", "t", b"k", b"v", ()), SchemaVersion("note", 1, 1))
    assert set(entry["event"]) == {"id", "topic", "key", "value", "headers"}
