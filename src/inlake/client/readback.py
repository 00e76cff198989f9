"""Objects and events read back: compared with their receipts, or downloaded under the names that the files had."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from inlake.client.gateway import Gateway
from inlake.client.problems import Problem, Refused
from inlake.client.receipts import Receipt
from inlake.client.retries import until_settled

BLOCK = 1 << 20
LONGEST_END = 200
"""Bytes that are kept of a file's name behind the puuid: file systems take 255 (POSIX, NAME_MAX)."""
PLACE = ("id", "topic", "partition", "offset")
OF_OUTBOX = {(None, None), (None, "")}
"""A partition or offset that the gateway does not know, and how a ledger has it as JSON and as CSV."""


class Verdict(NamedTuple):
    """The finding for one receipt."""

    receipt: Receipt
    differences: tuple[str, ...]
    """Sentences; none where all is as the receipt says."""


class Damaged(Exception):
    """A download is not what was stored; the text is a sentence for a person."""


def read_ledger(path: Path) -> list[Receipt]:
    """The receipts of a file that `inlake upload --receipts` wrote, NDJSON or CSV. ValueError for another file."""
    text = path.read_bytes().decode("utf-8-sig")
    if path.suffix.lower() == ".csv":
        rows: list[Any] = list(csv.DictReader(io.StringIO(text, newline="")))
    else:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    if not all(isinstance(row, dict) and "id" in row and "puuid" in row for row in rows):
        raise ValueError(f"{path}: these are no receipts.")
    return rows


def verify(client: Gateway, receipts: Iterable[Receipt]) -> Iterator[Verdict]:
    """Read each object and its event's place back; a receipt without an object has nothing to be read over HTTP."""
    for told in receipts:
        receipt = {**told, **(told.get("resource") or {})}  # a ledger's has the resource's members beside its own
        puuid = receipt.get("puuid")
        if puuid:
            yield Verdict(receipt, tuple(_differences(client, str(puuid), receipt)))


def puuids_of(receipts: Iterable[Receipt]) -> Iterator[str]:
    """The names of the objects that receipts have."""
    for receipt in receipts:
        puuid = receipt.get("puuid") or (receipt.get("resource") or {}).get("puuid")
        if puuid:
            yield str(puuid)


def download(client: Gateway, puuid: str, folder: Path) -> Path:
    """Download an object under the name that its file had; a download that was cut goes on. Raises `Damaged`.

    A name that is taken by other bytes gets the puuid before it.
    """
    part = folder / f".{puuid}.part"
    try:
        sha256, name = until_settled(lambda: _fetch(client, puuid, part), client.retry)
    except Problem as problem:
        if problem.status != 416:
            raise
        part.unlink()  # it was whole, or longer than the object
        sha256, name = until_settled(lambda: _fetch(client, puuid, part), client.retry)
    if (found := _sha256(part)) != sha256:
        part.unlink()
        raise Damaged(f"{puuid}: what came has the SHA-256 {found}, and {sha256} was stored.")
    path = next(path for path in _paths(folder, name, puuid) if not path.exists() or _sha256(path) == sha256)
    part.replace(path)
    return path


def _paths(folder: Path, name: str, puuid: str) -> Iterator[Path]:
    """The names that a download may have, without end."""
    yield folder / name
    end = name.encode()[-LONGEST_END:].decode(errors="ignore")
    yield folder / f"{puuid}-{end}"
    for number in itertools.count(2):
        yield folder / f"{puuid}-{number}-{end}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(client: Gateway, puuid: str, part: Path) -> tuple[str, str]:
    """Downloads what is missing of an object; the SHA-256 that was stored, and the file's name."""
    promise = client.promise(puuid)
    start = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    with client.resource(puuid, headers) as answer, part.open("ab" if answer.status == 206 else "wb") as file:
        for block in answer.iter_bytes(BLOCK):
            file.write(block)
    name = os.path.basename(str(promise.get("filename") or "").replace("\\", "/")).lstrip(".").replace("\0", "")  # noqa: PTH119
    return str(promise["sha256"]), name or puuid


def _read(client: Gateway, puuid: str) -> tuple[dict[str, Any], str, int]:
    """The receipt that the gateway has, and the object's SHA-256 and size."""
    published = client.promise(puuid).get("receipt") or {}
    digest, size = hashlib.sha256(), 0
    with client.resource(puuid) as answer:
        for block in answer.iter_bytes(BLOCK):
            digest.update(block)
            size += len(block)
    return published, digest.hexdigest(), size


def _differences(client: Gateway, puuid: str, receipt: Receipt) -> Iterator[str]:
    try:
        published, digest, size = until_settled(lambda: _read(client, puuid), client.retry)
    except Refused as refused:
        yield f"{refused.detail} ({refused.status})"
        return
    for name in PLACE:
        if (published.get(name), receipt.get(name)) in OF_OUTBOX:
            continue
        if str(published.get(name)) != str(receipt.get(name)):
            yield f"The event's {name} is {published.get(name)}, and was {receipt.get(name)}."
    if digest != receipt.get("sha256"):
        yield f"The object's SHA-256 is {digest}, and was {receipt.get('sha256')}."
    if str(size) != str(receipt.get("size")):
        yield f"The object has {size:,} bytes, and had {receipt.get('size')}."
