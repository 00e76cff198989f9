"""Go's protojson as a second opinion about ProtoJSON: the strictest of the official implementations."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.google_protobuf import Google
from tests.unit.formats.protobuf.test_properties import CODECS, GOOGLES, SCHEMA, encode, messages, mutated, same
from tests.unit.formats.protobuf.test_rules import AGREED, REFUSED, STRICTER

SOURCE = Path(__file__).parents[1] / "go/protojson"
Ask = Callable[[bytes], bytes | None]

LAXER_IN_GO = {
    # a number is not made 0 here; an integer is kept exactly or refused; a duration has no plus; the type of an Any is a URL
    '{"single":16777217}', '{"double":9007199254740993}', '{"double":"9007199254740993"}',
    '{"double":1e-400}', '{"single":"1e-99999999999999999999"}', '{"value":{"a":1e-400}}', '{"lasting":"+1s"}', '{"any":{"@type":"test.Everything"}}',
}  # fmt: skip

STRICTER_IN_GO = re.compile(rb'"(many_?[vV]alues|many_?[nN]othing|value_?[bB]y_?[nN]ame)": *null')
"""Null stands for an absent list or map; Go takes it for a value where the elements are `Value` or `NullValue`."""


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """A function that gives Go's bytes for a JSON text, None when Go refuses it."""
    if not shutil.which("go"):
        pytest.skip("go is not installed")
    folder = tmp_path_factory.mktemp("protojson")
    built = subprocess.run(["go", "build", "-o", folder / "protojson", "."], cwd=SOURCE, capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"the Go program cannot be built here: {built.stderr[-300:]}")
    (folder / "set").write_bytes(Google(SCHEMA, "test.Everything").files.SerializeToString())
    command: list[str | Path] = [folder / "protojson", folder / "set", "test.Everything"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def ask(text: bytes) -> bytes | None:
            stdin.write(text + b"\n")
            stdin.flush()
            answer = stdout.readline().strip()
            return None if answer == b"refused" else bytes.fromhex(answer.decode())

        yield ask
        stdin.close()


def agree(go: Ask, text: bytes) -> None:
    ours, theirs = encode(CODECS[0], text), go(text)
    if ours is not None and theirs is None and STRICTER_IN_GO.search(text):
        return
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        plain = [GOOGLES[0].to_plain(GOOGLES[0].from_bytes(one)) for one in (ours, theirs)]
        assert same(GOOGLES[0], ours, theirs) or (b"NaN" in text and plain[0] == plain[1])  # NaN has many bit patterns


@pytest.mark.parametrize("text", [one for line in AGREED.splitlines() for one in line.split(" ") if one])
def test_go_takes_what_google_s_python_takes_too(go: Ask, text: str) -> None:
    agree(go, text.encode())


@pytest.mark.parametrize("text", [text for text, *_ in REFUSED + STRICTER])
def test_go_refuses_what_we_refuse(go: Ask, text: str) -> None:
    if text in LAXER_IN_GO:
        assert go(text.encode()) is not None
    else:
        assert go(text.encode()) is None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_records_are_the_same_to_go(go: Ask, data: st.DataObject) -> None:
    agree(go, json.dumps(data.draw(st.one_of(messages(CODECS[0].root), mutated(CODECS[0].root)))).encode())
