"""`mode=atomic`: all records of a body are published, or none."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest
from backports import zstd

from tests.gateways import Answer, Gateway, embedded, form

NDJSON = "application/x-ndjson"
GOOD, BAD = b'{"title": "a"}\n', b'{"titel": "a"}\n'
PATH = "/ingress/record-json?schema=note&mode=atomic"
PUUID = "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa"


async def refused(gateway: Gateway, answer: Answer, status: int, code: str) -> str:
    """The sentence of a refusal, after which nothing is published."""
    assert (answer.status, answer.json()["code"]) == (status, code), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert await gateway.events() == []
    return str(answer.json()["detail"])


async def test_all_records_are_published_and_answered_as_those_of_a_stream(gateway: Gateway) -> None:
    answer = await gateway.post(PATH, b"\xef\xbb\xbf" + GOOD + b"\r\n" + GOOD * 2500 + GOOD.strip(), NDJSON)
    assert (answer.status, answer.headers["content-type"]) == (201, NDJSON)
    *receipts, last = answer.lines()
    assert last == {"summary": {"accepted": 2502, "pending": 0, "rejected": 0, "failed": 0}, "complete": True}
    assert [r["line"] for r in receipts] == [1, *range(3, 2504)]
    assert {r["status"] for r in receipts} == {201}
    events = await gateway.events()
    assert [(dict(e.headers)["ce_id"].decode(), e.position.offset) for e in events] == [
        (r["id"], r["offset"]) for r in receipts
    ]


@pytest.mark.parametrize("receipts", ["rejects", "none"])
async def test_a_client_that_wants_no_receipts_gets_the_summary(gateway: Gateway, receipts: str) -> None:
    [summary] = (await gateway.post(f"{PATH}&receipts={receipts}", GOOD * 3, NDJSON)).lines()
    assert summary["summary"]["accepted"] == 3


async def test_one_bad_record_refuses_all_and_every_bad_line_is_named(gateway: Gateway) -> None:
    answer = await gateway.post(PATH, GOOD + BAD + b"nope\n" + GOOD + b"[" * 300 + b"]" * 300 + b"\n", NDJSON)
    detail = await refused(gateway, answer, 422, "body_rejected")
    assert detail.startswith("Nothing of the body was published. Line 2: ")
    assert detail.endswith(". 2 more are refused.")
    problem = answer.json()
    assert problem["rejected"] == 3
    assert [(line["line"], line["status"]) for line in problem["lines"]] == [(2, 422), (3, 400), (5, 422)]
    in_stream = (await gateway.post(PATH.replace("&mode=atomic", ""), BAD, NDJSON)).lines()[0]
    assert problem["lines"][0] == {**in_stream, "line": 2}


async def test_as_many_bad_lines_are_named_as_the_setting_says_and_all_are_counted(tmp_path: Path) -> None:
    async with embedded(tmp_path, max_errors=3) as gateway:
        answer = await gateway.post(PATH, GOOD + BAD * 50, NDJSON)
        assert [line["line"] for line in answer.json()["lines"]] == [2, 3, 4]
        assert answer.json()["rejected"] == 50


async def test_a_line_that_is_too_long_is_a_bad_line(tmp_path: Path) -> None:
    async with embedded(tmp_path, max_record_bytes=100) as gateway:
        answer = await gateway.post(PATH, GOOD + b'{"title": "%b"}\n' % (b"a" * 100) + b"x" * 5000, NDJSON)
        await refused(gateway, answer, 422, "body_rejected")
        found = [(line["line"], line["status"], line["code"]) for line in answer.json()["lines"]]
        assert found == [(2, 413, "record_too_large"), (3, 413, "line_too_long")]


async def test_half_a_line_refuses_all(gateway: Gateway) -> None:
    answer = await gateway.post(PATH, GOOD * 5 + GOOD[:6], NDJSON)
    await refused(gateway, answer, 422, "body_rejected")
    assert [(line["line"], line["code"]) for line in answer.json()["lines"]] == [(6, "malformed_json")]


async def test_of_a_client_that_vanishes_nothing_is_published(gateway: Gateway) -> None:
    await gateway.post(PATH, [GOOD * 5, GOOD], NDJSON, vanish=True)
    assert await gateway.events() == []


async def test_of_a_client_that_falls_silent_nothing_is_published(gateway: Gateway) -> None:
    answer = await gateway.post(PATH, [GOOD * 5], NDJSON, stall=True)
    await refused(gateway, answer, 408, "request_timeout")


async def test_more_records_than_the_limit_are_refused_and_as_many_are_taken(tmp_path: Path) -> None:
    async with embedded(tmp_path, atomic_records=10) as gateway:
        answer = await gateway.post(PATH, GOOD * 11, NDJSON)
        detail = await refused(gateway, answer, 413, "atomic_body_too_large")
        assert detail == (
            "The body has more than 10 records (INLAKE_ATOMIC_RECORDS): cut it, or send it without mode=atomic, as a "
            "stream of any length."
        )
        assert (await gateway.post(PATH, GOOD * 10, NDJSON)).status == 201


async def test_more_bytes_than_the_limit_are_refused_and_as_many_are_taken(tmp_path: Path) -> None:
    async with embedded(tmp_path, atomic_bytes=2048) as gateway:
        fits = (GOOD * 200)[: 2048 // len(GOOD) * len(GOOD)]
        fits += b"\n" * (2048 - len(fits))
        for body in (fits + b"\n", [fits, b"\n"]):
            answer = await gateway.post(PATH, body, NDJSON)
            assert "INLAKE_ATOMIC_BYTES" in await refused(gateway, answer, 413, "atomic_body_too_large")
        assert (await gateway.post(PATH, fits, NDJSON)).status == 201


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
async def test_a_compressed_body_counts_as_inflated(tmp_path: Path, encoding: str, compress: object) -> None:
    assert callable(compress)
    async with embedded(tmp_path, atomic_bytes=100_000) as gateway:
        headers = {"content-encoding": encoding}
        too_much = await gateway.post(PATH, compress(GOOD * 10_000), NDJSON, headers=headers)
        await refused(gateway, too_much, 413, "atomic_body_too_large")
        cut = await gateway.post(PATH, compress(GOOD * 1000)[:-5], NDJSON, headers=headers)
        await refused(gateway, cut, 400, "malformed_encoding")
        assert (await gateway.post(PATH, compress(GOOD * 1000), NDJSON, headers=headers)).status == 201


@pytest.mark.parametrize("body", [b"", b"\n\n \r\n"])
async def test_a_body_without_a_record_is_400(gateway: Gateway, body: bytes) -> None:
    await refused(gateway, await gateway.post(PATH, body, NDJSON), 400, "empty_body")


async def test_an_unknown_schema_in_the_query_is_404_as_for_one_record(gateway: Gateway) -> None:
    await refused(gateway, await gateway.post(PATH.replace("note", "absent"), GOOD, NDJSON), 404, "schema_not_found")


async def test_envelopes_mix_schemas_and_a_wrong_one_is_a_bad_line(gateway: Gateway) -> None:
    await gateway.register("other", {"type": "record", "name": "Other", "fields": [{"name": "n", "type": "int"}]})
    path = "/ingress/record-json?mode=atomic"
    lines = [{"schema": "note", "record": {"title": "a"}}, {"schema": "other", "destination": "d", "record": {"n": 1}}]
    wrong = [{"schema": "absent", "record": {}}, {"schema": "a b", "record": {}}, {"record": {}}]

    def body(*envelopes: object) -> bytes:
        return b"\n".join(json.dumps(envelope).encode() for envelope in envelopes)

    answer = await gateway.post(path, body(*lines, *wrong), NDJSON)
    await refused(gateway, answer, 422, "body_rejected")
    codes = [(line["line"], line["code"]) for line in answer.json()["lines"]]
    assert codes == [(3, "schema_not_found"), (4, "bad_name"), (5, "missing_parameter")]
    assert (await gateway.post(path, body(*lines), NDJSON)).status == 201
    assert [event.key for event in await gateway.events()] == [b"note", b"other/d"]


async def test_a_record_that_names_a_promise_is_refused_and_the_promise_untouched(gateway: Gateway) -> None:
    naming = b'{"title": "a", "__resource_path__": "urn:uuid:%b"}\n' % PUUID.encode()
    answer = await gateway.post(PATH, GOOD + naming, NDJSON)
    await refused(gateway, answer, 422, "promise_not_atomic")
    assert answer.json()["line"] == 2


async def test_a_foreign_uri_is_published_untouched_and_one_of_ours_is_a_bad_line(gateway: Gateway) -> None:
    foreign = b'{"title": "a", "__resource_path__": "https://example.org/1.jpg"}\n'
    answer = await gateway.post(PATH, GOOD + foreign.replace(b"https://example.org/1.jpg", b"1.jpg"), NDJSON)
    await refused(gateway, answer, 422, "body_rejected")
    assert answer.json()["lines"][0]["code"] == "resource_not_a_promise"
    assert (await gateway.post(PATH, GOOD + foreign, NDJSON)).status == 201


async def test_it_is_for_records_a_line_that_are_published(gateway: Gateway) -> None:
    both = "/ingress/record-json-and-binary?schema=note&mode=atomic"
    answers = [
        await gateway.post(PATH, GOOD),
        await gateway.post(PATH.replace("record-json", "validate"), GOOD, NDJSON),
        await gateway.post(both, *form(("record", GOOD, None, None), ("file", b"x", "x", None))),
        await gateway.post(PATH.replace("=atomic", "=some"), GOOD, NDJSON),
        await gateway.post(PATH.replace("=atomic", "="), GOOD, NDJSON),
    ]
    for answer in answers:
        assert "mode" in await refused(gateway, answer, 400, "bad_parameter")


async def test_the_unsecured_route_has_it_too(tmp_path: Path) -> None:
    async with embedded(tmp_path, unsecured_routes="true") as gateway:
        path = PATH.replace("/ingress", "/ingress/unsecured")
        assert (await gateway.post(path, GOOD + BAD, NDJSON)).status == 201
        assert [event.value for event in await gateway.events()] == [GOOD.strip(), BAD.strip()]


async def test_a_bus_that_is_away_fails_all_with_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with embedded(tmp_path, bus=f"sqlite:{tmp_path}/file/events.db") as gateway:
        answer = await gateway.post(PATH, GOOD * 3, NDJSON)
        assert (answer.status, answer.json()["code"]) == (503, "bus_unavailable")
        assert answer.headers["retry-after"] == "5"


async def test_bodies_of_both_kinds_at_once_each_stay_together(gateway: Gateway) -> None:
    def body(name: str, count: int, last: bytes = b"") -> bytes:
        return b"".join(b'{"title": "%b-%d"}\n' % (name.encode(), i) for i in range(count)) + last

    bodies = [(PATH, body(f"a{n}", 50)) for n in range(6)]
    bodies += [(PATH, body(f"r{n}", 50, BAD)) for n in range(6)]
    bodies += [(PATH.replace("&mode=atomic", ""), body(f"s{n}", 50, BAD)) for n in range(6)]
    answers = await asyncio.gather(*(gateway.post(path, text, NDJSON) for path, text in bodies))
    assert [answer.status for answer in answers] == [201] * 6 + [422] * 6 + [207] * 6
    names = [bytes(event.value or b"")[6:].split(b"-")[0].decode() for event in await gateway.events()]
    assert {name: names.count(name) for name in names} == {f"{kind}{n}": 50 for kind in "as" for n in range(6)}
    for n in range(6):
        first = names.index(f"a{n}")
        assert names[first : first + 50] == [f"a{n}"] * 50, "nothing stands between them"


async def test_what_became_of_the_records_is_counted(gateway: Gateway) -> None:
    await gateway.post(PATH, GOOD * 3, NDJSON)
    await gateway.post(PATH, GOOD * 4 + BAD, NDJSON)
    metrics = (await gateway.post("/metrics", method="GET")).body.decode()
    assert 'inlake_records_total{result="accepted"} 3' in metrics
    assert 'inlake_records_total{result="rejected"} 5' in metrics


async def test_memory_for_the_whole_body_is_set_aside_before_it_is_read(tmp_path: Path) -> None:
    async with embedded(tmp_path, max_memory=64 << 20, atomic_bytes=20 << 20, body_idle_seconds=0.5) as gateway:
        first = asyncio.create_task(gateway.post(PATH, [GOOD], NDJSON, stall=True))
        await asyncio.sleep(0.1)
        answer = await gateway.post(PATH.replace("mode", "m%6Fde"), [GOOD, GOOD], NDJSON)
        assert (answer.status, answer.json()["code"]) == (503, "busy")
        assert (await first).status == 408
        assert (await gateway.post(PATH, [GOOD, GOOD], NDJSON)).status == 201


async def test_a_repeat_with_the_same_idempotency_key_gets_the_same_answer_and_publishes_nothing(
    gateway: Gateway,
) -> None:
    key = {"idempotency-key": '"all-of-it"'}
    first = await gateway.post(PATH, GOOD * 3, NDJSON, headers=key)
    again = await gateway.post(PATH, GOOD * 3, NDJSON, headers=key)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert [dict(e.headers)["ce_id"].decode() for e in await gateway.events()] == [r["id"] for r in first.lines()[:-1]]


async def test_a_refused_body_with_an_idempotency_key_is_refused_again(gateway: Gateway) -> None:
    for _ in range(2):
        answer = await gateway.post(PATH, GOOD + BAD, NDJSON, headers={"idempotency-key": '"bad"'})
        await refused(gateway, answer, 422, "body_rejected")
