"""`inlake send` and `inlake schemas` against a real gateway process on embedded adapters."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from inlake.cli.commands.send import _journal
from inlake.client import Client
from inlake.client.batches import Batch
from inlake.client.collection import target
from inlake.client.gateway import Address
from inlake.client.journal import Journal
from inlake.client.resume import Resumed
from tests.command import EXAMPLES, Served, environment, inlake, log_of, serving

AVRO = EXAMPLES / "schemas" / "avro"
YEAR_AS_TEXT = 4731
"""An artwork whose year is text (expected-rejects.json)."""

LATE_ARTIST = json.dumps(
    {
        "activePlaceCount": 0, "date": None, "fc": "Late Artist", "gender": None, "id": 1, "mda": "", "movements": [],
        "totalWorks": 0, "url": "",
    }
).encode() + b"\n"  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as found:
        assert found.inlake("schemas", "add", "tate.artwork", AVRO / "tate_artwork.avsc").returncode == 0
        assert found.inlake("schemas", "add", "tate.artist", AVRO / "tate_artist.avsc").returncode == 0
        assert found.inlake("schemas", "add", "heritage.rights", AVRO / "rights.avsc").returncode == 0
        reference = "--reference=example.heritage.Rights=heritage.rights:1"
        added = found.inlake("schemas", "add", "heritage.digital_object", AVRO / "digital_object.avsc", reference)
        assert added.returncode == 0, added.stderr
        yield found


def artworks(count: int, first: int = 1) -> list[bytes]:
    with gzip.open(EXAMPLES / "tate" / "artworks.ndjson.gz") as file:
        return file.readlines()[first - 1 : first - 1 + count]


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def counts(text: str) -> dict[str, int]:
    """The table at the end of what a person sees."""
    found = re.findall(r"^(accepted|pending|rejected|failed) +([\d,]+) *$", text, re.MULTILINE)
    return {word: int(number.replace(",", "")) for word, number in found}


def mesh() -> bytes:
    return (EXAMPLES / "binaries" / "metadata.avro-untagged.ndjson").read_bytes().splitlines()[0]


def test_a_gzip_file_of_records_is_accepted(served: Served) -> None:
    done = served.inlake("send", "tate.artist", EXAMPLES / "tate" / "artists.ndjson.gz")
    assert done.returncode == 0, done.stderr
    assert counts(done.stdout) == {"accepted": 1_800, "rejected": 0}


def test_a_refused_record_is_named_by_line_and_pointer(served: Served, tmp_path: Path) -> None:
    (tmp_path / "mixed.ndjson").write_bytes(b"".join([*artworks(3), *artworks(1, YEAR_AS_TEXT), *artworks(2)]))
    done = served.inlake("send", "tate.artwork", tmp_path / "mixed.ndjson")
    assert done.returncode == 1
    assert "mixed.ndjson, line 4: 422" in done.stdout
    assert "/dateRange/startYear" in done.stdout
    assert counts(done.stdout) == {"accepted": 5, "rejected": 1}


def test_with_json_all_receipts_come_in_order_and_the_sum_last(served: Served) -> None:
    done = served.inlake("send", "tate.artwork", "--json", stdin=b"".join([*artworks(2), *artworks(1, YEAR_AS_TEXT)]))
    *receipts, last = json_lines(done.stdout)
    assert [(r["line"], r["status"]) for r in receipts] == [(1, 201), (2, 201), (3, 422)]
    assert receipts[0]["key"] == "tate.artwork"
    assert last == {"summary": {"accepted": 2, "pending": 0, "rejected": 1, "failed": 0}, "complete": True}
    assert done.returncode == 1


def test_a_top_level_array_is_sent_record_by_record(served: Served, tmp_path: Path) -> None:
    (tmp_path / "array.json").write_bytes(b"[\n" + b",\n".join(artworks(3)) + b"]\n")
    done = served.inlake("send", "tate.artwork", "--json", tmp_path / "array.json")
    assert [r.get("status") for r in json_lines(done.stdout)] == [201, 201, 201, None]


def test_a_record_over_many_lines_is_sent_from_stdin(served: Served) -> None:
    pretty = json.dumps(json.loads(artworks(1)[0]), indent=2).encode()
    done = served.inlake("send", "tate.artwork", "-", "--json", "--destination", "paintings/british", stdin=pretty)
    assert json_lines(done.stdout)[0]["key"] == "tate.artwork/paintings/british"
    assert done.returncode == 0


def test_a_record_goes_out_while_its_pipe_is_still_open(served: Served) -> None:
    command = [sys.executable, "-m", "inlake", "send", "tate.artist"]
    variables = environment(**served.variables)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables) as process:
        assert process.stdin is not None
        process.stdin.write(LATE_ARTIST)
        process.stdin.flush()
        end = time.monotonic() + 20
        while "Late Artist" not in served.inlake("tail", "inlake.tate.artist", "-n", "1").stdout:
            assert time.monotonic() < end
        process.stdin.close()
        assert process.wait(timeout=20) == 0


def test_several_files_are_summed(served: Served, tmp_path: Path) -> None:
    for name in "a.ndjson", "b.ndjson":
        (tmp_path / name).write_bytes(b"".join(artworks(2)))
    done = served.inlake("send", "tate.artwork", tmp_path / "a.ndjson", tmp_path / "b.ndjson")
    assert counts(done.stdout) == {"accepted": 4, "rejected": 0}


@pytest.mark.parametrize("command", ["send", "upload", "map"])
def test_a_misspelt_schema_ends_the_command_with_the_name_that_was_meant(
    served: Served, tmp_path: Path, command: str
) -> None:
    lines, table = tmp_path / "lines.ndjson", tmp_path / "table.csv"
    lines.write_bytes(b"{}\n" * 100)
    table.write_text("title\nx\n")
    for file in {"send": [lines, table], "upload": [lines], "map": [table]}[command]:
        done = served.inlake(command, "tate.artwrok", file)
        assert (done.returncode, done.stdout) == (1, "")
        last = done.stderr.splitlines()[-1]
        assert last == f"inlake: {served.url} has no schema 'tate.artwrok'. Did you mean 'tate.artwork'?"
    assert sorted(tmp_path.iterdir()) == [lines, table], "no journal is left"


def test_an_unknown_schema_that_is_like_no_other_and_an_unknown_version_are_one_sentence(served: Served) -> None:
    unknown = served.inlake("send", "something.else", "--json", stdin=b"{}\n" * 100)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("inlake: There is no schema 'something.else': add it with ")
    version = served.inlake("send", "tate.artwork", "--version", "7", stdin=b"{}\n" * 100)
    assert (version.returncode, version.stdout) == (1, "")
    assert version.stderr.startswith("inlake: The schema 'tate.artwork' has no version 7")
    assert unknown.stderr.count("\n") == version.stderr.count("\n") == 1


def test_who_sent_what_was_refused_is_told_where_it_is_kept(served: Served, tmp_path: Path) -> None:
    line = artworks(1, YEAR_AS_TEXT)[0]
    done = served.inlake("send", "tate.artwork", stdin=line)
    assert done.returncode == 1
    assert done.stderr == (
        "The gateway keeps what it refused: `inlake rejects list --schema tate.artwork` shows why, by causes.\n"
    )
    elsewhere = inlake("send", "tate.artwork", "--url", served.url, stdin=line, cwd=tmp_path)
    assert f"--schema tate.artwork --url {served.url}` shows" in elsewhere.stderr
    assert served.inlake("send", "tate.artwork", "--check", stdin=line).stderr == ""
    assert served.inlake("send", "tate.artwork", "--json", stdin=line).stderr == ""


def test_a_schema_is_added_also_where_the_address_of_the_gateway_is_none(tmp_path: Path) -> None:
    added = inlake(
        "schemas", "add", "tate.artwork", AVRO / "tate_artwork.avsc", cwd=tmp_path, INLAKE_URL="localhost:8000"
    )
    assert (added.returncode, added.stderr) == (0, "")


def test_a_schema_that_is_added_where_the_gateway_does_not_look_is_said(served: Served, tmp_path: Path) -> None:
    there = served.inlake("schemas", "add", "tate.artwork", AVRO / "tate_artwork.avsc")
    assert (there.returncode, there.stderr) == (0, "")
    elsewhere = inlake("schemas", "add", "tate.artwork", AVRO / "tate_artist.avsc", cwd=tmp_path, INLAKE_URL=served.url)
    assert elsewhere.returncode == 0
    assert elsewhere.stderr == (
        f"The gateway at {served.url} does not see it: it reads another registry than {tmp_path / '.inlake/schemas'}. "
        "Add it in the folder where that gateway was started, or set INLAKE_REGISTRY to one folder for both.\n"
    )


def test_a_port_that_is_taken_is_said_with_what_to_do(served: Served, tmp_path: Path) -> None:
    second = inlake("serve", "--port", served.url.rpartition(":")[2], cwd=tmp_path)
    assert second.returncode == 2
    assert "Address already in use. Another program, perhaps a gateway, listens there" in second.stderr
    assert "take another port by --port or INLAKE_PORT." in second.stderr


def test_a_bad_name_is_one_sentence(served: Served) -> None:
    done = served.inlake("send", "tate/artwork!", stdin=b"{}\n")
    assert done.returncode == 1
    assert done.stderr.startswith("inlake: ")
    assert done.stderr.count("\n") == 1


def test_a_record_and_its_binary_are_sent(served: Served, tmp_path: Path) -> None:
    (tmp_path / "mesh.json").write_bytes(mesh())
    path = EXAMPLES / "binaries" / "files" / "spot_triangulated.obj"
    done = served.inlake("send", "heritage.digital_object", tmp_path / "mesh.json", "--binary", path, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    resource = json.loads(done.stdout)["resource"]
    stored = Path(unquote(urlsplit(resource["uri"]).path)).read_bytes()
    assert stored == path.read_bytes()
    assert resource["sha256"] == hashlib.sha256(stored).hexdigest()
    assert (resource["content_type"], resource["filename"]) == ("model/obj", "spot_triangulated.obj")


def test_a_refused_record_with_a_binary_names_the_pointers(served: Served) -> None:
    record = mesh().replace(b'"MESH"', b'"SCULPTURE"')
    path = EXAMPLES / "binaries" / "files" / "spot_triangulated.obj"
    done = served.inlake("send", "heritage.digital_object", "--binary", path, stdin=record)
    assert done.returncode == 1
    assert "/kind" in done.stdout


def test_a_registry_that_is_away_ends_with_exit_code_3(tmp_path: Path) -> None:
    with serving(tmp_path, INLAKE_REGISTRY="http://127.0.0.1:9") as found:
        done = found.inlake("send", "tate.artwork", "--retry", "0", stdin=b"".join(artworks(2)))
        listed = found.inlake("schemas", "list")
    assert done.returncode == 3
    assert "registry" in (done.stdout + done.stderr).lower()
    assert listed.returncode == 3
    assert listed.stderr.startswith("inlake: ")


def test_schemas_are_listed_and_shown(served: Served) -> None:
    listed = json_lines(served.inlake("schemas", "list", "--json").stdout)
    assert {"tate.artwork", "tate.artist", "heritage.rights"} <= {row["subject"] for row in listed}
    assert "tate.artwork" in served.inlake("schemas", "list").stdout
    shown = served.inlake("schemas", "show", "heritage.digital_object")
    assert json.loads(shown.stdout) == json.loads((AVRO / "digital_object.avsc").read_text())
    assert "reference example.heritage.Rights = heritage.rights:1" in shown.stderr


def test_the_same_schema_again_is_the_same_version(served: Served) -> None:
    again = served.inlake("schemas", "add", "tate.artist", AVRO / "tate_artist.avsc")
    assert "tate.artist version 1" in again.stdout


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "record", "name": "A"}',
        "not json",
        '{"type": "record", "name": "A", "fields": [{"name": "a b", "type": "int"}]}',
    ],
)
def test_an_invalid_schema_is_not_added(served: Served, tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.avsc").write_text(text)
    done = served.inlake("schemas", "add", "broken", tmp_path / "broken.avsc")
    assert done.returncode == 1
    assert done.stderr.startswith("inlake: ")
    assert served.inlake("schemas", "show", "broken").returncode == 1


TABLE = "id;name;birth\n7;Zoë;1890\n8;Other;\n9;Late;19th\n10;Big;99999999999\n"
PERSON = {
    "type": "record", "name": "Person", "fields": [
        {"name": "id", "type": "string"}, {"name": "name", "type": "string"}, {"name": "birth", "type": ["null", "int"]},
    ],
}  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_the_rows_of_a_table_are_sent_as_records(served: Served, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "person.avsc").write_text(json.dumps(PERSON))
    assert served.inlake("schemas", "add", "person", tmp_path / "person.avsc").returncode == 0
    (tmp_path / "people.csv").write_bytes(TABLE.encode(encoding))
    files = {"--receipts": tmp_path / "receipts.ndjson", "--rejects": tmp_path / "rejects.csv"}
    command = "send", "person", tmp_path / "people.csv", "--destination", encoding.replace("_", "-")
    checked = served.inlake(*command, "--check")
    assert (checked.returncode, counts(checked.stdout)) == (1, {"accepted": 2, "rejected": 2})
    done = served.inlake(*command, *[part for pair in files.items() for part in pair])
    assert (done.returncode, counts(done.stdout)) == (1, {"accepted": 2, "rejected": 2})
    assert "people.csv, row 4: 422" in done.stdout
    assert "column C (birth)" in done.stdout
    assert "delimiter semicolon" in done.stderr
    receipts = json_lines(files["--receipts"].read_text())
    assert [line["row"] for line in receipts] == [2, 3]
    rejects = files["--rejects"].read_text("utf-8-sig" if encoding == "utf-8-sig" else encoding)
    assert [row.split(";")[1:] for row in rejects.splitlines()[1:]] == [
        ["9", "Late", "19th"],
        ["10", "Big", "99999999999"],
    ]
    events = [json.loads(line) for line in served.inlake("tail", "--from-start", "--json").stdout.splitlines()]
    found = [event["record"] for event in events if event["key"] == f"person/{encoding.replace('_', '-')}"]
    assert found == [{"id": "7", "name": "Zoë", "birth": 1890}, {"id": "8", "name": "Other", "birth": None}]
    mended = rejects.replace("19th", "1890").replace("99999999999", "")
    (tmp_path / "mended.csv").write_bytes(mended.encode("utf-8" if encoding == "utf-8-sig" else encoding))
    assert counts(served.inlake("send", "person", tmp_path / "mended.csv").stdout) == {"accepted": 2, "rejected": 0}
    again = served.inlake(*command, *[part for pair in files.items() for part in pair])
    assert (again.returncode, counts(again.stdout)) == (1, {"accepted": 0, "rejected": 2})
    assert files["--rejects"].read_text("utf-8-sig" if encoding == "utf-8-sig" else encoding) == rejects


def sent_to(served: Served, destination: str) -> list[dict[str, Any]]:
    events = json_lines(served.inlake("tail", "--from-start", "--json").stdout)
    return [event for event in events if event["key"] == f"person/{destination}"]


def test_a_table_sent_again_sends_rows_that_are_new_or_mended(served: Served, tmp_path: Path) -> None:
    (tmp_path / "person.avsc").write_text(json.dumps(PERSON))
    assert served.inlake("schemas", "add", "person", tmp_path / "person.avsc").returncode == 0
    table = tmp_path / "people.csv"
    command = "send", "person", table, "--destination", "again"
    table.write_text("id,name,birth\n1,A,1\n2,B,old\n1,A,1\n")
    assert counts(served.inlake(*command).stdout) == {"accepted": 2, "rejected": 1}
    second = served.inlake(*command)
    assert (second.returncode, counts(second.stdout)) == (1, {"accepted": 0, "rejected": 1})
    assert "2 rows are in already, by its journal" in second.stderr
    table.write_text("id,name,birth\n0,New,0\n2,B,2\n1,A,1\n1,A,1\n1,A,1\n")
    third = served.inlake(*command, "--json")
    assert json_lines(third.stdout)[-1]["summary"] == {
        "accepted": 3, "pending": 0, "rejected": 0, "failed": 0, "in already": 2,
    }  # fmt: skip
    assert [event["record"]["id"] for event in sent_to(served, "again")] == ["1", "1", "0", "2", "1"]
    refused = served.inlake("send", "person", table, "--destination", "no//where")
    assert refused.returncode == 1
    assert len([path for path in tmp_path.iterdir() if "journal" in path.name]) == 1, (
        "one with nothing in it is removed"
    )


@pytest.mark.slow
def test_a_table_that_was_killed_on_its_way_and_changed_is_in_once(served: Served, tmp_path: Path) -> None:
    (tmp_path / "person.avsc").write_text(json.dumps(PERSON))
    assert served.inlake("schemas", "add", "person", tmp_path / "person.avsc").returncode == 0
    rows = [f"{n},{'x' * 3_000},\n" for n in range(3_000)]
    command = ["send", "person", "people.csv", "--destination", "killed-table", "--receipts", "receipts.ndjson"]
    for kills in range(3):
        rows.insert(0, f"new {kills},,\n")
        (tmp_path / "people.csv").write_text(f"id,name,birth\n{''.join(rows)}")
        before = log_of(served).count("/ingress/record-json")
        process = subprocess.Popen(
            [sys.executable, "-m", "inlake", *command],
            cwd=tmp_path, env=environment(INLAKE_URL=served.url), stdout=subprocess.DEVNULL,
        )  # fmt: skip
        while log_of(served).count("/ingress/record-json") < before + 1 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.03 * kills)
        process.kill()
        process.wait()
    done = inlake(*command, cwd=tmp_path, INLAKE_URL=served.url)
    assert done.returncode == 0, done.stderr
    found = sent_to(served, "killed-table")
    assert sorted(event["record"]["id"] for event in found) == sorted(row.partition(",")[0] for row in rows)
    receipts = {line["id"] for line in json_lines((tmp_path / "receipts.ndjson").read_text())}
    assert receipts == {event["headers"]["ce_id"] for event in found}


def test_killed_and_started_again_every_record_is_one_event(served: Served, tmp_path: Path) -> None:
    (tmp_path / "person.avsc").write_text(json.dumps(PERSON))
    assert served.inlake("schemas", "add", "person", tmp_path / "person.avsc").returncode == 0
    rows = [{"id": str(n), "name": "x" * 6_000, "birth": None} for n in range(4_000)]
    rows[1] |= {"birth": "late"}
    (tmp_path / "people.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["send", "person", "people.ndjson", "--destination", "killed", "--receipts", "receipts.ndjson"]
    for _ in range(2):
        before = log_of(served).count("/ingress/record-json")
        process = subprocess.Popen(
            [sys.executable, "-m", "inlake", *command],
            cwd=tmp_path, env=environment(INLAKE_URL=served.url), stdout=subprocess.DEVNULL,
        )  # fmt: skip
        while log_of(served).count("/ingress/record-json") < before + 2 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.wait()
    done = inlake(*command, cwd=tmp_path, INLAKE_URL=served.url)
    assert (done.returncode, counts(done.stdout)) == (1, {"accepted": 3_999, "rejected": 1}), done.stderr
    assert "are in already, by its journal" in done.stderr
    events = [json.loads(line) for line in served.inlake("tail", "--from-start", "--json").stdout.splitlines()]
    found = [event for event in events if event["key"] == "person/killed"]
    wanted = [row["id"] for row in rows if row["birth"] is None]
    assert [event["record"]["id"] for event in found] == wanted
    receipts = {line["id"] for line in json_lines((tmp_path / "receipts.ndjson").read_text())}
    assert receipts == {event["headers"]["ce_id"] for event in found}
    assert [path.name for path in tmp_path.iterdir() if "journal" in path.name] == []


@pytest.mark.parametrize("name", ["people.csv", "people.ndjson"])
@pytest.mark.parametrize(("earlier", "options"), [("rejects", ["--json"]), ("all", [])])
def test_what_a_run_sent_before_it_was_killed_is_in_once_whatever_receipts_the_next_one_wants(
    served: Served, tmp_path: Path, name: str, earlier: str, options: list[str]
) -> None:
    (tmp_path / "person.avsc").write_text(json.dumps(PERSON))
    assert served.inlake("schemas", "add", "person", tmp_path / "person.avsc").returncode == 0
    records = b'{"id":"1","name":"A","birth":1}\n{"id":"2","name":"B","birth":null}\n'
    (tmp_path / "people.csv").write_text("id,name,birth\n1,A,1\n2,B,\n")
    (tmp_path / "people.ndjson").write_bytes(records)
    to = Address("person", f"{name}-{earlier}-{len(options)}")
    with (
        Client(served.url) as client,
        Journal(_journal(None, client, to, str(tmp_path / name)), target(client, to)) as journal,
    ):
        if name.endswith(".csv"):
            batch, run = Batch(1, records), journal.begin(name, 1, records)
        else:
            resumed = Resumed(journal, name)
            batch, run = next(resumed.batches([records])), resumed.run
        (answer,) = client.send_batches(to, [batch], run=run, receipts=earlier)
        assert answer.summary["accepted"] == 2
    for _ in range(2 if name.endswith(".csv") else 1):
        done = inlake(
            "send", "person", name, f"--destination={to.destination}", *options, cwd=tmp_path, INLAKE_URL=served.url
        )
        assert done.returncode == 0, done.stderr
    assert len(sent_to(served, to.destination or "")) == 2


def test_a_journal_that_is_named_stays_and_a_file_that_is_in_is_not_sent_again(served: Served, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"".join(artworks(3)))
    command = ["send", "tate.artwork", "a.ndjson", "--journal", "j", "--destination", "once"]
    first, second = [inlake(*command, cwd=tmp_path, INLAKE_URL=served.url) for _ in range(2)]
    assert (counts(first.stdout), counts(second.stdout)) == ({"accepted": 3, "rejected": 0},) * 2
    assert "lines 1 to 3 are in already" in second.stderr
    events = [json.loads(line) for line in served.inlake("tail", "--from-start", "--json").stdout.splitlines()]
    assert len([event for event in events if event["key"] == "tate.artwork/once"]) == 3
    (tmp_path / "a.ndjson").write_bytes(b"".join(artworks(2)))
    changed = inlake(*command, cwd=tmp_path, INLAKE_URL=served.url)
    assert (changed.returncode, "changed in lines 1 to 3" in changed.stderr) == (2, True)


def on_a_terminal(served: Served, *arguments: str | Path) -> str:
    """All that a person sees of a command, on a terminal of 120 columns, without the codes that move about."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [sys.executable, "-m", "inlake", *map(str, arguments)]
    variables = environment(**served.variables, TERM="xterm", COLUMNS="120")
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=served.folder, env=variables) as run:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # the terminal ends with the command
            while data := os.read(ours, 65_536):
                seen += data
    os.close(ours)
    assert run.returncode == 0, seen
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())


