"""`POST /ingress/record-json` with a stream of records."""

from __future__ import annotations

import json

import pytest

from tests.gateways import Answer, Gateway

NDJSON = "application/x-ndjson"
GOOD, BAD = b'{"title": "a"}\n', b'{"titel": "a"}\n'
PATH = "/ingress/record-json?schema=note"


def summary(answer: Answer) -> dict[str, int]:
    last = answer.lines()[-1]
    assert last["complete"] is True
    return last["summary"]  # type: ignore[no-any-return]


async def test_receipts_come_back_one_a_line_in_order_with_a_summary(gateway: Gateway) -> None:
    answer = await gateway.post(PATH, GOOD + b"\r\n" + BAD + b"nope\n" + GOOD.strip(), NDJSON)
    assert answer.status == 207
    assert answer.headers["content-type"] == NDJSON
    *receipts, last = answer.lines()
    assert [(r["line"], r["status"]) for r in receipts] == [(1, 201), (3, 422), (4, 400), (5, 201)]
    assert {e["pointer"] for e in receipts[1]["errors"]} == {"/titel", "/title"}
    assert receipts[2]["code"] == "malformed_json"
    assert last == {"summary": {"accepted": 2, "pending": 0, "rejected": 2, "failed": 0}, "complete": True}
    events = await gateway.events()
    assert [dict(e.headers)["ce_id"].decode() for e in events] == [receipts[0]["id"], receipts[3]["id"]]


@pytest.mark.parametrize(
    ("body", "status"),
    [(GOOD * 3, 201), (BAD * 3, 422), (b"x\n" * 3, 400), (GOOD + BAD, 207), (b"\n" + GOOD, 201)],
)
async def test_the_status_is_what_all_lines_share_else_207(gateway: Gateway, body: bytes, status: int) -> None:
    assert (await gateway.post(PATH, body, NDJSON)).status == status


@pytest.mark.parametrize("body", [b"", b"\n\n \r\n", b"\xef\xbb\xbf\n"])
async def test_a_body_without_a_record_is_400(gateway: Gateway, body: bytes) -> None:
    answer = await gateway.post(PATH, body, NDJSON)
    assert (answer.status, answer.json()["code"]) == (400, "empty_body")


async def test_more_than_one_window_is_207_and_complete(gateway: Gateway) -> None:
    answer = await gateway.post(PATH, [GOOD * 700] * 5, NDJSON)
    assert answer.status == 207
    assert summary(answer)["accepted"] == 3500
    assert [r["line"] for r in answer.lines()[:-1]] == list(range(1, 3501))
    assert len(await gateway.events()) == 3500


async def test_a_window_of_exactly_the_whole_body_still_has_its_exact_status(gateway: Gateway) -> None:
    assert (await gateway.post(PATH, GOOD * 1000, NDJSON)).status == 201


async def test_lines_may_be_cut_anywhere(gateway: Gateway) -> None:
    body = GOOD * 5
    answer = await gateway.post(PATH, [body[i : i + 3] for i in range(0, len(body), 3)], NDJSON)
    assert summary(answer)["accepted"] == 5


@pytest.mark.parametrize(("receipts", "lines"), [("all", 3), ("rejects", 1), ("none", 0)])
async def test_the_client_chooses_its_receipts(gateway: Gateway, receipts: str, lines: int) -> None:
    answer = await gateway.post(f"{PATH}&receipts={receipts}", GOOD + BAD + GOOD, NDJSON)
    assert len(answer.lines()) == lines + 1
    assert summary(answer) == {"accepted": 2, "pending": 0, "rejected": 1, "failed": 0}


async def test_envelopes_mix_schemas_in_one_body(gateway: Gateway) -> None:
    await gateway.register("other", {"type": "record", "name": "Other", "fields": [{"name": "n", "type": "int"}]})
    lines = [
        {"schema": "note", "record": {"title": "a"}},
        {"schema": "other", "destination": "d", "record": {"n": 1}},
        {"schema": "nothing", "record": {}},
        {"schema": "a b", "record": {}},
        {"key_inlk": "other/e", "content": '{"n": 2}'},
    ]
    answer = await gateway.post("/ingress/record-json", "\n".join(map(json.dumps, lines)).encode(), NDJSON)
    assert [r["status"] for r in answer.lines()[:-1]] == [201, 201, 404, 400, 201]
    assert [e.key for e in await gateway.events()] == [b"note", b"other/d", b"other/e"]


async def test_a_line_too_long_is_413_and_sinks_nothing(gateway: Gateway) -> None:
    long = b'{"title": "' + b"a" * 2_000_000 + b'"}\n'
    answer = await gateway.post(PATH, GOOD + long + GOOD, NDJSON)
    assert [(r["status"], r.get("code")) for r in answer.lines()[:-1]] == [
        (201, None),
        (413, "line_too_long"),
        (201, None),
    ]


async def test_a_promise_on_a_line_is_that_line_s_own_answer(gateway: Gateway) -> None:
    named = b'{"title": "a", "__resource_path__": "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa"}\n'
    foreign = b'{"title": "a", "__resource_path__": "https://example.org/x"}\n'
    answer = await gateway.post(PATH, GOOD + named + foreign, NDJSON)
    assert [r["status"] for r in answer.lines()[:-1]] == [201, 404, 201]


async def test_half_a_line_of_a_client_that_goes_away_is_not_published(gateway: Gateway) -> None:
    await gateway.post(PATH, [GOOD * 1500 + b'{"title": "ha'], NDJSON, vanish=True)
    assert len(await gateway.events()) in range(1501)
    ids = {dict(e.headers)["ce_id"] for e in await gateway.events()}
    assert len(ids) == len(await gateway.events())


async def test_a_body_that_stands_still_is_cut_and_says_so(gateway: Gateway) -> None:
    answer = await gateway.post(PATH, [GOOD], NDJSON, stall=True)
    assert answer.status == 207
    last = answer.lines()[-1]
    assert (last["complete"], last["code"]) == (False, "request_timeout")
    assert last["summary"]["accepted"] == 1


async def test_ten_thousand_errors_in_one_record_are_capped(gateway: Gateway) -> None:
    body = json.dumps({"title": "a", "tags": [1] * 10_000}).encode()
    answer = await gateway.post("/ingress/record-json?schema=note", body)
    assert len(answer.json()["errors"]) == 100


async def test_lines_that_name_promises_keep_their_place_and_each_promise_is_claimed_once(gateway: Gateway) -> None:
    puuids = [(await gateway.post("/ingress/binary", b"x", "text/plain")).json()["puuid"] for _ in range(3)]

    def named(number: int) -> bytes:
        return b'{"title": "a", "__resource_path__": "%b"}\n' % puuids[number].encode()

    body = GOOD * 100 + named(0) + GOOD * 300 + named(1) + named(0) + GOOD * 300 + named(1) + named(2) + GOOD * 10
    answer = await gateway.post(PATH, body, NDJSON)
    *lines, _ = answer.lines()
    assert [line["line"] for line in lines] == list(range(1, 716))
    refused = {line["line"]: (line["status"], line["code"]) for line in lines if line["status"] != 201}
    assert refused == {403: (409, "promise_used"), 704: (409, "promise_used")}
    assert [line["line"] for line in lines if line.get("resource")] == [101, 402, 705]
    offsets = [line["offset"] for line in lines if line["status"] == 201]
    assert offsets == sorted(offsets)
    assert summary(answer) == {"accepted": 713, "pending": 0, "rejected": 2, "failed": 0}
