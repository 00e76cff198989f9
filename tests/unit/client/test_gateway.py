"""Only a receipt is a yes: what else may answer where a gateway is expected."""

from __future__ import annotations

import io
import json
import re
import socket
from typing import Any

import pytest

from inlake.client import (
    Client,
    CutOff,
    Failed,
    FileChanged,
    NotAGateway,
    Refused,
    Unreachable,
    Upload,
)
from tests.answering import answering

JSON = {"Content-Type": "application/json"}
PROBLEM = {"Content-Type": "application/problem+json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
RECEIPT: dict[str, Any] = {"id": "x", "key": "scan", "topic": "inlake.scan", "partition": 0, "offset": 1}
UUID = "8e03978e-40d5-43dd-bd59-0f7c2f2b1e5b"


def lines(*documents: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def summary(**counts: int) -> dict[str, Any]:
    return {"summary": {"accepted": 0, "pending": 0, "rejected": 0, "failed": 0, **counts}, "complete": True}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_named_and_followed_by_no_post(status: int) -> None:
    with answering((status, {"Location": "https://inlake.museum.example/"}, b"")) as other, Client(other.url) as client:
        for send in (
            lambda: client.send_record("scan", {}),
            lambda: client.send_binary("scan", {}, Upload.of(io.BytesIO(b"x"), "a.tif")),
            lambda: list(client.send_records("scan", [b"{}"])),
            lambda: list(client.promises()),
            lambda: client.promise(UUID),
            lambda: client.cancel_promise(UUID),
        ):
            with pytest.raises(NotAGateway, match=r"redirect to https://inlake\.museum\.example/"):
                send()
        assert len(other.requests) == 6


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, JSON, b'{"ok": true}'),
        (200, JSON, b'{"status": "ok"}'),
        (201, JSON, b"[]"),
        (200, {"Content-Type": "text/html"}, b"<html>Welcome</html>"),
        (204, {}, b""),
        (200, NDJSON, b'{"line": 1, "status": 201}\n{"summary": {}, "complete": true}\n'),
        (200, NDJSON, b'"yes"\n'),
        (200, JSON, b"[" * 100_000),
        (200, NDJSON, b"[" * 100_000),
        (404, {"Content-Type": "text/html"}, b"<h1>nginx</h1>"),
    ],
)
def test_an_answer_of_another_kind_is_no_yes(status: int, headers: dict[str, str], body: bytes) -> None:
    with answering((status, headers, body)) as other, Client(other.url) as client:
        with pytest.raises(NotAGateway, match=r"(?i)is it a gateway"):
            client.send_record("scan", {})
        with pytest.raises(NotAGateway, match=r"(?i)is it a gateway"):
            client.send_binary("scan", {}, Upload.of(io.BytesIO(b"x"), "a.tif"))
        with pytest.raises(NotAGateway, match=r"(?i)is it a gateway"):
            list(client.send_records("scan", [b"{}"]))
        with pytest.raises(NotAGateway):
            list(client.promises())
        with pytest.raises(NotAGateway):
            client.promise(UUID)
        if status != 204:
            with pytest.raises(NotAGateway):
                client.cancel_promise(UUID)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "a proxy or a firewall"),
        (407, "wants a name and a password"),
        (413, "takes no body of this size"),
        (502, "reaches no gateway behind it"),
        (504, "the outcome is unknown"),
    ],
)
def test_a_proxy_that_answers_by_itself_is_called_one(status: int, words: str) -> None:
    page = (status, {"Content-Type": "text/html", "Server": "nginx"}, b"<html>")
    with answering(page) as proxy, Client(proxy.url) as client:
        with pytest.raises(NotAGateway, match=words) as caught:
            client.send_record("scan", {})
        assert "nginx" in str(caught.value)


def test_a_problem_of_the_gateway_is_one() -> None:
    text = json.dumps({"status": 403, "code": "forbidden", "detail": "Not for you."}).encode()
    with answering((403, PROBLEM, text)) as gateway, Client(gateway.url) as client, pytest.raises(Refused) as caught:
        client.send_record("scan", {})
    assert (caught.value.code, str(caught.value)) == ("forbidden", "Not for you.")


def test_the_lines_of_all_batches_are_numbered_as_the_source_has_them() -> None:
    first = lines({"line": 1, "status": 201, **RECEIPT}, {"line": 3, "status": 422, "errors": []})
    second = lines({"line": 1, "status": 201, **RECEIPT})
    with (
        answering(
            (207, NDJSON, first + lines(summary(accepted=1, rejected=1))),
            (201, NDJSON, second + lines(summary(accepted=1))),
        ) as gateway,
        Client(gateway.url) as client,
    ):
        *receipts, last = client.send_records("scan", [b"{}", b"\n", b"x", b"", b"{}"])
    assert [(r["line"], r["status"]) for r in receipts] == [(1, 201), (3, 422), (4, 201)]
    assert last == summary(accepted=2, rejected=1)
    keys = [headers["Idempotency-Key"] for _, headers, _ in gateway.requests]
    assert re.fullmatch(r'"([0-9a-f]{32})-1-3" "\1-4-4"', " ".join(keys))


