"""A connection to a gateway: kept while it is good, by way of a proxy, with TLS, and with answers that end early."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from inlake.client.connection import Connection, Request, _authorities
from inlake.client.problems import CutOff, NotAGateway, Unreachable
from tests.answering import answering
from tests.certificates import make_authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
JSON = {"Content-Type": "application/json"}


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket], None], connections: int = 1) -> Iterator[str]:
    """The address of a server that does as it likes with each of so many connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            for _ in range(connections):
                with listening.accept()[0] as accepted, contextlib.suppress(OSError):
                    serve(accepted)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(20)
        assert not thread.is_alive()


def head_of(connection: socket.socket) -> bytes:
    """The head of a request."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1 << 16) or b"\r\n\r\n"
    return head


def asked(url: str, **options: object) -> tuple[Connection, Request]:
    return Connection(url, None, 20), Request("POST", "/x", {}, {}, **options)  # type: ignore[arg-type]


def test_two_requests_take_one_connection_and_one_that_was_closed_is_not_used_again() -> None:
    seen = list[int]()

    def serve(connection: socket.socket) -> None:
        for _ in range(2):
            if head_of(connection) == b"\r\n\r\n":
                return
            connection.sendall(OK)
            seen.append(connection.fileno())

    with serving(serve, connections=2) as url:
        connection = Connection(url, None, 20)
        for _ in range(4):  # the third finds the first connection closed
            assert connection.document(Request("GET", "/x", {})) == {}
        connection.close()
    assert len(seen) == 4


def test_what_is_said_before_the_answer_is_not_taken_for_it() -> None:
    before = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    )

    def serve(connection: socket.socket) -> None:
        for _ in range(2):
            head_of(connection)
            connection.sendall(before + OK)

    with serving(serve) as url:
        connection = Connection(url, None, 20)
        for _ in range(2):
            with connection.answer(Request("GET", "/x", {})) as answer:
                assert (answer.status, answer.read(), "Link" in answer.headers) == (200, b"{}", False)
        connection.close()


def test_what_a_server_of_another_kind_says_breaks_no_line() -> None:
    def serve(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with serving(serve) as url, pytest.raises(Unreachable, match=r"broke \(SSH-2.0-OpenSSH_9.2\): the outcome"):
        Connection(url, None, 20).document(Request("GET", "/x", {}))


def test_an_answer_that_comes_before_all_is_sent_is_read() -> None:
    def serve(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):  # the kernel would throw the answer away otherwise
            pass

    with serving(serve) as url:
        connection, request = asked(url, body=iter([b"x" * (1 << 20)] * 4))
        with connection.answer(request) as answer:
            assert (answer.status, answer.read()) == (413, b"{}")
        connection.close()


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 10\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n", b"Transfer-Encoding: chunked\r\n\r\n"],
)
def test_a_body_that_ends_early_is_cut_off(head: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"{}")

    with serving(serve) as url:
        connection, request = asked(url)
        with connection.answer(request) as answer, pytest.raises(CutOff, match="ends early"):
            answer.read()


def test_a_body_of_unknown_length_goes_in_chunks_and_empty_ones_do_not_end_it() -> None:
    with answering((200, JSON, b"{}")) as gateway:
        connection, request = asked(gateway.url, body=iter([b"ab", b"", b"cd"]))
        assert connection.document(request) == {}
        connection.close()
        assert [body for _, _, body in gateway.requests] == [b"abcd"]


def test_a_redirect_that_may_be_followed_is_without_saying_who_asks() -> None:
    with answering((200, {}, b"bytes")) as store, answering((307, {"Location": f"{store.url}/o?x=1"}, b"")) as gateway:
        connection = Connection(gateway.url, "s3cr3t", 20)
        with connection.answer(Request("GET", "/r", {}, {"Range": "bytes=1-"}, elsewhere=True)) as answer:
            assert answer.read() == b"bytes"
        connection.close()
        ((path, headers, _),) = store.requests
        assert (path, headers["Range"], "Authorization" in headers) == ("GET /o?x=1", "bytes=1-", False)
        assert gateway.requests[0][1]["Authorization"] == "Bearer s3cr3t"


@pytest.mark.parametrize("place", ["ftp://museum.example/o", "http://[bad/o", "//a host/o"])
def test_a_redirect_to_what_is_no_address_is_told(place: str) -> None:
    with answering((302, {"Location": place}, b"")) as gateway:
        connection = Connection(gateway.url, None, 20)
        with (
            pytest.raises(NotAGateway, match=re.escape(f"redirects to {place!r}")),
            connection.answer(Request("GET", "/r", {}, elsewhere=True)),
        ):
            pass
        connection.close()


def test_a_connection_that_another_thread_takes_just_before_is_done_without() -> None:
    class Taken(list[HTTPConnection]):
        """Has one when it is asked, and none when that is taken."""

        def __len__(self) -> int:
            return 1

    with answering((200, JSON, b"{}")) as gateway:
        connection = Connection(gateway.url, None, 20)
        connection._free = Taken()
        assert connection.document(Request("GET", "/x", {})) == {}
        connection._free.pop().close()


def test_a_proxy_is_told_the_whole_address_and_a_name_and_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering((200, JSON, b"{}")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//me:s%20t@"))
        for name in "NO_PROXY", "no_proxy", "http_proxy":
            monkeypatch.delenv(name, raising=False)
        connection = Connection("http://inlake.museum.example/below", None, 20)
        assert connection.document(Request("GET", "/x", {"a": "b c"})) == {}
        connection.close()
        ((path, headers, _),) = proxy.requests
    assert path == "GET http://inlake.museum.example/below/x?a=b%20c"
    assert headers["Host"] == "inlake.museum.example"
    assert headers["Proxy-Authorization"] == f"Basic {b64encode(b'me:s t').decode()}"


def test_a_proxy_that_makes_no_tunnel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with serving(serve) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        for name in "NO_PROXY", "no_proxy", "https_proxy":
            monkeypatch.delenv(name, raising=False)
        connection, request = asked("https://inlake.museum.example")
        with (
            pytest.raises(Unreachable, match="does not let us through: 407 Proxy") as caught,
            connection.answer(request),
        ):
            pass
    assert not caught.value.sent


def test_certificates_are_those_of_the_authority_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = make_authority(tmp_path)
    secret = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secret.load_cert_chain(authority.server)

    def serve(connection: socket.socket) -> None:
        with secret.wrap_socket(connection, server_side=True) as inside:
            head_of(inside)
            inside.sendall(OK)

    with serving(serve, connections=2) as plain:
        url = plain.replace("http", "https")
        try:
            for named in "", str(authority.ca):
                monkeypatch.setenv("SSL_CERT_FILE", named)
                _authorities.cache_clear()
                connection = Connection(url, None, 20)
                if named:
                    assert connection.document(Request("GET", "/x", {})) == {}
                else:
                    with pytest.raises(Unreachable, match="is not trusted"):
                        connection.document(Request("GET", "/x", {}))
                connection.close()
        finally:
            _authorities.cache_clear()


@pytest.mark.parametrize("url", ["http://", "http://a b", "http://h:99999", "http://[::1", "http://\u2028x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not the address of a gateway"):
        Connection(url, None, 20)


def test_an_address_of_ipv6_has_its_own_port() -> None:
    connection = Connection("http://[::1]", None, 1)
    assert (connection._host, connection._port) == ("::1", 80)
