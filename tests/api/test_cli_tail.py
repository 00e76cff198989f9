"""`inlake tail` reads back what a real gateway process published."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.command import EXAMPLES, Served, environment, serving, stopped_by_ctrl_c

AVRO = EXAMPLES / "schemas" / "avro"
COUNT = 14


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway with 14 artists and a mesh."""
    with serving(tmp_path_factory.mktemp("served")) as found:
        for name, file, *options in (
            ("tate.artist", "tate_artist.avsc"),
            ("heritage.rights", "rights.avsc"),
            ("heritage.digital_object", "digital_object.avsc", "--reference=example.heritage.Rights=heritage.rights:1"),
        ):
            assert found.inlake("schemas", "add", name, AVRO / file, *options).returncode == 0
        assert found.inlake("send", "tate.artist", stdin=b"".join(map(artist, range(COUNT)))).returncode == 0
        record = (EXAMPLES / "binaries" / "metadata.avro-untagged.ndjson").read_bytes().splitlines()[0]
        mesh = EXAMPLES / "binaries" / "files" / "spot_triangulated.obj"
        assert found.inlake("send", "heritage.digital_object", "--binary", mesh, stdin=record).returncode == 0
        yield found


def artist(number: int) -> bytes:
    record: dict[str, Any] = {
        "activePlaceCount": 0, "date": None, "fc": f"Artist {number} \x9b[31m", "gender": "Female", "id": number,
        "mda": "", "movements": [], "totalWorks": 0, "url": "",
    }  # fmt: skip
    return json.dumps(record).encode() + b"\n"


def events(served: Served, *options: str) -> list[dict[str, Any]]:
    done = served.inlake("tail", "--json", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_last_ten_are_shown(served: Served) -> None:
    found = events(served)
    assert len(found) == 10
    assert found[-1]["key"] == "heritage.digital_object"
    assert [e["record"]["id"] for e in found[:-1]] == list(range(COUNT - 9, COUNT))


def test_a_number_of_the_last_is_shown(served: Served) -> None:
    assert [e["record"]["id"] for e in events(served, "inlake.tate.artist", "-n", "2")] == [COUNT - 2, COUNT - 1]


def test_from_the_start_all_are_shown(served: Served) -> None:
    found = events(served, "inlake.tate.artist", "--from-start")
    assert [e["record"]["id"] for e in found] == list(range(COUNT))
    assert found[0]["record"]["fc"] == "Artist 0 \x9b[31m"
    assert (found[3]["topic"], found[3]["partition"]) == ("inlake.tate.artist", 0)
    assert found[0]["headers"]["ce_type"] == "tate.artist"
    assert found[0]["timestamp"].endswith("+00:00")


def test_from_the_start_a_number_is_shown(served: Served) -> None:
    assert [e["record"]["id"] for e in events(served, "inlake.tate.artist", "--from-start", "-n", "3")] == [0, 1, 2]


def test_a_person_sees_key_record_and_resource(served: Served) -> None:
    shown = served.inlake("tail", "-n", "1").stdout
    assert shown.startswith("heritage.digital_object ")
    assert '"title": "Spot, triangulated surface"' in shown
    assert "330624 bytes, model/obj, sha256 0738b5e8608fed74" in shown


def test_a_record_cannot_send_control_characters_to_the_terminal(served: Served) -> None:
    shown = served.inlake("tail", "inlake.tate.artist", "-n", "1").stdout
    assert "\x9b" not in shown
    assert "\\u009b[31m" in shown


def test_an_unknown_topic_shows_nothing_or_says_so(served: Served) -> None:
    done = served.inlake("tail", "inlake.unknown")
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_new_events_are_followed_until_ctrl_c(served: Served) -> None:
    with following(served, "--from-start") as process:
        assert process.stdout is not None
        seen = [json.loads(process.stdout.readline())["offset"] for _ in range(COUNT)]
        served.inlake("send", "tate.artist", stdin=artist(99))
        assert json.loads(process.stdout.readline())["record"]["id"] == 99
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert seen == sorted(seen)


def test_a_reader_that_goes_away_is_no_error(served: Served) -> None:
    with following(served, "--from-start") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        served.inlake("send", "tate.artist", stdin=artist(100) + artist(101))
        assert process.wait(timeout=20) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


def following(served: Served, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "inlake", "tail", "inlake.tate.artist", "--follow", "--json", *options]
    return subprocess.Popen(
        command,
        cwd=served.folder,
        env=environment(**served.variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=stopped_by_ctrl_c,  # noqa: PLW1509 - no thread of ours runs here
    )
