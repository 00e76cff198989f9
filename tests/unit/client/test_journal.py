"""The journal of a client: what it knows of a large file that is on its way, and its names for files of records."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlake.client.journal import File, Journal, Position, Underway

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


def test_a_file_of_records_has_one_name_however_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "museum").mkdir()
    (tmp_path / "museum" / "t.csv").touch()
    monkeypatch.chdir(tmp_path)
    for path in tmp_path / "museum" / ".t.csv.inlake-journal", tmp_path / "museum" / "j":
        with Journal(path, "there") as journal:
            typed = "museum/t.csv", "./museum/t.csv", str(tmp_path / "museum" / "t.csv")
            assert {journal.name_of(one, alone=False) for one in typed} == {"t.csv"}
            assert journal.name_of("-", alone=False) == "-"
            assert journal.name_of("/dev/null", alone=False) == "/dev/null"


def test_a_file_of_records_keeps_the_name_that_an_earlier_version_gave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "t.csv"
    whole.touch()
    monkeypatch.chdir(tmp_path)
    with Journal(tmp_path / "alone", "there") as journal:
        journal.move("museum/t.csv", Position(1))
        assert journal.name_of("t.csv", alone=True) == "museum/t.csv"
        assert journal.name_of("t.csv", alone=False) == "t.csv", "another file may have been called so"
    for number, note in enumerate(
        [
            lambda journal: journal.move(str(whole), Position(1)),
            lambda journal: journal.begin(str(whole), 1, b"{}"),
            lambda journal: journal.confirm(str(whole), "", [b"digest"]),
        ]
    ):
        with Journal(tmp_path / f"{number}", "there") as journal:
            note(journal)
            assert journal.name_of("t.csv", alone=False) == str(whole)
            journal.move("t.csv", Position(2))
            assert journal.name_of(str(whole), alone=False) == "t.csv"
