"""The files of a collection on their way to a real gateway process: whatever breaks, each is one event."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from inlake.client import Client
from inlake.client.collection import Outcome, target
from inlake.client.connection import Connection, Request
from inlake.client.files import Item
from inlake.client.gateway import Address
from inlake.client.journal import Journal
from inlake.client.response import Response
from inlake.client.upload.engine import Engine, Options
from tests.answering import answering
from tests.command import Served, serving

NOTE = {
    "type": "record",
    "name": "Note",
    "fields": [
        {"name": "title", "type": "string"},
        {"name": "__resource_path__", "type": ["null", "string"], "default": None},
    ],
}
FILES = 7


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as found:
        (found.folder / "note.avsc").write_text(json.dumps(NOTE))
        assert found.inlake("schemas", "add", "note", "note.avsc").returncode == 0
        yield found


def items(folder: Path, **named: str) -> list[Item]:
    found = []
    for n in range(FILES):
        path = folder / f"{n}.txt"
        path.write_text(f"content {n}")
        found.append(Item(path.name, path, json.dumps({"title": path.name, **named}).encode()))
    return found


def events(served: Served) -> dict[str, list[str]]:
    """Titles of the records by key."""
    found: dict[str, list[str]] = {}
    for line in served.inlake("tail", "--from-start", "--json").stdout.splitlines():
        event = json.loads(line)
        found.setdefault(event["key"], []).append(event["record"]["title"])
    return {key: sorted(titles) for key, titles in found.items()}


def uploaded(client: Client, to: Address, wanted: list[Item], journal: Path, **options: Any) -> list[Outcome]:
    with Journal(journal, target(client, to)) as known, ExitStack() as stack:
        engine = stack.enter_context(Engine(client, to, known, Options("__resource_path__", **options)))
        return list(engine.send(wanted))


def states(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(outcome.state for outcome in outcomes)


class Crash(BaseException):
    """The process died."""


class Dying(Client):
    """A client whose process dies at a request to the gateway, before it is sent or when its answer is there."""

    left, after = 0, False

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        dying, answer = type(self), self._connection.answer

        @contextmanager
        def last(request: Request) -> Iterator[Response]:
            dying.left -= 1
            if dying.left < 0 and not dying.after:
                raise Crash
            with answer(request) as found:
                if dying.left < 0:
                    found.read()
                    raise Crash
                yield found

        self._connection: Connection = self._connection
        self._connection.answer = last  # type: ignore[method-assign]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whatever_request_it_dies_at_the_next_run_sends_what_is_missing(
    served: Served, tmp_path: Path, after: bool
) -> None:
    wanted, client = items(tmp_path), Client(served.url)
    for step in range(10):
        to, journal = Address("note", f"{after}-{step}"), tmp_path / f"journal{step}"
        Dying.left, Dying.after = step, after
        died = False
        try:
            uploaded(Dying(served.url), to, wanted, journal)
        except Crash:
            died = True
        found = states(uploaded(client, to, wanted, journal))
        assert found["accepted"] + found["in already"] == FILES
        assert states(uploaded(client, to, wanted, journal)) == {"in already": FILES}
        if not died:
            break
    assert step == 2
    found_events = events(served)
    for step in range(3):
        assert found_events[f"note/{after}-{step}"] == [item.name for item in wanted]


def test_what_changes_between_two_runs_is_announced_anew(served: Served, tmp_path: Path) -> None:
    wanted, to, journal = items(tmp_path), Address("note", "changed"), tmp_path / "journal"
    Dying.left, Dying.after = 0, True
    with pytest.raises(Crash):
        uploaded(Dying(served.url), to, wanted, journal)
    (tmp_path / "3.txt").write_text("another content")
    outcomes = uploaded(Client(served.url), to, wanted, journal)
    assert states(outcomes) == {"accepted": FILES}
    assert events(served)["note/changed"] == [item.name for item in wanted]
    sizes = {outcome.item.name: outcome.sent.receipt["resource"]["size"] for outcome in outcomes if outcome.sent}
    assert (sizes["2.txt"], sizes["3.txt"]) == (9, 15)


def test_a_gateway_that_takes_fewer_files_gets_fewer(tmp_path: Path) -> None:
    with serving(tmp_path, INLAKE_SHIPMENT_FILES="3") as served:
        (served.folder / "note.avsc").write_text(json.dumps(NOTE))
        assert served.inlake("schemas", "add", "note", "note.avsc").returncode == 0
        wanted = items(tmp_path)
        outcomes = uploaded(Client(served.url), Address("note", "few"), wanted, tmp_path / "journal")
        assert states(outcomes) == {"accepted": FILES}
        assert events(served)["note/few"] == [item.name for item in wanted]


def test_a_record_that_names_its_place_goes_with_its_file(served: Served, tmp_path: Path) -> None:
    wanted = items(tmp_path)
    wanted[2] = wanted[2]._replace(record=b'{"title": "2.txt", "__resource_path__": "tate/two.txt"}')
    outcomes = uploaded(Client(served.url), Address("note", "place"), wanted, tmp_path / "journal")
    assert states(outcomes) == {"accepted": FILES}
    (placed,) = [outcome.sent for outcome in outcomes if outcome.item.name == "2.txt"]
    assert placed is not None
    assert placed.receipt["resource"]["uri"].endswith("/tate/two.txt")


def test_an_older_gateway_gets_each_file_with_its_record(tmp_path: Path) -> None:
    problem = {"Content-Type": "application/problem+json"}, b'{"status": 404, "code": "route_not_found"}'
    receipt = {"id": "e", "topic": "t", "partition": 0, "offset": 1}
    with answering((404, *problem), (201, {"Content-Type": "application/json"}, json.dumps(receipt).encode())) as old:
        outcomes = uploaded(Client(old.url), Address("note"), items(tmp_path)[:3], tmp_path / "journal")
    assert [path.partition("?")[0] for path, _, _ in old.requests] == [
        "POST /shipments",
        *["POST /ingress/record-json-and-binary"] * 3,
    ]
    assert len({headers["Idempotency-Key"] for _, headers, _ in old.requests}) == 4
    assert states(outcomes) == {"changed": 3}, "this one tells no SHA-256"


def large(folder: Path, size: int = (2 << 20) + 1) -> Item:
    path = folder / "large.bin"
    path.write_bytes(b"large" + bytes(size - 5))
    return Item(path.name, path, b'{"title": "large"}')


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_large_file_goes_by_tus_and_is_one_event_whatever_request_it_dies_at(
    served: Served, tmp_path: Path, after: bool
) -> None:
    wanted = [large(tmp_path)]
    for step in range(10):
        to, journal = Address("note", f"large-{after}-{step}"), tmp_path / f"journal{step}"
        Dying.left, Dying.after = step, after
        died = False
        try:
            uploaded(Dying(served.url), to, wanted, journal, large=1 << 20)
        except Crash:
            died = True
        with Client(served.url) as client:
            (outcome,) = uploaded(client, to, wanted, journal, large=1 << 20)
            assert outcome.state == ("accepted" if died else "in already")
            assert outcome.sent is not None
            resource = outcome.sent.receipt["resource"]
            assert resource["sha256"] == outcome.sent.sha256
            assert client.promise(resource["puuid"])["way"] == "tus"
        if not died:
            break
    assert step == 6  # POST /promises (no store for clients), POST /uploads, HEAD, PATCH, GET, the record
    found_events = events(served)
    assert [found_events[f"note/large-{after}-{n}"] for n in range(7)] == [["large"]] * 7


def test_a_large_file_that_changed_since_it_was_begun_is_begun_anew(served: Served, tmp_path: Path) -> None:
    wanted, to, journal = [large(tmp_path)], Address("note", "large-changed"), tmp_path / "journal"
    Dying.left, Dying.after = 3, True  # all bytes have come
    with pytest.raises(Crash):
        uploaded(Dying(served.url), to, wanted, journal, large=1 << 20)
    wanted = [large(tmp_path, (3 << 20) + 1)]
    (outcome,) = uploaded(Client(served.url), to, wanted, journal, large=1 << 20)
    assert outcome.state == "accepted"
    assert outcome.sent is not None
    assert outcome.sent.receipt["resource"]["size"] == (3 << 20) + 1
    assert events(served)["note/large-changed"] == ["large"]


def test_a_large_file_that_becomes_shorter_while_it_is_sent_is_not_in(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, answer = [large(tmp_path)], Connection.answer
    path = tmp_path / "large.bin"

    @contextmanager
    def overwritten(connection: Connection, request: Request) -> Iterator[Response]:
        if request.method == "PATCH":
            path.write_bytes(bytes((1 << 20) + 1))  # shorter
        with answer(connection, request) as found:
            yield found

    monkeypatch.setattr(Connection, "answer", overwritten)
    (outcome,) = uploaded(
        Client(served.url), Address("note", "large-while"), wanted, tmp_path / "journal", large=1 << 20
    )
    assert (outcome.state, outcome.faults[0].code) == ("wrong", "file_changed")
    assert "note/large-while" not in events(served)
