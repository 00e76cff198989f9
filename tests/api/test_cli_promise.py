"""`inlake promise` and `inlake sweep` against a real gateway process on embedded adapters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from inlake.bus.sqlite.bus import SqliteBus
from inlake.promises.entries import Promised, Tus
from inlake.promises.steps import Promises
from inlake.store.folder.store import FolderStore
from tests.command import Served, inlake, serving
from tests.gateways import NOTE


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), INLAKE_SWEEP_SECONDS="3600") as found:
        (found.folder / "note.avsc").write_text(json.dumps(NOTE))
        assert found.inlake("schemas", "add", "note", "note.avsc").returncode == 0
        yield found


def sent(served: Served, filename: str = "spot.obj") -> dict[str, Any]:
    url = f"{served.url}/ingress/binary?filename={filename}"
    answer = httpx2.post(url, content=b"v 0 0 0", headers={"Content-Type": "model/obj"}, trust_env=False)
    assert answer.status_code == 200, answer.text
    promise: dict[str, Any] = answer.json()
    return promise


def test_a_promise_is_listed_shown_and_given_up(served: Served) -> None:
    puuid = sent(served)["puuid"]
    listed = served.inlake("promise", "list")
    assert listed.returncode == 0, listed.stderr
    assert puuid in listed.stdout
    shown = served.inlake("promise", "show", puuid)
    assert "state    stored" in shown.stdout
    assert "spot.obj, model/obj" in shown.stdout
    gone = served.inlake("promise", "cancel", puuid)
    assert (gone.returncode, gone.stdout.strip()) == (0, f"Given up: {puuid}")
    again = served.inlake("promise", "show", puuid)
    assert (again.returncode, again.stdout) == (1, "")
    assert "cancelled" in again.stderr
    assert served.inlake("promise", "list", "--json").stdout == ""


def test_a_published_promise_shows_where_its_event_is(served: Served) -> None:
    puuid = sent(served)["puuid"]
    record = {"title": "Spot", "__resource_path__": puuid}
    receipt = httpx2.post(f"{served.url}/ingress/record-json?schema=note", json=record, trust_env=False).json()
    shown = served.inlake("promise", "show", puuid)
    assert f"event    {receipt['id']} at inlake.note" in shown.stdout
    refused = served.inlake("promise", "cancel", puuid)
    assert refused.returncode == 1
    assert "claimed" in refused.stderr


def test_a_promise_that_is_not_there_is_one_sentence(served: Served) -> None:
    done = served.inlake("promise", "show", "no such thing")
    assert done.returncode == 1
    assert done.stderr.startswith("inlake: There is no promise")


def test_no_server_library_is_needed(served: Served) -> None:
    hidden = "sys.modules['fastapi'] = sys.modules['obstore'] = sys.modules['confluent_kafka'] = None"
    done = inlake("promise", "list", code=hidden, cwd=served.folder, INLAKE_URL=served.url)
    assert done.returncode == 0, done.stderr


def test_a_dry_sweep_says_what_the_next_one_does(served: Served) -> None:
    puuid = asyncio.run(expired(served.folder / ".inlake" / "store"))
    line = f"expired {puuid[:8]}… reserved, and no more"
    dry = served.inlake("sweep", "--dry-run")
    assert (dry.returncode, dry.stdout.splitlines()) == (0, [line, "to do: 1 expired"]), dry.stderr
    assert served.inlake("sweep").stdout.splitlines() == [line, "1 expired"]
    assert served.inlake("sweep").stdout.strip() == "nothing to do"


def test_a_sweep_removes_answers_that_are_kept_no_longer(served: Served) -> None:
    url, key = f"{served.url}/ingress/record-json?schema=note", {"Idempotency-Key": '"old"'}
    answer = httpx2.post(url, json={"title": "Old"}, headers=key, trust_env=False)
    assert answer.status_code == 201, answer.text
    assert served.inlake("sweep").stdout.strip() == "nothing to do"
    later = replace(served, variables={**served.variables, "INLAKE_IDEMPOTENCY_TTL": "0.001"})
    line = "removed 1 kept answers, older than INLAKE_IDEMPOTENCY_TTL"
    for option, last in (["--dry-run"], "to do: 1 removed"), ([], "1 removed"), ([], "nothing to do"):
        done = later.inlake("sweep", *option)
        said = [line] if "1" in last else []
        assert (done.returncode, done.stdout.splitlines()) == (0, [*said, last]), done.stderr


async def expired(folder: Path) -> str:
    """A promise that its client has let expire."""
    store, bus = FolderStore(folder), SqliteBus(folder / "events.db")
    promises = Promises(store, bus, upload_timeout=60)
    promise = await promises.reserve(promises.new(Promised("spot.obj", "model/obj", Tus()), "anonymous"), seconds=-1)
    await bus.close()
    return promise.puuid
