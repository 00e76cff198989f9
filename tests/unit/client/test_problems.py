"""An answer that says no is an exception of the client, and of the gateway's class for its code."""

from __future__ import annotations

from typing import Any

import pytest

from inlake.client.problems import Failed, Problem, Refused, problem_of
from inlake.errors import InlakeError, RecordRejected, StoreUnavailable, Unavailable, every_error


def bases(error: BaseException) -> tuple[type, ...]:
    return type(error).__mro__


def test_a_refusal_is_caught_as_the_class_that_the_gateway_raised() -> None:
    document = {"status": 422, "code": "record_rejected", "detail": "It does not fit.", "errors": [{"pointer": "/a"}]}
    with pytest.raises(RecordRejected) as raised:
        raise problem_of(422, document)
    error: Any = raised.value
    assert Refused in bases(error)
    assert (error.code, error.status, error.detail, str(error)) == (
        "record_rejected",
        422,
        "It does not fit.",
        "It does not fit.",
    )
    assert error.errors == [{"pointer": "/a"}]


def test_classes_above_it_catch_it_too() -> None:
    error = problem_of(503, {"status": 503, "code": "store_unavailable"}, "7")
    assert StoreUnavailable in bases(error)
    assert Unavailable in bases(error)
    assert Failed in bases(error)
    assert error.retry_after == "7"


def test_a_code_that_is_not_known_is_the_clients_class_alone() -> None:
    error = problem_of(418, {"status": 418, "code": "of_another_time"})
    assert type(error) is Refused
    assert InlakeError not in bases(error)


@pytest.mark.parametrize("known", every_error(), ids=lambda error: error.code)
def test_every_error_of_the_gateway_can_be_raised_by_a_client(known: type[InlakeError]) -> None:
    error = problem_of(known.status, {"status": known.status, "code": known.code, "detail": "So."})
    assert known in bases(error)
    assert Problem in bases(error)
    assert (error.code, error.status, str(error)) == (known.code, known.status, "So.")
    assert type(error).__module__ != known.__module__
