"""Whatever a client sends: a documented answer, nothing left behind, and the next request works."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from inlake.errors import every_error
from tests.command import Served, log_of, serving
from tests.gateways import NOTE, Answer, Gateway, embedded

COUNT = int(os.environ.get("INLAKE_TEST_EXAMPLES", "100"))
"""For each test; a thousand take some minutes."""
EXAMPLES = settings(deadline=None, max_examples=COUNT, suppress_health_check=list(HealthCheck))
CODES = {error.code: error.status for error in every_error()}
FAULTS = {"internal_error"}
RECORDS = "/ingress/record-json"
BOTH = "/ingress/record-json-and-binary"
RECORD = b'{"title": "a", "year": 1900, "tags": ["b"]}'
ENVELOPE = b'{"schema": "note", "destination": "d/e", "record": ' + RECORD + b"}"
OF_THE_FIRST_INLAKE = b'{"key_inlk": "note/d", "content": "{\\"title\\": \\"a\\"}", "url_filestore": null}'
FORM = (
    b'preamble\r\n--frontier\r\nContent-Disposition: form-data; name="record"\r\nContent-Type: application/json\r\n\r\n'
    + RECORD
    + b'\r\n--frontier\r\nContent-Disposition: form-data; name="file"; filename="spot.obj"\r\n'
    + b"Content-Type: model/obj\r\n\r\nv 0 0 0\r\n--frontier--\r\nepilogue"
)
FILE_FIRST = (
    b"--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''a%20b\r\n\r\nv 0 0 0\r\n"
    b'--frontier\r\nContent-Disposition: form-data; name="record"\r\n\r\n' + RECORD + b"\r\n--frontier--\r\n"
)


@dataclass
class World:
    """One gateway for all examples of a test, in a loop of its own: hypothesis calls functions that are not async."""

    loop: asyncio.AbstractEventLoop
    gateway: Gateway
    errors: list[str] = field(default_factory=list)

    def send(self, *arguments: Any, **named: Any) -> Answer:
        return self.loop.run_until_complete(self.gateway.post(*arguments, **named))

    def left(self) -> tuple[list[str], list[str]]:
        """Objects, and promises that are open."""

        async def look() -> tuple[list[str], list[str]]:
            return await self.gateway.objects(), await self.gateway.open_promises()

        return self.loop.run_until_complete(look())

    def judge(self, answer: Answer, before: tuple[list[str], list[str]]) -> None:
        """The law of this file."""
        logged, self.errors[:] = [*self.errors], []
        assert logged == []
        if answer.status == 0:  # the client had gone
            assert self.left() == before
            return
        event(f"status {answer.status}")
        check(answer)
        objects, open_promises = self.left()
        assert open_promises == [], "an open promise is left"
        if answer.status >= 400:
            assert objects == before[0], "an object of a refused request is left"


def check(answer: Answer) -> None:
    """A documented status; every error is a problem document with a known code."""
    kind = answer.headers["content-type"]
    if kind == "application/x-ndjson":
        *receipts, last = answer.lines()
        assert "summary" in last
        problems = [receipt for receipt in receipts if receipt["status"] >= 400]
        assert all(receipt["line"] > 0 for receipt in receipts)
    elif answer.status >= 400:
        assert kind == "application/problem+json"
        problems = [answer.json()]
        assert (problems[0]["status"], problems[0]["type"]) == (answer.status, f"/docs/errors#{problems[0]['code']}")
    else:
        assert answer.status in {200, 201, 304}
        problems = []
    for problem in problems:
        assert CODES[problem["code"]] == problem["status"]
        assert problem["code"] not in FAULTS
        assert problem["status"] < 500 or problem["status"] in {501, 503, 507}


class _Errors(logging.Handler):
    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(self.format(record))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        entering = embedded(
            tmp_path_factory.mktemp("fuzz"),
            window_ms=5,
            body_idle_seconds=1,
            max_record_bytes=20_000,
            max_binary_bytes=200_000,
            drain_seconds=0.1,
            registry_latest_seconds=60,
        )
        world = World(loop, runner.run(entering.__aenter__()))
        handler = _Errors(world.errors)
        logging.getLogger().addHandler(handler)
        yield world
        logging.getLogger().removeHandler(handler)
        runner.run(entering.__aexit__(None, None, None))


# -------------------------------------------------------------------------------------------------------- what is sent
ODD = st.sampled_from(
    [b"\0", b"\r\n", b"\n", b"\r", b'"', b"\\", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"--frontier", b"--", b"{",
     b"}", b"[", b"]", b",", b":", b"\\ud800", b"\\u0000", b"1e999", b"-0", b"9" * 400, b"NaN", b"null", b"[" * 300,
     b"a" * 9000, "é".encode(), b"%00", b"; ", b"=", b"__resource_path__", b'"__resource_path__": "../../x",',
     b'"__resource_path__": "objects/x",', b'"__resource_path__": "a/b",', b"Content-Disposition: form-data", b": "]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, *seeds: bytes) -> bytes:
    """A good body with some pieces cut out, put in, or moved."""
    body = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        until = min(len(body), at + draw(st.integers(0, 40)))
        piece = draw(st.one_of(ODD, st.binary(max_size=8), st.just(body[at:until] * 2), st.just(b"")))
        body = body[:at] + piece + body[until:]
    return body


@st.composite
def chunked(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> list[bytes]:
    """A body cut at any places, empty chunks among them."""
    body = draw(bodies)
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=5)))
    return [body[a:b] for a, b in pairwise([0, *cuts, len(body)])]


TEXT = st.text(max_size=30) | st.sampled_from(["note", "d/e", "a b", "..", ".", "%", "\0", "x" * 300, "1", "-1", "é"])
NAME = st.sampled_from(
    ["schema", "destination", "version", "message", "receipts", "key_inlk", "content", "url_filestore", "other", ""]
)
PAIR = st.tuples(NAME, TEXT)
QUERIES = st.one_of(
    st.just("schema=note"),
    st.just(""),
    st.lists(PAIR, max_size=4).map(lambda pairs: "&".join(f"{n}={_quoted(v)}" for n, v in pairs)),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40),
    st.sampled_from(["schema=note&schema=note", "schema=%ff", "schema=%00", "schema=%", "schema=note&version=" + "9" * 5000,
                     "schema=" + "a" * 9000, "&" * 50, "schema=note;destination=x", "schema=%ed%a0%80", "schema=n%6fte"]),
)  # fmt: skip
KINDS = st.one_of(
    st.sampled_from(
        ["application/json", "application/x-ndjson", "application/jsonl", "multipart/form-data; boundary=frontier",
         "multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="fron\\"tier"',
         "multipart/form-data; boundary=" + "b" * 300, "multipart/mixed; boundary=frontier", "application/json; charset=utf-16",
         "application/json; charset", ";", "", "application/vnd.apache.avro+json", "text/plain; ;;=", "application/json" * 500,
         "multipart/form-data; boundary=frontier; boundary=other", "MULTIPART/FORM-DATA; BOUNDARY=frontier",
         "multipart/form-data; boundary*=utf-8''frontier", "multipart/form-data; boundary=fr\u00f6ntier"]
    ),
    st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30),
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(
        ["content-length", "idempotency-key", "traceparent", "authorization", "range", "if-none-match", "if-range", "origin",
         "accept", "expect", "content-encoding", "host", "x-forwarded-for", "transfer-encoding"]
    ),
    st.one_of(
        st.sampled_from(["0", "-1", "5", "1e3", "9" * 30, "9" * 6000, "gzip", "chunked", "[", "bytes=0-0", "a:b@c/d?e", "é",
                         "00-" + "0" * 32 + "-" + "0" * 16 + "-00", "²", " 7 ", "5, 5", ""]),
        st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20),
    ),
    max_size=2,
)  # fmt: skip
BODIES = st.one_of(
    mutated(RECORD, ENVELOPE, RECORD + b"\n" + RECORD + b"\n\n" + RECORD, FORM, FILE_FIRST), st.binary(max_size=200)
)


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


# ------------------------------------------------------------------------------------------------------------ over ASGI
@given(
    body=chunked(mutated(RECORD, ENVELOPE, OF_THE_FIRST_INLAKE)),
    query=st.sampled_from(["?schema=note", ""]),
    vanish=st.booleans(),
)
@EXAMPLES
def test_a_record_of_any_bytes(world: World, body: list[bytes], query: str, vanish: bool) -> None:
    for route in (RECORDS, "/ingress/validate"):
        before = world.left()
        world.judge(world.send(route + query, body, vanish=vanish), before)


@given(
    body=chunked(st.lists(mutated(RECORD, ENVELOPE, OF_THE_FIRST_INLAKE, b"", b"\r"), max_size=6).map(b"\n".join)),
    query=st.sampled_from(["?schema=note", "", "?schema=note&receipts=rejects"]),
    vanish=st.booleans(),
)
@EXAMPLES
def test_a_stream_of_any_bytes(world: World, body: list[bytes], query: str, vanish: bool) -> None:
    before = world.left()
    world.judge(world.send(RECORDS + query, body, "application/x-ndjson", vanish=vanish), before)


@given(body=chunked(mutated(FORM, FILE_FIRST)), query=st.sampled_from(["?schema=note", ""]), vanish=st.booleans())
@EXAMPLES
def test_a_form_of_any_bytes(world: World, body: list[bytes], query: str, vanish: bool) -> None:
    before = world.left()
    kind = "multipart/form-data; boundary=frontier"
    world.judge(world.send(BOTH + query, body, kind, vanish=vanish), before)


@given(
    body=chunked(mutated(gzip.compress(RECORD), gzip.compress(RECORD + b"\n") * 3, b"\x28\xb5\x2f\xfd\x00\x58\x01\0\0")),
    encoding=st.sampled_from(["gzip", "zstd", "x-gzip", "gzip, gzip", "br", "GZIP ", "\t"]),
    kind=st.sampled_from(["application/json", "application/x-ndjson", "multipart/form-data; boundary=frontier"]),
    vanish=st.booleans(),
)  # fmt: skip
@EXAMPLES
def test_a_compressed_body_of_any_bytes(
    world: World, body: list[bytes], encoding: str, kind: str, vanish: bool
) -> None:
    route = BOTH if kind.startswith("multipart") else RECORDS
    before = world.left()
    headers = {"content-encoding": encoding}
    world.judge(world.send(f"{route}?schema=note", body, kind, headers=headers, vanish=vanish), before)


FILENAMES = st.one_of(
    st.text(max_size=40).map(lambda name: b'filename="' + name.encode("utf-8", "surrogatepass") + b'"'),
    st.binary(max_size=20).map(lambda name: b'filename="' + name + b'"'),
    st.binary(max_size=20).map(lambda name: b"filename=" + name),
    st.text(max_size=20).map(lambda name: f"filename*=UTF-8''{_quoted(name)}".encode()),
    st.sampled_from(
        [b"filename*=UTF-8''%ff%fe", b"filename*=utf-16''%00a", b"filename*=x", b"filename*=nope''a", b"filename*",
         b'filename="' + b"a" * 7000 + b'"', b'filename="' + b"a" * 10_000 + b'"', b'filename="\xc3\xa9"', b'filename=""',
         b'filename="a\\"b"', b'filename="a\r\nX: b"', b'filename="\0"', b'filename="..\\..\\x"', b'filename="../../x"',
         b'filename="a"; filename="b"', b'name="record"; filename="b"', b'filename="\xed\xa0\x80"', b'filename="."']
    ),
)  # fmt: skip


@given(
    name=FILENAMES,
    kind=st.one_of(st.sampled_from([b"a/b", b"", b"x" * 300, b"\xff", b"a/b\0", b"text/html; x=\xc3\xa9"]), st.binary(max_size=9)),
    path=st.none() | st.text(max_size=30) | st.sampled_from(["a", "a/b", "a/b/c", "x" * 300, "é", "urn:uuid:", "file:///x"]),
    content=st.binary(max_size=30),
)  # fmt: skip
@EXAMPLES
def test_a_file_of_any_name_type_and_place(
    world: World, name: bytes, kind: bytes, path: str | None, content: bytes
) -> None:
    record = json.dumps({"title": "a", "__resource_path__": path}).encode()
    body = (
        b'--frontier\r\nContent-Disposition: form-data; name="record"\r\n\r\n' + record + b"\r\n--frontier\r\n"
        b'Content-Disposition: form-data; name="file"; ' + name + b"\r\nContent-Type: " + kind + b"\r\n\r\n"
    )
    before = world.left()
    kind_of_form = "multipart/form-data; boundary=frontier"
    answer = world.send(f"{BOTH}?schema=note", body + content + b"\r\n--frontier--\r\n", kind_of_form)
    world.judge(answer, before)
    if answer.status == 201:
        stored = answer.json()["resource"]
        told = world.send(f"/resources/{stored['puuid']}", method="GET")
        assert told.status == 200
        assert told.body == content or b"\n" in name  # which may end the head of the part
        assert all(text.isprintable() for text in told.headers.values())


@given(
    path=st.sampled_from(
        [RECORDS, BOTH, "/ingress/validate"] * 5
        + ["/schemas", "/schemas/note", "/resources/x", "/metrics", "/docs", "/", "", "//",
         "/ingress/record-json/", "/schemas/" + "a" * 3000, "/schemas/..", "/schemas/\0", "/é", "/docs/static/\n"]
    ),
    method=st.sampled_from(["POST"] * 8 + ["GET"] * 4 + [ "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"]),
    query=QUERIES,
    kind=KINDS,
    headers=HEADERS,
    body=BODIES,
)  # fmt: skip
@EXAMPLES
def test_any_request(
    world: World, path: str, method: str, query: str, kind: str, headers: dict[str, str], body: bytes
) -> None:
    before = world.left()
    answer = world.send(f"{path}?{query}", [body], kind, method=method, headers=headers)
    if method == "HEAD" and answer.status < 400:
        return
    world.judge(answer, before)


def test_the_next_good_request_works(world: World) -> None:
    assert world.send(f"{RECORDS}?schema=note", RECORD).status == 201
    assert world.send(f"{BOTH}?schema=note", FORM, "multipart/form-data; boundary=frontier").status == 201


# --------------------------------------------------------------------------------------------------------- over a socket
@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / ".inlake" / "schemas").mkdir(parents=True)
    (folder / ".inlake" / "schemas" / "note.avsc").write_text(json.dumps(NOTE))
    with serving(folder, INLAKE_BODY_IDLE_SECONDS="0.3", INLAKE_DRAIN_SECONDS="0.3") as served:
        yield served
        log = log_of(served)
        assert "Traceback" not in log
        assert " ERROR " not in log


def _chunks(body: bytes, sizes: list[int], extension: bytes) -> bytes:
    """A body in the chunked coding (RFC 9112, 7.1)."""
    framed, at = b"", 0
    for size in [*sizes, len(body)]:
        piece, at = body[at : at + size], at + size
        if piece:
            framed += b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
    return framed + b"0\r\n\r\n"


HEAD_LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: x",
             b"Content-Length: 43", b"Content-Length: 10000", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
             b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: \tchunked", b"X: a\r\n b", b"Expect: 100-continue",
             b"Expect: 200-ok", b"Connection: upgrade\r\nUpgrade: websocket", b"Connection: upgrade\r\nUpgrade: h2c", b"Host: [",
             b"Host: a\r\nHost: b", b": empty", b"Content-Type : application/json", b"X\0: a", b"X: \xff", b"X", b"Connection: close"]
        ),
        st.binary(max_size=20),
    ),
    max_size=3,
)  # fmt: skip
FRAMES: st.SearchStrategy[Callable[[bytes], bytes]] = st.one_of(
    st.just(lambda body: body),
    st.builds(
        lambda sizes, extension: lambda body: _chunks(body, sizes, extension),
        st.lists(st.integers(1, 50), max_size=6),
        st.sampled_from([b"", b";a=b", b" ", b";" + b"x" * 500, b"\n", b"g"]),
    ),
    st.sampled_from([b"FFFFFFFFFFFFFFFFF\r\n", b"-1\r\n", b"0\r\nX: y\r\n\r\n", b"5\r\nabc", b"\r\n"]).map(
        lambda raw: lambda _: raw
    ),
)


@given(
    line=st.sampled_from(
        [b"POST %b HTTP/1.1" % target for target in (b"/ingress/record-json?schema=note", b"/ingress/record-json-and-binary?schema=note")] * 3
        + [b"OPTIONS * HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"GET http://a/schemas HTTP/1.1", b"GET http://a HTTP/1.1", b"POST /%00%ff HTTP/1.0",
           b"GET /a b HTTP/1.1", b"get / HTTP/1.1", b"GET / HTTP/2.0", b"GET / HTTP/9", b"PRI * HTTP/2.0", b"GET /\xff HTTP/1.1", b"POST"]
    ),
    kind=st.sampled_from([b"application/json", b"application/x-ndjson", b"multipart/form-data; boundary=frontier"]),
    lines=st.just([]) | HEAD_LINES,
    body=mutated(RECORD, FORM, RECORD + b"\n" + RECORD),
    frame=FRAMES,
    cuts=st.lists(st.integers(0, 900), max_size=3),
    reading=st.sampled_from([True, True, True, False]),
    honest=st.booleans(),
)  # fmt: skip
@settings(EXAMPLES, max_examples=COUNT // 2)
def test_any_bytes_on_a_socket(
    served: Served,
    line: bytes,
    kind: bytes,
    lines: list[bytes],
    body: bytes,
    frame: Any,
    cuts: list[int],
    reading: bool,
    honest: bool,
) -> None:
    if frame(b"") == b"0\r\n\r\n":
        lines = [*lines, b"Transfer-Encoding: chunked"]
    elif honest:
        lines = [*lines, b"Content-Length: %d" % len(frame(body))]
    head = b"\r\n".join([line, b"Host: localhost", b"Connection: close", b"Content-Type: " + kind, *lines])
    data = head + b"\r\n\r\n" + frame(body)
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    answer = _talk(served, [data[a:b] for a, b in pairwise(places)], reading)
    for status, content_type, document in _answers(answer):
        event(f"status {status}")
        assert status < 500 or status in {501, 503, 507}, answer
        if status >= 400 and document:
            assert content_type == "application/problem+json"
            assert CODES[json.loads(document)["code"]] == status


@pytest.mark.parametrize(("path", "status"), [(b"/nothing", 404), (b"/schemas", 405), (b"/ingress/record-json", 408)])
def test_a_body_without_end_that_nobody_wants_is_cut_off(served: Served, path: bytes, status: int) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    began = time.monotonic()
    answer = b""
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=5) as connection:
        connection.setblocking(False)
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head)
            while time.monotonic() - began < 10:
                with suppress(BlockingIOError):
                    connection.sendall(b"1000\r\n" + bytes(4096) + b"\r\n")
                with suppress(BlockingIOError):
                    answer += connection.recv(65536)
                time.sleep(0.01)
    assert time.monotonic() - began < 5
    assert [status for status, _, _ in _answers(answer)] == [status]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/nothing", 404), ("PUT", "/ingress/record-json", 405)]
)
def test_a_client_that_sends_all_before_it_reads_gets_the_refusal(
    served: Served, method: str, path: str, status: int
) -> None:
    answer = httpx2.request(method, served.url + path, content=bytes(5_000_000), trust_env=False)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_served_gateway_works_after_it_all_and_has_nothing_open(served: Served) -> None:
    request = b"POST /ingress/record-json?schema=note HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    answer = _talk(served, [request % (len(RECORD), RECORD)], True)
    assert b"HTTP/1.1 201" in answer
    store = served.folder / ".inlake" / "store"
    published = {e.parent.name for e in store.glob(".inlake/promises/*/3.json")}
    assert [p for p in store.glob(".inlake/open/*/*") if p.is_file()] == []
    assert {p.parent.name for p in store.glob("objects/*/*")} <= published


def _talk(served: Served, pieces: list[bytes], reading: bool) -> bytes:
    """Send pieces, then read all that comes back until the server is silent or hangs up; or vanish."""
    port = int(served.url.rpartition(":")[2])
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
            if reading:
                while data := connection.recv(65536):
                    answer += data
        except OSError:  # it hung up, or waits for more
            pass
    return answer


def _answers(data: bytes) -> Iterator[tuple[int, str, bytes]]:
    """(status, content type, body) of each whole answer with a Content-Length; informational ones are left out."""
    while data.startswith(b"HTTP/1.1 "):
        head, _, data = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers.get("content-length", "0"))
        if int(status.split()[1]) >= 200:
            yield int(status.split()[1]), headers.get("content-type", ""), data[:length]
        data = data[length:]
