"""Screenshots of the console with the records and pictures of examples/, at three widths, light and dark.

python tools/screenshots/shots.py FOLDER [WORD...]   of pages whose name has one of the words
python tools/screenshots/shots.py docs/images readme the two that README shows
python tools/screenshots/shots.py FOLDER serve       the gateway itself, until the end of standard input
It needs Chromium, Node and npm.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SCHEMAS = (
    "tate.artwork", "tate.artist", "cmoa.artwork", "nga.constituent", "heritage.rights", "heritage.digital_object",
    "tate.common.protobuf", "tate.artwork.protobuf", "tate.artist.json",
)  # fmt: skip
RECORDS = {
    "nga.constituent": ("nga/constituents.ndjson.gz", 180),
    "tate.artist": ("tate/artists.ndjson.gz", 140),
    "cmoa.artwork": ("cmoa/artworks.ndjson.gz", 900),
    "tate.artwork": ("tate/artworks.ndjson.gz", 600),
}
DAY_MS = 24 * 3_600_000


def main() -> int:
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None or shutil.which("npm") is None:
        sys.exit("Chromium and npm are needed: apt-get install chromium npm")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="inlake-screenshots-") as name:
        work = Path(name)
        keys = work / "keys"
        keys.write_text(f"curator:{hashlib.sha256(b'curator').hexdigest()}\n")
        (work / "keyed").mkdir()
        with gateway(work) as url, gateway(work / "keyed", INLAKE_API_KEYS=str(keys)) as keyed:
            fill(work, url)
            if "serve" in words:
                print(url, keyed, flush=True)
                sys.stdin.read()
            take = [*["node", "shots.mjs", url, keyed, browser, str(folder.absolute())], *words]
            return subprocess.run(take, cwd=project(work), check=False).returncode


def project(work: Path) -> Path:
    """A folder with the program in JavaScript and what it needs; INLAKE_NODE names one that is installed already."""
    given = os.environ.get("INLAKE_NODE")
    js = Path(given) if given else Path(shutil.copytree(ROOT / "tests" / "js", work / "js"))
    if not given:
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=js, check=True)
    shutil.copy(Path(__file__).with_name("shots.mjs"), js)
    return js


@contextlib.contextmanager
def gateway(work: Path, **variables: str) -> Iterator[str]:
    """A gateway of its own, with all its data in a folder; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (work / "gateway.log").open("wb") as log:
        command = [sys.executable, "-m", "inlake", "serve"]
        process = subprocess.Popen(command, cwd=work, env={**environment(port), **variables}, stdout=log, stderr=log)
    try:
        for _ in range(300):
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(f"http://127.0.0.1:{port}/health/live").is_success:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def environment(port: int = 0) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("INLAKE_")}
    return {**own, "INLAKE_PORT": str(port), "PYTHONPATH": str(ROOT / "src")}


def fill(work: Path, url: str) -> None:
    """Real records come in, spread over a day; some are refused, some have files, some wait."""
    index = {each["name"]: each for each in json.loads((EXAMPLES / "index.json").read_text())["schemas"]}
    for name in SCHEMAS:
        add(work, name, EXAMPLES / index[name]["file"], index[name].get("references", []))
    older = json.loads((EXAMPLES / index["tate.artist"]["file"]).read_text())
    older["fields"].append({"name": "biography", "type": ["null", "string"], "default": None})
    (work / "artist.avsc").write_text(json.dumps(older))
    add(work, "tate.artist", work / "artist.avsc", [])
    with httpx2.Client(base_url=url, timeout=60) as http:
        for name, (file, count) in RECORDS.items():
            lines = gzip.decompress((EXAMPLES / file).read_bytes()).splitlines()
            sent = b"\n".join([*lines[:count], *(lines[4725:4740] if name == "tate.artwork" else [])])
            headers = {"content-type": "application/x-ndjson"}
            to = {"schema": name, "destination": "prints/2026" if name == "tate.artwork" else ""}
            http.post("/ingress/record-json", params={k: v for k, v in to.items() if v}, content=sent, headers=headers)
        send_files(http)
        for file in ("coins.png", "spot.ply"):
            content = (EXAMPLES / "binaries/files" / file).read_bytes()
            http.post("/ingress/binary", params={"filename": file}, content=content)
    spread(work / ".inlake" / "events.db")


def add(work: Path, name: str, file: Path, references: list[dict[str, object]]) -> None:
    given = [f"--reference={r['name']}={r['subject']}:{r['version']}" for r in references]
    command = [sys.executable, "-m", "inlake", "schemas", "add", name, str(file), *given]
    subprocess.run(command, cwd=work, env=environment(), check=True, capture_output=True)


def send_files(http: httpx2.Client) -> None:
    """The example files, each with its record."""
    for line in (EXAMPLES / "binaries/metadata.avro-untagged.ndjson").read_bytes().splitlines():
        record = json.loads(line)
        file = EXAMPLES / "binaries/files" / record["file"]["name"]
        parts = {
            "record": ("record.json", line, "application/json"),
            "file": (file.name, file.read_bytes(), record["file"]["media_type"]),
        }
        http.post("/ingress/record-json-and-binary", params={"schema": "heritage.digital_object"}, files=parts)


def spread(log: Path) -> None:
    """Give the events times over the day that ends now, as if people had worked: more by day than at its begin."""
    now = time.time_ns() // 1_000_000
    with contextlib.closing(sqlite3.connect(log)) as db, db:
        (count,) = db.execute("SELECT count(*) FROM events").fetchone()
        for number, (offset,) in enumerate(db.execute('SELECT "offset" FROM events ORDER BY 1').fetchall()):
            before = DAY_MS * 0.97 * (1 - (number + 1) / count) ** 1.4
            db.execute('UPDATE events SET timestamp_ms = ? WHERE "offset" = ?', (now - int(before), offset))


if __name__ == "__main__":
    sys.exit(main())
