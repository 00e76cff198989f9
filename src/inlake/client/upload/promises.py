"""Promises as a client of large files sees them: a binary comes in parts or by tus, then a record claims it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from inlake.client.connection import Request
from inlake.client.gateway import Gateway
from inlake.client.media_types import media_type
from inlake.client.multipart import readable
from inlake.client.network import strange
from inlake.client.problems import ClientError, FileChanged, Refused
from inlake.client.retries import until_settled
from inlake.client.upload.mover import Put, Slice

TUS = {"Tus-Resumable": "1.0.0"}
PATCH_BYTES = 64 << 20
"""The most bytes of one PATCH: between two of them a run can be stopped."""
BLOCK = 1 << 18
SLOWEST = 10 << 20
"""Bytes a second that a gateway reads, at least, of an object whose SHA-256 it makes."""
HELD = frozenset({"stored", "claimed", "published"})
"""States of a promise whose bytes are all there."""
T = TypeVar("T")


class Part(NamedTuple):
    """One of the parts of a file, and the request that sends it."""

    number: int
    put: Put


class Incomplete(ClientError):
    """The store has not all parts yet."""

    def __init__(self, missing: Sequence[int], count: int) -> None:
        """`missing`: numbers of parts, the first thousand; `count`: of all that are missing."""
        super().__init__(f"{count:,} parts of the file are not in the store.")
        self.missing, self.count = missing, count


class Promises:
    """The promises of one gateway. Not for use by several threads at once.

    Raises what `Gateway` raises, after the time for retries; a gateway that went away may come back in it.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._connection = gateway, gateway.connection

    def begin_parts(self, path: Path, size: int) -> tuple[str, list[Part]]:
        """The puuid of a promise whose parts go to the store, and the first of them. `Failed` where none may."""
        name = readable(path.name)
        told = {"filename": name, "size": size, "content_type": media_type(name), "parts": True}
        body = json.dumps(told).encode()
        request = Request("POST", "/promises", {}, {"Content-Type": "application/json"}, body)
        found = self._settled(partial(self._connection.document, request))
        return str(found["puuid"]), [*_parts(found, path)]

    def parts(
        self, puuid: str, path: Path, *, but: Container[int] = (), only: Container[int] | None = None
    ) -> Iterator[list[Part]]:
        """The parts of a file, page by page, since URLs are made when they are asked for.

        `but`: numbers that are left out; `only`: no others are wanted.
        """
        first: int | None = 1
        while first is not None:
            request = Request("GET", f"/promises/{puuid}/parts", {"from": str(first)})
            document = self._settled(partial(self._document, request))
            found = [*_parts(document, path)]
            yield [part for part in found if part.number not in but and (only is None or part.number in only)]
            first = found[-1].number + 1 if found and document.get("next") else None

    def complete(self, puuid: str, size: int) -> str:
        """The SHA-256 of what the parts are together, which the gateway has read. Raises `Incomplete`."""
        timeout = max(self._connection.timeout, size / SLOWEST)
        request = Request("POST", f"/promises/{puuid}/complete", {}, {}, b"", timeout=timeout)
        try:
            return str(self._settled(partial(self._document, request))["sha256"])
        except Refused as error:
            if error.code != "upload_incomplete" or "missing" not in error.document:
                raise
            raise Incomplete(error.document["missing"], error.document["missing_count"]) from error

    def begin_tus(self, path: Path, size: int) -> str:
        """The puuid of a promise whose bytes go through the gateway."""
        name = readable(path.name)
        about = {"filename": name, "filetype": media_type(name)}
        metadata = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in about.items())
        headers = {**TUS, "Upload-Length": str(size), "Upload-Metadata": metadata}
        answered = self._settled(partial(self._headers, Request("POST", "/uploads", {}, headers)))
        return str(answered["Location"]).rpartition("/")[2]

    def append(self, puuid: str, path: Path, size: int) -> int:
        """Send what follows of a file, so many bytes as one request has; returns how many are there then."""
        return self._settled(partial(self._append, puuid, path, size))

    def _append(self, puuid: str, path: Path, size: int) -> int:
        place = f"/uploads/{puuid}"
        offset = int(self._headers(Request("HEAD", place, {}, TUS))["Upload-Offset"])
        if offset == size:
            return size
        length = min(PATCH_BYTES, size - offset)
        headers = {
            **TUS,
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
            "Content-Length": str(length),
        }
        timeout = max(self._connection.timeout, size / SLOWEST) if offset + length == size else None
        body = _blocks(Slice(path, offset, length))
        return int(self._headers(Request("PATCH", place, {}, headers, body, timeout=timeout))["Upload-Offset"])

    def sha256(self, puuid: str) -> str | None:
        """The SHA-256 of what the gateway holds; None while not all of it is there."""
        found = self._settled(partial(self._gateway.promise, puuid))
        return str(found["sha256"]) if found["state"] in HELD and found.get("sha256") else None

    def is_open(self, puuid: str) -> bool:
        """Whether a record may still claim it, or has."""
        try:
            return self._settled(partial(self._gateway.promise, puuid))["state"] not in {"expired", "failed"}
        except Refused:
            return False

    def cancel(self, puuid: str) -> None:
        """Give a promise up, if that can be done now; else the gateway does when it expires."""
        try:
            self._gateway.cancel_promise(puuid)
        except ClientError:
            return

    def _document(self, request: Request) -> dict[str, Any]:
        return self._connection.document(request)

    def _headers(self, request: Request) -> Message:
        with self._connection.answer(request) as answer:
            if not answer.is_success:
                raise self._connection.problem(answer)
            if "Upload-Offset" not in answer.headers and not answer.location:
                raise strange(answer, self._gateway.url)
            return answer.headers

    def _settled(self, once: Callable[[], T]) -> T:
        return until_settled(once, self._gateway.retry, gone=True)


def _parts(document: dict[str, Any], path: Path) -> Iterator[Part]:
    size = int(document["part_size"])
    for part in document["parts"]:
        body = Slice(path, (part["number"] - 1) * size, part["size"])
        yield Part(part["number"], Put(part["url"], part["headers"], body))


def _blocks(part: Slice) -> Iterable[bytes]:
    """The bytes of a slice. Raises `FileChanged` where the file is shorter."""
    left = part.size
    with part.path.open("rb", buffering=0) as file:
        file.seek(part.offset)
        while left:
            block = file.read(min(BLOCK, left))
            if not block:
                raise FileChanged(f"{part.path.name}: the file became shorter while it was sent.")
            left -= len(block)
            yield block
