"""What another attempt may help."""

from __future__ import annotations

from typing import Any

import pytest

from inlake.client.retries import is_temporary


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
