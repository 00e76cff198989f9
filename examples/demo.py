"""The demo: real museum records and a real mesh go in over HTTP and come out as events, on this machine alone.

Starts a gateway of its own on a free port, with all its data in a temporary folder that is removed at the end.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2
from rich.console import Console

import inlake
from inlake.client import Client, ClientError

EXAMPLES = Path(__file__).parent
ARTWORKS, ARTISTS = 15, 10
YEAR_AS_TEXT = 4731
"""Line of an artwork whose year is text (expected-rejects.json)."""
MESH = "spot_triangulated.obj"
START_SECONDS = 30

console = Console(soft_wrap=True, highlight=False, markup=False)


class DemoFailed(Exception):
    """One sentence that says what went wrong."""


def main() -> int:
    """0 when everything arrived as it was sent, 1 when not."""
    with tempfile.TemporaryDirectory(prefix="inlake-demo-") as name:
        folder = Path(name)
        try:
            run(folder)
        except (DemoFailed, ClientError, httpx2.HTTPError, OSError) as error:
            say(f"\nThe demo failed: {error}", "bold red")
            with contextlib.suppress(OSError):
                say("The gateway's last words:\n" + "\n".join((folder / "gateway.log").read_text().splitlines()[-15:]))
            return 1
    return 0


def run(folder: Path) -> None:
    environment = deployment(folder)
    head("1. A gateway: events in SQLite, binaries and schemas in folders")
    with gateway(folder, environment) as url, Client(url) as client:
        head("2. Schemas for what we send")
        add_schemas(folder, environment)
        head(f"3. {ARTWORKS} artworks and {ARTISTS} artists of the Tate, one NDJSON stream each")
        published = send_tate(client)
        head("4. A 3D scan with its metadata, in one request")
        receipt = send_mesh(client)
        head("5. What consumers see: the events, read back and decoded")
        show_events(events(folder, environment), published, receipt)
        if sys.stdin.isatty() and sys.stdout.isatty():
            say(f"\n   Look at it in a browser: {url}/", "bold")
            with contextlib.suppress(EOFError, KeyboardInterrupt):
                input("   Enter stops this gateway and removes its data. ")
    head("All of it arrived. To go on:")
    say_next()


def deployment(folder: Path) -> dict[str, str]:
    """The environment of all commands: nothing of the user's own deployment is read or written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("INLAKE_")},
        "INLAKE_BUS": f"sqlite:{folder}/events.db",
        "INLAKE_STORE": f"file:{folder}/store",
        "INLAKE_REGISTRY": f"dir:{folder}/schemas",
        "INLAKE_PORT": str(port),
        "PYTHONPATH": str(Path(inlake.__file__).parents[1]),
        "PYTHONUNBUFFERED": "1",
    }


