"""A body is taken for what it is, or refused: parts of a whole, other codings, digests, names of files."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode

import pytest

from tests.gateways import Gateway, form

BINARY, RECORD, BOTH = (
    "/ingress/binary",
    "/ingress/record-json?schema=note",
    "/ingress/record-json-and-binary?schema=note",
)
GOOD = b'{"title": "a"}'


def of(algorithm: str, body: bytes) -> str:
    return b64encode(hashlib.new(algorithm, body).digest()).decode()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"upload-complete": "?0"}, "resumable_upload_not_built"),
        ({"upload-incomplete": "?1"}, "resumable_upload_not_built"),
        ({"transfer-encoding": "gzip, chunked"}, "transfer_coding_not_built"),
        ({"transfer-encoding": "gzip"}, "transfer_coding_not_built"),
        ({"content-range": "bytes 0-1/4"}, "bad_parameter"),
    ],
)
@pytest.mark.parametrize("path", [BINARY, RECORD])
async def test_a_part_of_a_body_is_not_taken_for_the_whole(
    gateway: Gateway, path: str, headers: dict[str, str], code: str
) -> None:
    answer = await gateway.post(path, GOOD, headers=headers)
    assert (answer.status in {400, 501}, answer.json()["code"]) == (True, code)
    assert (await gateway.objects(), await gateway.events()) == ([], [])


@pytest.mark.parametrize("headers", [{"upload-complete": "?1"}, {"upload-incomplete": "?0"}])
async def test_an_upload_that_is_complete_is_whole(gateway: Gateway, headers: dict[str, str]) -> None:
    assert (await gateway.post(BINARY, GOOD, headers=headers)).status == 200


RIGHT = [
    {"content-md5": of("md5", GOOD)},
    {"digest": f"SHA-256={of('sha256', GOOD)}"},
    {"digest": f"md5={of('md5', GOOD)},unixsum=30637"},
    {"digest": f"SHA-512={of('sha512', GOOD)}, SHA={of('sha1', GOOD)}"},
    {"content-digest": f"sha-256=:{of('sha256', GOOD)}:"},
]
WRONG = [{name: value.replace(value[-12:-6], "AAAAAA") for name, value in right.items()} for right in RIGHT[:3]]
WRONG[2] = {"digest": f"md5={of('md5', b'')},unixsum=30637"}


@pytest.mark.parametrize("path", [BINARY, RECORD])
@pytest.mark.parametrize("headers", RIGHT)
async def test_a_digest_that_is_right_is_no_news(gateway: Gateway, path: str, headers: dict[str, str]) -> None:
    assert (await gateway.post(path, GOOD, headers=headers)).status in {200, 201}


@pytest.mark.parametrize("path", [BINARY, RECORD])
@pytest.mark.parametrize("headers", WRONG)
async def test_a_digest_of_other_bytes_refuses_them(gateway: Gateway, path: str, headers: dict[str, str]) -> None:
    for more in ({}, {"idempotency-key": "k"}):
        answer = await gateway.post(path, GOOD, headers=headers | more)
        assert (answer.status, answer.json()["code"]) == (422, "digest_mismatch")
    assert (await gateway.objects(), await gateway.events()) == ([], [])


@pytest.mark.parametrize(
    "headers",
    [{"digest": "unixsum=30637"}, {"content-md5": "abc"}, {"digest": "sha-256"}, {"content-digest": "sha-512=:AA==:"}],
)
async def test_a_digest_that_cannot_be_checked_is_refused(gateway: Gateway, headers: dict[str, str]) -> None:
    for path in (BINARY, RECORD):
        answer = await gateway.post(path, GOOD, headers=headers)
        assert (answer.status, answer.json()["code"]) == (400, "bad_digest")


async def test_the_digest_of_a_stream_is_refused_before_it_is_published(gateway: Gateway) -> None:
    answer = await gateway.post(RECORD, GOOD, "application/x-ndjson", headers=RIGHT[0])
    assert (answer.status, answer.json()["code"], await gateway.events()) == (400, "bad_digest", [])


async def test_a_part_of_a_form_has_digests_of_its_own(gateway: Gateway) -> None:
    body, kind = form(("file", b"hello", "a.txt", "text/plain"))
    for value, status in ((of("md5", b"hello"), 200), (of("md5", b"other"), 422)):
        with_digest = body.replace(b"Content-Type: text", f"Content-MD5: {value}\r\nContent-Type: text".encode())
        assert (await gateway.post(BINARY, with_digest, kind)).status == status
    for value, status in ((of("md5", body), 200), (of("md5", b"other"), 422)):
        assert (await gateway.post(BINARY, body, kind, headers={"content-md5": value})).status == status


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (b"filename=\"=?utf-8?B?U3TDvGNrLnRpZg==?=\"; filename*=utf-8''St%C3%BCck.tif", "St\u00fcck.tif"),
        (b"filename*=utf-8''St%C3%BCck.tif", "St\u00fcck.tif"),
        (b"filename*=ISO-8859-1'de'St%FCck.tif", "St\u00fcck.tif"),
        (b"filename=\"plain.tif\"; filename*=utf-8''%FF.tif", "plain.tif"),
        (b"filename*=utf-16''x; filename=plain.tif", "plain.tif"),
        (b"filename=\"a; filename*=utf-8''evil.txt\"", "a; filename*=utf-8''evil.txt"),
        (b'filename="a\\"b.tif"', 'a"b.tif'),
        ('filename="St\u00fcck.tif"'.encode(), "St\u00fcck.tif"),
    ],
)
async def test_the_name_of_a_file_is_the_one_that_was_sent(gateway: Gateway, said: bytes, name: str) -> None:
    body, kind = form(("file", b"hello", "NAME", "image/tiff"))
    in_form = await gateway.post(BINARY, body.replace(b'filename="NAME"', said), kind)
    assert (in_form.status, in_form.json()["filename"]) == (200, name)
    whole = await gateway.post(
        BINARY, b"hello", headers={"content-disposition": f"attachment; {said.decode('latin-1')}"}
    )
    assert whole.status == 200


async def test_a_name_in_latin_1_is_refused_with_a_sentence(gateway: Gateway) -> None:
    body, kind = form(("file", b"hello", "NAME", "image/tiff"))
    answer = await gateway.post(BINARY, body.replace(b"NAME", b"St\xfcck.tif"), kind)
    assert (answer.status, answer.json()["code"]) == (400, "malformed_multipart")
    assert answer.json()["detail"] == "The filename of a part is not UTF-8, which forms are (RFC 7578, 5.1)."


HEAD = b'Content-Disposition: form-data; name="file"; filename="a.tif"\r\n'


@pytest.mark.parametrize(
    "head",
    [
        b"\xff\xfe: x\r\n" + HEAD,
        HEAD + b"X-\xff: \xff\r\n",
        HEAD + b"no colon\r\n",
        HEAD + b"Content-Length: \xb2\r\n",
        HEAD + b"X: " + b"y" * 100_000 + b"\r\n",
        b"Content-Disposition: attachment\r\n",
        b"Content-Disposition: form-data\r\n",
        b"Content-Disposition: form-data; name=\xff; filename=\xfe\r\n",
        b"\r\n",
    ],
)
async def test_a_form_that_is_malformed_is_told_in_a_sentence_and_not_in_python(gateway: Gateway, head: bytes) -> None:
    body = b"--frontier\r\n" + head + b"\r\nhello\r\n--frontier--\r\n"
    answer = await gateway.post(BINARY, body, "multipart/form-data; boundary=frontier")
    assert (answer.status, answer.json()["code"]) == (400, "malformed_multipart")
    detail = answer.json()["detail"]
    assert not re.search(r"Error|Exception|codec|b'|\\x|[(\[{]'|None", detail), detail
    assert re.fullmatch(r"[A-Z].{5,200}\.", detail)
