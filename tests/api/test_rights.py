"""Rights over HTTP: every route of the document asks for them, with keys and with tokens, and names nothing that exists."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inlake.access.reloaded import LOOK_SECONDS
from inlake.access.rights import read
from inlake.web.app import TABLE
from tests.command import inlake, serving
from tests.gateways import NOTE as SCHEMA
from tests.gateways import Gateway, embedded, form
from tests.issuer import AUDIENCE, Issuer, issuer

RULES = """
[[rule]]
who = ["token:writer", "group:writers"]
may = ["ingest"]
schemas = ["note"]
destinations = ["", "desk"]

[[rule]]
who = ["token:reader"]
may = ["read"]
schemas = ["note"]

[[rule]]
who = ["token:other"]
may = ["ingest", "read"]
"""
RECORD = b'{"title": "a"}'
NOTE = "/ingress/record-json?schema=note"
NDJSON = "application/x-ndjson"


def settings_of(folder: Path, **more: object) -> dict[str, object]:
    folder.mkdir(exist_ok=True, parents=True)
    names = ("writer", "reader", "other", "nobody")
    keys = "".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in names)
    (folder / "keys").write_text(keys)
    (folder / "rights.toml").write_text(RULES)
    return {"api_keys": folder / "keys", "rights": folder / "rights.toml", **more}


def of(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


async def test_a_record_needs_the_right_to_ingest_its_schema_to_its_destination(tmp_path: Path) -> None:
    async with embedded(tmp_path, **settings_of(tmp_path)) as gateway:
        for path, status in {NOTE: 201, f"{NOTE}&destination=desk": 201, f"{NOTE}&destination=attic": 403}.items():
            answer = await gateway.post(path, RECORD, headers=of("writer"))
            assert answer.status == status, answer.body
        for name in ("reader", "nobody"):
            answer = await gateway.post(NOTE, RECORD, headers=of(name))
            assert (answer.status, answer.json()["code"]) == (403, "forbidden")
        assert len(await gateway.events()) == 2


@pytest.mark.parametrize("path", [NOTE, "/ingress/validate?schema=note", "/ingress/record-json-and-binary?schema=note"])
async def test_what_is_refused_says_nothing_of_what_exists(tmp_path: Path, path: str) -> None:
    async with embedded(tmp_path, **settings_of(tmp_path)) as gateway:
        said = set()
        for schema in ("picture", "there.is.none"):
            for headers in (of("writer"), {**of("writer"), "idempotency-key": schema}):
                answer = await gateway.post(path.replace("note", schema), RECORD, headers=headers)
                assert answer.status == 403
                said.add(answer.json()["detail"].replace(schema, "SCHEMA"))
        assert len(said) == 1


@pytest.mark.parametrize("query", ["", "?mode=atomic"])
async def test_each_line_of_a_stream_is_asked_for(tmp_path: Path, query: str) -> None:
    lines = [{"schema": name, "record": {"title": "a"}} for name in ("note", "picture", "note", "there.is.none")]
    body = "\n".join(map(json.dumps, lines)).encode()
    async with embedded(tmp_path, **settings_of(tmp_path)) as gateway:
        answer = await gateway.post(f"/ingress/record-json{query}", body, NDJSON, headers=of("writer"))
        found = answer.lines()
        if query:
            assert answer.status == 422
            assert not await gateway.events()
        else:
            assert [line.get("status") for line in found[:4]] == [201, 403, 201, 403]
            assert len(await gateway.events()) == 2


def test_a_stream_loses_its_right_while_it_goes_on(tmp_path: Path) -> None:
    chosen = {f"INLAKE_{name.upper()}": str(value) for name, value in settings_of(tmp_path / "access").items()}
    (tmp_path / "note.avsc").write_text(json.dumps(SCHEMA))
    inlake("schemas", "add", "note", "note.avsc", cwd=tmp_path)
    with serving(tmp_path, **chosen, INLAKE_WINDOW_MS="50") as served:
        connection = http.client.HTTPConnection(served.url.partition("://")[2], timeout=30)
        connection.putrequest("POST", NOTE)
        for name, value in {**of("writer"), "content-type": NDJSON, "transfer-encoding": "chunked"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        line = RECORD + b"\n"
        chunk = b"%x\r\n%s\r\n" % (len(line), line)
        connection.send(chunk)
        time.sleep(0.5)
        (tmp_path / "access" / "rights.toml").write_text("")
        time.sleep(1.1 * LOOK_SECONDS)
        connection.send(chunk + b"0\r\n\r\n")
        with contextlib.closing(connection), connection.getresponse() as answer:
            statuses = [json.loads(line).get("status") for line in answer.read().splitlines()]
        assert statuses == [201, 403, None]


async def test_lists_name_what_one_may_see_and_nothing_else(tmp_path: Path) -> None:
    async with embedded(tmp_path, **settings_of(tmp_path)) as gateway:

        async def seen(name: str) -> set[str]:
            answer = await gateway.post("/schemas", method="GET", headers=of(name))
            return {entry["name"] for entry in answer.json()["schemas"]}

        await gateway.register("picture", SCHEMA)
        assert await seen("writer") == {"note"}
        assert await seen("reader") == {"note"}
        assert await seen("other") == {"note", "picture"}
        for schema, status in {"note": 200, "picture": 403, "there.is.none": 403}.items():
            assert (await gateway.post(f"/schemas/{schema}", method="GET", headers=of("reader"))).status == status


async def test_who_has_no_right_is_refused_by_every_route_that_is_not_open(tmp_path: Path) -> None:
    async with embedded(tmp_path, **settings_of(tmp_path)) as gateway:
        asked = 0
        for row in TABLE:
            if not row.is_open:
                asked += 1
                path = (
                    row.path.replace("{puuid}", "0" * 36)
                    .replace("{shipment}", "1")
                    .replace("{line}", "1")
                    .replace("{reject}", "0")
                )
                answer = await gateway.post(
                    path.replace("{name}", "note"), RECORD, method=row.method, headers=of("nobody")
                )
                assert answer.status == 403, (row.method, row.path, answer.status)
        assert asked > 20


async def test_nobody_sees_what_another_sent_on_any_route(tmp_path: Path) -> None:
    async with embedded(tmp_path, **{**settings_of(tmp_path), "rights": _all(tmp_path)}) as gateway:
        body, kind = form(("record", RECORD, None, None), ("file", b"bytes", "a.txt", "text/plain"))
        both = "/ingress/record-json-and-binary?schema=note"
        sent = (await gateway.post(both, body, kind, headers=of("writer"))).json()["resource"]["puuid"]
        waits = (await gateway.post("/ingress/binary", b"bytes", "text/plain", headers=of("writer"))).json()["puuid"]
        file = {"filename": "a.txt", "size": 5, "sha256": hashlib.sha256(b"bytes").hexdigest()}
        line = json.dumps({"file": file, "record": {"title": "a"}}).encode()
        made = await gateway.post("/shipments?schema=note", line, NDJSON, headers=of("writer"))
        shipment = made.headers["location"].rpartition("/")[2]
        await gateway.post(NOTE, b'{"title": "of the writer", "year": "x"}', headers=of("writer"))
        (kept,) = (await gateway.post("/rejects", method="GET", headers=of("writer"))).json()["rejects"]
        reject = kept["id"]
        known = {sent, waits, shipment, reject, "of the writer"}
        for row in TABLE:
            for puuid in (sent, waits):
                path = row.path.replace("{puuid}", puuid).replace("{shipment}", shipment).replace("{line}", "1")
                path = path.replace("{reject}", reject)
                if row.is_open or row.path.startswith("/ingress"):
                    continue
                headers = {
                    **of("other"),
                    "tus-resumable": "1.0.0",
                    "upload-offset": "0",
                    "content-type": "application/offset+octet-stream",
                }
                answer = await gateway.post(path.replace("{name}", "note"), b"", method=row.method, headers=headers)
                text = answer.body.decode() + str(answer.headers)
                assert not any(name in text for name in known if name not in path), (row.method, row.path, text)
                if {"puuid", "shipment", "reject"} & set(re.findall(r"\w+", row.path)):
                    assert answer.status in {204, 400, 403, 404, 405, 409, 411, 412, 415, 501}, (
                        row.method,
                        row.path,
                        answer.status,
                    )
                    assert row.method == "OPTIONS" or answer.status != 204, (row.method, row.path)
        for path in (f"/resources/{sent}", f"/promises/{waits}", f"/shipments/{shipment}", f"/rejects/{reject}"):
            assert (await gateway.post(path, method="GET", headers=of("writer"))).status == 200, path


def _all(folder: Path) -> Path:
    path = folder / "all.toml"
    path.write_text('[[rule]]\nwho = ["*"]\nmay = ["ingest", "read"]\n')
    return path


# ------------------------------------------------------------------------------------------------------------- tokens
def with_tokens(folder: Path, made: Issuer) -> dict[str, object]:
    return settings_of(folder, oidc_issuer=made.url, oidc_audience=AUDIENCE)


async def test_a_group_in_a_token_has_the_rights_of_the_group(tmp_path: Path) -> None:
    with issuer() as made:
        async with embedded(tmp_path, **with_tokens(tmp_path, made)) as gateway:
            assert (await gateway.post(NOTE, RECORD, headers=of(made.token(groups=["writers"])))).status == 201
            assert (await gateway.post(NOTE, RECORD, headers=of(made.token(groups=["guards"])))).status == 403
            assert (
                await gateway.post(NOTE, RECORD, headers=of(made.token(aud="other", groups=["writers"])))
            ).status == 401
            assert (await gateway.post(NOTE, RECORD, headers=of("writer"))).status == 201, "keys go on working"
            (event, _) = await gateway.events()
            assert dict(event.headers)["inlake_principal"] == b"oidc%3Aann"


async def test_a_fuzz_of_tokens_and_rights_finds_no_pass_and_no_fault(tmp_path: Path) -> None:
    with issuer() as made:
        async with embedded(tmp_path, **with_tokens(tmp_path, made)) as gateway:
            good = made.token(groups=["guards"])
            for n in range(0, len(good), 7):
                await _refused(gateway, good[:n] + chr(33 + n % 90) + good[n + 1 :])
                await _refused(gateway, good[:n])
            for text in ("a.b.c", "ey.ey.ey", "." * 5, "ey" + "A" * 15_000 + "..", "é.é.é", "null", good + good):
                await _refused(gateway, text)
            assert not await gateway.events()


def part(document: object) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


async def test_a_token_that_its_holder_wrote_is_never_believed(tmp_path: Path) -> None:
    """Headers and claims of every kind, with the signature of a good token, with none, and with any bytes."""
    names = st.sampled_from(["alg", "kid", "typ", "crit", "jku", "jwk", "x5u", "x5c", "b64", "cty", "zip", "enc"])
    words = st.sampled_from(
        ["none", "None", "HS256", "RS256", "ES256", "EdDSA", "rsa", "ec", "okp", "", "../rsa", "dir", True, 0]
    )
    headers = st.dictionaries(names, words | st.lists(words, max_size=2) | st.dictionaries(names, words, max_size=2))
    with issuer() as made:
        async with embedded(tmp_path, **with_tokens(tmp_path, made)) as gateway:
            good = made.token(groups=["guards"])
            claims = json.loads(base64.urlsafe_b64decode(good.split(".")[1] + "=="))
            now = int(time.time())
            tokens: list[str] = []

            @settings(max_examples=300, deadline=None, database=None)
            @given(
                headers,
                st.dictionaries(st.sampled_from([*claims, "nbf"]), words | st.integers(0, 2 * now)),
                st.binary(max_size=64),
            )
            def write(header: dict[str, object], changed: dict[str, object], signature: bytes) -> None:
                body = part({**claims, **changed, "groups": ["writers"]})
                own = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
                head = good.split(".")[0] if not header else part(header)
                tokens.extend(f"{head}.{body}.{end}" for end in (good.split(".")[2], "", own))

            write()
            for token in tokens:
                answer = await gateway.post(NOTE, RECORD, headers=of(token))
                assert (answer.status, answer.json()["code"]) == (401, "unauthorized"), token
            assert not await gateway.events()
            assert len(tokens) >= 300


async def _refused(gateway: Gateway, token: str) -> None:
    answer = await gateway.post(NOTE, RECORD, headers=of(token))
    assert answer.status in {401, 403}, token
    assert answer.json()["detail"].isprintable()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=300))
def test_no_text_of_a_file_of_rights_is_more_than_a_valueerror(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fuzzed.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ValueError):
        read(path)


# -------------------------------------------------------------------------------------------------------------- proxy
@pytest.mark.parametrize(("trusted", "status"), [("127.0.0.0/8, ::1", 201), ("10.0.0.0/8", 401)])
async def test_a_proxy_is_believed_from_its_address_only(tmp_path: Path, trusted: str, status: int) -> None:
    proxy = {"principal_header": "X-Forwarded-User", "groups_header": "X-Forwarded-Groups", "trusted_proxies": trusted}
    async with embedded(tmp_path, **settings_of(tmp_path, **proxy)) as gateway:
        headers = {"x-forwarded-user": "ann", "x-forwarded-groups": "guards, writers"}
        assert (await gateway.post(NOTE, RECORD, headers=headers)).status == status
        if status == 201:
            (event,) = await gateway.events()
            assert dict(event.headers)["inlake_principal"] == b"proxy%3Aann"
            assert (await gateway.post(NOTE, RECORD, headers={"x-forwarded-user": "ann"})).status == 403


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 201), ("none", 201), ("cross-site", 403), ("same-site", 403)]
)
async def test_a_page_of_another_site_may_not_use_who_is_signed_in_at_the_proxy(
    tmp_path: Path, site: str, status: int
) -> None:
    proxy = {"principal_header": "X-Forwarded-User", "trusted_proxies": "127.0.0.1"}
    async with embedded(tmp_path, **proxy) as gateway:
        headers = {"x-forwarded-user": "ann", "sec-fetch-site": site}
        assert (await gateway.post(NOTE, RECORD, headers=headers)).status == status
        assert (await gateway.post("/schemas", method="GET", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("origin", "status"), [("http://inlake.example", 201), ("http://evil.example", 403), ("null", 403)]
)
async def test_where_browsers_name_no_site_the_origin_of_a_page_counts(
    tmp_path: Path, origin: str, status: int
) -> None:
    proxy = {"principal_header": "X-Forwarded-User", "trusted_proxies": "127.0.0.1"}
    async with embedded(tmp_path, **proxy) as gateway:
        headers = {"x-forwarded-user": "ann", "origin": origin, "host": "inlake.example"}
        assert (await gateway.post(NOTE, RECORD, headers=headers)).status == status


async def test_a_principal_that_stands_there_twice_is_nobody_s_word(tmp_path: Path) -> None:
    """The first is the client's own, where a proxy adds its header and leaves that of the client."""
    proxy = {"principal_header": "X-Forwarded-User", "groups_header": "X-Groups", "trusted_proxies": "127.0.0.1"}
    async with embedded(tmp_path, **proxy) as gateway:
        for name in ("X-Forwarded-User", "x-groups"):
            twice = {"x-forwarded-user": "ann", "x-groups": "a", name: "mallory"}
            answer = await gateway.post(NOTE, RECORD, headers=twice)
            assert answer.status == (401 if len(twice) == 3 else 201), twice


async def test_a_right_for_some_destinations_is_enough_to_know_the_schema(tmp_path: Path) -> None:
    rules = '[[rule]]\nwho = ["token:writer"]\nmay = ["ingest"]\nschemas = ["note"]\ndestinations = ["london"]\n'
    async with embedded(tmp_path, **settings_of(tmp_path)) as gateway:
        (tmp_path / "rights.toml").write_text(rules)
        await asyncio.sleep(1.1 * LOOK_SECONDS)
        assert (await gateway.post("/schemas/note", method="GET", headers=of("writer"))).status == 200
        listed = await gateway.post("/schemas", method="GET", headers=of("writer"))
        assert [entry["name"] for entry in listed.json()["schemas"]] == ["note"]
        assert (await gateway.post("/schemas/picture", method="GET", headers=of("writer"))).status == 403
        refused = await gateway.post(NOTE, RECORD, headers=of("writer"))
        assert (refused.status, "without a destination" in refused.json()["detail"]) == (403, True)
        assert (await gateway.post(f"{NOTE}&destination=london", RECORD, headers=of("writer"))).status == 201
