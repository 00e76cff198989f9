"""Requests made to hurt: each gets its documented answer in bounded time and memory, and the next one is served."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from inlake.model import Event
from tests.gateways import Answer, Gateway, embedded, form

RECORDS = "/ingress/record-json"
NOTES = f"{RECORDS}?schema=note"
NDJSON = "application/x-ndjson"
GOOD = b'{"title": "a"}'
LIMIT = 900_000
SECONDS = 10
"""Longest for one hostile request: generous, since machines differ; most take less than 0.1 s."""
MIB = 1 << 20
WIDE = {
    "type": "record",
    "name": "Wide",
    "fields": [
        {"name": "ints", "type": {"type": "array", "items": "int"}, "default": []},
        {"name": "map", "type": {"type": "map", "values": {"type": "array", "items": "int"}}, "default": {}},
        {"name": "long", "type": ["null", "long"], "default": None},
        {"name": "double", "type": ["null", "double"], "default": None},
        {"name": "float", "type": ["null", "float"], "default": None},
        {"name": "decimal", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}], "default": None},
        {"name": "date", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
        {"name": "instant", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
        {"name": "length", "type": ["null", {"type": "fixed", "name": "L", "size": 12, "logicalType": "duration"}], "default": None},
        {"name": "text", "type": ["null", "string"], "default": None},
        {"name": "self", "type": ["null", "Wide"], "default": None},
    ],
}  # fmt: skip


@pytest_asyncio.fixture
async def hostile(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway that must still take a good record after each test."""
    async with embedded(tmp_path, body_idle_seconds=30) as gateway:
        await gateway.register("wide", WIDE)
        assert (await gateway.post(f"{RECORDS}?schema=wide", b"{}")).status == 201
        yield gateway
        began = time.perf_counter()
        assert (await gateway.post(NOTES, GOOD)).status == 201
        assert time.perf_counter() - began < SECONDS


async def sent(gateway: Gateway, path: str, body: bytes | Iterator[bytes], kind: str = "application/json") -> Answer:
    """The answer to a request, if it comes in time."""
    began = time.perf_counter()
    answer = await gateway.post(path, body, kind)
    assert time.perf_counter() - began < SECONDS
    return answer


