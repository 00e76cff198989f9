"""The Python client against a real gateway process."""

from __future__ import annotations

import hashlib
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inlake.client import Address, Client, Refused, Unreachable, Upload
from tests.command import Served, serving

SCHEMA = {
    "type": "record",
    "name": "Letter",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "year", "type": "int", "default": 0},
        {"name": "__resource_path__", "type": ["null", "string"], "default": None},
    ],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "letter.avsc").write_text(json.dumps(SCHEMA))
    (folder / "in place").mkdir()
    with serving(folder, INLAKE_IN_PLACE="file:in place") as found:
        added = found.inlake("schemas", "add", "letter", folder / "letter.avsc")
        assert added.returncode == 0, added.stderr
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url) as found:
        yield found


def test_a_record_is_sent_as_a_mapping_or_as_text(client: Client) -> None:
    first = client.send_record("letter", {"text": "Mesdames"}, destination="archive")
    second = client.send_record("letter", b'{"text": "Messieurs"}', destination="archive", version=1)
    assert first["key"] == "letter/archive"
    assert second["offset"] == first["offset"] + 1
    assert second["schema"]["version"] == 1


def test_a_refused_record_raises_with_all_reasons(client: Client) -> None:
    with pytest.raises(Refused) as caught:
        client.send_record("letter", {"year": "1789", "name": "x"})
    assert (caught.value.status, caught.value.code) == (422, "record_rejected")
    assert {e["pointer"] for e in caught.value.errors} == {"/text", "/year", "/name"}


def test_many_records_are_sent_from_a_generator(client: Client) -> None:
    lines = (json.dumps({"text": f"letter {n}", "year": n}).encode() for n in range(5_000))
    *receipts, last = client.send_records("letter", lines)
    assert [r["line"] for r in receipts] == list(range(1, 5_001))
    assert last["summary"]["accepted"] == 5_000


def test_only_rejects_come_back_when_asked_for(client: Client) -> None:
    found = list(client.send_records("letter", [b'{"text": "a"}', b"{}", b'{"text": "c"}'], receipts="rejects"))
    assert [r.get("line") for r in found] == [2, None]


def test_a_line_separator_within_a_receipt_does_not_split_it(client: Client) -> None:
    refused, _ = client.send_records("letter", ['{"text": "a", "year": "x\u2028y\u0085z"}'.encode()])
    assert [e["pointer"] for e in refused["errors"]] == ["/year"]


def test_a_fault_in_the_lines_comes_out_as_it_is(client: Client) -> None:
    def lines() -> Iterator[bytes]:
        yield b'{"text": "a"}'
        raise KeyError("the export is broken")

    with pytest.raises(KeyError):
        list(client.send_records("letter", lines()))
    assert client.send_record("letter", {"text": "after"})["id"]


def test_a_binary_is_sent_from_an_open_file(client: Client) -> None:
    upload = Upload.of(io.BytesIO(b"page one"), "letter \u00e9t\u00e9.txt", "text/plain; charset=utf-8")
    receipt = client.send_binary("letter", {"text": "with its scan"}, upload)
    resource: dict[str, Any] = receipt["resource"]
    assert (resource["size"], resource["filename"]) == (8, "letter \u00e9t\u00e9.txt")


def test_a_large_binary_with_a_refused_record_is_told_why(client: Client) -> None:
    with pytest.raises(Refused) as caught:
        client.send_binary("letter", {"year": 1}, Upload.of(io.BytesIO(b"x" * (32 << 20)), "scan.tif"))
    assert caught.value.errors[0]["pointer"] == "/text"


def test_an_unknown_route_below_the_address_is_a_problem(served: Served) -> None:
    with Client(served.url + "/elsewhere") as client, pytest.raises(Refused) as caught:
        client.send_record("letter", {"text": "a"})
    assert caught.value.status == 404


def test_an_absent_gateway_is_named() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unreachable, match="No gateway answers at"):
        client.send_record("letter", {"text": "a"})


def test_a_silent_gateway_is_waited_for_no_longer_than_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout=0.2) as client, pytest.raises(Unreachable, match=r"silent for 0\.2 s"):
            client.send_record("letter", {"text": "a"})


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost", "http://[::1"])
def test_an_address_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not the address of a gateway"):
        Client(url)


def test_many_records_are_mappings_or_lines_or_a_file(client: Client, tmp_path: Path) -> None:
    *receipts, last = client.send_many("letter", [{"text": "a"}, b'{"text": "b"}', {"name": "c"}])
    assert [receipt["status"] for receipt in receipts] == [201, 201, 422]
    assert last["summary"] == {"accepted": 2, "pending": 0, "rejected": 1, "failed": 0}
    (tmp_path / "letters.json").write_text('[{"text": "a"}, {"text": "b"}]')
    *receipts, last = client.send_many(Address("letter", "archive"), tmp_path / "letters.json")
    assert [receipt["key"] for receipt in receipts] == ["letter/archive"] * 2
    assert last["summary"]["accepted"] == 2


