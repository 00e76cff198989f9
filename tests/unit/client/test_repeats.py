"""What the journal knows of a table: a batch is forgotten only when what became of each of its lines is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inlake.client.batches import cut
from inlake.client.gateway import Address, Answer, Gateway
from inlake.client.journal import Journal
from inlake.client.problems import ClientError
from inlake.client.repeats import Repeats
from tests.answering import answering

TO = Address("scan")
ROWS = [b'{"n":1}\n', b'{"n":2}\n']
NDJSON = {"Content-Type": "application/x-ndjson"}
PROBLEM = {"Content-Type": "application/problem+json", "Retry-After": "0"}
Told = tuple[int, dict[str, str], bytes]


def lines(*statuses: int) -> Told:
    """A gateway's answer with such a line for each record."""
    place = {"id": "x", "topic": "t", "partition": 0, "offset": 1}
    told: list[dict[str, Any]] = [{"line": n, "status": status, **place} for n, status in enumerate(statuses, 1)]
    failed = sum(status >= 500 for status in statuses)
    summary = {"accepted": len(told) - failed, "pending": 0, "rejected": 0, "failed": failed}
    told.append({"summary": summary, "complete": True})
    return 201, NDJSON, b"".join(json.dumps(line).encode() + b"\n" for line in told)


def no(status: int, code: str = "") -> Told:
    return status, PROBLEM, json.dumps({"status": status, "code": code}).encode()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "j", "there") as opened:
        yield opened


def send(journal: Journal, gateway: Gateway) -> list[Answer]:
    """The answers to one run, as `inlake send` makes it: what an earlier one left, then the rows that are not in."""
    repeats = Repeats(journal, "t.csv")
    asked = list(repeats.ask(gateway, TO, "all"))
    rows = [row for row in ROWS if not repeats.is_in(row.strip())]
    return asked + list(repeats.send(gateway, TO, cut(rows), "all"))


def test_a_batch_that_an_earlier_run_may_have_sent_survives_every_refusal(journal: Journal) -> None:
    key = journal.begin("t.csv", 1, b"".join(ROWS))
    refusals = [no(401), no(403), no(404), no(422, "idempotency_key_reused"), no(413)]
    with answering(*refusals, lines(201, 201)) as told, Gateway(told.url, retry=0) as gateway:
        for _ in range(4):
            with pytest.raises(ClientError):
                send(journal, gateway)
        (answer,) = send(journal, gateway)
    assert answer.summary["accepted"] == 2
    assert {headers["Idempotency-Key"] for _, headers, _ in told.requests} == {f'"{key}-1-2"'}


def test_a_batch_whose_first_attempt_is_refused_is_forgotten(journal: Journal) -> None:
    with answering(no(401)) as told, Gateway(told.url, retry=0) as gateway, pytest.raises(ClientError):
        send(journal, gateway)
    assert Repeats(journal, "t.csv").is_empty


@pytest.mark.parametrize("earlier", [no(503), lines(201, 503)])
def test_a_batch_that_is_refused_after_an_attempt_that_failed_stays(journal: Journal, earlier: Told) -> None:
    with answering(earlier, no(401), lines(201, 201)) as told, Gateway(told.url, retry=2) as gateway:
        with pytest.raises(ClientError):
            send(journal, gateway)
        assert len(journal.batches("t.csv")) == 1
        send(journal, gateway)
    assert len({headers["Idempotency-Key"] for _, headers, _ in told.requests}) == 1
