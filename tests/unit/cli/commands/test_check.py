"""`inlake check`: what the gateway would say of the records in files, without a gateway."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.command import EXAMPLES, inlake

AVRO, PROTOBUF, JSON_SCHEMA = (EXAMPLES / "schemas" / language for language in ("avro", "protobuf", "jsonschema"))
COMMON = f"--reference=tate_common.proto={PROTOBUF / 'tate_common.proto'}"
RIGHTS = f"--reference=example.heritage.Rights={AVRO / 'rights.avsc'}"
NOTE = json.dumps({"type": "record", "name": "Note", "fields": [{"name": "n", "type": "int"}]})
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "note.avsc").write_text(NOTE)
    return tmp_path


def expected(file: str, language: str) -> list[tuple[int, set[str]]]:
    """(line, pointers) of the records that do not fit."""
    rejects = json.loads((EXAMPLES / "expected-rejects.json").read_text())["rejects"]
    return [(r["line"], set(r["pointers"])) for r in rejects if (r["file"], r["language"]) == (file, language)]


def lines(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def places(found: Iterable[dict[str, Any]]) -> list[tuple[int, set[str]]]:
    return [(reject["line"], {error["pointer"] for error in reject["errors"]}) for reject in found]


@pytest.mark.parametrize(
    ("language", "schema", "file", "options", "count"),
    [
        ("avro", AVRO / "tate_artwork.avsc", "tate/artworks.ndjson.gz", (), 13),
        ("avro", AVRO / "cmoa_artwork.avsc", "cmoa/artworks.ndjson.gz", (), 104),
        ("avro", AVRO / "tate_artist.avsc", "tate/artists.ndjson.gz", (), 0),
        ("jsonschema", JSON_SCHEMA / "tate_artwork.schema.json", "tate/artworks.ndjson.gz", (), 32),
        ("protobuf", PROTOBUF / "tate_artwork.proto", "tate/artworks.ndjson.gz",
         (COMMON, "--message=tate.collection.v1.Artwork"), 9),
    ],
)  # fmt: skip
def test_real_records_are_refused_where_they_should_be(
    language: str, schema: Path, file: str, options: tuple[str, ...], count: int
) -> None:
    done = inlake("check", schema, EXAMPLES / file, *options, "--json")
    *rejects, last = lines(done)
    assert len(rejects) == count
    assert [line for line, _ in places(rejects)] == [line for line, _ in expected(file, language)]
    if language == "avro":
        assert places(rejects) == expected(file, language)
    total = len(gzip.decompress((EXAMPLES / file).read_bytes()).splitlines())
    assert last == {"summary": {"accepted": total - count, "rejected": count}, "complete": True}
    assert done.returncode == (1 if count else 0), done.stderr


def test_a_person_sees_file_and_line_pointer_code_and_reason() -> None:
    file = EXAMPLES / "tate" / "artworks.ndjson.gz"
    done = inlake("check", AVRO / "tate_artwork.avsc", file)
    head, first, *_ = done.stdout.splitlines()
    assert head.split() == ["where", "pointer", "code", "detail"]
    assert first.startswith(f"{file}:4731  /dateRange/startYear  wrong_type  ")
    assert 'string "1997"' in first
    assert done.stdout.endswith("accepted  4,987\nrejected     13\n")


def test_all_errors_of_a_record_are_told(folder: Path) -> None:
    done = inlake("check", "note.avsc", "--json", stdin=b'{"n":"x","m":1}\n', cwd=folder)
    assert places(lines(done)[:-1]) == [(1, {"/n", "/m"})]


def test_a_reference_comes_from_a_file() -> None:
    metadata = EXAMPLES / "binaries" / "metadata.avro-untagged.ndjson"
    done = inlake("check", AVRO / "digital_object.avsc", RIGHTS, metadata)
    assert done.returncode == 0, done.stdout + done.stderr
    without = inlake("check", AVRO / "digital_object.avsc", metadata)
    assert without.returncode == 2
    assert "there is no type example.heritage.Rights" in without.stderr


def test_tagged_unions_are_checked_as_such() -> None:
    tagged = EXAMPLES / "binaries" / "metadata.avro-tagged.ndjson"
    plain = EXAMPLES / "binaries" / "metadata.avro-untagged.ndjson"
    assert inlake("check", AVRO / "digital_object.avsc", RIGHTS, "--tagged", tagged).returncode == 0
    assert inlake("check", AVRO / "digital_object.avsc", RIGHTS, "--tagged", plain).returncode == 1


def test_a_record_with_its_binary_needs_no_resource_path(folder: Path) -> None:
    field = {"name": "__resource_path__", "type": "string"}
    (folder / "scan.avsc").write_text(json.dumps({"type": "record", "name": "Scan", "fields": [field]}))
    assert inlake("check", "scan.avsc", stdin=b"{}", cwd=folder).returncode == 1
    assert inlake("check", "scan.avsc", "--with-binary", stdin=b"{}", cwd=folder).returncode == 0
    without = inlake("check", "note.avsc", "--with-binary", stdin=b"{}", cwd=folder)
    assert without.returncode == 2
    assert "has no field __resource_path__" in without.stderr


def test_the_line_is_where_a_record_begins_in_its_file(folder: Path) -> None:
    (folder / "a.ndjson").write_bytes(b'\xef\xbb\xbf{"n":1}\r\n\n{"n":"x"}\nno json\n{"n":2}')
    (folder / "b.json").write_bytes(b'[\n  {\n    "n": 1\n  },\n\n  {\n    "n": "x"\n  }\n]\n')
    done = inlake("check", "note.avsc", "a.ndjson", "b.json", "--json", cwd=folder)
    *rejects, last = lines(done)
    assert [(r["file"], r["line"], r["code"]) for r in rejects] == [
        ("a.ndjson", 3, "record_rejected"),
        ("a.ndjson", 4, "malformed_json"),
        ("b.json", 6, "record_rejected"),
    ]
    assert last["summary"] == {"accepted": 3, "rejected": 3}


def test_a_broken_file_does_not_hide_the_others(folder: Path) -> None:
    (folder / "cut.ndjson.gz").write_bytes(gzip.compress(b'{"n":1}\n' * 100)[:-9])
    (folder / "cut.json").write_bytes(b'[{"n": 1},\n {"n": ')
    (folder / "empty.ndjson").write_bytes(b"\n")
    done = inlake("check", "note.avsc", "cut.ndjson.gz", "cut.json", "empty.ndjson", "-", stdin=b'{"n":1}', cwd=folder)
    assert done.returncode == 1
    assert "cut.ndjson.gz " in done.stdout
    assert "cut.json:2 " in done.stdout
    assert "empty.ndjson " in done.stdout
    assert done.stdout.count("unreadable") == 3 + 1
    assert "unreadable  3" in done.stdout


def test_a_record_that_the_gateway_finds_too_large_is_refused(folder: Path) -> None:
    done = inlake("check", "note.avsc", "--json", stdin=b'{"n": 1}\n', cwd=folder, INLAKE_MAX_RECORD_BYTES="7")
    assert lines(done)[0]["code"] == "record_too_large"


def test_errors_are_annotations_on_github(folder: Path) -> None:
    (folder / "a.ndjson").write_text('{"n":"50%"}\n')
    done = inlake("check", "note.avsc", "a.ndjson", "--github", cwd=folder)
    annotation = done.stdout.splitlines()[0]
    assert annotation.startswith("::error file=a.ndjson,line=1,title=wrong_type::/n: ")
    assert "50%25" in annotation


def test_no_more_errors_are_printed_than_asked_for(folder: Path) -> None:
    done = inlake("check", "note.avsc", "--max-errors", "2", stdin=b"{}\n" * 5, cwd=folder)
    assert done.stdout.count("missing_field") == 2
    assert "... and 3 more errors" in done.stdout
    assert done.stdout.endswith("rejected  5\n")


def test_a_name_is_looked_up_in_the_registry_of_the_settings(folder: Path) -> None:
    assert inlake("schemas", "add", "museum.note", "note.avsc", cwd=folder).returncode == 0
    assert inlake("check", "museum.note", stdin=b'{"n":1}', cwd=folder).returncode == 0
    assert inlake("check", "museum.note:1", stdin=b'{"n":"x"}', cwd=folder).returncode == 1
    (folder / "museum.note").write_text("a file with the name of a schema")
    assert inlake("check", "--registry", "museum.note", stdin=b'{"n":1}', cwd=folder).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("absent.avsc",), "absent.avsc: there is no such file"),
        (("unknown",), "unknown"),
        (("note.avsc:1",), "There is no schema"),
        (("note.avsc", "absent.ndjson"), "absent.ndjson: there is no such file"),
        (("note.avsc", "--reference", "x"), "write REFNAME=FILE"),
        (("note.avsc", "--json", "--github"), "give one"),
        (("unknown", "--reference", "a=note.avsc"), "--reference goes with a schema file"),
        (("broken.avsc",), "broken.avsc: "),
    ],
)
def test_a_wrong_command_or_schema_is_one_sentence_and_exit_code_2(
    folder: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (folder / "broken.avsc").write_text('{"type": "record"}')
    done = inlake("check", *arguments, stdin=b"{}\n", cwd=folder)
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == 2


def test_a_registry_that_is_away_is_exit_code_3(folder: Path) -> None:
    done = inlake("check", "museum.note", stdin=b"{}\n", cwd=folder, INLAKE_REGISTRY="http://127.0.0.1:9")
    assert done.returncode == 3