def code_of(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["code"]


def wide(**fields: object) -> bytes:
    return json.dumps(fields).encode()


# -------------------------------------------------------------------------------------------------------------- nesting
@pytest.mark.parametrize(
    "record",
    [
        b'{"title": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"title": ' + b"[" * 400_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[{" * 100_000,
    ],
)
async def test_deep_nesting_is_refused_before_it_is_read(hostile: Gateway, record: bytes) -> None:
    for path in (NOTES, "/ingress/validate?schema=note"):
        answer = await sent(hostile, path, record)
        assert code_of(answer) == (422, "record_rejected")
        assert answer.json()["errors"][0]["code"] == "too_deep"
    lines = await sent(hostile, NOTES, record + b"\n" + GOOD, NDJSON)
    assert [line["status"] for line in lines.lines()[:-1]] == [422, 201]
    enveloped = await sent(hostile, RECORDS, b'{"schema": "note", "record": ' + record + b"}")
    assert enveloped.status in {400, 422}


async def test_a_recursive_record_of_the_deepest_nesting_is_taken_and_one_more_is_not(hostile: Gateway) -> None:
    def nested(levels: int) -> bytes:
        return b'{"self":' * (levels - 1) + b"{}" + b"}" * (levels - 1)

    assert (await sent(hostile, f"{RECORDS}?schema=wide", nested(200))).status == 201
    assert (await sent(hostile, f"{RECORDS}?schema=wide", nested(201))).json()["errors"][0]["code"] == "too_deep"


# --------------------------------------------------------------------------------------------------------------- errors
async def test_a_record_with_very_many_errors_names_the_first_hundred(hostile: Gateway) -> None:
    items = (LIMIT - 20) // 2
    answer = await sent(hostile, f"{RECORDS}?schema=wide", b'{"ints": [' + b"{}," * (items * 2 // 3) + b"{}]}")
    assert code_of(answer) == (422, "record_rejected")
    assert [e["pointer"] for e in answer.json()["errors"]] == [f"/ints/{n}" for n in range(100)]


async def test_very_many_unknown_fields_name_the_first_hundred(hostile: Gateway) -> None:
    record = b'{"title": "a"' + b"".join(b',"%x":1' % n for n in range(80_000)) + b"}"
    answer = await sent(hostile, NOTES, record)
    assert code_of(answer) == (422, "record_rejected")
    assert len(answer.json()["errors"]) == 100


async def test_a_hundred_thousand_rejects_in_a_stream_all_come_back(hostile: Gateway) -> None:
    chunks = [b"{}\n" * 10_000] * 10
    began = time.perf_counter()
    answer = await hostile.post(NOTES, chunks, NDJSON)
    assert time.perf_counter() - began < 12 * SECONDS
    assert answer.status == 422 or answer.status == 207
    *rejects, last = answer.lines()
    assert [reject["line"] for reject in rejects] == list(range(1, 100_001))
    assert last == {"summary": {"accepted": 0, "pending": 0, "rejected": 100_000, "failed": 0}, "complete": True}


async def test_a_long_key_above_many_errors_does_not_multiply(hostile: Gateway) -> None:
    record = wide(map={"k" * 500_000: ["x"] * 1000})
    answer = await sent(hostile, f"{RECORDS}?schema=wide", record)
    assert code_of(answer) == (422, "record_rejected")
    assert len(answer.body) < 4 * MIB


# ---------------------------------------------------------------------------------------------------- keys and numbers
@pytest.mark.parametrize("key", ["k" * 500_000, "~/" * 200_000, "é" * 100_000, '"' * 200_000])
async def test_a_long_unknown_key_is_named(hostile: Gateway, key: str) -> None:
    answer = await sent(hostile, NOTES, wide(title="a", **{key: 1}))
    assert code_of(answer) == (422, "record_rejected")
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/" + key.replace("~", "~0").replace("/", "~1")
    assert len(answer.body) < 4 * MIB


@pytest.mark.parametrize(
    "number",
    ["9" * 100_000, "-" + "9" * 100_000, "0." + "0" * 100_000 + "1", "1e100000000", "1e-100000000", "1E+999999999999999999999",
     "9" * 50_000 + "." + "9" * 50_000, "1" + "0" * 800_000, "0." + "9" * 800_000, "1e" + "9" * 800_000]
)  # fmt: skip
async def test_a_number_of_very_many_digits_is_judged_exactly_and_quickly(hostile: Gateway, number: str) -> None:
    for field in ("long", "double", "float", "decimal", "date", "instant", "length", "text"):
        answer = await sent(hostile, f"{RECORDS}?schema=wide", f'{{"{field}": {number}}}'.encode())
        assert answer.status in {201, 422}, answer.body[:300]
        if answer.status == 422:
            assert answer.json()["errors"][0]["pointer"] == f"/{field}"
        assert len(answer.body) < 10_000
        quoted = await sent(hostile, f"{RECORDS}?schema=wide", f'{{"{field}": "{number}"}}'.encode())
        assert quoted.status in {201, 422}
        assert len(quoted.body) < 10_000


@pytest.mark.parametrize("text", [b'"\xff"', b'"\\ud800"', b'"\\x"', b'"{\\"title\\": \\"\\\\ud800\\"}"'])
async def test_a_broken_string_for_a_record_sinks_its_line_only(hostile: Gateway, text: bytes) -> None:
    envelope = b'{"key_inlk": "note", "content": %b}'
    lines = await sent(hostile, RECORDS, envelope % text + b"\n" + envelope % GOOD, NDJSON)
    assert [line["status"] for line in lines.lines()[:-1]] == [400, 201]
    assert code_of(await sent(hostile, RECORDS, envelope % text)) == (400, "malformed_json")


@pytest.mark.parametrize("place", ["é", "a b/c&d", "日本/図.jpg", '"', "a+b=c;d"])
async def test_an_object_at_a_place_of_any_letters_comes_back(hostile: Gateway, place: str) -> None:
    record = json.dumps({"title": "a", "__resource_path__": place}).encode()
    binary = "/ingress/record-json-and-binary?schema=note"
    answer = await sent(hostile, binary, *form(("record", record, None, None), ("file", b"v", "a", None)))
    told = await hostile.post(f"/resources/{answer.json()['resource']['puuid']}", method="GET")
    assert (told.status, told.body) == (200, b"v")


# ----------------------------------------------------------------------------------------------------------------- size
async def test_a_record_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(hostile: Gateway) -> None:
    exact = b'{"title": "' + b"a" * (LIMIT - 13) + b'"}'
    assert len(exact) == LIMIT
    enveloped = b'{"schema":"note","record":'
    form_of = [form(("record", exact + b" " * n, None, None), ("file", b"v", "a", None)) for n in (0, 1)]
    binary = "/ingress/record-json-and-binary?schema=note"
    for path, body, kind, more in (
        (NOTES, exact, "application/json", exact + b" "),
        (RECORDS, enveloped + exact + b"}", "application/json", enveloped + exact[:-2] + b'a"}}'),
        (binary, form_of[0][0], form_of[0][1], form_of[1][0]),
    ):
        assert (await sent(hostile, path, body, kind)).status == 201
        assert code_of(await sent(hostile, path, more, kind)) == (413, "record_too_large")
    lines = (await sent(hostile, NOTES, exact + b"\n" + exact[:-2] + b'a"}\n' + GOOD, NDJSON)).lines()
    assert [line["status"] for line in lines[:-1]] == [201, 413, 201]


async def test_a_line_of_a_gigabyte_is_skipped_in_flat_memory(hostile: Gateway) -> None:
    chunk = b"x" * (256 << 10)

    def body() -> Iterator[bytes]:
        yield GOOD + b"\n"
        for _ in range(4096):
            yield chunk
        yield b"\n" + GOOD

    tracemalloc.start()
    try:
        answer = await hostile.post(NOTES, body(), NDJSON)
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()
    assert [line["status"] for line in answer.lines()[:-1]] == [201, 413, 201]


async def test_a_body_without_end_is_cut_at_the_limit(hostile: Gateway) -> None:
    chunks = [b" " * (256 << 10)] * 40
    assert code_of(await sent(hostile, NOTES, iter(chunks))) == (413, "record_too_large")


async def test_a_form_of_many_parts_or_long_part_headers_is_refused(hostile: Gateway) -> None:
    many, kind = form(*[("record", GOOD, None, None)] * 5000)
    binary = "/ingress/record-json-and-binary?schema=note"
    assert code_of(await sent(hostile, binary, many, kind)) == (400, "malformed_multipart")
    for head in (b"X: " + b"a" * MIB, b"X: a\r\n" * 100_000, b"\0" * MIB):
        body = b"--frontier\r\n" + head + b"\r\n\r\n\r\n--frontier--\r\n"
        assert code_of(await sent(hostile, binary, body, kind)) == (400, "malformed_multipart")
    quiet = [b"p" * (256 << 10)] * 40
    assert code_of(await sent(hostile, binary, iter(quiet), kind)) == (400, "malformed_multipart")
    assert await hostile.objects() == []


async def test_a_stream_of_blank_lines_alone_holds_nothing(hostile: Gateway) -> None:
    tracemalloc.start()
    try:
        answer = await sent(hostile, NOTES, iter([b"\n" * (256 << 10)] * 8), NDJSON)
        assert tracemalloc.get_traced_memory()[1] < 128 * MIB
    finally:
        tracemalloc.stop()
    assert code_of(answer) == (400, "empty_body")


class CallsOf:
    """A bus, and the bytes of the events of each call."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, events: Sequence[Event]) -> Any:
        self.sizes.append(sum(len(event.value) for event in events))
        return await self._bus.publish(events)


@pytest.mark.parametrize("mode", ["", "&mode=atomic"])
async def test_defaults_that_make_much_of_little_fill_no_memory(tmp_path: Path, mode: str) -> None:
    """A line of six bytes becomes an event of 500 kB: a stream has a window of them on its way, an atomic body is
    refused."""
    note = {"name": "Large", "type": "record", "fields": [{"name": "text", "type": "string", "default": "x" * 50_000}]}
    many = {"name": "Many", "type": "record", "fields": [{"name": "x", "type": {"type": "array", "items": note}}]}
    line = b'{"x":[' + b",".join([b"{}"] * 10) + b"]}\n"
    async with embedded(tmp_path, atomic_bytes=1_000_000) as gateway:
        await gateway.register("many", many)
        bus = CallsOf(gateway.deployment.bus)
        gateway.deployment.gateway.bus = bus
        answer = await gateway.post(f"/ingress/record-json?schema=many{mode}", line * 150, "application/x-ndjson")
        if mode:
            assert (answer.status, answer.json()["code"], bus.sizes) == (413, "atomic_body_too_large", [])
            return
        assert answer.status == 201
        receipts = answer.lines()[:-1]
        assert [receipt["line"] for receipt in receipts] == [*range(1, 151)]
        assert [receipt["offset"] for receipt in receipts] == sorted(receipt["offset"] for receipt in receipts)
        assert sum(bus.sizes) > 75_000_000
        assert max(bus.sizes) < 2_000_000, "a window and a record at most"


async def test_a_shipment_of_which_defaults_make_much_is_refused(tmp_path: Path) -> None:
    large = {"name": "text", "type": "string", "default": "x" * 50_000}
    field = {"name": "__resource_path__", "type": ["null", "string"], "default": None}
    scan = {"name": "Scan", "type": "record", "fields": [large, field]}
    file = {"filename": "a.tif", "size": 1, "sha256": "0" * 64}
    line = json.dumps({"file": file, "record": {}}).encode() + b"\n"
    async with embedded(tmp_path, shipment_bytes=100_000) as gateway:
        await gateway.register("scan", scan)
        few = await gateway.post("/shipments?schema=scan", line * 7, "application/x-ndjson")
        many = await gateway.post("/shipments?schema=scan", line * 20, "application/x-ndjson")
        assert (few.status, many.status, many.json()["code"]) == (201, 413, "shipment_too_large")
        assert len([key async for key in gateway.deployment.store.list(".inlake/shipments/")]) == 1
