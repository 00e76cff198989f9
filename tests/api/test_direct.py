"""What a client may announce for an upload past the gateway, and what a gateway on a folder says to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inlake.promises.direct import LARGEST_PUT, MAX_PARTS, ONE_PUT, PART_SIZE, SMALLEST_PART, Plan, default_part_size
from tests.gateways import Answer, Gateway

MIB = 1 << 20
SUM = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


async def announce(gateway: Gateway, body: Any) -> Answer:
    return await gateway.post("/promises", body if isinstance(body, bytes) else json.dumps(body).encode())


async def test_a_folder_takes_no_uploads_past_the_gateway_and_nothing_is_left(gateway: Gateway) -> None:
    for parts in (None, True, False):
        answer = await announce(gateway, {"size": 3, "parts": parts})
        assert (answer.status, answer.json()["code"]) == (501, "direct_upload_not_available")
        assert "/ingress/binary" in answer.json()["detail"]
    assert await gateway.open_promises() == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b'{"size": ', 400, "malformed_json"),
        (b'{"size": 1, "filename": "\xff"}', 400, "malformed_json"),
        (b"[" * 100_000, 400, "bad_parameter"),
        (b"[]", 400, "bad_parameter"),
        ({}, 400, "bad_parameter"),
        ({"size": -1}, 400, "bad_parameter"),
        ({"size": "3"}, 400, "bad_parameter"),
        ({"size": 3.5}, 400, "bad_parameter"),
        ({"size": 3, "sise": 3}, 400, "bad_parameter"),
        ({"size": 3, "filename": "a" * 1_001}, 400, "bad_parameter"),
        ({"size": 3, "content_type": ""}, 400, "bad_parameter"),
        ({"size": 3, "content_type": "text/plain\r\nx-evil: 1"}, 400, "bad_parameter"),
        ({"size": 3, "content_type": "bild/ä"}, 400, "bad_parameter"),
        ({"size": 3, "sha256": ""}, 400, "bad_parameter"),
        ({"size": 3, "sha256": SUM[:-1]}, 400, "bad_parameter"),
        ({"size": 3, "sha256": "AAAA"}, 400, "bad_parameter"),
        ({"size": 3, "parts": [SUM, SUM]}, 400, "bad_parameter"),
        ({"size": 3, "parts": ["x"]}, 400, "bad_parameter"),
        ({"size": 3, "part_size": SMALLEST_PART - 1}, 400, "bad_parameter"),
        ({"size": 3, "part_size": LARGEST_PUT + 1}, 400, "bad_parameter"),
        ({"size": 70 << 30, "part_size": SMALLEST_PART}, 400, "bad_parameter"),
        ({"size": LARGEST_PUT + 1, "parts": False}, 400, "bad_parameter"),
        ({"size": 81 << 30}, 413, "binary_too_large"),
        (b" " * (MIB + 1), 413, "body_too_large"),
        ({"size": 3, "sha256": SUM.upper(), "parts": [SUM], "content_type": " text/plain "}, 501, None),
        (b'\xef\xbb\xbf{"size": 3}', 501, None),
    ],
)
async def test_an_announcement_that_cannot_be_kept_is_refused(
    gateway: Gateway, body: Any, status: int, code: str | None
) -> None:
    answer = await announce(gateway, body)
    assert (answer.status, answer.json()["code"]) == (status, code or "direct_upload_not_available"), answer.body


async def test_an_announcement_is_json(gateway: Gateway) -> None:
    answer = await gateway.post("/promises", b"size=3", "application/x-www-form-urlencoded")
    assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_completing_and_listing_parts_of_nothing_is_404(gateway: Gateway) -> None:
    for puuid in ("0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa", "..", "x"):
        assert (await gateway.post(f"/promises/{puuid}/complete", content_type=None)).status == 404
        assert (await gateway.post(f"/promises/{puuid}/parts", method="GET")).status == 404


async def test_a_method_that_is_not_taken_hears_all_that_are(gateway: Gateway) -> None:
    paths = {"/promises": "GET, HEAD, POST", "/promises/x": "DELETE, GET, HEAD", "/promises/x/complete": "POST"}
    for path, allow in paths.items():
        answer = await gateway.post(path, method="PUT")
        assert (answer.status, answer.headers["allow"]) == (405, allow)


@given(st.integers(1, 1 << 45))
def test_the_default_size_of_parts_leaves_room_for_as_many_again(size: int) -> None:
    part_size = default_part_size(size)
    plan = Plan(size, part_size)
    assert part_size >= PART_SIZE
    assert part_size % MIB == 0
    assert 1 <= plan.count <= MAX_PARTS // 2


@given(st.integers(1, 10 * ONE_PUT), st.integers(1, ONE_PUT).map(lambda n: n + SMALLEST_PART))
def test_the_parts_of_a_plan_are_the_whole(size: int, part_size: int) -> None:
    plan = Plan(size, part_size)
    parts = [plan.part(number).size for number in range(1, plan.count + 1)]
    assert sum(parts) == size
    assert {*parts[:-1]} <= {part_size}
    assert 0 < parts[-1] <= part_size