def test_a_batch_that_failed_is_sent_again_with_its_key() -> None:
    busy = (503, {**PROBLEM, "Retry-After": "0"}, b'{"status": 503, "code": "busy", "detail": "Busy."}')
    half = (207, NDJSON, lines({"line": 1, "status": 503, "code": "bus_unavailable"}, summary(failed=1)))
    whole = (201, NDJSON, lines({"line": 1, "status": 201, **RECEIPT}, summary(accepted=1)))
    with answering(busy, half, whole) as gateway, Client(gateway.url) as client:
        assert [r.get("status") for r in client.send_records("scan", [b"{}"])] == [201, None]
    assert len({headers["Idempotency-Key"] for _, headers, _ in gateway.requests}) == 1
    assert [body for *_, body in gateway.requests] == [b"{}\n"] * 3


def test_without_time_for_another_attempt_the_failure_is_told() -> None:
    busy = (503, {**PROBLEM, "Retry-After": "30"}, b'{"status": 503, "code": "busy", "detail": "Busy."}')
    with answering(busy) as gateway, Client(gateway.url, retry=5) as client, pytest.raises(Failed, match="Busy"):
        list(client.send_records("scan", [b"{}"]))


def test_a_batch_too_large_for_a_key_is_sent_in_halves() -> None:
    large = (413, PROBLEM, b'{"status": 413, "code": "idempotent_too_large", "detail": "Cut it."}')
    one = (201, NDJSON, lines({"line": 1, "status": 201, **RECEIPT}, summary(accepted=1)))
    with answering(large, one, one) as gateway, Client(gateway.url) as client:
        *receipts, last = client.send_records("scan", [b"1", b"2"])
    assert [r["line"] for r in receipts] == [1, 2]
    assert last == summary(accepted=2)
    assert [body for *_, body in gateway.requests] == [b"1\n2\n", b"1\n", b"2\n"]


def test_receipts_that_end_early_are_cut_off() -> None:
    cut = (207, NDJSON, lines({"line": 1, "status": 201, **RECEIPT}))
    with answering(cut) as gateway, Client(gateway.url, retry=0) as client, pytest.raises(CutOff, match="end early"):
        list(client.send_records("scan", [b"{}", b"{}"]))


def test_a_file_that_becomes_shorter_is_named() -> None:
    with answering((400, PROBLEM, b"{}")) as gateway, Client(gateway.url) as client:
        upload = Upload.of(Shrinking(b"x" * 1000), "scan.tif")
        with pytest.raises(FileChanged, match=r"scan\.tif: the file became shorter"):
            client.send_binary("scan", {}, upload)


class Shrinking(io.BytesIO):
    """A file of which half is gone when it is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 500 - self.tell())) if self.tell() < 500 else b""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://no.such.host.invalid", "The name in .* is not known"),
        ("https://127.0.0.1:9", "No gateway answers at"),
    ],
)
def test_each_trouble_of_the_network_has_its_own_sentence(url: str, words: str) -> None:
    with Client(url) as client, pytest.raises(Unreachable, match=words) as caught:
        client.send_record("scan", {})
    assert not caught.value.sent


def test_a_server_without_tls_is_told_from_one_that_is_away() -> None:
    with answering((200, {}, b"")) as plain:
        url = plain.url.replace("http", "https")
        with Client(url) as client, pytest.raises(Unreachable, match="is it http:// there"):
            client.send_record("scan", {})


def test_a_proxy_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Client("http://inlake.museum.example") as client, pytest.raises(Unreachable, match="proxy"):
        client.send_record("scan", {})


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", " "])
def test_a_blank_at_the_end_of_a_token_is_cut(end: str) -> None:
    answer = (201, JSON, json.dumps(RECEIPT).encode())
    with answering(answer) as gateway, Client(gateway.url, token=f"s3cr3t{end}") as client:
        client.send_record("scan", {})
    assert gateway.requests[0][1]["Authorization"] == "Bearer s3cr3t"


@pytest.mark.parametrize("token", ["s3c\nr3t", "s3c r3t", "s3c\u00fcr3t", "s3c\x00r3t"])
def test_a_token_that_cannot_be_one_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match="token") as caught:
        Client("http://127.0.0.1:9", token=token)
    assert "s3c" not in str(caught.value)


def test_a_name_that_is_not_utf8_is_read_as_windows_1252() -> None:
    assert Upload.of(io.BytesIO(), "St\udcfcck.tif").filename == "St\u00fcck.tif"