def test_a_person_sees_share_rate_time_left_and_at_the_end_the_sum(served: Served, tmp_path: Path) -> None:
    records = tmp_path / "artworks.ndjson"
    records.write_bytes(b"".join(artworks(4_000) * 3))  # four requests
    seen = on_a_terminal(served, "send", "tate.artwork", records)
    assert re.search(r"artworks\.ndjson .* [1-9]\d?% [\d,]+ records(, \d+ refused)?, [\d,]+/s \d+:\d\d:\d\d", seen), (
        seen[-3000:]
    )
    assert re.search(r"accepted +12,000\s", seen)
    assert re.search(r"in [\d.]+ s, [\d,]+ records/s", seen)


def test_a_person_sees_how_far_a_binary_is(served: Served, tmp_path: Path) -> None:
    (tmp_path / "object.json").write_bytes(mesh())
    with (tmp_path / "scan.tif").open("wb") as file:
        file.truncate(40 << 20)
    seen = on_a_terminal(
        served, "send", "heritage.digital_object", tmp_path / "object.json", "--binary", tmp_path / "scan.tif"
    )
    assert re.search(r"scan\.tif .* [1-9]\d?% [\d,.]+ MB/s \d+:\d\d:\d\d", seen), seen[-2000:]
    assert re.search(r"in [\d.]+ s, [\d,.]+ MB/s", seen)
