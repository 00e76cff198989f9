"""An OpenID Connect issuer of a test's own: its keys over HTTP, and tokens signed with them, right or wrong."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

AUDIENCE = "inlake"


class Issuer:
    """Has keys, and answers for them at `url`; what it says can be changed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, Key] = {}
        self.others: list[Any] = []
        """What else stands in the key set."""
        self.status = 200
        self.says_it_is = url
        self.asked = 0
        """Requests for the key set."""
        self.add("rsa", RSAKey.generate_key(2048))
        self.add("ec", ECKey.generate_key("P-256"))
        self.add("okp", OKPKey.generate_key("Ed25519"))

    def add(self, kid: str, key: Key) -> None:
        self.keys[kid] = key

    def document(self, path: str) -> dict[str, Any]:
        if path == "/jwks":
            self.asked += 1
            public = [{**key.as_dict(private=False), "kid": kid, "use": "sig"} for kid, key in self.keys.items()]
            return {"keys": [*public, *self.others]}
        return {"issuer": self.says_it_is, "jwks_uri": f"{self.url}/jwks"}

    def token(self, kid: str = "rsa", alg: str = "RS256", key: Key | None = None, **claims: Any) -> str:
        """A token that is right but for what the claims say; a claim of None is left out."""
        now = int(time.time())
        said = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600, **claims}
        header = {"alg": alg, "kid": kid} if kid else {"alg": alg}
        signs = key or self.keys[kid]
        return jwt.encode(header, {n: v for n, v in said.items() if v is not None}, signs, algorithms=[alg])


@contextmanager
def issuer() -> Iterator[Issuer]:
    """The issuer, which answers while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(found.document(self.path)).encode()
            self.send_response(found.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Issuer(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
