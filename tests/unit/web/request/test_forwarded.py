"""What proxies tell of a request, and whose word is taken."""

from __future__ import annotations

import pytest

from inlake.settings import load
from inlake.web.request.forwarded import Proxies, Seen


class Request:
    """A request as it came in."""

    def __init__(self, client: str, *headers: tuple[str, str]) -> None:
        self.client, self.scheme = client, "http"
        self._headers = [("host", "gateway:8000"), *headers]

    def header(self, name: bytes) -> str:
        return next((value for key, value in self._headers if key == name.decode()), "")

    def all(self, name: bytes) -> str:
        return ", ".join(value for key, value in self._headers if key == name.decode())


def seen(client: str, *headers: tuple[str, str], trusted: str = "10.0.0.0/8", header: str = "x-forwarded") -> Seen:
    settings = load({"INLAKE_TRUSTED_PROXIES": trusted, "INLAKE_FORWARDED_HEADER": header})
    return Proxies(settings).seen(Request(client, *headers))


FROM = ("x-forwarded-for", "198.51.100.7")
PROTO, HOST = ("x-forwarded-proto", "https"), ("x-forwarded-host", "inlake.museum.example")
PLAIN = Seen("http", "gateway:8000", "192.0.2.1")


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8", "unix"])
def test_who_is_no_trusted_proxy_is_not_believed(trusted: str) -> None:
    assert seen("192.0.2.1", FROM, PROTO, HOST, trusted=trusted) == PLAIN


def test_a_trusted_proxy_says_what_was_asked_for_and_by_whom() -> None:
    assert seen("10.0.0.1", FROM, PROTO, HOST) == Seen("https", "inlake.museum.example", "198.51.100.7")
    assert seen("10.0.0.1", PROTO) == Seen("https", "gateway:8000", "")
    assert seen("10.0.0.1") == Seen("http", "gateway:8000", "10.0.0.1")


def test_what_a_client_put_before_the_words_of_the_proxy_is_not_taken() -> None:
    said = ("x-forwarded-for", "203.0.113.9, 198.51.100.7")
    assert seen("10.0.0.1", said, PROTO).client == "198.51.100.7"
    assert seen("10.0.0.1", ("x-forwarded-for", "203.0.113.9"), FROM).client == "198.51.100.7", "in two lines, too"
    assert seen("10.0.0.1", said, ("x-forwarded-proto", "https, http")).scheme == "http"


def test_a_chain_of_trusted_proxies_leads_to_the_client() -> None:
    chain = ("x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.0.0.2, 10.0.0.3")
    hops = ("x-forwarded-proto", "http, https, http, http")
    hosts = ("x-forwarded-host", "evil.example, inlake.museum.example, b, c")
    assert seen("10.0.0.1", chain, hops, hosts) == Seen("https", "inlake.museum.example", "198.51.100.7")


def test_who_connects_to_the_unix_socket_is_trusted_by_its_word() -> None:
    assert seen("", FROM, PROTO, trusted="unix") == Seen("https", "gateway:8000", "198.51.100.7")
    assert seen("", FROM, PROTO, trusted="10.0.0.0/8") == Seen("http", "gateway:8000", "")


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ('for=198.51.100.7;proto=https;host="inlake.museum.example"', "198.51.100.7"),
        ('for=203.0.113.9;host=evil.example, For="198.51.100.7:4711";Proto=HTTPS;Host=inlake.museum.example', "198.51.100.7"),
        ('for="[2001:db8::1]:4711";by=_x; proto=https ;host=inlake.museum.example', "2001:db8::1"),
        ("for=198.51.100.7;proto=https;host=inlake.museum.example, for=10.0.0.2;proto=http;host=b", "198.51.100.7"),
        ("proto=https;host=inlake.museum.example;for=_hidden", "_hidden"),
    ],
)  # fmt: skip
def test_forwarded_says_the_same(said: str, client: str) -> None:
    assert seen("10.0.0.1", ("forwarded", said), FROM, header="forwarded") == Seen(
        "https", "inlake.museum.example", client
    )
    assert seen("10.0.0.1", ("forwarded", said)) == Seen("http", "gateway:8000", "10.0.0.1"), "only one of them is"


@pytest.mark.parametrize("said", ["=", 'for="', "for=a b", ";;", ",", "for=a;proto=ftp;host=a b"])
def test_what_cannot_be_read_changes_neither_scheme_nor_host(said: str) -> None:
    found = seen("10.0.0.1", ("forwarded", said), header="forwarded")
    assert (found.scheme, found.host) == ("http", "gateway:8000")


@pytest.mark.parametrize("text", ["198.51.100.7:80", "[2001:db8::1]", "unknown", "", "x" * 10_000, "1.2.3.4, , ,"])
def test_odd_addresses_break_nothing(text: str) -> None:
    seen("10.0.0.1", ("x-forwarded-for", text), PROTO)
