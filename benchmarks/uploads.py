"""Uploads of one file beside tusd and the S3 server alone: the same store, the same client (curl), the same core."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import statistics
import subprocess
import tempfile
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import perf_counter
from urllib.parse import urljoin

import obstore
from obstore.store import S3Store

from benchmarks.records import EXAMPLES, ROOT
from benchmarks.report import number, table, targets
from benchmarks.servers import MIB, Server, clean_environment, free_port, gateway, running
from benchmarks.targets import Verdict, least, most

GIB = 1 << 30
TUSD = "v2.5.0"
SIZES = {"64 MiB": 64 * MIB, "1 GiB": GIB}
ROUNDS = {"64 MiB": 10, "1 GiB": 5}
LIMIT, PEER = "curl, one PUT to S3 (the limit)", f"tusd {TUSD}, one PATCH"
TUS = {"Tus-Resumable": "1.0.0"}


class UploadError(Exception):
    """An upload did not end as it must: the message is what curl got."""


@dataclass(slots=True)
class Uploads:
    """What a way to upload came to, for files of one size."""

    size: int
    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0
    """Seconds of the server between client and store, in all."""
    memory: float = 0.0
    """MiB of the server before its first upload."""
    most_memory: float = 0.0

    @property
    def rate(self) -> float:
        """MiB a second, the median."""
        return self.size / MIB / statistics.median(self.seconds)

    @property
    def cpu_per_gib(self) -> float:
        return self.cpu / (self.size * len(self.seconds) / GIB)


Send = Callable[[Path], float]
"""Uploads a file; the seconds that took."""
Found = dict[str, dict[str, Uploads]]
"""By size and way."""


class Way:
    """A way to upload, and the server it goes through, if there is one."""

    def __init__(self, send: Send, server: Server | None = None) -> None:
        self.send = send
        self.server = server
        self.memory = server.memory() if server else 0.0

    def measure(self, file: Path, so_far: Uploads) -> None:
        """One upload more."""
        if self.server is None:
            so_far.seconds.append(self.send(file))
            return
        so_far.memory = self.memory
        self.server.forget_most()
        cpu = self.server.cpu()
        so_far.seconds.append(self.send(file))
        so_far.cpu += self.server.cpu() - cpu
        so_far.most_memory = max(so_far.most_memory, self.server.most_memory())


def measure(machine: str, *, quick: bool, say: Callable[[str], None]) -> str:
    """All ways in turn, several rounds, each size; as Markdown."""
    found: Found = defaultdict(dict)
    own = f"bench-{uuid.uuid4().hex[:12]}"
    with _ways(own) as ways, tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        for size, rounds in ROUNDS.items():
            if quick and SIZES[size] == GIB:
                continue
            file = _file(Path(folder) / "scan.bin", SIZES[size])
            for way in ways.values():
                way.send(file)  # connections are made, code is loaded
            order = deque(ways)
            for _ in range(2 if quick else rounds):
                for name in order:
                    os.sync()  # no upload waits for the disk to write those before it
                    ways[name].measure(file, found[size].setdefault(name, Uploads(SIZES[size])))
                order.rotate()  # none comes first or last in all
                delete_objects(own)
            for name, uploads in found[size].items():
                say(f"{size}, {name}: {uploads.rate:,.0f} MiB/s, {uploads.cpu_per_gib:.2f} CPU s a GiB")
    return "\n\n".join([machine, *targets(_verdicts(found)), *_tables(found)]) + "\n"


@contextlib.contextmanager
def _ways(own: str) -> Iterator[dict[str, Way]]:
    """Every way, its server running: one for each, so that no memory is another's. `own`: where objects go."""
    store = f"s3://{os.environ['S3_BUCKET']}/{own}"
    with contextlib.ExitStack() as stack:
        stack.callback(delete_objects, own)
        form, plain, tus = (stack.enter_context(gateway("embedded", {"INLAKE_STORE": store})) for _ in range(3))
        tusd = stack.enter_context(_tusd(own))
        yield {
            LIMIT: Way(partial(_put, own)),
            PEER: Way(partial(_tus, tusd, "/files/"), tusd),
            "Inlake, tus, one PATCH": Way(partial(_tus, tus, "/uploads"), tus),
            "Inlake, POST /ingress/binary": Way(partial(_post, plain), plain),
            "Inlake, record and binary in one request": Way(partial(_form, form), form),
        }


# --------------------------------------------------------------------------------------------------------- the clients
def _put(own: str, file: Path) -> float:
    url = obstore.sign(_store(own), "PUT", f"limit/{uuid.uuid4().hex}", timedelta(minutes=10))
    return _curl("-T", str(file), url)


