"""`inlake send` of a file of records beside what the gateway takes of the same bytes from a raw socket."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.report import number, table

LINES = 200_000
TITLE = "Title of a record of about two hundred bytes " + "." * 100
END = b'"complete":true}\n'


def measure(folder: Path, environment: dict[str, str], rounds: int) -> str:
    """A table of both ways, in turn; the receipts of all lines are asked for and read. The best of each counts."""
    path = folder / "records.ndjson"
    with path.open("w") as file:
        for n in range(LINES):
            file.write(json.dumps({"title": f"{TITLE} {n}"}) + "\n")
    found: dict[str, list[float]] = {"raw socket": [], "inlake send": []}
    for _ in range(rounds):
        found["raw socket"].append(_raw(path))
        found["inlake send"].append(_sent(path, environment))
    best = {way: min(seconds) for way, seconds in found.items()}
    rows = [[way, number(LINES / s, 0), number(best["raw socket"] / s, 2)] for way, s in best.items()]
    return table(
        [f"{LINES:,} records, {path.stat().st_size / LINES:.0f} bytes each", "records/s", "by the socket's"], rows
    )


def _raw(path: Path) -> float:
    """Seconds for one request with all lines."""
    place, body = urlsplit(os.environ["INLAKE_URL"]), path.read_bytes()
    head = (
        f"POST /ingress/record-json?schema=scan&destination={_new()} HTTP/1.1\r\nHost: {place.netloc}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    began = time.perf_counter()
    with socket.create_connection((str(place.hostname), int(place.port or 80))) as connection:
        sender = threading.Thread(target=connection.sendall, args=(head.encode() + body,))
        sender.start()
        end = b""
        while block := connection.recv(1 << 18):
            end = (end + block)[-1_000:]
        sender.join()
    if f'"accepted":{LINES}'.encode() not in end or END not in end:
        sys.exit(f"the gateway did not take all: {end!r}")
    return time.perf_counter() - began


def _sent(path: Path, environment: dict[str, str]) -> float:
    command = [sys.executable, "-m", "inlake", "send", "scan", str(path), "--destination", _new()]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command}: {done.stdout[-1_000:]}{done.stderr[-1_000:]}")
    return time.perf_counter() - began


def _new() -> str:
    return f"send/{uuid.uuid4().hex[:8]}"
