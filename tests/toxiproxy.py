"""A network fault in front of a real server: a proxy of one's own in toxiproxy, or the one that Kafka advertises."""

from __future__ import annotations

import contextlib
import fcntl
import json
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from tests.live_servers import KAFKA_FAULT_BOOTSTRAP, TOXIPROXY_URL


class Proxy:
    """One proxy. `down` closes it, `poison` adds a toxic (https://github.com/Shopify/toxiproxy#toxics)."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        """host:port to connect to."""

    def down(self) -> None:
        ask("POST", f"/proxies/{self.name}", {"enabled": False})

    def up(self) -> None:
        ask("POST", f"/proxies/{self.name}", {"enabled": True})

    def poison(self, kind: str, stream: str = "downstream", **attributes: int) -> None:
        ask(
            "POST",
            f"/proxies/{self.name}/toxics",
            {"name": kind, "type": kind, "stream": stream, "attributes": attributes},
        )

    def heal(self) -> None:
        """Take all toxics off, and open it."""
        for toxic in ask("GET", f"/proxies/{self.name}/toxics"):
            ask("DELETE", f"/proxies/{self.name}/toxics/{toxic['name']}")
        self.up()


@contextlib.contextmanager
def proxy_to(upstream: str) -> Iterator[Proxy]:
    """A new proxy in front of host:port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    name = f"test-{uuid4().hex[:12]}"
    ask("POST", "/proxies", {"name": name, "listen": listen, "upstream": upstream, "enabled": True})
    try:
        yield Proxy(name, listen)
    finally:
        ask("DELETE", f"/proxies/{name}")


@contextlib.contextmanager
def kafka_proxy() -> Iterator[Proxy]:
    """The proxy that Kafka advertises, whole again at the end. There is one: whoever has it, has it alone.

    Tests in several processes cut it, and one that heals it opens it for another that has just cut it.
    """
    name = f"inlake-kafka-proxy-{urlsplit(TOXIPROXY_URL).port}.lock"
    with (Path(tempfile.gettempdir()) / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        proxy = Proxy("kafka", KAFKA_FAULT_BOOTSTRAP)
        try:
            yield proxy
        finally:
            proxy.heal()


def ask(method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(TOXIPROXY_URL + path, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")
