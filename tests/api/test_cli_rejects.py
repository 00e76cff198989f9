"""`inlake rejects` against a real gateway process on embedded adapters."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.command import Served, environment, serving
from tests.gateways import NOTE


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as found:
        (found.folder / "note.avsc").write_text(json.dumps(NOTE))
        assert found.inlake("schemas", "add", "note", "note.avsc").returncode == 0
        yield found


def refuse(served: Served, *lines: str) -> None:
    assert served.inlake("send", "note", "-", stdin="\n".join(lines).encode()).returncode == 1


def test_a_cause_is_listed_shown_exported_mended_and_gone(served: Served, tmp_path: Path) -> None:
    assert served.inlake("rejects", "list").stdout == "No record of yours is refused and not mended.\n"
    refuse(served, *(f'{{"title": "{n}", "tags":  [1.50]}}' for n in range(3)))
    listed = served.inlake("rejects", "list")
    assert "3 records of note\n  wrong_type at /tags/*\n" in listed.stdout
    (cause,) = map(json.loads, served.inlake("rejects", "list", "--json").stdout.splitlines())
    shown = served.inlake("rejects", "show", cause["example"])
    assert "sent by anonymous, line " in shown.stdout
    assert ', "tags":  [1.50]}' in shown.stdout
    exported = served.inlake("rejects", "export", cause["id"])
    assert min(exported.stdout.splitlines()) == '{"title": "0", "tags":  [1.50]}'
    wrong = served.inlake("rejects", "resend", cause["id"], "--set", "/tags/0=2", "--dry-run")
    assert (wrong.returncode, wrong.stdout) == (1, "0 would be accepted, 3 still refused.\n")
    assert wrong.stderr.count("/tags/0: ") == 3
    nowhere = served.inlake("rejects", "resend", cause["example"], "--set", "/other/place=1")
    assert (nowhere.returncode, nowhere.stderr) == (1, f"{cause['example']}: There is nothing at /other\n")
    sent = served.inlake("rejects", "resend", cause["id"], "--set", "/tags/0=etching")
    assert (sent.returncode, sent.stdout) == (0, "3 sent and accepted, 0 still refused.\n"), sent.stderr
    assert served.inlake("rejects", "list").stdout == "No record of yours is refused and not mended.\n"
    assert "event " in served.inlake("rejects", "show", cause["example"]).stdout
    assert served.inlake("tail").stdout.count('"etching"') == 3


@pytest.mark.parametrize("columns", [60, 80])
def test_on_a_terminal_no_word_of_a_list_is_broken(served: Served, columns: int) -> None:
    refuse(served, '{"title": "x", "year": "around the middle of the nineteenth century, after a drawing", "tags": []}')
    whole = served.inlake("rejects", "list").stdout
    text = on_terminal(served, columns, "rejects", "list")
    assert max(map(len, whole.splitlines())) > 80
    assert max(map(len, text.splitlines())) <= columns
    assert text.split() == whole.split()
    assert served.inlake("rejects", "resend", "--set", "/year=null").returncode == 0


def test_on_a_terminal_no_word_of_a_failure_is_broken(served: Served) -> None:
    command = "rejects", "show", str(UUID(int=0))
    whole, text = served.inlake(*command).stderr, on_terminal(served, 60, *command)
    assert max(map(len, text.splitlines())) <= 60 < len(whole)
    assert text.split() == whole.split()


def on_terminal(served: Served, columns: int, *arguments: str) -> str:
    """All that a command writes on a terminal of so many columns."""
    screen, terminal = pty.openpty()
    variables = environment(**served.variables, COLUMNS=str(columns), LINES="24", TERM="xterm")
    command = [sys.executable, "-m", "inlake", *arguments]
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, env=variables, cwd=served.folder) as process:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # Linux says so at the end
            while read := os.read(screen, 10_000):
                shown += read
        process.wait(30)
    os.close(screen)
    return shown.decode()


def test_of_many_that_still_do_not_fit_ten_are_shown(served: Served) -> None:
    refuse(served, *(f'{{"title": "{n}", "year": "n.d. {n}", "tags": []}}' for n in range(13)))
    done = served.inlake("rejects", "resend", "--dry-run")
    assert (done.returncode, done.stdout) == (1, "0 would be accepted, 13 still refused.\n")
    *shown, more = done.stderr.splitlines()
    assert (len(shown), more) == (10, "... and 3 more: `inlake rejects list` has them by their causes.")
    assert served.inlake("rejects", "resend", "--set", "/year=null").returncode == 0


def test_a_star_in_a_pointer_is_each_place_that_is_wrong(served: Served) -> None:
    refuse(served, '{"title": "star", "tags": [1, "print", 2]}', '{"title": "star", "tags": ["print", 3]}')
    (cause,) = map(json.loads, served.inlake("rejects", "list", "--json").stdout.splitlines())
    sent = served.inlake("rejects", "resend", cause["id"], "--set", "/tags/*=etching")
    assert (sent.returncode, sent.stdout) == (0, "2 sent and accepted, 0 still refused.\n"), sent.stderr
    records = [json.loads(line)["record"] for line in served.inlake("tail", "--json").stdout.splitlines()]
    assert sorted(record["tags"] for record in records if record["title"] == "star") == [
        ["etching", "print", "etching"],
        ["print", "etching"],
    ]


def test_what_is_wrong_with_the_command_is_said(served: Served) -> None:
    wrong = served.inlake("rejects", "resend", "--set", "title=x")
    assert (wrong.returncode, "write POINTER=VALUE" in wrong.stderr) == (2, True)
    unknown = served.inlake("rejects", "show", "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa")
    assert (unknown.returncode, "There is no such reject" in unknown.stderr) == (1, True)
    cause = served.inlake("rejects", "resend", "ffffffffffffffff")
    assert (cause.returncode, "`inlake rejects list` has all causes" in " ".join(cause.stderr.split())) == (2, True)
