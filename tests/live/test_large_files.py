"""Files over 64 MiB on their way to a real S3 server: in parts, and through the gateway where it is out of reach."""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from inlake.client import Client
from tests import live_servers as live
from tests.command import Served, environment, free_port, inlake, serving
from tests.toxiproxy import Proxy, proxy_to

pytestmark = [pytest.mark.live, pytest.mark.slow]
SIZE = 200_000_001
SCAN = {
    "type": "record",
    "name": "Scan",
    "fields": [
        {"name": "title", "type": "string"},
        {"name": "__resource_path__", "type": ["null", "string"], "default": None},
    ],
}


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A way to the S3 server."""
    for what, address in (("S3", live.S3_ENDPOINT), ("Toxiproxy", live.TOXIPROXY_URL)):
        live.require(what, address)
    with proxy_to(urlsplit(live.S3_ENDPOINT).netloc) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a large file and a small one, and their table and schema."""
    (tmp_path / "scan.avsc").write_text(json.dumps(SCAN))
    (tmp_path / "scans").mkdir()
    with (tmp_path / "scans" / "large.bin").open("wb") as file:
        for offset in range(0, SIZE - 8, 7_000_000):
            file.seek(offset)
            file.write(offset.to_bytes(8, "big"))
        file.truncate(SIZE)
    (tmp_path / "scans" / "small.bin").write_bytes(b"small")
    (tmp_path / "scans.csv").write_text("title,file\nLarge,large.bin\nSmall,small.bin\n")
    return tmp_path


@contextmanager
def serving_scans(folder: Path, endpoint: str, **more: str) -> Iterator[Served]:
    """A gateway on the embedded bus with this S3 server."""
    with serving(folder, **variables(endpoint, **more)) as found:
        assert found.inlake("schemas", "add", "scan", "scan.avsc").returncode == 0
        yield found


def variables(endpoint: str, **more: str) -> dict[str, str]:
    return {
        "INLAKE_STORE": f"s3://{live.S3_BUCKET}/{uuid.uuid4().hex[:12]}",
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_REGION": live.S3_REGION,
        "AWS_ACCESS_KEY_ID": live.AWS_ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": live.AWS_SECRET_ACCESS_KEY,
        **more,
    }


def command(served: Served, *more: str) -> list[str]:
    return ["upload", "scan", "scans", "--table", "scans.csv", "--receipts", "receipts.jsonl", *more]


def receipts(folder: Path) -> dict[str, dict[str, Any]]:
    return {line["file"]: line for line in map(json.loads, (folder / "receipts.jsonl").read_text().splitlines())}


def titles(served: Served) -> list[str]:
    read = served.inlake("tail", "--from-start", "--json")
    return sorted(json.loads(line)["record"]["title"] for line in read.stdout.splitlines())


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_killed_in_the_middle_of_a_large_file_the_next_run_sends_the_parts_that_are_missing(
    proxy: Proxy, folder: Path
) -> None:
    with serving_scans(folder, f"http://{proxy.address}") as served:
        proxy.poison("bandwidth", "upstream", rate=10_000)  # KB/s for each connection
        _kill_and_go_on(served)


def _kill_and_go_on(served: Served) -> None:
    done, puuids, folder = list[int](), set[str](), served.folder
    journal = folder / ".scans.inlake-journal"
    # two parts at a time: all at once would be there at the same moment
    arguments = [sys.executable, "-m", "inlake", *command(served, "--jobs", "2")]
    with Client(served.url) as client:
        for most in range(2, 9, 3):
            process = subprocess.Popen(arguments, cwd=folder, env=environment(INLAKE_URL=served.url))
            held = 0
            for _ in range(300):
                time.sleep(0.1)
                puuid = _underway(journal)
                held = len(client.promise(puuid).get("parts_done", [])) if puuid else 0
                if held >= most or process.poll() is not None:
                    break
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert puuid, "it was not ended before it was killed"
            done.append(held)
            puuids.add(puuid)
        finished = inlake(*command(served), cwd=folder, INLAKE_URL=served.url)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert done[0] >= 2
    assert done == sorted(done)
    found = receipts(folder)
    assert {found["large.bin"]["puuid"]} == puuids, "all runs went on with one promise"
    assert found["large.bin"]["sha256"] == digest(folder / "scans" / "large.bin")
    assert titles(served) == ["Large", "Small"]
    assert inlake("verify", "receipts.jsonl", cwd=folder, INLAKE_URL=served.url).returncode == 0


def test_where_the_store_is_out_of_reach_a_large_file_goes_through_the_gateway(folder: Path) -> None:
    live.require("S3", live.S3_ENDPOINT)
    nowhere = f"http://127.0.0.1:{free_port()}"  # what clients are told
    with serving_scans(folder, live.S3_ENDPOINT, INLAKE_STORE_PUBLIC_ENDPOINT=nowhere) as other:
        refused = inlake(*command(other, "--via", "store", "--retry", "1"), cwd=folder, INLAKE_URL=other.url)
        assert refused.returncode == 3
        assert "--via gateway" in refused.stdout
        done = inlake(*command(other), cwd=folder, INLAKE_URL=other.url)
        assert done.returncode == 0, done.stderr
        found = receipts(folder)
        with Client(other.url) as client:
            assert client.promise(found["large.bin"]["puuid"])["way"] == "tus"
    assert found["large.bin"]["sha256"] == digest(folder / "scans" / "large.bin")


def _underway(journal: Path) -> str | None:
    """The puuid of the promise of a file on its way, from a copy: the journal is its process's own."""
    copy = journal.with_name("copy")
    try:
        for suffix in "", "-wal":
            copy.with_name(f"copy{suffix}").write_bytes(journal.with_name(f"{journal.name}{suffix}").read_bytes())
        with sqlite3.connect(copy) as file:
            row = file.execute("SELECT puuid FROM large").fetchone()
    except (OSError, sqlite3.Error):
        return None
    finally:
        for suffix in "", "-wal", "-shm":
            copy.with_name(f"copy{suffix}").unlink(missing_ok=True)
    return row and str(row[0])
