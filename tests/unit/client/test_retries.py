"""What another attempt may help."""

from __future__ import annotations

from typing import Any

import pytest

from inlake.client.problems import ClientError, CutOff, Problem, Unreachable, problem_of
from inlake.client.retries import is_temporary, leaves_nothing, until_settled


@pytest.mark.parametrize(
    ("answer", "is_for_now"),
    [
        ({"status": 503, "code": "bus_unavailable"}, True),
        ({"status": 429, "code": "quota_exceeded"}, True),
        ({"status": 409, "code": "idempotency_in_flight"}, True),
        ({"status": 409, "code": "upload_locked"}, True),
        ({"status": 409, "code": "promise_used"}, False),
        ({"status": 422, "code": "record_rejected"}, False),
        ({"status": 201, "topic": "notes"}, False),
    ],
)
def test_a_refusal_that_is_no_fault_of_what_was_sent_is_told_apart(answer: dict[str, Any], is_for_now: bool) -> None:
    assert is_temporary(answer) is is_for_now


def told(status: int, **document: Any) -> Problem:
    return problem_of(status, {"status": status, **document}, "0")


@pytest.mark.parametrize(
    ("errors", "is_nothing"),
    [
        ([told(401)], True),
        ([told(422, code="record_rejected")], True),
        ([Unreachable("down", sent=False)], True),
        ([Unreachable("silent")], False),
        ([told(503)], False),
        ([told(409, code="idempotency_in_flight")], False),
        ([CutOff("half an answer"), told(401)], False),
        ([Unreachable("silent"), Unreachable("down", sent=False)], False),
        ([told(503), told(422, code="idempotency_key_reused")], False),
    ],
)
def test_nothing_is_left_where_no_attempt_may_have_been_carried_out(
    errors: list[ClientError], is_nothing: bool
) -> None:
    left = iter(errors)

    def once() -> None:
        raise next(left, errors[-1])

    with pytest.raises(ClientError) as raised:
        until_settled(once, 1.0 if len(errors) > 1 else 0.0)
    assert raised.value is errors[-1]
    assert leaves_nothing(raised.value) is is_nothing
