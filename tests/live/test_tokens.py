"""Tokens of an issuer that others made (npm oidc-provider), over HTTP: which are taken, and what they may do where."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from inlake.access import oidc
from tests.command import Served, free_port, inlake, serving
from tests.gateways import NOTE as SCHEMA
from tests.gateways import form

pytestmark = pytest.mark.slow
AUDIENCE = "https://inlake.example/"
RULES = """
[[rule]]
who = ["group:writers"]
may = ["ingest"]
schemas = ["note"]
destinations = ["", "desk"]

[[rule]]
who = ["group:readers"]
may = ["read"]
schemas = ["note"]

[[rule]]
who = ["group:others"]
may = ["ingest", "read"]

[[rule]]
who = ["group:keepers"]
may = ["administer"]
"""
PRINCIPALS = {"writer", "reader", "other", "keeper", "nobody"}
RECORD = b'{"title": "a"}'
NDJSON = "application/x-ndjson"
BOTH = form(("record", RECORD, None, None), ("file", b"bytes", "a.txt", "text/plain"))
SEND, ADMINISTER, READ = {"writer", "other"}, {"writer", "other", "keeper"}, {"reader", "other"}
MAY: dict[str, set[str]] = {
    "POST /ingress/record-json?schema=note": SEND,
    "POST /ingress/record-json?schema=note&destination=desk": SEND,
    "POST /ingress/record-json?schema=note&destination=attic": {"other"},
    "POST /ingress/record-json?schema=picture": {"other"},
    "POST /ingress/record-json?schema=there.is.none": {"other"},
    "POST /ingress/record-json-and-binary?schema=note": SEND,
    "POST /ingress/record-json-and-binary?schema=picture": {"other"},
    "POST /ingress/validate?schema=note": SEND,
    "POST /ingress/validate?schema=picture": {"other"},
    "POST /ingress/binary": SEND,
    "GET /promises": SEND,
    "POST /promises": SEND,
    "GET /promises/{puuid}": SEND,
    "DELETE /promises/{puuid}": SEND,
    "GET /promises/{puuid}/parts": SEND,
    "POST /promises/{puuid}/complete": SEND,
    "POST /uploads": SEND,
    "OPTIONS /uploads": SEND,
    "POST /uploads/{puuid}": SEND,
    "HEAD /uploads/{puuid}": SEND,
    "PATCH /uploads/{puuid}": SEND,
    "DELETE /uploads/{puuid}": SEND,
    "OPTIONS /uploads/{puuid}": SEND,
    "GET /shipments": SEND,
    "POST /shipments?schema=note": SEND,
    "POST /shipments?schema=picture": {"other"},
    "GET /shipments/{shipment}": SEND,
    "DELETE /shipments/{shipment}": SEND,
    "PUT /shipments/{shipment}/{line}": SEND,
    "POST /shipments/{shipment}/complete": SEND,
    "GET /in-place": SEND,
    "GET /schemas": PRINCIPALS - {"nobody"},
    "GET /schemas/note": PRINCIPALS - {"nobody"},
    "GET /schemas/picture": {"other", "keeper"},
    "GET /rejects": ADMINISTER,
    "GET /rejects/causes": ADMINISTER,
    "GET /rejects/{reject}": ADMINISTER,
    "POST /rejects/{reject}/resend": SEND,
    "GET /resources/{puuid}": READ,
    "GET /resources/{puuid}/preview": READ,
}
"""Who may: the others are 403, whatever there is."""
OPEN = {"GET /health/live", "GET /health/ready", "GET /metrics"}
TAKEN = ("writer", "ps256", "es256", "eddsa", "audiences", "late", "early")
REFUSED = {"hs256": 401, "elsewhere": 401, "expired": 401, "future": 401, "long": 401, "large": 431}
"""Tokens that the issuer itself makes, and the status of who sends them."""


@dataclass
class Issuer:
    """The program, at one address while it is started and ended."""

    node: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self, keys: int) -> None:
        """Begins with new keys: so many of two types, and one of a third."""
        command = ["node", "tokens.mjs", str(self.port), AUDIENCE, str(keys)]
        self.process = subprocess.Popen(command, cwd=self.node, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == b"listening"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def token(self, client: str) -> str:
        asked = {"grant_type": "client_credentials", "resource": AUDIENCE}
        answer = httpx2.post(f"{self.url}/token", data=asked, auth=(client, "secret"), trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def published_keys(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx2.get(f"{self.url}/jwks", trust_env=False).json()["keys"]
        return found


@pytest.fixture
def issuer(node: Path) -> Iterator[Issuer]:
    found = Issuer(node, free_port())
    found.start(1)
    try:
        yield found
    finally:
        found.stop()


@contextlib.contextmanager
def gateway(folder: Path, issuer: Issuer, **more: str) -> Iterator[Served]:
    folder.mkdir()
    (folder / "rights.toml").write_text(RULES)
    (folder / "note.avsc").write_text(json.dumps(SCHEMA))
    for name in ("note", "picture"):
        assert inlake("schemas", "add", name, "note.avsc", cwd=folder).returncode == 0
    variables = {"INLAKE_OIDC_ISSUER": issuer.url, "INLAKE_OIDC_AUDIENCE": AUDIENCE, **more}
    with serving(folder, **variables) as served:
        yield served


def ask(served: Served, operation: str, token: str, body: bytes = RECORD, **headers: str) -> httpx2.Response:
    method, _, path = operation.partition(" ")
    sent = {"authorization": f"Bearer {token}", "tus-resumable": "1.0.0", "upload-offset": "0", **headers}
    if "and-binary" in path and body is RECORD:
        body, sent["content-type"] = BOTH
    return httpx2.request(method, served.url + path, content=body, headers=sent, trust_env=False, timeout=30)


def send(served: Served, token: str) -> httpx2.Response:
    return ask(served, "POST /ingress/record-json?schema=note", token)


def operations(served: Served) -> set[str]:
    """All of the document."""
    paths = httpx2.get(f"{served.url}/openapi.json", trust_env=False).json()["paths"]
    return {f"{method.upper()} {path}" for path, item in paths.items() for method in item if method != "parameters"}


def test_tokens_and_rights_over_http(issuer: Issuer, tmp_path: Path) -> None:
    with gateway(tmp_path / "first", issuer, INLAKE_RIGHTS="rights.toml") as served:
        assert send(served, issuer.token("writer")).status_code == 201
        check_rights(served, issuer)
        check_tokens(served, issuer)
        check_rotation(served, issuer)
        of_new_keys = issuer.token("es256")
        issuer.stop()
        assert send(served, of_new_keys).status_code == 201, "its keys are known"
        with gateway(tmp_path / "second", issuer, INLAKE_RIGHTS="rights.toml") as begun:
            answer = send(begun, of_new_keys)
            assert (answer.status_code, answer.json()["code"]) == (503, "issuer_unavailable")
            assert int(answer.headers["retry-after"]) > 0


def check_rights(served: Served, issuer: Issuer) -> None:
    """The table, on every operation of the document."""
    assert {re.sub(r"\?.*|(?<=/schemas/)\w+", "", one) for one in MAY} == {
        re.sub(r"(?<=/schemas/)\{name\}", "", one) for one in operations(served) - OPEN
    }
    tokens = {who: issuer.token(who) for who in PRINCIPALS}
    wrong = []
    for operation, may in MAY.items():
        for name in ("puuid", "shipment", "reject"):
            operation = operation.replace(f"{{{name}}}", str(uuid4()))  # noqa: PLW2901
        for who in PRINCIPALS:
            status = ask(served, operation.replace("{line}", "1"), tokens[who]).status_code
            if status in {401, 500} or (status != 403) != (who in may):
                wrong.append((operation, who, status))
        assert ask(served, operation.replace("{line}", "1"), issuer_less(tokens["other"])).status_code == 401
    assert not wrong
    lines = [{"schema": name, "record": {"title": "a"}} for name in ("note", "picture", "note")]
    body = "\n".join(map(json.dumps, lines)).encode()
    answer = ask(served, "POST /ingress/record-json", tokens["writer"], body, **{"content-type": NDJSON})
    assert [json.loads(line).get("status") for line in answer.text.splitlines()] == [201, 403, 201, None]


def issuer_less(token: str) -> str:
    """The token without its signature."""
    return token.rpartition(".")[0] + "."


def check_tokens(served: Served, issuer: Issuer) -> None:
    for client in TAKEN:
        assert (answer := send(served, issuer.token(client))).status_code == 201, (client, answer.text)
    for client, status in REFUSED.items():
        assert (answer := send(served, issuer.token(client))).status_code == status, (client, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    for name, token in forged(issuer).items():
        assert (answer := send(served, token)).status_code == 401, (name, answer.text)
        assert answer.headers["www-authenticate"] == "Bearer"


def forged(issuer: Issuer) -> dict[str, str]:
    """Tokens that no issuer makes, of the header and the claims of a good one."""
    head, claims, signature = issuer.token("other").split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    rsa = next(key for key in issuer.published_keys() if key["kty"] == "RSA")
    pem = RSAKey.import_key(rsa).as_pem(private=False)

    def part(document: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    def hmac_signed(alg: str, hash_: str) -> str:
        text = f"{part({'alg': alg, 'kid': rsa['kid']})}.{claims}"
        return f"{text}.{base64.urlsafe_b64encode(hmac.digest(pem, text.encode(), hash_)).rstrip(b'=').decode()}"

    def signed(alg: str, kid: str, key: RSAKey | ECKey) -> str:
        return jwt.encode({"alg": alg, "kid": kid}, said, key, algorithms=[alg])

    return {
        "none": f"{part({'alg': 'none'})}.{claims}.",
        "None with a signature": f"{part({'alg': 'None', 'kid': rsa['kid']})}.{claims}.{signature}",
        "HS256 by the public key": hmac_signed("HS256", "sha256"),
        "HS512 by the public key": hmac_signed("HS512", "sha512"),
        "of a key of its own": signed("RS256", rsa["kid"], RSAKey.generate_key(2048)),
        "of a key of another type": signed("ES256", rsa["kid"], ECKey.generate_key("P-256")),
        "of a key that is nowhere": signed("ES256", "made-up", ECKey.generate_key("P-256")),
        "for another subject": f"{head}.{part({**said, 'sub': 'root'})}.{signature}",
        "that brings its key": f"{part({'alg': 'RS256', 'jwk': rsa, 'kid': rsa['kid']})}.{claims}.{signature}",
    }


def check_rotation(served: Served, issuer: Issuer) -> None:
    """Another thousand keys: tokens of the new ones are taken once they are fetched, those of the old ones never again."""
    of_old_keys = issuer.token("ps256")
    issuer.stop()
    issuer.start(500)
    assert len(issuer.published_keys()) == 1_001
    of_new_keys, end = issuer.token("writer"), time.monotonic() + oidc.PAUSE_SECONDS + 60
    while (answer := send(served, of_new_keys)).status_code != 201:
        assert answer.status_code == 401, answer.text
        assert time.monotonic() < end
        time.sleep(0.2)
    for client in ("es256", "eddsa"):
        assert send(served, issuer.token(client)).status_code == 201
    assert send(served, of_old_keys).status_code == 401


def test_another_principal_sees_nothing_on_any_route_of_the_document(issuer: Issuer, tmp_path: Path) -> None:
    with gateway(tmp_path / "gateway", issuer) as served:
        mine, theirs = issuer.token("writer"), issuer.token("reader")

        def made(operation: str, body: bytes = RECORD, **headers: str) -> httpx2.Response:
            answer = ask(served, operation, mine, body, **{"content-type": "application/json", **headers})
            assert answer.status_code < 300, answer.text
            return answer

        both = ask(served, "POST /ingress/record-json-and-binary?schema=note", mine).json()
        waits = made("POST /ingress/binary", b"bytes").json()["puuid"]
        upload = made("POST /uploads", b"", **{"upload-length": "5"}).headers["location"].rpartition("/")[2]
        file = {"filename": "secret.txt", "size": 5, "sha256": hashlib.sha256(b"bytes").hexdigest()}
        line = json.dumps({"file": file, "record": {"title": "secret"}}).encode()
        shipment = made("POST /shipments?schema=note", line, **{"content-type": NDJSON}).headers["location"]
        shipment = shipment.rpartition("/")[2]
        ask(served, "POST /ingress/record-json?schema=note", mine, b'{"title": "secret", "year": "x"}')
        (kept,) = ask(served, "GET /rejects", mine, b"").json()["rejects"]
        known = {both["resource"]["puuid"], both["id"], waits, upload, shipment, kept["id"], "secret"}
        asked = 0
        for operation in sorted(operations(served)):
            for puuid in (both["resource"]["puuid"], waits, upload) if "{puuid}" in operation else ("",):
                path = operation.replace("{puuid}", puuid).replace("{shipment}", shipment).replace("{line}", "1")
                path = path.replace("{reject}", kept["id"]).replace("{name}", "note")
                kind = "application/offset+octet-stream" if operation.startswith("PATCH") else "application/json"
                answer = ask(served, path, theirs, b"", **{"content-type": kind})
                asked += 1
                text = answer.text + str(answer.headers)
                assert not any(name in text for name in known if name not in path), (path, text)
                if {"puuid", "shipment", "reject"} & set(re.findall(r"\w+", operation)):
                    allowed = {204} if operation.startswith("OPTIONS") else {400, 404, 405, 411, 415, 501}
                    assert answer.status_code in allowed, (path, answer.status_code, answer.text)
        assert asked > 50
        seen = [f"/resources/{both['resource']['puuid']}", f"/promises/{waits}", f"/shipments/{shipment}"]
        for path in [*seen, f"/rejects/{kept['id']}"]:
            assert ask(served, f"GET {path}", mine, b"").status_code == 200, path
        assert ask(served, f"HEAD /uploads/{upload}", mine, b"").status_code == 200
