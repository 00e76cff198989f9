"""The Python client against a real gateway process."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from inlake.client import Client, Refused, Unreachable, Upload
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
    with serving(folder) as found:
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
