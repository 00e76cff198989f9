"""Hostile bodies for a gateway's real process, in all languages: its memory stays, and the next request is served.

By default they are small; INLAKE_TEST_HOSTILE=full makes them a line of 1 GB, bombs of 2 GB and a million errors.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest
from backports import zstd

from tests.command import Served, serving
from tests.foreign import register, sqlite_events
from tests.watching import MIB, watched

FULL = os.environ.get("INLAKE_TEST_HOSTILE") == "full"
LONG_LINE = (1000 if FULL else 50) * MIB
BOMB = (2000 if FULL else 100) * MIB
BAD = 1_000_000 if FULL else 4_000
ERRORS = 1_000_000
SECONDS = 30
"""Longest for a hostile request of the small size, on a machine that has other work."""
NOTES = {
    "AVRO": '{"type": "record", "name": "Note", "fields": [{"name": "title", "type": "string"},'
    ' {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []}]}',
    "PROTOBUF": 'syntax = "proto3"; message Note { string title = 1; repeated string tags = 2; }',
    "JSON": '{"type": "object", "required": ["title"], "additionalProperties": false, "properties":'
    ' {"title": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}}}',
}
GOOD = b'{"title": "a"}'
RECORD = b'{"title": "%b"}\n' % (b"a" * 10_000)
NDJSON = {"content-type": "application/x-ndjson"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000 if FULL else 300)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = {"INLAKE_MAX_RECORD_BYTES": "4000000", "INLAKE_MAX_INFLATED": str(20_000 * MIB)}
    with serving(tmp_path_factory.mktemp("hostile"), INLAKE_TOPIC="{schema}", **settings) as served:
        for language, text in NOTES.items():
            register(served, language, text, language)
        for language in NOTES:  # what it imports late is there, and receipts are
            first = b"\n".join([GOOD, b"{}", b"[]"] * 1000)
            assert post(served, language, first, NDJSON).status_code == 207
        yield served


@pytest.fixture(params=NOTES if FULL else ["AVRO"])
def any_language(request: pytest.FixtureRequest) -> str:
    """For bodies that are refused before a codec sees them."""
    return str(request.param)


@pytest.fixture(params=NOTES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def url_of(served: Served, language: str) -> str:
    return f"{served.url}/ingress/record-json?schema={language}"


def post(
    served: Served, language: str, content: bytes | Iterator[bytes], headers: dict[str, str] | None = None
) -> httpx2.Response:
    return httpx2.post(url_of(served, language), content=content, headers=headers, timeout=3000, trust_env=False)


@contextmanager
def survived(served: Served, language: str, what: str, *, most: int = 100 * MIB) -> Iterator[None]:
    """Memory was bounded, no descriptor is left, and the next request is served at once."""
    gateway = psutil.Process(served.process.pid)
    descriptors = gateway.num_fds()
    with watched(served, f"{language}, {what}", most=most):
        yield
        began = time.monotonic()
        assert post(served, language, GOOD, {"content-type": "application/json"}).status_code == 201
        assert time.monotonic() - began < SECONDS
    wait_until(lambda: gateway.num_fds() <= descriptors + 1)


# ------------------------------------------------------------------------------------------------------- broken streams
def numbered(first: int, count: int) -> bytes:
    return b"".join(b'{"title":"%d"}\n' % n for n in range(first, first + count))


def titles(served: Served, language: str, after: int) -> list[bytes]:
    """Of the events after the first so many, as they stand in the value: in all languages the title is plain text."""
    values = [event.value for event in sqlite_events(served, language)][after:]
    return [b"".join(bytes([byte]) for byte in value[5:] if chr(byte).isdigit()) for value in values]


def count_of(served: Served, language: str) -> int:
    return sum(1 for _ in sqlite_events(served, language))


def test_a_client_that_is_killed_half_way_leaves_whole_records_in_order(served: Served, language: str) -> None:
    before = count_of(served, language)
    command = ["curl", "-sSN", "--noproxy", "*", "-H", "Content-Type: application/x-ndjson", "--upload-file", "-"]
    with survived(served, language, "killed client"):
        curl = subprocess.Popen(
            [*command, "--request", "POST", url_of(served, language)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert curl.stdin
        curl.stdin.write(numbered(100_000, 6_000) + b'{"title":"1999')
        curl.stdin.flush()
        wait_until(lambda: count_of(served, language) >= before + 1000)
        curl.kill()
        curl.communicate()
    wait_for_quiet(served, language)
    published = [title for title in titles(served, language, before) if title]  # the good record has no digits
    assert published == [b"%d" % n for n in range(100_000, 100_000 + len(published))]
    assert len(published) >= 1000


def test_a_connection_that_is_reset_half_way_does_no_harm(served: Served, language: str) -> None:
    at = urlsplit(served.url)
    with survived(served, language, "reset connection"):
        for _ in range(10):
            with socket.create_connection((at.hostname, at.port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                head = f"POST /ingress/record-json?schema={language} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 90000000\r\n\r\n"
                client.sendall(head.encode() + numbered(0, 3000) + b'{"title"')


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def wait_for_quiet(served: Served, language: str) -> None:
    """Nothing more is published: what a killed client sent is either out or gone."""
    seen, end = -1, time.monotonic() + SECONDS
    while seen != (seen := count_of(served, language)):
        assert time.monotonic() < end
        time.sleep(0.3)


def test_half_a_line_at_the_end_is_refused_and_sinks_nothing(served: Served, language: str) -> None:
    with survived(served, language, "half a line"):
        answer = post(served, language, GOOD + b"\n" + GOOD + b'\n{"title": "ab', NDJSON)
    *receipts, last = map(json.loads, answer.text.splitlines())
    assert [(r["status"], r.get("code")) for r in receipts] == [(201, None), (201, None), (400, "malformed_json")]
    assert last["summary"] == {"accepted": 2, "pending": 0, "rejected": 1, "failed": 0}


# ----------------------------------------------------------------------------------------------------------------- size
def test_a_line_without_end_is_refused_and_sinks_nothing(served: Served, any_language: str) -> None:
    def body() -> Iterator[bytes]:
        yield GOOD + b'\n{"title": "'
        for _ in range(LONG_LINE // MIB):
            yield b"x" * MIB
        yield b'"}\n' + GOOD

    with survived(served, any_language, f"line of {LONG_LINE // MIB} MiB"):
        answer = post(served, any_language, body(), NDJSON)
    *receipts, last = map(json.loads, answer.text.splitlines())
    assert [(r["status"], r.get("code")) for r in receipts] == [(201, None), (413, "line_too_long"), (201, None)]
    assert last["complete"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("filling", [b" ", b"\n", RECORD], ids=["spaces", "blank lines", "records"])
def test_a_bomb_is_cut_off(served: Served, any_language: str, encoding: str, filling: bytes) -> None:
    def body() -> Iterator[bytes]:
        made = zlib.compressobj(9, wbits=31) if encoding == "gzip" else zstd.ZstdCompressor(19)
        yield made.compress(GOOD + b"\n")
        piece = filling * (MIB // len(filling))
        for _ in range(BOMB // MIB):
            if part := made.compress(piece):
                yield part
        yield made.flush()

    headers = {**NDJSON, "content-encoding": encoding}
    with survived(served, any_language, f"bomb of {filling[:3]!r} by {encoding}"):
        answer = post(served, any_language, b"".join(body()), headers)
    first, *_, last = map(json.loads, answer.text.splitlines())
    assert first["status"] == 201
    assert (last["complete"], last["code"]) == (False, "body_too_large")


def test_one_record_that_is_a_bomb_is_too_large(served: Served, any_language: str) -> None:
    bombs = {"gzip": zlib.compress(b" " * BOMB, 9, wbits=31), "zstd": zstd.compress(b" " * BOMB)}
    for encoding, bomb in bombs.items():
        with survived(served, any_language, f"record that is a bomb by {encoding}"):
            headers = {"content-type": "application/json", "content-encoding": encoding}
            answer = post(served, any_language, bomb, headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "record_too_large")


# ----------------------------------------------------------------------------------------------- nesting and many errors
@pytest.mark.parametrize("levels", [10_000, 1_900_000] if FULL else [10_000])
def test_deep_nesting_is_refused(served: Served, language: str, levels: int) -> None:
    deep = b'{"title": ' + b"[" * levels + b"]" * levels + b"}"
    with survived(served, language, f"{levels:,} nested arrays"):
        single = post(served, language, deep, {"content-type": "application/json"})
        lines = post(served, language, GOOD + b"\n" + deep + b"\n" + GOOD, NDJSON)
    assert (single.status_code, [e["code"] for e in single.json()["errors"]]) == (422, ["too_deep"])
    assert [json.loads(line)["status"] for line in lines.text.splitlines()[:-1]] == [201, 422, 201]


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        (b"{}\n", 422, "record_rejected"),
        (b"{\n", 400, "malformed_json"),
        (b'{"tags":[1,2,3]}\n', 422, "record_rejected"),
    ],
    ids=["no title", "no json", "many errors"],
)
def test_very_many_bad_lines_all_come_back(served: Served, language: str, bad: bytes, status: int, code: str) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(BAD // 1000):
            yield bad * 1000

    if language == "PROTOBUF" and bad == b"{}\n":
        bad = b"[]\n"  # nothing is required there
    rejects = 0
    with (
        survived(served, language, f"{BAD:,} lines {bad!r}"),
        httpx2.stream(
            "POST", url_of(served, language), content=body(), headers=NDJSON, timeout=3000, trust_env=False
        ) as answer,
    ):
        for text in answer.iter_lines():
            receipt = json.loads(text)
            if "summary" in receipt:
                break
            rejects += 1
            assert (receipt["line"], receipt["status"], receipt["code"]) == (rejects, status, code)
    assert receipt == {
        "summary": {"accepted": 0, "pending": 0, "rejected": BAD, "failed": 0},
        "complete": True,
    }


def test_a_record_with_a_million_errors_names_a_hundred(served: Served, language: str) -> None:
    record = b'{"title": "a", "tags": [' + b"1," * (ERRORS - 1) + b"1]}"
    with survived(served, language, f"{ERRORS:,} errors in a record", most=300 * MIB):
        began = time.monotonic()
        answer = post(served, language, record, {"content-type": "application/json"})
        assert time.monotonic() - began < SECONDS
    assert (answer.status_code, answer.json()["code"]) == (422, "record_rejected")
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert pointers == [f"/tags/{n}" for n in range(len(pointers))]
    assert 1 <= len(pointers) <= 100
