"""Clients that send records, streams and binaries without a pause, and remember what they were told."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

import httpx2

KIB, MIB = 1 << 10, 1 << 20
REFUSED = {429, 503, 507}
"""What a gateway in trouble may answer: it says when to come again."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A 201, and what was sent for it."""

    n: int
    """The record's number, in the record itself."""
    id: str
    place: tuple[str, int, int]
    """Topic, partition, offset."""
    sha256: str | None
    """Of the binary sent along."""


@dataclass(frozen=True, slots=True)
class Answer:
    kind: str
    status: int
    """0: the connection was lost."""
    seconds: float


class Load:
    """`with Load(url) as load:` keeps `clients` threads sending while the block runs."""

    def __init__(
        self,
        url: str,
        *,
        clients: int = 6,
        kinds: tuple[str, ...] = ("record", "record", "stream", "binary"),
        largest: int = 20 * MIB,
        timeout: float = 60,
    ) -> None:
        """`kinds`: of requests, one is drawn each time; `largest`: bytes of a binary; `timeout`: seconds for one."""
        self.accepted: list[Accepted] = []
        self.answers: list[Answer] = []
        self._url = f"{url}/ingress"
        self._kinds = kinds
        self._largest = largest
        self._timeout = timeout
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * self._timeout)
        if self._failures:
            raise self._failures[0]

    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in self.answers)

    def slowest(self) -> float:
        """Seconds until the last answer of a request came."""
        return max(answer.seconds for answer in self.answers)

    def wait_for(self, count: int, kind: str, seconds: float = 30) -> None:
        """Return when so many more requests of a kind were accepted."""
        wanted, end = self._good(kind) + count, time.monotonic() + seconds
        while self._good(kind) < wanted:
            assert time.monotonic() < end, f"no {kind} was accepted in {seconds} s: {self.answers[-20:]}"
            assert not self._failures, self._failures
            time.sleep(0.05)

    def _good(self, kind: str) -> int:
        return sum(answer.kind == kind and answer.status == 201 for answer in self.answers)

    def _run(self, seed: int) -> None:
        draw = random.Random(seed)
        sends: dict[str, Callable[[httpx2.Client, random.Random], int]] = {
            "record": self._record,
            "stream": self._stream,
            "binary": self._binary,
        }
        try:
            with httpx2.Client(timeout=self._timeout, trust_env=False) as client:
                while not self._stop.is_set():
                    kind, began = draw.choice(self._kinds), time.monotonic()
                    try:
                        status = sends[kind](client, draw)
                    except httpx2.TransportError:
                        status = 0
                    self.answers.append(Answer(kind, status, time.monotonic() - began))
                    if status != 201:
                        time.sleep(0.05)
        except BaseException as failure:
            self._failures.append(failure)
            raise

    def _record(self, client: httpx2.Client, _: random.Random) -> int:
        n = next(self._numbers)
        answer = client.post(f"{self._url}/record-json?schema=note", json={"n": n})
        return self._note(answer.status_code, answer, n, None)

    def _stream(self, client: httpx2.Client, draw: random.Random) -> int:
        first, count = next(self._numbers) * 1_000_000, draw.choice([3, 50, 1_500])

        def lines() -> Iterator[bytes]:
            for n in range(first, first + count):
                yield json.dumps({"n": n}).encode() + b"\n"

        url, headers = f"{self._url}/record-json?schema=note", {"content-type": "application/x-ndjson"}
        with client.stream("POST", url, content=lines(), headers=headers) as answer:
            if answer.headers["content-type"] != "application/x-ndjson":
                answer.read()
                return self._note(answer.status_code, answer, 0, None)
            assert answer.status_code not in REFUSED or int(answer.headers["retry-after"]) > 0
            for line in answer.iter_lines():
                receipt = json.loads(line)
                if receipt.get("status") == 201:
                    self._accept(receipt, first + receipt["line"] - 1, None)
        return answer.status_code

    def _binary(self, client: httpx2.Client, draw: random.Random) -> int:
        n, size = next(self._numbers), int(KIB * (self._largest / KIB) ** (draw.random() ** 2))
        content = draw.randbytes(size)
        place = f"named/{uuid4().hex}/scan.bin" if draw.random() < 0.2 else None
        files: list[Any] = [
            ("record", (None, json.dumps({"n": n, "__resource_path__": place}))),
            ("file", ("scan.bin", content, "application/octet-stream")),
        ]
        if place is None and draw.random() < 0.3:
            files.reverse()
        answer = client.post(f"{self._url}/record-json-and-binary?schema=note", files=files)
        return self._note(answer.status_code, answer, n, hashlib.sha256(content).hexdigest())

    def _note(self, status: int, answer: httpx2.Response, n: int, sha256: str | None) -> int:
        if status == 201:
            self._accept(answer.json(), n, sha256)
        else:
            assert answer.headers["content-type"] == "application/problem+json", answer.text
            assert status not in REFUSED or int(answer.headers["retry-after"]) > 0
        return status

    def _accept(self, receipt: dict[str, Any], n: int, sha256: str | None) -> None:
        if sha256 is not None:
            assert receipt["resource"]["sha256"] == sha256
        place = (receipt["topic"], receipt["partition"], receipt["offset"])
        self.accepted.append(Accepted(n, receipt["id"], place, sha256))
