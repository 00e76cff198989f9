"""The trace context of a request: what is well formed goes on with the event."""

from __future__ import annotations

import pytest

from inlake.metrics import Metrics
from inlake.model import Trace
from inlake.settings import load
from inlake.web.request.exchange import Exchange
from inlake.web.request.site import make_site
from inlake.web.request.trace import LENGTH, MEMBERS, trace_of

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def found(*headers: tuple[str, str]) -> Trace | None:
    scope = {"headers": [(name.encode(), value.encode("latin-1")) for name, value in headers]}
    return trace_of(Exchange(scope, None, None, make_site(load({}), Metrics())))  # type: ignore[arg-type]


def state(*values: str) -> str:
    trace = found(("traceparent", PARENT), *[("tracestate", value) for value in values])
    assert trace is not None
    assert trace.parent == PARENT
    return trace.state


@pytest.mark.parametrize("parent", ["", "x", PARENT[:-1], PARENT.upper(), f"{PARENT}-1", "00-x\r\ny"])
def test_without_a_well_formed_parent_nothing_is_passed_on(parent: str) -> None:
    assert found(("traceparent", parent), ("tracestate", "a=1")) is None


def test_a_state_is_passed_on_with_its_parent() -> None:
    assert found(("traceparent", PARENT)) == Trace(PARENT)
    assert state("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE") == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    assert state("fw529a3039@dt=FfAkiKwiB *9") == "fw529a3039@dt=FfAkiKwiB *9"


def test_several_headers_are_one_list_without_empty_members() -> None:
    assert state("a=1 ,\tb=2", "", ",,c=3") == "a=1,b=2,c=3"


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "A=1",
        "a=1,b",
        "=1",
        "a=\xe9",
        "a=b=c",
        "a=\x01",
        ",".join(f"k{n}=1" for n in range(MEMBERS + 1)),
        "a=" + "b" * 257,
    ],
)
def test_a_state_that_is_not_well_formed_is_left_out(text: str) -> None:
    assert state(text) == ""


def test_a_long_state_is_left_out() -> None:
    assert state(",".join(f"k{n}=" + "b" * 200 for n in range(LENGTH // 204 + 1))) == ""
