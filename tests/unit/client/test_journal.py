"""The journal of a client: what it knows of a large file that is on its way."""

from __future__ import annotations

from pathlib import Path

from inlake.client.journal import File, Journal, Underway

FILE = File("scans/large.bin", 200_000_001, 5, "", "0" * 64)
PUUID = "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa"


def test_a_large_file_is_known_after_a_crash_with_the_parts_that_were_confirmed(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", "to") as journal:
        journal.begin_large(Underway(FILE, PUUID, "parts"))
        for number in 3, 1, 3:
            journal.note_part(FILE.name, number)
    with Journal(tmp_path / "journal", "to") as journal:
        assert journal.underway_large(FILE.name) == Underway(FILE, PUUID, "parts", frozenset({1, 3}))
        assert journal.underway_large("another") is None
    with Journal(tmp_path / "journal", "elsewhere") as journal:
        assert journal.underway_large(FILE.name) is None


def test_a_large_file_that_is_begun_anew_or_ended_has_no_parts(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", "to") as journal:
        journal.begin_large(Underway(FILE, PUUID, "parts"))
        journal.note_part(FILE.name, 1)
        journal.begin_large(Underway(FILE, "another", "tus"))
        assert journal.underway_large(FILE.name) == Underway(FILE, "another", "tus")
        journal.note_part(FILE.name, 1)
        journal.end_large(FILE.name)
        assert journal.underway_large(FILE.name) is None
        journal.begin_large(Underway(FILE, PUUID, "parts"))
        assert journal.underway_large(FILE.name) == Underway(FILE, PUUID, "parts")
