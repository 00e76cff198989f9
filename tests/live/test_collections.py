"""A collection goes in by one command to real Kafka, registry and S3; whatever dies on the way, each file is one event.

INLAKE_TEST_FILES=5000 INLAKE_TEST_KILLS=20 is its long form.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import hashlib
import io
import json
import os
import random
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiokafka
import fastavro
import pytest
from aiobotocore.session import get_session

from tests import live_servers as live
from tests.command import EXAMPLES, Served, environment, free_port, inlake, serving, start, wait_until_alive
from tests.toxiproxy import Proxy, proxy_to
from tests.unit.client.tables.workbooks import xlsx
from tests.witness import NOTE, Deployment, check, on_servers

pytestmark = [pytest.mark.live, pytest.mark.slow]
FILES = int(os.environ.get("INLAKE_TEST_FILES", "300"))
KILLS = int(os.environ.get("INLAKE_TEST_KILLS", "3"))
ATTEMPTS = 4 * KILLS + 20
"""Times that a command may be started until all is in."""
PICTURES = 500
SETTINGS = {"INLAKE_BUS_TIMEOUT": "5", "INLAKE_STORE_TIMEOUT": "5", "INLAKE_SWEEP_SECONDS": "2"}


@dataclass
class World:
    """A gateway on the real servers, which it and the command reach through proxies."""

    deployment: Deployment
    served: Served
    kafka: Proxy
    s3: Proxy
    http: Proxy
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def upload(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "inlake", "upload", "note", "files", "--table", "files.csv", *arguments]
        with (self.deployment.folder / "upload.log").open("ab") as log:
            variables = environment(INLAKE_URL=f"http://{self.http.address}")
            return subprocess.Popen(command, cwd=self.deployment.folder, env=variables, stdout=log, stderr=log)

    def restart(self) -> None:
        """SIGKILL to the gateway, which is started again on its port."""
        self.served.process.kill()
        self.served.process.wait()
        self.served = start(self.deployment.folder, **self.served.variables)
        wait_until_alive(self.served)

    def pause(self, least: float, most: float) -> float:
        return self.chance.uniform(least, most)

    @property
    def log(self) -> str:
        return (self.deployment.folder / "upload.log").read_text()


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    live.require("Toxiproxy", live.TOXIPROXY_URL)
    live.require("Kafka behind Toxiproxy", live.KAFKA_FAULT_BOOTSTRAP)
    kafka, port = Proxy("kafka", live.KAFKA_FAULT_BOOTSTRAP), free_port()
    with (
        proxy_to(urlsplit(live.S3_ENDPOINT).netloc) as s3,
        proxy_to(f"127.0.0.1:{port}") as http,
        on_servers(
            folder,
            **SETTINGS,
            INLAKE_BUS=f"kafka://{kafka.address}",
            AWS_ENDPOINT_URL_S3=f"http://{s3.address}",
            INLAKE_PORT=str(port),
            INLAKE_URL=f"http://127.0.0.1:{port}",
        ) as deployment,
    ):
        made = World(deployment, start(folder, **deployment.variables), kafka, s3, http)
        try:
            wait_until_alive(made.served)
            yield made
        finally:
            kafka.heal()
            made.served.process.kill()
            made.served.process.wait()


def collection(folder: Path, count: int) -> dict[int, str]:
    """Files with a table that names them; the SHA-256 of each by its number."""
    (folder / "files").mkdir()
    digests = {}
    with (folder / "files.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["n", "file"])
        for n in range(count):
            data = random.Random(n).randbytes(500 + n)
            (folder / "files" / f"{n}.bin").write_bytes(data)
            table.writerow([n, f"{n}.bin"])
            digests[n] = hashlib.sha256(data).hexdigest()
    return digests


def require_each_once(w: World, digests: dict[int, str], *, repeats: bool) -> str:
    """Each file is one event, its object is what the file was; `repeats`: the same event may be there again, as after
    an outcome of the bus that nobody knew."""
    witness = w.deployment.witness
    events = witness.events()
    of_id = {event.header("ce_id"): event for event in events}
    records: list[Any] = [fastavro.schemaless_reader(io.BytesIO(e.value[5:]), NOTE, None) for e in of_id.values()]
    counts = Counter(record["n"] for record in records)
    assert counts == Counter(digests.keys()), [n for n in digests if counts[n] != 1][:20]
    told = {r["n"]: e.header("inlake_resource_sha256") for r, e in zip(records, of_id.values(), strict=True)}
    assert told == digests
    if not repeats:
        assert len(events) == len(of_id), "nothing was published twice"
    objects = [key for key in witness.all_keys() if not key.startswith(".inlake/")]
    assert len(objects) == len(digests), "no object is left that no event names"
    return check([], witness, settled=False)


def disturb(w: World, uploading: threading.Event) -> None:
    """Harm, again and again, while files go in."""
    for harm in HARMS * max(1, KILLS // 3):
        if not uploading.wait(30):
            return
        time.sleep(w.pause(0.1, 1.0))
        harm(w)


def stop(name: str) -> Callable[[World], None]:
    def harm(w: World) -> None:
        proxy: Proxy = getattr(w, name)
        proxy.down()
        time.sleep(w.pause(0.5, 3.0))
        proxy.up()

    return harm


@pytest.mark.timeout(120 + 30 * KILLS + FILES // 10)
def test_a_command_that_is_killed_and_started_again_sends_each_file_once(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        digests, kills = collection(tmp_path, FILES), 0
        w.s3.poison("latency", latency=4_000 * KILLS // FILES)  # kills meet all of it, with four files at once
        for _ in range(ATTEMPTS):
            process = w.upload("--jobs", "4")
            try:
                code = process.wait(w.pause(0.7, 2.5) if kills < KILLS else 240)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
                if kills == KILLS:
                    w.s3.heal()
        print(w.log)
        assert (code, kills) == (0, KILLS)
        print(kills, "kills:", require_each_once(w, digests, repeats=False))
        again = w.upload()
        assert again.wait(60) == 0
        assert w.log.split()[-3:] == ["in", "already", f"{FILES:,}"]


HARMS = [World.restart, stop("s3"), stop("kafka"), stop("http")]
"""The gateway is killed; the others are away for a while."""


@pytest.mark.timeout(120 + 40 * KILLS + FILES // 10)
def test_on_a_slow_network_what_is_away_for_a_while_loses_no_file_and_repeats_none(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        digests, uploading = collection(tmp_path, FILES), threading.Event()
        for proxy in w.s3, w.http:
            proxy.poison("latency", latency=50, jitter=25)
            proxy.poison("bandwidth", "upstream", rate=FILES * (500 + FILES // 2) // (2_000 * KILLS))  # kB/s
        harming = threading.Thread(target=disturb, args=(w, uploading))
        harming.start()
        codes = []
        try:
            for _ in range(ATTEMPTS):
                process = w.upload("--jobs", "4", "--retry", "10")
                uploading.set()
                codes.append(process.wait(240))
                uploading.clear()
                if codes[-1] == 0:
                    break
        finally:
            uploading.set()
            harming.join()
        print(w.log)
        assert set(codes) <= {0, 3}, "what is away is no fault of the collection"
        assert codes[-1] == 0
        print(codes, require_each_once(w, digests, repeats=True))


# ------------------------------------------------------------------------------------------------------ real pictures
PICTURE = {
    "type": "record",
    "name": "Picture",
    "fields": [
        {"name": "title", "type": "string"},
        {"name": "year", "type": ["null", "int"]},
        {"name": "__resource_path__", "type": ["null", "string"], "default": None},
    ],
}


def picture(data: bytes, n: int) -> bytes:
    """A picture with a comment in it, so that no two are the same: of JPEG a segment, of PNG a chunk."""
    said = b"Comment\0%d" % n
    if data.startswith(b"\xff\xd8"):
        return data[:2] + b"\xff\xfe" + struct.pack(">H", len(said) + 2) + said + data[2:]
    assert data.startswith(b"\x89PNG")
    chunk = b"tEXt" + said
    return data[:33] + struct.pack(">I", len(said)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


@pytest.mark.timeout(180)
def test_five_hundred_pictures_with_a_spreadsheet_go_in_by_one_command(tmp_path: Path) -> None:
    own = f"t{os.urandom(8).hex()}"
    gateway, here = tmp_path / "gateway", tmp_path / "museum"
    pictures = here / "pictures"
    for folder in gateway, pictures:
        folder.mkdir(parents=True)
    originals = [EXAMPLES / "binaries" / "files" / name for name in ("coins.png", "rocket.jpg", "spot_texture.png")]
    rows: list[list[Any]] = [["title", "year", "file"]]
    digests = {}
    for n in range(PICTURES):
        original = originals[n % len(originals)]
        name = f"{original.stem} {n:03}{original.suffix}"
        (pictures / name).write_bytes(picture(original.read_bytes(), n))
        digests[name] = hashlib.sha256((pictures / name).read_bytes()).hexdigest()
        rows.append([f"Picture {n}", 1900 + n % 100, name])
    assert len(set(digests.values())) == PICTURES
    (here / "pictures.xlsx").write_bytes(xlsx(*rows).getvalue())
    with serving(gateway, **live.deployment(own)) as served:
        (gateway / "picture.avsc").write_text(json.dumps(PICTURE))
        assert served.inlake("schemas", "add", "picture", "picture.avsc").returncode == 0
        command = ("upload", "picture", "pictures", "--table", "pictures.xlsx", "--receipts", "receipts.csv")
        done = inlake(*command, cwd=here, INLAKE_URL=served.url)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.split() == ["accepted", f"{PICTURES}"]
        with (here / "receipts.csv").open(newline="", encoding="utf-8") as file:
            receipts = list(csv.DictReader(file))
        assert {one["file"]: one["sha256"] for one in receipts} == digests
        assert asyncio.run(stored(receipts)) == digests
        titles = asyncio.run(published(f"{own}.picture", receipts))
        assert titles == {row[2]: row[0] for row in rows[1:]}
        again = inlake(*command, cwd=here, INLAKE_URL=served.url)
        assert again.stdout.split() == ["in", "already", f"{PICTURES}"]


async def stored(receipts: list[dict[str, str]]) -> dict[str, str]:
    """The SHA-256 of each object, by the name of its file."""
    found = {}
    async with get_session().create_client(
        "s3",
        endpoint_url=live.S3_ENDPOINT,
        region_name=live.S3_REGION,
        aws_access_key_id=live.AWS_ACCESS_KEY_ID,
        aws_secret_access_key=live.AWS_SECRET_ACCESS_KEY,
    ) as s3:
        for one in receipts:
            bucket, _, key = one["uri"].removeprefix("s3://").partition("/")
            answer = await s3.get_object(Bucket=bucket, Key=key)
            data = await answer["Body"].read()
            assert (len(data), answer["ContentLength"]) == (int(one["size"]), int(one["size"]))
            found[one["file"]] = hashlib.sha256(data).hexdigest()
    return found


async def published(topic: str, receipts: list[dict[str, str]]) -> dict[str, str]:
    """The title in each event, by the name of its file; each is where its receipt says, and names its object."""
    of_place = {(one["topic"], int(one["partition"]), int(one["offset"])): one for one in receipts}
    consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=live.KAFKA_BOOTSTRAP, auto_offset_reset="earliest")
    found: dict[str, str] = {}
    async with consumer:
        while len(found) < len(receipts):
            batch = await asyncio.wait_for(consumer.getmany(timeout_ms=1000), 10)
            for message in (message for messages in batch.values() for message in messages):
                one = of_place.pop((message.topic, message.partition, message.offset))
                headers = {name: value.decode() for name, value in message.headers}
                for member, header in {
                    "id": "ce_id", "puuid": "inlake_puuid", "uri": "inlake_resource_uri", "sha256": "inlake_resource_sha256",
                }.items():  # fmt: skip
                    assert headers[header] == one[member]
                record: Any = fastavro.schemaless_reader(io.BytesIO(message.value[5:]), PICTURE, None)
                assert record["__resource_path__"] == one["uri"]
                found[one["file"]] = record["title"]
    assert of_place == {}
    return found
