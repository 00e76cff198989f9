"""The encoding of a table: told by its bytes, said aloud, and guessed only where it cannot be known."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from inlake.client.tables import Layout, TableError, open_table
from inlake.client.tables.encoding import BLOCK

TABLES = Path(__file__).parents[3] / "data" / "tables"
FRENCH = "titre,lieu\n“L’Été à Nîmes”,Musée d’Orsay\nLa forêt — étude,Besançon\nÀ l’œuvre,Évreux\n"
GERMAN = "titel;ort\nMädchen mit Hündin;Köln\nÜber den Fluß;Nürnberg\nGrößen 5–7;Österreich\n"
SPANISH = "título\tlugar\nEl niño y la niña\tMálaga\n¿Quién más?\tÁvila\nCorazón\tLeón\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "mac_roman"])
@pytest.mark.parametrize("text", [FRENCH, GERMAN, SPANISH], ids=["french", "german", "spanish"])
def test_a_table_in_any_of_these_encodings_is_read_right(text: str, encoding: str) -> None:
    with open_table(io.BytesIO(text.encode(encoding))) as table:
        names = [column.name for column in table.columns]
        rows = [list(row.cells) for row in table]
    delimiter = table.layout.delimiter or ""
    assert [names, *rows] == [line.split(delimiter) for line in text.splitlines()]


def test_a_guess_is_said_with_words_to_check_it_by() -> None:
    with open_table(io.BytesIO(GERMAN.encode("cp1252"))) as table:
        assert table.layout.sentence() == "CSV, encoding cp1252, delimiter semicolon, names in row 1"
        assert "Mädchen" in table.layout.notes[0]
    with open_table(io.BytesIO(GERMAN.encode())) as table:
        assert table.layout.notes == ()


def test_utf_8_with_a_few_broken_bytes_stays_utf_8() -> None:
    data = GERMAN.encode() * 10 + b"Ba\xdfler;x\n"
    with open_table(io.BytesIO(data)) as table:
        assert table.layout.encoding == "utf-8"
        faults = [fault for row in table for fault in row.faults]
    assert [(fault.code, fault.letter) for fault in faults] == [("undecodable", "A")]


def test_what_is_not_utf_8_after_a_mebibyte_is_found_in_a_file() -> None:
    data = b"a,b\n" + b"1,x\n" * (1 << 18) + "2,Größe\n".encode("cp1252")
    with open_table(io.BytesIO(data)) as table:
        assert table.layout.encoding == "cp1252"
        assert "Größe" in table.layout.notes[0]


def test_utf_16_that_breaks_off_is_named_with_the_position() -> None:
    data = "a,b\n1,x\n".encode("utf-16-le") + b"\x00\xd8" + "y\n".encode("utf-16-le")
    with pytest.raises(TableError) as refused, open_table(io.BytesIO(data), Layout(encoding="utf-16-le")) as table:
        list(table)
    assert refused.value.faults[0].code == "undecodable"
    assert "Byte 16 " in refused.value.faults[0].detail


def test_the_position_is_right_where_a_character_is_cut_by_a_block() -> None:
    text = "a,b\n" + "1,x\n" * (BLOCK // 8)
    data = text.encode("utf-16-le")[: BLOCK - 2] + b"\x00\xd8" + "y\n".encode("utf-16-le")
    with pytest.raises(TableError) as refused, open_table(io.BytesIO(data), Layout(encoding="utf-16-le")) as table:
        list(table)
    assert f"Byte {BLOCK - 2:,} " in refused.value.faults[0].detail


def test_the_encoding_that_is_set_is_taken() -> None:
    with open_table(io.BytesIO("a,b\n1,Ł\n".encode("cp1250")), Layout(encoding="cp1250")) as table:
        assert [row.cells for row in table] == [("1", "Ł")]


def test_a_real_table_in_mac_roman_is_read_as_such() -> None:
    with open_table(TABLES / "cmoa_teenie_macroman.csv") as table:
        assert table.layout.encoding == "mac_roman"
        assert any("1906–1982" in str(cell) for row in table for cell in row.cells)


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    text = FRENCH + "x,y\n" * 400_000
    with open_table(Pipe(text.encode("cp1252"))) as table:
        assert table.layout.encoding == "cp1252"
        assert sum(1 for _ in table) == 400_003
