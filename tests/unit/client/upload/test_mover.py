"""PUTs against a server that answers what it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from inlake.client.upload.mover import MIB, Mover, Put, Slice
from tests.answering import answering

OK: tuple[int, dict[str, str], bytes] = (200, {}, b"")
SIGNED = {"content-type": "model/obj", "if-none-match": "*"}


@pytest.fixture
def mover() -> Iterator[Mover]:
    mover = Mover(most=4, timeout=5, retry=3)
    yield mover
    mover.close()


def test_bytes_and_slices_of_files_arrive_with_the_headers_that_are_signed(mover: Mover, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"ab" * 2 * MIB)
    with answering(OK) as server:
        bodies: list[bytes | Slice] = [b"", b"small", Slice(tmp_path / "large", 1, MIB), b"x" * 2 * MIB]
        bodies.append(Slice(tmp_path / "large", 1, 3 * MIB))
        moved = mover.put_all([Put(f"{server.url}/{n}", SIGNED, body) for n, body in enumerate(bodies)])
        assert [one.state for one in moved] == ["stored"] * 5
        came = {path: (headers, body) for path, headers, body in server.requests}
    assert [came[f"PUT /{n}"][1] for n in range(5)] == [
        b"",
        b"small",
        b"ba" * (MIB // 2),
        b"x" * 2 * MIB,
        b"ba" * (3 * MIB // 2),
    ]
    for headers, body in came.values():
        assert headers["content-type"] == "model/obj"
        assert (headers["if-none-match"], headers["Content-Length"]) == ("*", str(len(body)))
        assert "Expect" not in headers


def test_what_may_pass_goes_out_again_when_the_store_says_so(mover: Mover) -> None:
    with answering((503, {"Retry-After": "1"}, b"<Code>SlowDown</Code>"), (500, {}, b""), OK) as server:
        began = monotonic()
        (moved,) = mover.put_all([Put(f"{server.url}/a", {}, b"x")])
    assert (moved.state, len(server.requests)) == ("stored", 3)
    assert monotonic() - began > 1


def test_what_a_lost_answer_had_stored_is_there(mover: Mover) -> None:
    with answering((412, {}, b"<Code>PreconditionFailed</Code>")) as server:
        assert mover.put_all([Put(f"{server.url}/a", {}, b"x")])[0].state == "stored"


@pytest.mark.parametrize(
    ("status", "said", "state"),
    [
        (400, b"<Error><Code>BadDigest</Code></Error>", "changed"),
        (422, b'{"code": "digest_mismatch"}', "changed"),
        (403, b"<Error><Code>AccessDenied</Code></Error>", "stale"),
        (400, b"<Error><Code>ExpiredToken</Code></Error>", "stale"),
        (410, b'{"code": "shipment_expired"}', "stale"),
        (413, b"<h1>too large</h1>", "refused"),
        (301, b"", "refused"),
    ],
)
def test_an_answer_that_says_no_is_told_from_one_that_may_change(
    mover: Mover, status: int, said: bytes, state: str
) -> None:
    with answering((status, {"Location": "http://elsewhere.invalid/"}, said)) as server:
        assert mover.put_all([Put(f"{server.url}/a", {}, b"x")])[0].state == state
        assert len(server.requests) == 1


def test_a_store_that_fails_for_too_long_has_failed() -> None:
    mover = Mover(most=4, timeout=5, retry=1)
    with answering((503, {}, b"<Code>SlowDown</Code>")) as server:
        (moved,) = mover.put_all([Put(f"{server.url}/a", {}, b"x")])
    mover.close()
    assert (moved.state, "SlowDown" in moved.detail) == ("failed", True)


def test_nobody_there_is_unreachable_until_somebody_was_there(mover: Mover) -> None:
    with answering(OK) as server:
        url = server.url
    assert mover.put_all([Put(f"{url}/a", {}, b"x")])[0].state == "unreachable"
    with answering(OK) as server:
        mover.put_all([Put(f"{server.url}/a", {}, b"x")])
    assert mover.put_all([Put(f"{url}/a", {}, b"x")])[0].state == "failed"


def test_a_file_that_became_shorter_or_is_gone_is_named(mover: Mover, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"short")
    with answering(OK) as server:
        puts = [Put(f"{server.url}/{n}", {}, Slice(tmp_path / n, 0, 6 * MIB)) for n in ("a", "none")]
        moved = mover.put_all([*puts, Put(f"{server.url}/b", {}, Slice(tmp_path / "a", 0, 6))])
    assert [one.state for one in moved] == ["changed", "changed", "changed"]
    assert "shorter" in moved[2].detail
    assert ("shorter" in moved[0].detail, "cannot be read" in moved[1].detail) == (True, True)


def test_a_put_that_cannot_be_begun_has_failed_and_the_others_go_out(mover: Mover, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    with answering(OK) as server:
        puts = [
            Put(f"{server.url}/\u00e9", {}, b"x"),
            Put(f"{server.url}/a", {"x": "line\0break"}, b"x"),
            Put(f"{server.url}/b", {}, Slice(tmp_path / "a", -1, 6 * MIB)),
            Put(f"{server.url}/c", {}, Slice(tmp_path / "a", 0, 7)),
        ]
        moved = mover.put_all(puts)
        assert [one.state for one in moved] == ["failed", "failed", "changed", "stored"]
        assert "UnicodeEncodeError" in moved[0].detail
        assert mover.put_all([Put(f"{server.url}/d", {}, b"x")])[0].state == "stored"


def test_what_is_stopped_is_not_begun(mover: Mover) -> None:
    mover.stop()
    with answering(OK) as server:
        assert mover.put_all([Put(f"{server.url}/a", {}, b"x")])[0].state == "stopped"
    assert server.requests == []