def test_the_rows_of_a_table_become_records_by_the_schema(client: Client, tmp_path: Path) -> None:
    (tmp_path / "letters.csv").write_text("Wort;year\na;1890\nb;about 1890\nc;99999999999\nd;1900\n")
    (tmp_path / "map.toml").write_text('[columns]\n"Wort" = "/text"\n')
    *receipts, last = client.send_many("letter", tmp_path / "letters.csv", map_=tmp_path / "map.toml")
    assert sorted((receipt["row"], receipt["status"]) for receipt in receipts) == [
        (2, 201), (3, 422), (4, 422), (5, 201),
    ]  # fmt: skip
    assert last["summary"] == {"accepted": 2, "pending": 0, "rejected": 2, "failed": 0}


def test_a_collection_goes_in_once_and_comes_back(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in "a.txt", "b.txt", "c.txt", "d.txt":
        (folder / name).write_text(f"the bytes of {name}")
    (folder / "letters.csv").write_text("text,year,file\nA,1890,a.txt\nB,about 1890,b.txt\nC,1900,c.txt\n")
    states = {}
    for outcome in client.upload_many("letter", folder, table=folder / "letters.csv"):
        states[outcome.item.name] = outcome.state
        if outcome.sent:
            sha256 = hashlib.sha256((folder / outcome.item.name).read_bytes()).hexdigest()
            assert outcome.sent.receipt["resource"]["sha256"] == sha256
    assert states == {"a.txt": "accepted", "b.txt": "wrong", "c.txt": "accepted", "d.txt": "wrong"}

    again = list(client.upload_many("letter", folder, table=folder / "letters.csv", jobs=1))
    receipts = [outcome.sent.receipt for outcome in again if outcome.sent]
    assert [outcome.state for outcome in again if outcome.sent] == ["in already"] * 2
    assert [verdict.differences for verdict in client.verify(receipts)] == [()] * 2
    forged = {**receipts[0], "resource": {**receipts[0]["resource"], "sha256": "0" * 64}}
    (verdict,) = client.verify([forged, {"id": "without an object", "resource": None}])
    assert "SHA-256" in verdict.differences[0]
    back = client.get(receipts[0]["resource"]["puuid"], tmp_path)
    assert back.read_bytes() == (folder / back.name).read_bytes()
    (tmp_path / "r.ndjson").write_text("".join(json.dumps({**one, **one["resource"]}) + "\n" for one in receipts))
    for given in receipts, tmp_path / "r.ndjson":
        assert sorted(path.name for path in client.get_many(given, tmp_path)) == ["a.txt", "c.txt"]


def test_files_of_several_sources_have_their_records_beside_them(client: Client, tmp_path: Path) -> None:
    sources = []
    for name in "one", "two":
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(name)
        (tmp_path / name / f"{name}.txt.json").write_text(json.dumps({"text": name}))
        sources.append(tmp_path / name)
    found = list(client.upload_many(Address("letter", "beside"), sources, journal=tmp_path / "journal"))
    assert [outcome.state for outcome in found] == ["accepted"] * 2
    assert {outcome.sent.receipt["key"] for outcome in found if outcome.sent} == {"letter/beside"}


def test_objects_that_are_in_the_store_get_their_events_once(served: Served, client: Client, tmp_path: Path) -> None:
    scans = served.folder / "in place"
    for name in "a.txt", "b.txt", "c.txt":
        (scans / name).write_text(name)
    table, journal = tmp_path / "t.csv", tmp_path / "journal"
    table.write_text("text,file\nA,a.txt\nB,b.txt\n")
    to, given = Address("letter", "in-place"), {"table": table, "journal": journal}
    found = list(client.upload_in_place(to, scans.as_uri(), **given))
    assert {o.item.name: o.state for o in found} == {"a.txt": "accepted", "b.txt": "accepted", "c.txt": "wrong"}
    table.write_text("text,file\nC,c.txt\n")
    again = list(client.upload_in_place(to, [scans.as_uri()], **given))
    assert {o.item.name: o.state for o in again} == {"a.txt": "in already", "b.txt": "in already", "c.txt": "accepted"}
    (scans / "a.txt").write_text("another")
    (changed,) = (o for o in client.upload_in_place(to, scans.as_uri(), **given) if o.item.name == "a.txt")
    assert (changed.state, changed.faults[0].detail.startswith("Its object changed")) == ("changed", True)
