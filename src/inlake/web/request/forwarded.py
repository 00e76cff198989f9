"""A request as its client made it, as trusted proxies tell it: by `X-Forwarded-*`, or `Forwarded` (RFC 7239)."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple, Protocol

from inlake.settings import Settings

_PAIR = re.compile(r'\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*([;,]|$)')
"""A parameter of `Forwarded`, and what follows it."""
_HOST = re.compile(r"[A-Za-z0-9._~-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


class Sent(Protocol):
    """A request as far as it says where it comes from."""

    @property
    def client(self) -> str: ...

    @property
    def scheme(self) -> str: ...

    def header(self, name: bytes) -> str: ...

    def all(self, name: bytes) -> str: ...


class Seen(NamedTuple):
    """A request as its client made it."""

    scheme: str
    """`http` or `https`."""
    host: str
    client: str
    """Address; empty where it is not known, as on a Unix socket."""


class Hop(NamedTuple):
    """One proxy's word on who sent it the request; empty where it says nothing."""

    client: str
    scheme: str
    host: str


class Proxies:
    """The proxies whose word is taken. Each adds its own at the end, so the last word is the nearest one's."""

    def __init__(self, settings: Settings) -> None:
        self._networks = settings.trusted_networks
        self._is_unix_trusted = settings.trusts_unix
        self._hops = _of_forwarded if settings.forwarded_header == "forwarded" else _of_x_forwarded

    def is_trusted(self, client: str) -> bool:
        """Whether a connection from this address is a proxy's; one without an address is a Unix socket's."""
        if not client:
            return self._is_unix_trusted
        try:
            return any(ipaddress.ip_address(client) in network for network in self._networks)
        except ValueError:  # unknown, or a name that a proxy made up (RFC 7239, 6.3)
            return False

    def seen(self, x: Sent) -> Seen:
        """The request as its client made it. From the last word back each is taken that a trusted proxy said."""
        found = Seen(x.scheme, x.header(b"host"), x.client)
        if not self.is_trusted(x.client):
            return found
        for hop in reversed(self._hops(x)):
            scheme = hop.scheme if hop.scheme in {"http", "https"} else found.scheme
            host = hop.host if _HOST.fullmatch(hop.host) else found.host
            found = Seen(scheme, host, hop.client)
            if hop.client and not self.is_trusted(hop.client):
                break  # without an address, the first word of all is what the browser did
        return found


def _of_forwarded(x: Sent) -> list[Hop]:
    """The elements of `Forwarded`; none where one cannot be read."""
    text, at, hops = x.all(b"forwarded"), 0, list[Hop]()
    pairs: dict[str, str] = {}
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None or found.end() == at:
            return []
        pairs[found[1].lower()] = re.sub(r"\\(.)", r"\1", found[2]) if found[2] is not None else found[3]
        at = found.end()
        if found[4] != ";":
            hops.append(Hop(_address(pairs.get("for", "")), pairs.get("proto", "").lower(), pairs.get("host", "")))
            pairs = {}
    return hops


def _of_x_forwarded(x: Sent) -> list[Hop]:
    """The values of the three headers, told from the last one: a proxy that adds to one may replace another."""
    said = [_list(x, name) for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")]
    count = max(map(len, said))
    padded = ([""] * (count - len(values)) + values for values in said)
    return [Hop(_address(client), scheme.lower(), host) for client, scheme, host in zip(*padded, strict=True)]


def _list(x: Sent, name: bytes) -> list[str]:
    return [value.strip() for value in x.all(name).split(",")] if x.header(name) else []


def _address(text: str) -> str:
    """The address of `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` or `[2001:db8::1]:4711`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
