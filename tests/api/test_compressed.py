"""Compressed request bodies: inflated piece by piece, bounded, and refused when they are broken."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from tests.gateways import Gateway, embedded, form

RECORD = b'{"title": "Nocturne"}'
PATH = "/ingress/record-json?schema=note"
NDJSON = "application/x-ndjson"
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}


def encoded(encoding: str) -> dict[str, str]:
    return {"content-encoding": encoding}


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_compressed_record_is_a_record(gateway: Gateway, encoding: str) -> None:
    body = ENCODINGS[encoding](RECORD)
    assert (await gateway.post(PATH, body, headers=encoded(encoding))).status == 201
    in_bytes = [body[i : i + 1] for i in range(len(body))]
    assert (await gateway.post(PATH, in_bytes, headers=encoded(encoding))).status == 201


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_compressed_stream_of_many_windows_and_of_several_members(gateway: Gateway, encoding: str) -> None:
    compress = ENCODINGS[encoding]
    body = compress((RECORD + b"\n") * 2500) + compress((RECORD + b"\n") * 10)
    answer = await gateway.post(
        PATH, [body[i : i + 100] for i in range(0, len(body), 100)], NDJSON, headers=encoded(encoding)
    )
    assert answer.lines()[-1] == {
        "summary": {"accepted": 2510, "pending": 0, "rejected": 0, "failed": 0},
        "complete": True,
    }


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "broken",
    [
        lambda b: b[:-3],
        lambda b: b"x" + b,
        lambda b: b + b"tail",
        lambda _: b"",
        lambda b: b[:12] + b"\xff\xff" + b[14:],
    ],
)
async def test_a_broken_compressed_body_is_400(
    gateway: Gateway, encoding: str, broken: Callable[[bytes], bytes]
) -> None:
    body = broken(ENCODINGS[encoding](RECORD * 5))
    for kind in ("application/json", NDJSON):
        answer = await gateway.post(PATH, body, kind, headers=encoded(encoding))
        # a zstd frame need not have a checksum: what is changed within may inflate to something else
        assert answer.status == 400
        assert b"malformed_encoding" in answer.body or b"malformed_json" in answer.body
    assert await gateway.events() == []


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_bomb_is_refused_within_its_limits(tmp_path: Path, encoding: str) -> None:
    async with embedded(tmp_path, max_inflated=5_000_000) as gateway:
        bomb = ENCODINGS[encoding](b" " * 200_000_000)
        single = await gateway.post(PATH, bomb, headers=encoded(encoding))
        assert (single.status, single.json()["code"]) == (413, "record_too_large")
        lines = ENCODINGS[encoding]((RECORD + b"\n") * 100 + b"\n" * 6_000_000)
        stream = await gateway.post(PATH, lines, NDJSON, headers=encoded(encoding))
        last = stream.lines()[-1]
        assert (last["complete"], last["code"], last["summary"]["accepted"]) == (False, "body_too_large", 100)
        assert (await gateway.post(PATH, RECORD)).status == 201


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, zstd", "x"])
async def test_another_encoding_is_415(gateway: Gateway, encoding: str) -> None:
    answer = await gateway.post(PATH, zlib.compress(RECORD), headers=encoded(encoding))
    assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_form_is_taken_without_an_encoding_only(gateway: Gateway) -> None:
    body, kind = form(("record", RECORD, None, None), ("file", b"x", "x", None))
    answer = await gateway.post(
        "/ingress/record-json-and-binary?schema=note", gzip.compress(body), kind, headers=encoded("gzip")
    )
    assert answer.status == 415
