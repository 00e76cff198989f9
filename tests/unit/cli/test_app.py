"""What a command imports, and what it says when it cannot start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from inlake import __version__
from tests.command import environment, inlake

SERVER_LIBRARIES = (  # without pydantic, which Typer needs too
    "confluent_kafka", "fastapi", "fastavro", "httpx2", "msgspec", "multipart", "obstore", "starlette", "uvicorn",
)  # fmt: skip
UNUSED = "http://127.0.0.1:9"


def test_send_imports_no_server_library() -> None:
    report = f"import atexit; atexit.register(lambda: print('FOUND', set(sys.modules) & set({SERVER_LIBRARIES!r})))"
    done = inlake("send", "tate.artwork", "--url", UNUSED, code=report, stdin=b"{}\n")
    assert "FOUND set()" in done.stdout
    assert done.returncode == 3


def test_a_command_starts_without_the_modules_of_the_others() -> None:
    report = "import atexit; atexit.register(lambda: print('FOUND', [n for n in sys.modules if '.commands.' in n]))"
    assert "FOUND ['inlake.cli.commands.send']" in inlake("send", "--help", code=report).stdout
    assert "FOUND ['inlake.cli.commands.keys']" in inlake("keys", "new", "--help", code=report).stdout


def test_a_command_of_the_client_ends_at_once_with_its_code_and_all_that_it_said() -> None:
    """Nothing is left to be taken apart; others end as every program of Python does."""
    program = "import atexit, sys; atexit.register(print, 'APART'); from inlake.__main__ import main; main()"
    for arguments, code, said in (("send", "a", "--url", UNUSED), 3, ""), (("keys", "--help"), 0, "APART\n"):
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, input="{}\n", capture_output=True, env=environment(), text=True, timeout=60)
        assert (done.returncode, done.stdout[-6:]) == (code, said)
        assert ("No gateway answers" in done.stderr) == bool(code)


def test_help_imports_neither_a_server_library_nor_http() -> None:
    libraries = (*SERVER_LIBRARIES, "http.client", "pycurl")
    report = f"import atexit; atexit.register(lambda: print('FOUND', set(sys.modules) & set({libraries!r})))"
    done = inlake("--help", code=report)
    assert "FOUND set()" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("command", [("serve",), ("schemas", "list"), ("tail",), ("config",), ("check", "a.avsc")])
def test_a_missing_server_extra_is_said_with_the_line_to_type(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "a.avsc").write_text('"string"')
    done = inlake(*command, code="sys.modules['msgspec'] = sys.modules['confluent_kafka'] = None", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install '.[server]' in a clone of Inlake, or 'FILE.whl[server]' with a wheel of it." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("group", [(), ("schemas",), ("promise",), ("rejects",), ("keys",), ("rights",)])
def test_no_summary_of_a_command_is_cut_on_a_terminal_of_80_columns(group: tuple[str, ...]) -> None:
    commands = inlake(*group, "--help", COLUMNS="80").stdout.partition("\nCommands:\n")[2]
    assert commands
    assert "..." not in commands


@pytest.mark.parametrize("command", ["send", "upload"])
def test_swapped_arguments_are_said_with_the_command_that_was_meant(tmp_path: Path, command: str) -> None:
    (tmp_path / "my objects.csv").write_text("title\nx\n")
    done = inlake(command, "my objects.csv", "tate.artwork", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "inlake: my objects.csv is a file, and there is none called tate.artwork. The schema comes first: "
        f"`inlake {command} tate.artwork 'my objects.csv'`.\n"
    )


def test_the_version_is_printed() -> None:
    done = inlake("--version")
    assert done.stdout.startswith("inlake 0.")
    assert done.returncode == 0


def test_an_absent_gateway_is_one_sentence_and_exit_code_3() -> None:
    done = inlake("send", "tate.artwork", stdin=b"{}\n", INLAKE_URL=UNUSED)
    assert done.returncode == 3
    assert done.stderr == (
        f"inlake: No gateway answers at {UNUSED}: start one with `inlake serve`, or name another address.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("send", "tate.artwork", "absent.ndjson"), "absent.ndjson: there is no such file."),
        (("send", "tate.artwork", "--url", "localhost:8000"), "it starts with http:// or https://"),
        (("send", "tate.artwork", "--url", "http://[::1"), "is not the address of a gateway"),
        (("schemas", "add", "../up", "absent.avsc"), "is no name of a schema"),
        (("schemas", "add", "a", "absent.avsc"), "absent.avsc: No such file or directory."),
        (("schemas", "add", "a", "notes.txt"), "the name of a schema file ends in .avsc"),
        (("schemas", "add", "a", "b.avsc", "--reference", "name=subject"), "write REFNAME=SUBJECT:VERSION"),
        (("tail", "-n", "0"), "Invalid value for '-n': 0"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = inlake(*arguments, cwd=tmp_path, stdin=b"{}\n")
    assert sentence in done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    done = inlake("tail", cwd=tmp_path, INLAKE_PORT="many")
    assert done.stderr.startswith("inlake: INLAKE_PORT: ")
    assert done.returncode == 2


def test_an_unexpected_error_shows_its_origin_only_with_debug(tmp_path: Path) -> None:
    broken = "import inlake.client; inlake.client.Client = None"
    quiet = inlake("send", "tate.artwork", code=broken, stdin=b"{}\n")
    loud = inlake("--debug", "send", "tate.artwork", code=broken, stdin=b"{}\n")
    assert "Traceback" not in quiet.stderr
    assert "--debug" in quiet.stderr
    assert "Traceback" in loud.stderr


def test_the_version_is_told_without_the_libraries_of_the_commands() -> None:
    program = "import sys; sys.modules['typer'] = None; from inlake.__main__ import main; sys.argv[1:] = ['--version']; main()"
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"inlake {__version__}\n"), done.stderr
