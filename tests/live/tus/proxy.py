"""Stands between the conformance suite of tus and a gateway, for what the suite takes for granted and tus does not say.

`python -m tests.live.tus.proxy http://127.0.0.1:8000 8001`: `Location` is made absolute, and OPTIONS is 200, not 204.
"""

from __future__ import annotations

import http.client
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

OF_ONE_CONNECTION = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class Proxy(BaseHTTPRequestHandler):
    """One connection of a client; each request goes on over a connection of its own."""

    protocol_version = "HTTP/1.1"
    gateway = ""
    """`HOST:PORT`."""

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_ONE_CONNECTION}
        connection = http.client.HTTPConnection(self.gateway, timeout=60)
        connection.request(self.command, self.path, body if "content-length" in self.headers else None, headers)
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        is_told = self.command == "OPTIONS" and answer.status == http.client.NO_CONTENT
        self.send_response_only(http.client.OK if is_told else answer.status)
        for name, value in answer.getheaders():
            if name.lower() == "location":
                self.send_header(name, f"http://{self.headers['host']}{value}" if value.startswith("/") else value)
            elif name.lower() not in OF_ONE_CONNECTION:
                self.send_header(name, value)
        if answer.status != http.client.NO_CONTENT or is_told:
            self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = forward  # noqa: N815

    def log_message(self, *_: object) -> None:
        """The gateway has a log."""


if __name__ == "__main__":
    Proxy.gateway = urlsplit(sys.argv[1]).netloc
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Proxy).serve_forever()