@contextlib.contextmanager
def gateway(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """A gateway that is ready, by its address; stopped by SIGTERM."""
    url = f"http://127.0.0.1:{environment['INLAKE_PORT']}"
    command = [sys.executable, "-m", "inlake", "serve"]
    with (folder / "gateway.log").open("wb") as log:
        # in its own folder, so that no .env is found
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until_ready(url, process)
        say(f"   inlake serve ... listens on {url}")
        yield url
    finally:
        code = stop(process)
    if code != 0:
        raise DemoFailed(f"the gateway ended with exit code {code} after SIGTERM")


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    with httpx2.Client(trust_env=False) as http:
        while time.monotonic() < end:
            if process.poll() is not None:
                raise DemoFailed(f"the gateway ended with exit code {process.returncode}")
            with contextlib.suppress(httpx2.TransportError):
                if http.get(f"{url}/health/ready").is_success:
                    return
            time.sleep(0.1)
    raise DemoFailed(f"the gateway was not ready within {START_SECONDS} s")


def command(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    """Run `inlake ARGUMENTS`; what it printed."""
    line = [sys.executable, "-m", "inlake", *arguments]
    done = subprocess.run(line, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise DemoFailed(f"inlake {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def add_schemas(folder: Path, environment: dict[str, str]) -> None:
    index = json.loads((EXAMPLES / "index.json").read_text())["schemas"]
    for name in "tate.artwork", "tate.artist", "heritage.rights", "heritage.digital_object":
        schema = next(entry for entry in index if entry["name"] == name)
        references = [f"--reference={r['name']}={r['subject']}:{r['version']}" for r in schema.get("references", [])]
        said = command(folder, environment, "schemas", "add", name, str(EXAMPLES / schema["file"]), *references)
        say(f"   {' '.join(['inlake schemas add', name, schema['file'], *references])}")
        say(f"      {said.strip()}", "dim")


def send_tate(client: Client) -> int:
    """How many records were published; the one that is wrong must be refused."""
    artworks = lines("tate/artworks.ndjson.gz", ARTWORKS)
    artworks.insert(ARTWORKS // 2, lines("tate/artworks.ndjson.gz", 1, first=YEAR_AS_TEXT)[0])
    published, refused = send(client, "tate.artwork", artworks, "title")
    more, none = send(client, "tate.artist", lines("tate/artists.ndjson.gz", ARTISTS), "fc")
    if (published, more, refused, none) != (ARTWORKS, ARTISTS, 1, 0):
        raise DemoFailed(f"{published} artworks and {more} artists were published, {refused + none} refused")
    return published + more


def send(client: Client, schema: str, records: list[bytes], field: str) -> tuple[int, int]:
    """Send as NDJSON and print the receipts: (published, refused)."""
    say(f"   POST /ingress/record-json?schema={schema}   ({len(records)} lines)")
    for receipt in client.send_records(schema, records):
        if "summary" in receipt:
            summary = receipt["summary"]
            say(f"      {summary['accepted']} accepted, {summary['rejected']} refused")
            return summary["accepted"], summary["rejected"]
        title = short(json.loads(records[receipt["line"] - 1])[field])
        if receipt["status"] == 201:
            place = f"{receipt['topic']} {receipt['partition']}/{receipt['offset']}"
            say(f"      line {receipt['line']:2}  201  {place:24}  {title}", "dim")
            continue
        say(f"      line {receipt['line']:2}  {receipt['status']}  refused, the rest goes on  {title}", "yellow")
        for error in receipt["errors"]:
            say(f"               {error['pointer']}: {error['detail']}", "yellow")
    raise DemoFailed("no receipts came")


def send_mesh(client: Client) -> dict[str, Any]:
    record = next(line for line in mesh_records() if json.loads(line)["file"]["name"] == MESH)
    say("   POST /ingress/record-json-and-binary?schema=heritage.digital_object")
    receipt = client.send_binary("heritage.digital_object", record, EXAMPLES / "binaries/files" / MESH)
    say(wrapped(receipt), "dim")
    return receipt


def mesh_records() -> list[bytes]:
    return (EXAMPLES / "binaries/metadata.avro-untagged.ndjson").read_bytes().splitlines()


def events(folder: Path, environment: dict[str, str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in command(folder, environment, "tail", "--from-start", "--json").splitlines()]


def show_events(found: list[dict[str, Any]], published: int, receipt: dict[str, Any]) -> None:
    """Print a line for each event and the mesh's in full; compare what arrived with what was sent."""
    records = [event for event in found if event["headers"].get("ce_type", "").startswith("tate.")]
    meshes = [event for event in found if event["headers"].get("ce_id") == receipt["id"]]
    if len(records) != published or len(meshes) != 1:
        raise DemoFailed(f"{published} records and 1 mesh were published, {len(records)} and {len(meshes)} read back")
    say("   inlake tail --from-start")
    for event in records:
        record = event["record"]
        title, date = record.get("title") or record.get("fc"), record.get("dateText") or record.get("date")
        say(f"      {event['offset']:3}  {event['key']:13}  {short(title)}, {date}")
    mesh = meshes[0]
    say(f"      {mesh['offset']:3}  {mesh['key']}")
    say(wrapped(mesh["record"]), "dim")
    for name, value in mesh["headers"].items():
        say(f"           {name}: {value}", "cyan")
    compare_digests(mesh["headers"])


def compare_digests(headers: dict[str, str]) -> None:
    sent = (EXAMPLES / "binaries/files" / MESH).read_bytes()
    stored = Path(unquote(urlsplit(headers["inlake_resource_uri"]).path)).read_bytes()
    digests = {hashlib.sha256(sent).hexdigest(), hashlib.sha256(stored).hexdigest(), headers["inlake_resource_sha256"]}
    if len(digests) != 1:
        raise DemoFailed(f"the sha256 of file, object and event differ: {digests}")
    say(f"      sha256 of the file sent, of the object stored and in the event: all {digests.pop()[:16]}...", "green")


def lines(path: str, count: int, first: int = 1) -> list[bytes]:
    """`count` lines of a file from line `first`, counted from 1."""
    with gzip.open(EXAMPLES / path) as file:
        return list(itertools.islice(file, first - 1, first - 1 + count))


def say_next() -> None:
    say("   make serve                                a gateway that keeps its data, http://127.0.0.1:8000/")
    say("   .venv/bin/inlake schemas add tate.artwork examples/schemas/avro/tate_artwork.avsc")
    say("   .venv/bin/inlake send tate.artwork examples/tate/artworks.ndjson.gz       5,000 artworks, 13 refused")
    say("   .venv/bin/inlake tail -f                  events as they come")
    say("   examples/README.md                        what else is there to send")


def head(title: str) -> None:
    say(f"\n{title}", "bold")


def say(text: str, style: str | None = None) -> None:
    console.print(text, style=style)


def short(text: str) -> str:
    return text if len(text) <= 50 else text[:49] + "…"


def wrapped(value: Any) -> str:
    text, margin = json.dumps(value, ensure_ascii=False), " " * 11
    return textwrap.fill(
        text, 110, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False, break_long_words=False
    )


if __name__ == "__main__":
    sys.exit(main())