def _tus(server: Server, path: str, file: Path) -> float:
    """Creation, then all bytes in one PATCH (tus 1.0)."""
    began = perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", path, headers={**TUS, "Upload-Length": str(file.stat().st_size)})
    answer = connection.getresponse()
    if answer.status != 201:
        raise UploadError(f"{path}: {answer.status} {answer.read()!r}")
    url = urljoin(f"http://127.0.0.1:{server.port}{path}", answer.headers["Location"])
    connection.close()
    created = perf_counter() - began
    patch = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    headers = [word for name, value in patch.items() for word in ("-H", f"{name}: {value}")]
    return created + _curl("-X", "PATCH", *headers, "-T", str(file), url)


def _post(server: Server, file: Path) -> float:
    content_type = ["-H", "Content-Type: application/octet-stream"]
    return _curl("-X", "POST", *content_type, "-T", str(file), f"http://127.0.0.1:{server.port}/ingress/binary")


def _form(server: Server, file: Path) -> float:
    record = (EXAMPLES / "binaries" / "metadata.avro-untagged.ndjson").read_text().splitlines()[0]
    route = f"http://127.0.0.1:{server.port}/ingress/record-json-and-binary?schema=heritage.digital_object"
    return _curl("--form-string", f"record={record}", "-F", f"file=@{file}", route)


def _curl(*arguments: str) -> float:
    """Run curl; the seconds it counted. Raises `UploadError`."""
    common = ["curl", "-sS", "--fail-with-body", "--noproxy", "*", "-H", "Expect:", "-w", "\n%{time_total}"]
    done = subprocess.run([*common, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UploadError(done.stdout + done.stderr)
    return float(done.stdout.rpartition("\n")[2])


# ------------------------------------------------------------------------------------------------- tusd, file and store
@contextlib.contextmanager
def _tusd(own: str) -> Iterator[Server]:
    """tusd as it comes, but for where it listens and stores."""
    program, port = _build_tusd(), free_port()
    where = ["-s3-bucket", os.environ["S3_BUCKET"], "-s3-endpoint", os.environ["S3_ENDPOINT"]]
    listen = ["-host", "127.0.0.1", "-port", str(port)]
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        command = [str(program), *listen, *where, "-s3-object-prefix", f"{own}/tusd/"]
        with running(command, Path(folder), clean_environment({}), port, alive="/") as server:
            yield server


def _build_tusd() -> Path:
    """Built once, from the versions and checksums of benchmarks/tusd; a minute or two."""
    program = ROOT / "build" / f"tusd-{TUSD}"
    if not program.exists():
        if not shutil.which("go"):
            raise UploadError("Go 1.24 or newer is missing, which builds tusd: https://go.dev/doc/install")
        build = ["go", "build", "-trimpath", "-o", str(program), "github.com/tus/tusd/v2/cmd/tusd"]
        subprocess.run(build, cwd=ROOT / "benchmarks" / "tusd", check=True)
    return program


def _file(path: Path, size: int) -> Path:
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(block)
    return path


def _store(own: str) -> S3Store:
    endpoint, region = os.environ["S3_ENDPOINT"], os.environ["S3_REGION"]  # the keys it takes from AWS_... itself
    return S3Store(
        os.environ["S3_BUCKET"], prefix=own, endpoint=endpoint, region=region, client_options={"allow_http": True}
    )


def delete_objects(own: str) -> None:
    """Delete all below a prefix of the bucket."""
    store = _store(own)
    for found in obstore.list(store):
        obstore.delete(store, [one["path"] for one in found])


# ------------------------------------------------------------------------------------------------------------- tables
def _tables(found: Found) -> Iterator[str]:
    head = ["one file by curl", "MiB/s", "of the limit", "by tusd", "CPU s a GiB", "MiB, at start and most"]
    for size, ways in found.items():
        yield f"**{size}**, the median of {len(ways[LIMIT].seconds)}"
        yield table(head, [_row(name, uploads, ways) for name, uploads in ways.items()])


def _verdicts(found: Found) -> list[Verdict]:
    ours = {(name, size): u for size, ways in found.items() for name, u in ways.items() if name.startswith("Inlake")}
    rates = {f"{name}, {size}": u.rate / found[size][PEER].rate for (name, size), u in ours.items()}
    growth = {
        name: u.most_memory - ours[name, "64 MiB"].most_memory for (name, size), u in ours.items() if size == "1 GiB"
    }
    judged = [
        least("Rate by tusd's", 1, rates),
        most("Memory that 1 GiB takes more than 64 MiB, MiB", 50, growth),
    ]
    return [verdict for verdict in judged if verdict]


def _row(name: str, uploads: Uploads, ways: dict[str, Uploads]) -> list[str]:
    through = name != LIMIT
    return [
        name,
        number(uploads.rate, 0),
        number(uploads.rate / ways[LIMIT].rate, 2),
        number(uploads.rate / ways[PEER].rate, 2),
        number(uploads.cpu_per_gib, 2) if through else "",
        f"{uploads.memory:.0f}, {uploads.most_memory:.0f}" if through else "",
    ]
