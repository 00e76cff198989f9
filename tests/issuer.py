"""An OpenID Connect issuer of a test's own: its keys over HTTP, and tokens signed with them, right or wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

AUDIENCE = "inlake"
CLIENT_ID, CLIENT_SECRET = "the gateway/1", "a secret of the gateway: 1+1"


class Issuer:
    """Has keys, and answers for them at `url`; what it says can be changed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, Key] = {}
        self.others: list[Any] = []
        """What else stands in the key set."""
        self.status = 200
        self.says_it_is = url
        self.person: dict[str, Any] = {}
        """Claims of who signs in, beside what every token says."""
        self.codes: dict[str, dict[str, str]] = {}
        """The query of each question that was answered with a code."""
        self.asked = 0
        """Requests for the key set."""
        self.documents = 0
        """Requests for it, and for what the issuer says of itself."""
        self.add("rsa", RSAKey.generate_key(2048))
        self.add("ec", ECKey.generate_key("P-256"))
        self.add("okp", OKPKey.generate_key("Ed25519"))

    def add(self, kid: str, key: Key) -> None:
        self.keys[kid] = key

    def document(self, path: str) -> dict[str, Any]:
        self.documents += 1
        if path == "/jwks":
            self.asked += 1
            public = [{**key.as_dict(private=False), "kid": kid, "use": "sig"} for kid, key in self.keys.items()]
            return {"keys": [*public, *self.others]}
        ends = {f"{name}_endpoint": f"{self.url}/{name}" for name in ("authorization", "token")}
        return {"issuer": self.says_it_is, "jwks_uri": f"{self.url}/jwks", **ends}

    def authorize(self, address: str) -> str:
        """Where a browser is led that was sent here: its person agrees at once."""
        query = dict(parse_qsl(urlsplit(address).query))
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        answer = {"code": code, "state": query["state"], "iss": self.url}
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Status and answer to who has a code, which is good once (RFC 6749, 4.1.3; RFC 7636, 4.6)."""
        known = base64.b64encode(f"{quote(CLIENT_ID, safe='')}:{quote(CLIENT_SECRET, safe='')}".encode()).decode()
        if authorization != f"Basic {known}":
            return 401, {"error": "invalid_client"}
        query = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if not query or query["redirect_uri"] != form["redirect_uri"] or query["code_challenge"] != challenge:
            return 400, {"error": "invalid_grant"}
        said = {"aud": CLIENT_ID, "nonce": query["nonce"], **self.person}
        return 200, {"token_type": "Bearer", "access_token": "x", "id_token": self.token(**said)}

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
            if self.path.startswith("/authorization?"):
                self.send_response(302)
                self.send_header("Location", found.authorize(self.path))
                self.end_headers()
                return
            self.answer(found.status, found.document(self.path))

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.answer(*found.exchange(form, self.headers.get("Authorization", "")))

        def answer(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
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
