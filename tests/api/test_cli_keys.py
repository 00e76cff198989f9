"""`inlake keys`, and what somebody with and without a key gets from a gateway."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import EXAMPLES, Served, inlake, serving

AVRO = EXAMPLES / "schemas" / "avro"
MESH = EXAMPLES / "binaries" / "files" / "spot_triangulated.obj"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """A gateway with keys, and the one that fits."""
    folder = tmp_path_factory.mktemp("keys")
    made = inlake("keys", "new", "museum@ch", "--file", "keys.txt", "--json", cwd=folder)
    with serving(folder, INLAKE_API_KEYS="keys.txt") as found:
        assert found.inlake("schemas", "add", "tate.artist", AVRO / "tate_artist.avsc").returncode == 0
        yield found, json.loads(made.stdout)["key"]


def test_a_key_is_printed_once_with_its_line(tmp_path: Path) -> None:
    done = inlake("keys", "new", "museum", cwd=tmp_path)
    _, key, _, line = done.stdout.splitlines()
    assert line == f"museum:{hashlib.sha256(key.encode()).hexdigest()}"
    assert len(key) >= 40
    assert key not in inlake("keys", "new", "museum").stdout
    assert list(tmp_path.iterdir()) == []


def test_lines_are_added_to_a_file_for_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "there").write_text(f"# those who send\nold:{'0' * 64}")
    for file in "there", "new":
        done = inlake("keys", "new", "museum", "--file", file, cwd=tmp_path)
        assert (tmp_path / file).read_text().splitlines()[-1] == done.stdout.splitlines()[-1]
    assert len((tmp_path / "there").read_text().splitlines()) == 3
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_name_that_no_line_can_hold_is_refused(tmp_path: Path) -> None:
    done = inlake("keys", "new", "the museum", "--file", "keys", cwd=tmp_path)
    assert done.returncode == 2
    assert "is no name of a sender" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_who_has_a_key_may_send(served: tuple[Served, str]) -> None:
    gateway, key = served
    file = EXAMPLES / "tate" / "artists.ndjson.gz"
    assert gateway.inlake("send", "tate.artist", "--token", key, file).returncode == 0
    done = inlake("send", "tate.artist", file, INLAKE_URL=gateway.url, INLAKE_TOKEN=key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "by token%3Amuseum%40ch" in gateway.inlake("tail", "-n", "1").stdout


@pytest.mark.parametrize("options", [(), ("--token", "wrong")])
@pytest.mark.parametrize("files", [("tate/artists.ndjson.gz",), ("tate/artworks.ndjson.gz", "tate/artists.ndjson.gz")])
def test_who_has_none_is_told_in_one_sentence(
    served: tuple[Served, str], options: tuple[str, ...], files: tuple[str, ...]
) -> None:
    gateway, _ = served
    done = gateway.inlake("send", "tate.artist", *options, *(EXAMPLES / file for file in files))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "INLAKE_TOKEN" in done.stderr


def test_so_is_who_sends_a_binary(served: tuple[Served, str]) -> None:
    gateway, _ = served
    done = gateway.inlake("send", "tate.artist", "--binary", MESH, stdin=b"{}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "INLAKE_TOKEN" in done.stderr


def test_the_tab_key_offers_schemas_of_the_gateway(served: tuple[Served, str], tmp_path: Path) -> None:
    gateway, key = served
    asked: dict[str, Any] = {"_INLAKE_COMPLETE": "complete_bash", "COMP_WORDS": "inlake send ta", "COMP_CWORD": "2"}
    offered = inlake(**asked, INLAKE_URL=gateway.url, INLAKE_TOKEN=key)
    assert offered.stdout.split() == ["tate.artist"]
    away = inlake(**asked, INLAKE_URL="http://127.0.0.1:9", cwd=tmp_path)
    assert away.stdout.split() == []
    assert "Traceback" not in away.stderr
