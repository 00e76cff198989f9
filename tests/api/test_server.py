"""The server on a socket: requests that are not HTTP, headers too large or too slow, where it may listen."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2
import pytest

from tests.command import Served, free_port, inlake, log_of, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, INLAKE_BODY_IDLE_SECONDS="1", INLAKE_MAX_REQUEST_LINE="4096") as served:
        yield served


def talk(served: Served, *pieces: bytes) -> bytes:
    """All that comes back until the server hangs up."""
    port = int(served.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        answer = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            while data := connection.recv(65536):
                answer += data
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer


def problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    return int(head.split()[1]), json.loads(body)["code"]


@pytest.mark.parametrize(
    "garbage", [b"garbage\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nHost x\r\n\r\n"]
)
def test_what_is_not_http_gets_a_problem_document(served: Served, garbage: bytes) -> None:
    assert problem(talk(served, garbage)) == (400, "bad_http")


@pytest.mark.parametrize("head", [b"GET /" + b"a" * 9000, b"GET / HTTP/1.1\r\nX: " + b"a" * 9000])
def test_headers_over_the_limit_are_431(served: Served, head: bytes) -> None:
    answer = talk(served, *[head[i : i + 1000] for i in range(0, len(head), 1000)])
    if answer:  # closing while the client still sends may cost it the answer
        assert problem(answer) == (431, "headers_too_large")


def test_headers_that_never_end_are_cut_off(served: Served) -> None:
    began = time.monotonic()
    assert talk(served, b"GET / HTTP/1.1\r\nHost: localhost\r\n") == b""
    assert time.monotonic() - began < 5


def test_a_connection_that_says_nothing_is_closed(served: Served) -> None:
    began = time.monotonic()
    assert talk(served) == b""
    assert time.monotonic() - began < 5


def test_several_requests_on_one_connection_are_answered(served: Served) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert talk(served, request, request + request, last).count(b'{"status":"live"}') == 4


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_gateway_that_stops_has_logged_its_last_request(tmp_path: Path, workers: str) -> None:
    with serving(tmp_path, INLAKE_WORKERS=workers) as served:
        talk(served, b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert log_of(served).count("GET /last 404") == 1


def test_a_body_cut_in_its_chunks_publishes_nothing(served: Served) -> None:
    head = b"POST /ingress/record-json?schema=x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert problem(talk(served, head, b"zz\r\n")) == (400, "bad_http")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"INLAKE_HOST": "0.0.0.0"}, "INLAKE_ALLOW_ANONYMOUS"),
        ({"INLAKE_PORT": "many"}, "INLAKE_PORT"),
        ({"INLAKE_BUS": "mysql:x"}, "INLAKE_BUS"),
        ({"INLAKE_STORE": "ftp://x"}, "INLAKE_STORE"),
        ({"INLAKE_REGISTRY": "x"}, "INLAKE_REGISTRY"),
        ({"INLAKE_API_KEYS": "/nowhere/keys"}, "INLAKE_API_KEYS"),
        ({"INLAKE_HOST": "203.0.113.1", "INLAKE_ALLOW_ANONYMOUS": "true"}, "INLAKE_HOST"),
        ({"INLAKE_BUS": "kafka://x:1", "INLAKE_KAFKA_NO_SUCH_THING": "1"}, "INLAKE_KAFKA_NO_SUCH_THING"),
        ({"INLAKE_BUS": "kafka://x:1", "INLAKE_KAFKA_ACKS": "some"}, "INLAKE_KAFKA_ACKS"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_a_sentence_that_names_it(
    tmp_path: Path, variables: dict[str, str], named: str
) -> None:
    done = inlake("serve", cwd=tmp_path, **{"INLAKE_PORT": "0", **variables})  # type: ignore[arg-type]
    assert done.returncode != 0
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_said_once_whatever_the_workers(tmp_path: Path) -> None:
    done = inlake("serve", cwd=tmp_path, INLAKE_WORKERS="2", INLAKE_API_KEYS="/nowhere/keys")
    assert done.returncode != 0
    assert done.stderr.count("INLAKE_API_KEYS") == 1
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said(served: Served, tmp_path: Path) -> None:
    done = inlake("serve", cwd=tmp_path, INLAKE_PORT=served.url.rpartition(":")[2])
    assert done.returncode != 0
    assert "INLAKE_PORT" in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_gateway_listens_on_ipv6(tmp_path: Path, workers: str) -> None:
    port = str(free_port())
    with socket.socket(socket.AF_INET6) as tried:
        try:
            tried.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    with serving(
        tmp_path, INLAKE_HOST="[::1]", INLAKE_PORT=port, INLAKE_URL=f"http://[::1]:{port}", INLAKE_WORKERS=workers
    ) as served:
        assert httpx2.get(f"{served.url}/health/live", trust_env=False).status_code == 200
    assert f"listening on http://[::1]:{port} " in log_of(served)


@pytest.mark.parametrize(
    ("checksum", "status"), [("qvTGHdzF6KLavt4PO0gs2a6pQ00=", 204), ("AAAAAAAAAAAAAAAAAAAAAAAAAAA=", 460)]
)
def test_a_checksum_of_tus_may_come_behind_the_body(served: Served, checksum: str, status: int) -> None:
    tus = b"Host: localhost\r\nTus-Resumable: 1.0.0\r\n"
    made = talk(served, b"POST /uploads HTTP/1.1\r\n%bUpload-Length: 5\r\nConnection: close\r\n\r\n" % tus)
    path = re.search(rb"location: (\S+)", made)
    assert path
    head = b"Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nConnection: close\r\n"
    chunked = b"Transfer-Encoding: chunked\r\nTrailer: Upload-Checksum\r\n\r\n5\r\nhello\r\n0\r\nUpload-Checksum: sha1 %b\r\n\r\n"
    answer = talk(served, b"PATCH %b HTTP/1.1\r\n%b%b" % (path[1], tus, head) + chunked % checksum.encode())
    assert int(answer.split()[1]) == status


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: localhost\r\n"])
def test_a_request_without_one_host_is_400(served: Served, hosts: bytes) -> None:
    answer = talk(served, b"GET /health/live HTTP/1.1\r\n" + hosts + b"\r\n")
    assert problem(answer) == (400, "bad_http")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\ndate: " in answer


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /health/live HTTP/1.1", 200),
        (b"HEAD /health/live HTTP/1.0", 200),
        (b"OPTIONS * HTTP/1.1", 204),
        (b"POST /uploads HTTP/1.1", 412),
        (b"GET /nowhere HTTP/1.1", 404),
        (b"POST /health/live HTTP/1.1", 405),
        (b"BREW / HTTP/1.1", 501),
        (b"GET / HTTP/9.9", 400),
        (b"GET /" + b"x" * 200_000 + b" HTTP/1.1", 431),
        (b"\x00\x01", 400),
    ],
)
def test_every_answer_has_one_date(served: Served, request_line: bytes, status: int) -> None:
    answer = talk(served, request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    head = answer.partition(b"\r\n\r\n")[0]
    dates = re.findall(rb"(?im)^date: (.+)\r?$", head)
    assert (int(answer.split()[1]), len(dates)) == (status, 1)
    assert parsedate_to_datetime(dates[0].decode().strip()).tzname() == "UTC"


def test_tags_of_objects_may_stand_in_several_lines(served: Served) -> None:
    kept = httpx2.post(f"{served.url}/ingress/binary", content=b"hello", trust_env=False)
    path = f"/resources/{kept.json()['puuid']}".encode()
    tag = httpx2.get(f"{served.url}{path.decode()}", trust_env=False).headers["etag"].encode()
    other, ours = b'"other"', b'"a, b" , ' + tag
    for name, lines, status in (
        (b"If-None-Match", [other, ours], 304),
        (b"If-None-Match", [ours, other], 304),
        (b"If-None-Match", [other, other], 200),
        (b"If-Match", [other, ours], 200),
        (b"If-Match", [other, other], 412),
    ):
        head = b"".join(b"%b: %b\r\n" % (name, line) for line in lines)
        answer = talk(served, b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%b\r\n" % (path, head))
        assert int(answer.split()[1]) == status, (name, lines)


def test_options_of_the_whole_server_names_the_methods(served: Served) -> None:
    answer = talk(served, b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert b"allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n" in answer


@pytest.mark.parametrize("method", [b"BREW", b"PROPFIND"])
def test_a_method_that_nobody_knows_is_501(served: Served, method: bytes) -> None:
    answer = talk(served, method + b" /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert problem(answer) == (501, "method_not_built")


def test_http_1_0_gets_neither_chunks_nor_100(served: Served) -> None:
    body = b'{"title": 1}\n{}\n'
    head = b"POST /ingress/record-json?schema=absent HTTP/1.0\r\nContent-Type: application/x-ndjson\r\n"
    answer = talk(served, head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body), body)
    head, _, told = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b" 100 " not in head
    assert json.loads(told.splitlines()[-1])["complete"] is True


@pytest.mark.parametrize("path", [b"/ingress/record-json?schema=absent", b"/ingress/validate?schema=absent"])
def test_a_client_that_closes_its_sending_side_gets_its_answer(served: Served, path: bytes) -> None:
    body = b'{"title": "a"}'
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=15) as connection:
        head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path, len(body))
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert problem(answer) == (404, "schema_not_found")


def test_a_client_that_goes_away_in_its_body_is_not_answered(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=15) as connection:
        head = b"POST /ingress/record-json?schema=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
        connection.sendall(head + b"{")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536) == b""
