"""The console's pages: there for everybody who may see them, closed to other sites, and no text of a client is markup."""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from inlake.client.mending import set_values
from inlake.model import Event
from inlake.web.app import PAGES
from inlake.web.console import events as of_events
from inlake.web.console import waiting
from inlake.web.console.page import moment
from inlake.web.request.session import token_of
from tests.gateways import Answer, Gateway, embedded, form

RECORDS = "/ingress/record-json?schema=note"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</textarea><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "javascript:alert(1)",
    "' onmouseover='alert(1)",
    "\u202e<svg onload=alert(1)>",
]
FORM = "application/x-www-form-urlencoded"


class Browser:
    """Somebody's browser: it keeps cookies, and sends the token of the page that it was shown."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.cookies: dict[str, str] = {}

    async def get(self, path: str) -> Answer:
        return await self._ask(path, b"", None, "GET")

    async def submit(self, path: str, **fields: str) -> Answer:
        body = urlencode({"csrf": self.token, **fields}).encode()
        return await self._ask(path, body, FORM, "POST")

    @property
    def token(self) -> str:
        """What the pages that it was shown have."""
        return token_of("; ".join(f"{name}={value}" for name, value in self.cookies.items()))

    async def _ask(self, path: str, body: bytes, kind: str | None, method: str) -> Answer:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self.gateway.post(path, body, kind, method=method, headers={"cookie": cookie})
        for cookie in answer.headers.get("set-cookie", "").splitlines():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer


@asynccontextmanager
async def with_keys(folder: Path, *names: str, **settings: object) -> AsyncIterator[Gateway]:
    keys = folder / "keys"
    keys.write_text("".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in names))
    async with embedded(folder, api_keys=keys, **settings) as gateway:
        yield gateway


async def signed_in(gateway: Gateway, name: str) -> Browser:
    browser = Browser(gateway)
    await browser.get("/console/sign-in")
    answer = await browser.submit("/console/sign-in", key=name)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    return browser


async def paths_with_something(gateway: Gateway) -> list[str]:
    """The paths of all pages, on a gateway that has one of each thing that a page shows."""
    await gateway.post(RECORDS, b'{"title": "x"}')
    await gateway.post(RECORDS, b'{"title": 1}')
    await gateway.post("/ingress/binary", b"pixels", "image/png")
    (cause,) = (await gateway.post("/rejects/causes", method="GET")).json()["causes"]
    values = {"topic": "inlake.note", "partition": "0", "offset": "1", "name": "note", "cause": cause["id"]}
    shown = [row.path for row in PAGES if row.method == "GET" and not row.path.endswith("/live")]
    return [re.sub(r"\{(\w+)\}", lambda m: values[m[1]], path) for path in shown]


async def test_every_page_is_there_and_may_be_framed_or_scripted_by_nobody(gateway: Gateway) -> None:
    for path in await paths_with_something(gateway):
        answer = await gateway.post(path, b"", None, method="GET")
        assert answer.status == 200, (path, answer.body)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        page = answer.body.decode()
        assert "http://" not in page.replace("http://www.w3.org", "").replace("'http://", "").replace('"http://', "")
        assert not re.search(r"<[^>]+ (on\w+|style)=", page), "nothing inline"
        assert len(page) < 150_000


async def test_what_pages_load_is_there_and_is_kept_until_it_is_another(gateway: Gateway) -> None:
    page = (await gateway.post("/console/send/note", b"", None, method="GET")).body.decode()
    loaded = re.findall(r'"(/console/static/[^"]+)"', page)
    assert {path.rpartition("/")[2] for path in loaded} == {"console.css", "console.js", "icon.svg", "table.js"}
    ours = loaded[0].rpartition("/")[0]
    named = [f"{ours}/{name}" for name in ("mesh.js", "model-viewer.min.js", "tus.min.js", "tus.LICENSE.txt")]
    for path in loaded + named:
        answer = await gateway.post(path, b"", None, method="GET")
        assert answer.status == 200, path
        assert answer.headers["cache-control"] == "max-age=31536000, immutable"
    another = await gateway.post("/console/static/0123456789abcdef/console.css", b"", None, method="GET")
    assert another.headers["cache-control"] == "no-store", "while gateways of two versions run side by side"
    assert another.body == (await gateway.post(f"{ours}/console.css", b"", None, method="GET")).body
    for name in ("page.html", "..", "page.py"):
        assert (await gateway.post(f"{ours}/{name}", b"", None, method="GET")).status == 404


@pytest.mark.parametrize("text", HOSTILE)
async def test_no_text_of_a_client_is_markup(gateway: Gateway, text: str) -> None:
    record = json.dumps({"title": text}).encode()
    body, kind = form(("record", record, None, None), ("file", text.encode(), "a", "text/plain"))
    body = body.replace(b'filename="a"', b'filename="' + text.replace('"', "'").encode() + b'"')
    assert (await gateway.post("/ingress/record-json-and-binary?schema=note", body, kind)).status == 201
    refused = json.dumps({"title": text, text: 1}).encode()
    assert (await gateway.post(RECORDS, refused)).status == 422
    browser = Browser(gateway)
    (cause,) = (await gateway.post("/rejects/causes", method="GET")).json()["causes"]
    pages = [await browser.get(path) for path in ("/", "/console/events", "/console/events/inlake.note/0/1")]
    pages += [await browser.get(path) for path in ("/console/rejects", f"/console/rejects/{cause['id']}")]
    pages.append(await browser.get("/console/events?" + urlencode({"schema": text, "destination": text})))
    pages.append(await browser.submit("/console/send/note", record=refused.decode(), destination="d"))
    pages.append(await browser.submit("/console/send/note", record=text))
    pages.append(await browser.submit(f"/console/rejects/{cause['id']}", pointer="/title", value=text, do="send"))
    raw = text.replace('"', "'")
    for page in pages:
        shown = page.body.decode()
        if raw != html.escape(raw):
            assert raw not in shown
            assert text not in shown
        assert "49" not in re.findall(r">\s*49\s*<", shown)


async def test_a_form_of_another_site_is_refused(gateway: Gateway) -> None:
    browser = Browser(gateway)
    for token in ("", "0" * 32):
        answer = await browser.submit("/console/send/note", record='{"title": "x"}', csrf=token)
        assert answer.status == 403
    await browser.get("/console/send/note")
    assert (await browser.submit("/console/send/note", record='{"title": "x"}', csrf="0" * 32)).status == 403
    assert await gateway.events() == []
    body = urlencode({"csrf": browser.cookies["inlake_csrf"], "record": '{"title": "x"}'}).encode()
    headers = {
        "origin": "http://evil.example",
        "host": "127.0.0.1:8000",
        "cookie": f"inlake_csrf={browser.cookies['inlake_csrf']}",
    }
    assert (await gateway.post("/console/send/note", body, FORM, headers=headers)).status == 403
    sent = await browser.submit("/console/send/note", record='{"title": "x"}', destination="a/b")
    assert (sent.status, b"Sent: event" in sent.body) == (200, True)
    assert len(await gateway.events()) == 1


async def test_who_is_not_signed_in_is_led_to_the_page_that_asks(tmp_path: Path) -> None:
    async with with_keys(tmp_path, "one") as gateway:
        for row in PAGES:
            path = re.sub(r"\{\w+\}", "1", row.path)
            answer = await gateway.post(path, b"", None, method=row.method)
            assert (answer.status, answer.headers["location"]) == (303, "/console/sign-in"), path
        browser = Browser(gateway)
        await browser.get("/console/sign-in")
        wrong = await browser.submit("/console/sign-in", key="other")
        assert (wrong.status, b"not known" in wrong.body) == (401, True)
        assert "inlake_session" not in browser.cookies
        assert (await browser.submit("/console/sign-in", key="one", csrf="0" * 32)).status == 403


async def test_one_signs_in_and_out(tmp_path: Path) -> None:
    async with with_keys(tmp_path, "one") as gateway:
        browser = await signed_in(gateway, "one")
        assert b"token:one" in (await browser.get("/")).body
        session = browser.cookies["inlake_session"]
        out = await browser.submit("/console/sign-out")
        assert out.headers["location"] == "/console/sign-in"
        assert "Max-Age=0" in out.headers["set-cookie"]
        assert (await browser.get("/")).status == 303
        browser.cookies["inlake_session"] = session[:-1] + ("x" if session[-1] != "x" else "y")
        assert (await browser.get("/")).status == 303, "another name has another signature"
        (tmp_path / "keys").write_text("")
        await asyncio.sleep(1.1)
        browser.cookies["inlake_session"] = session
        assert (await browser.get("/")).status == 303, "the key was taken out of the file"


async def test_a_session_is_a_cookie_that_no_script_reads_and_no_other_site_sends(tmp_path: Path) -> None:
    async with with_keys(tmp_path, "one", root_path="/gw") as gateway:
        browser = Browser(gateway)
        await browser.get("/console/sign-in")
        answer = await browser.submit("/console/sign-in", key="one")
        assert answer.headers["location"] == "/gw/"
        cookie = answer.headers["set-cookie"]
        assert all(flag in cookie for flag in ("HttpOnly", "SameSite=Strict", "Path=/gw"))


@pytest.mark.parametrize(
    ("trusted", "told", "secure"),
    [
        ("127.0.0.1", "https", True),
        ("127.0.0.1", "HTTPS, http", True),
        ("127.0.0.1", "http", False),
        ("127.0.0.1", "http, https", False),
        ("127.0.0.1", "", False),
        ("10.0.0.0/8", "https", False),
        ("", "https", False),
    ],
)
async def test_cookies_go_by_https_only_where_a_trusted_proxy_took_https(
    tmp_path: Path, trusted: str, told: str, secure: bool
) -> None:
    async with with_keys(tmp_path, "one", trusted_proxies=trusted) as gateway:
        proto = {"x-forwarded-proto": told} if told else {}
        page = await gateway.post("/console/sign-in", method="GET", headers=proto)
        token = page.headers["set-cookie"].partition(";")[0].partition("=")[2]
        body = urlencode({"csrf": token, "key": "one"}).encode()
        headers = {**proto, "cookie": f"inlake_csrf={token}"}
        signed_in = await gateway.post("/console/sign-in", body, FORM, headers=headers)
        assert "inlake_session=" in signed_in.headers["set-cookie"]
        for answer in page, signed_in:
            assert ("Secure" in answer.headers["set-cookie"].split("; ")) is secure


async def test_the_routes_take_a_session_for_a_key_and_ask_for_the_token(tmp_path: Path) -> None:
    async with with_keys(tmp_path, "one") as gateway:
        browser = await signed_in(gateway, "one")
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        assert (await gateway.post("/schemas", method="GET", headers={"cookie": cookie})).status == 200
        assert (await gateway.post(RECORDS, b'{"title": "x"}', headers={"cookie": cookie})).status == 403
        headers = {"cookie": cookie, "x-csrf-token": browser.token}
        assert (await gateway.post(RECORDS, b'{"title": "x"}', headers=headers)).status == 201
        (event,) = await gateway.events()
        assert dict(event.headers)["inlake_principal"] == b"token%3Aone"


async def test_a_session_shows_nothing_of_another_principal(tmp_path: Path) -> None:
    rights = tmp_path / "rights.toml"
    rights.write_text(
        """[[rule]]\nwho = ["token:boss"]\nmay = ["ingest", "read", "administer"]\n"""
        """[[rule]]\nwho = ["*"]\nmay = ["ingest", "read"]\n"""
    )
    async with with_keys(tmp_path, "one", "two", "boss", rights=rights) as gateway:
        key: dict[str, Any] = {"headers": {"authorization": "Bearer one"}}
        body, kind = form(("record", b'{"title": "of one"}', None, None), ("file", b"of one", "one.txt", "text/plain"))
        assert (await gateway.post("/ingress/record-json-and-binary?schema=note", body, kind, **key)).status == 201
        await gateway.post(RECORDS, b'{"title": 7, "one": 1}', **key)
        puuid = (await gateway.post("/ingress/binary?filename=one.png", b"one", "image/png", **key)).json()["puuid"]
        one, two, boss = [await signed_in(gateway, name) for name in ("one", "two", "boss")]
        (cause,) = (await gateway.post("/rejects/causes", method="GET", **key)).json()["causes"]
        paths = ["/", "/console/events", "/console/events/inlake.note/0/1", "/console/waiting", "/console/rejects"]
        paths.append(f"/console/rejects/{cause['id']}")
        for path in paths:
            assert b"one" in (await one.get(path)).body.replace(b"token:one", b"")
            other = (await two.get(path)).body.replace(b"<wbr>", b"")
            for text in (b"one.txt", b"of one", b"token:one", b"one.png", puuid.encode(), b"/one"):
                assert text not in other, path
        assert b"one.txt" in (await boss.get("/console/events")).body.replace(b"<wbr>", b"")
        assert b"token:one" in (await boss.get(f"/console/rejects/{cause['id']}")).body
        assert (await two.submit("/console/waiting", puuid=puuid)).status == 404
        assert (
            b"/one"
            not in (await two.submit(f"/console/rejects/{cause['id']}", pointer="/one", value="1", do="send")).body
        )


async def test_a_session_shows_the_events_of_destinations_that_are_administered_and_no_others(tmp_path: Path) -> None:
    rights = tmp_path / "rights.toml"
    rights.write_text(
        """[[rule]]\nwho = ["token:boss"]\nmay = []\ndestinations = ["secret/*"]\n"""
        """[[rule]]\nwho = ["token:boss"]\nmay = ["administer"]\n"""
        """[[rule]]\nwho = ["token:london"]\nmay = ["administer"]\ndestinations = ["london/*"]\n"""
        """[[rule]]\nwho = ["*"]\nmay = ["ingest"]\n"""
    )
    async with with_keys(tmp_path, "one", "boss", "london", rights=rights) as gateway:
        for name in ("secret", "london"):
            record, key = b'{"title": "of %s"}' % name.encode(), {"authorization": "Bearer one"}
            assert (await gateway.post(f"{RECORDS}&destination={name}/x", record, headers=key)).status == 201
        for name in ("boss", "london"):
            browser = await signed_in(gateway, name)
            page = (await browser.get("/console/events")).body
            assert (b"of london" in page, b"of secret" in page) == (True, False)
            found = [(await browser.get(f"/console/events/inlake.note/0/{offset}")).status for offset in (1, 2)]
            assert found == [404, 200]


async def test_a_cause_is_mended_at_once(gateway: Gateway) -> None:
    lines = b"\n".join(b'{"title": "%d", "tags": ["a", %d]}' % (n, n) for n in range(100))
    await gateway.post(RECORDS, lines, "application/x-ndjson")
    browser = Browser(gateway)
    await browser.get("/console/rejects")
    (cause,) = (await gateway.post("/rejects/causes", method="GET")).json()["causes"]
    answer = await browser.submit(f"/console/rejects/{cause['id']}", pointer="/tags/*", value="etching", do="send")
    assert b"100 sent and accepted, 0 still refused." in answer.body
    assert len(await gateway.events()) == 100


async def test_anonymous_people_that_others_can_reach_see_no_events(tmp_path: Path) -> None:
    async with embedded(tmp_path, allow_anonymous=True) as gateway:
        await gateway.post(RECORDS, b'{"title": "x"}')
        assert (await gateway.post("/console/events", b"", None, method="GET")).status == 403
        page = await gateway.post("/", b"", None, method="GET")
        assert (page.status, b"not told apart" in page.body) == (200, True)


async def test_anonymous_people_see_what_they_administer_and_not_what_others_sent(tmp_path: Path) -> None:
    rights = tmp_path / "rights.toml"
    rights.write_text('[[rule]]\nwho = ["*"]\nmay = ["ingest", "read"]\n')
    async with embedded(tmp_path, allow_anonymous=True, rights=rights) as gateway:
        await gateway.post(RECORDS, b'{"title": "of somebody"}')
        for path in ("/", "/console/events", "/console/events/inlake.note/0/1"):
            answer = await gateway.post(path, b"", None, method="GET")
            assert b"/console/events/inlake.note" not in answer.body, path
            assert b"of somebody" not in answer.body, path


async def test_pages_need_some_right_and_a_text_that_to_read(tmp_path: Path) -> None:
    rights = tmp_path / "rights.toml"
    rights.write_text('[[rule]]\nwho = ["token:one"]\nmay = ["ingest"]\n')
    async with with_keys(tmp_path, "one", "two", rights=rights) as gateway:
        key: dict[str, Any] = {"headers": {"authorization": "Bearer one"}}
        body, kind = form(("record", b'{"title": "t"}', None, None), ("file", b"the text", "one.txt", "text/plain"))
        assert (await gateway.post("/ingress/record-json-and-binary?schema=note", body, kind, **key)).status == 201
        one, two = await signed_in(gateway, "one"), await signed_in(gateway, "two")
        shown = await one.get("/console/events/inlake.note/0/1")
        assert (shown.status, b"the text" in shown.body, b"no right to read" in shown.body) == (200, False, True)
        for path in ("/", "/console/events", "/console/schemas", "/console/waiting"):
            assert (await two.get(path)).status == 403, path


async def test_what_no_page_can_show_as_it_is_breaks_none(gateway: Gateway) -> None:
    for partition, offset in (("\u00b2", "0"), ("0", "\u00b2"), (str(2**31), "0"), ("0", "9" * 18), ("0", "9" * 30)):
        answer = await gateway.post(f"/console/events/inlake.note/{partition}/{offset}", b"", None, method="GET")
        assert answer.status == 404, (partition, offset)
    context = (("inlake_resource_uri", b"x"), ("inlake_resource_size", "\u00b2".encode()))
    await gateway.deployment.bus.publish([Event("a", "inlake.note", b"note", b"{}", context)])
    for path in ("/", "/console/events", "/console/events/inlake.note/0/1"):
        assert (await gateway.post(path, b"", None, method="GET")).status == 200, path
    assert [moment(ms) for ms in (0, 10**18, -(10**18))] == [
        "1970-01-01 00:00:00", "1000000000000000000 ms", "-1000000000000000000 ms",
    ]  # fmt: skip


async def test_half_a_character_breaks_no_page(tmp_path: Path) -> None:
    async with embedded(tmp_path, unsecured_routes=True) as gateway:
        sent = await gateway.post("/ingress/unsecured/record-json?schema=note", b'{"title": "\\ud800"}')
        at = sent.json()
        path = f"/console/events/{at['topic']}/{at['partition']}/{at['offset']}"
        shown = await gateway.post(path, b"", None, method="GET")
        assert (shown.status, b"neither the Confluent wire format nor JSON" in shown.body) == (200, True)
        assert (await gateway.post("/console/events", b"", None, method="GET")).status == 200


async def test_a_record_nested_too_deep_is_shown_as_it_came(gateway: Gateway) -> None:
    assert (await gateway.post(RECORDS, b"[" * 50_000)).status == 422
    assert (await gateway.post(RECORDS, b'{"title": 7}')).status == 422
    browser = Browser(gateway)
    for cause in (await gateway.post("/rejects/causes", method="GET")).json()["causes"]:
        path = f"/console/rejects/{cause['id']}"
        assert (await browser.get(path)).status == 200
        answer = await browser.submit(path, pointer="/title/a", value="[" * 100_000, do="send")
        assert (answer.status, b"still refused" in answer.body) == (200, True)


async def test_records_are_mended_in_another_thread(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    await gateway.post(RECORDS, b'{"title": "x", "tags": ["a", 1, 2]}')
    calls: list[tuple[int, list[str]]] = []

    def noted(text: str, pointers: list[str], value: str) -> str:
        calls.append((threading.get_ident(), pointers))
        return set_values(text, pointers, value)

    monkeypatch.setattr("inlake.web.console.rejects.set_values", noted)
    browser = Browser(gateway)
    await browser.get("/console/rejects")
    (cause,) = (await gateway.post("/rejects/causes", method="GET")).json()["causes"]
    answer = await browser.submit(f"/console/rejects/{cause['id']}", pointer="/tags/*", value="etching", do="send")
    assert b"1 sent and accepted" in answer.body
    ((thread, pointers),) = calls
    assert thread != threading.get_ident()
    assert pointers == ["/tags/1", "/tags/2"]


async def test_the_token_is_of_the_session_and_no_cookie_that_a_neighbour_sets(tmp_path: Path) -> None:
    async with with_keys(tmp_path, "one") as gateway:
        browser = await signed_in(gateway, "one")
        assert f'value="{browser.token}"'.encode() in (await browser.get("/console/send/note")).body
        cookie = f"inlake_csrf={'a' * 32}; inlake_session={browser.cookies['inlake_session']}"
        body = urlencode({"csrf": "a" * 32, "record": '{"title": "x"}'}).encode()
        assert (await gateway.post("/console/send/note", body, FORM, headers={"cookie": cookie})).status == 403
        headers = {"cookie": cookie, "x-csrf-token": "a" * 32}
        assert (await gateway.post(RECORDS, b'{"title": "x"}', headers=headers)).status == 403
        assert await gateway.events() == []


async def test_a_page_of_another_port_sends_nothing_in_the_name_of_who_is_signed_in(tmp_path: Path) -> None:
    async with with_keys(tmp_path, "one") as gateway:
        browser = await signed_in(gateway, "one")
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        body = urlencode({"csrf": browser.token, "record": '{"title": "x"}'}).encode()
        for origin, status in (("http://srv:3000", 403), ("null", 403), ("http://srv:8000", 200)):
            headers = {"cookie": cookie, "host": "srv:8000", "origin": origin, "x-csrf-token": browser.token}
            assert (await gateway.post("/console/send/note", body, FORM, headers=headers)).status == status
            sent = await gateway.post(RECORDS, b'{"title": "x"}', headers=headers)
            assert sent.status == (201 if status == 200 else 403)


async def test_who_is_not_signed_in_fills_no_memory(tmp_path: Path) -> None:
    async with with_keys(tmp_path, "one") as gateway:
        for path in ("/console/sign-in", "/console/sign-out"):
            assert (await gateway.post(path, b"a" * 5_000, FORM)).status == 413, path
        assert (await gateway.post("/console/send/note", b"a" * (9 << 20), FORM)).status in {303, 413}
    for row in PAGES:
        assert (row.may_hold is not None) == (row.method == "POST"), row.path


async def test_a_form_mends_as_many_long_records_as_a_page_has(gateway: Gateway) -> None:
    for _ in range(11):
        record = b'{"title": "' + b"a" * 890_000 + b'", "tags": [1]}'
        assert (await gateway.post(RECORDS, record)).status == 422
    browser = Browser(gateway)
    await browser.get("/console/rejects")
    (cause,) = (await gateway.post("/rejects/causes", method="GET")).json()["causes"]
    answer = await browser.submit(f"/console/rejects/{cause['id']}", pointer="/tags/*", value="etching", do="send")
    assert b"10 sent and accepted, 0 still refused. There are more: send the form again for them." in answer.body
    answer = await browser.submit(f"/console/rejects/{cause['id']}", pointer="/tags/*", value="etching", do="send")
    assert b"1 sent and accepted, 0 still refused.</" in answer.body.replace(b"\n", b"")


async def test_a_list_of_events_has_their_titles_and_small_pictures(gateway: Gateway) -> None:
    await gateway.post(RECORDS, '{"title": "Häuser am Hang"}'.encode())
    body, kind = form(("record", b'{"title": "Boat"}', None, None), ("file", b"pixels", "boat.png", "image/png"))
    puuid = (await gateway.post("/ingress/record-json-and-binary?schema=note", body, kind)).json()["resource"]["puuid"]
    for path in ("/", "/console/events"):
        page = (await gateway.post(path, b"", None, method="GET")).body.decode()
        assert re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)</a>', page) == ["Boat", "Häuser am Hang"]
        assert page.count("<img ") == 1
        assert f'<img src="/resources/{puuid}"' in page


async def test_older_events_follow_a_page_at_a_time_and_none_is_left_out(gateway: Gateway) -> None:
    lines = b"\n".join(b'{"title": "n%03d"}' % n for n in range(250))
    await gateway.post(RECORDS, lines, "application/x-ndjson")
    await gateway.post(RECORDS + "&destination=a/b", lines[:35], "application/x-ndjson")
    came: list[str] = []
    path = "/console/events?destination="
    for count in (100, 100, 52):
        page = (await gateway.post(path, b"", None, method="GET")).body.decode()
        titles = re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)</a>', page)
        assert len(titles) == count
        came += titles
        next_ = re.search(r'rel="next" href="(\?[^"]+)"', page)
        path = "/console/events" + html.unescape(next_[1]) if next_ else ""
    assert path == ""
    assert came == ["n001", "n000", *(f"n{n:03}" for n in reversed(range(250)))]


async def test_events_are_found_by_what_is_asked_for(gateway: Gateway) -> None:
    await gateway.post(RECORDS + "&destination=a/b", b'{"title": "below"}')
    await gateway.post(RECORDS + "&destination=ab", b'{"title": "beside"}')
    for asked, found in (
        ({"schema": "note"}, ["beside", "below"]),
        ({"schema": "other"}, []),
        ({"destination": "a"}, ["below"]),
        ({"principal": "anonymous"}, ["beside", "below"]),
        ({"principal": "token:x"}, []),
        ({"since": "2020-01-01"}, ["beside", "below"]),
        ({"since": "2999-01-01"}, []),
        ({"until": "2020-01-01"}, []),
        ({"until": "2999-01-01"}, ["beside", "below"]),
    ):
        page = (await gateway.post("/console/events?" + urlencode(asked), b"", None, method="GET")).body.decode()
        assert re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)</a>', page) == found, asked
        assert ("No event fits" in page) == (not found), asked
    for asked in ({"since": "today"}, {"until": "9"}, {"before": "1/2"}, {"before": "a/0/0/x"}):
        answer = await gateway.post("/console/events?" + urlencode(asked), b"", None, method="GET")
        assert answer.status == 400, asked


async def test_a_page_says_how_far_back_it_looked_and_looks_further_when_asked(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_events, "MOST", 101)
    await gateway.post(RECORDS + "&destination=rare", b'{"title": "rare"}')
    lines = b"\n".join(b'{"title": "n%03d"}' % n for n in range(150))
    await gateway.post(RECORDS, lines, "application/x-ndjson")
    page = (await gateway.post("/console/events?destination=rare", b"", None, method="GET")).body.decode()
    assert "101 events were looked through, back to " in page
    assert "Nothing that fits so far." in page
    next_ = re.search(r'rel="next" href="(\?[^"]+)">Look further back', page)
    assert next_
    page = (await gateway.post("/console/events" + html.unescape(next_[1]), b"", None, method="GET")).body.decode()
    assert ">rare</a>" in page


async def test_the_overview_has_the_events_where_rejects_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    async with embedded(tmp_path, rejects=f"sqlite:{tmp_path / 'file' / 'rejects.db'}") as gateway:
        assert (await gateway.post(RECORDS, b'{"title": "Boat"}')).status == 201
        page = (await gateway.post("/", method="GET")).body.decode()
        assert ">Boat</a>" in page
        assert "rejects.db cannot be used" in page
        assert (await gateway.post("/console/rejects", method="GET")).status == 503


async def test_promises_on_their_way_are_shown_a_page_at_a_time(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "SHOWN", 2)
    names = {f"{n}.png" for n in range(5)}
    for name in names:
        body, kind = form(("file", b"pixels", name, "image/png"))
        assert (await gateway.post("/ingress/binary", body, kind)).status == 200
    shown, path = set[str](), "/console/waiting"
    for _ in range(3):
        page = (await gateway.post(path, method="GET")).body.decode()
        shown |= set(re.findall(r'data-name="file">([^<]+)<', page))
        more = re.search(r'rel="next" href="(\?promises=[^"]+)">More', page)
        path = f"/console/waiting{html.unescape(more[1])}" if more else ""
    assert (shown, path) == (names, "")
    assert ">First</a>" in page


async def test_mending_all_shows_first_what_it_changes_and_sends_nothing(gateway: Gateway) -> None:
    await gateway.post(RECORDS, b'{"title": "Boat", "tags": ["a", 1, 2]}')
    await gateway.post(RECORDS, b'{"tags": ["a", 3], "title": "Houses"}')
    browser = Browser(gateway)
    await browser.get("/console/rejects")
    (cause,) = (await gateway.post("/rejects/causes", method="GET")).json()["causes"]
    path = f"/console/rejects/{cause['id']}"
    page = (await browser.submit(path, pointer="/tags/*", value="etching", do="preview")).body.decode()
    assert "<strong>2</strong> of 2 fit then. Nothing was sent yet." in page
    assert "<td>Boat</td>" in page
    assert "<code>&#34;etching&#34;</code>" in page
    assert "Send 2 again" in page
    page = (await browser.submit(path, pointer="/tags/*", value="7", do="preview")).body.decode()
    assert "<strong>0</strong> of 2 fit then" in page
    assert "2 would be refused again" in page
    for do in ("preview", "send"):
        page = (await browser.submit(path, pointer="/tags/*", value=" ", do=do)).body.decode()
        assert "Write what is to stand there." in page
        assert 'aria-invalid="true"' in page
    assert await gateway.events() == []
    page = (await browser.submit(path, pointer="", value="", do="preview")).body.decode()
    assert "<strong>0</strong> of 2 fit then" in page
    page = (await browser.submit(path, pointer="/tags/*", value='""', do="send")).body.decode()
    assert "2 sent and accepted" in page


async def test_a_version_of_a_schema_is_added_and_its_difference_shown(gateway: Gateway) -> None:
    browser = Browser(gateway)
    page = (await browser.get("/console/schemas/note")).body.decode()
    text = html.unescape(re.search(r'<textarea id="text"[^>]*>(.*?)</textarea>', page, re.DOTALL)[1])  # type: ignore[index]
    schema = json.loads(text)
    schema["fields"].append({"name": "maker", "type": ["null", "string"], "default": None})
    added = await browser.submit("/console/schemas/note", text=json.dumps(schema))
    assert (added.status, added.headers["location"]) == (303, "/console/schemas/note?version=2")
    page = (await browser.get("/console/schemas/note?version=2")).body.decode()
    assert "What version 2 changed" in page
    assert re.search(r'<span class="added">\+ +&#34;name&#34;: &#34;maker&#34;', page)
    assert "Add version 3" in page


@pytest.mark.parametrize("text", ["", "{", '{"type": "record", "name": "Note"}', "<b>"])
async def test_a_version_that_is_refused_stays_in_the_form_with_the_reason(gateway: Gateway, text: str) -> None:
    browser = Browser(gateway)
    await browser.get("/console/schemas/note")
    answer = await browser.submit("/console/schemas/note", text=text)
    page = answer.body.decode()
    assert answer.status in {409, 422}, page
    assert "Not added: " in page
    assert f">{html.escape(text)}</textarea>".replace("&quot;", "&#34;") in page
    assert await gateway.deployment.registry.versions("note") == [1]


async def test_versions_are_added_by_those_who_administer_the_schema(tmp_path: Path) -> None:
    rights = tmp_path / "rights.toml"
    rights.write_text(
        """[[rule]]\nwho = ["token:boss"]\nmay = ["read", "administer"]\n"""
        """[[rule]]\nwho = ["*"]\nmay = ["ingest", "read"]\n"""
    )
    async with with_keys(tmp_path, "one", "boss", rights=rights) as gateway:
        one, boss = await signed_in(gateway, "one"), await signed_in(gateway, "boss")
        assert b"Add a version" not in (await one.get("/console/schemas/note")).body
        assert b"Add a version" in (await boss.get("/console/schemas/note")).body
        assert (await one.submit("/console/schemas/note", text="{}")).status == 403
        assert (await boss.submit("/console/schemas/note", text="{}")).status == 422
    (tmp_path / "keys-only").mkdir()
    async with with_keys(tmp_path / "keys-only", "one") as gateway:
        one = await signed_in(gateway, "one")
        assert (await one.submit("/console/schemas/note", text="{}")).status == 403
