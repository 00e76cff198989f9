"""Objects and events read back: compared with their receipts, or downloaded under the names that the files had."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from inlake.client.gateway import Gateway
from inlake.client.problems import Problem
from inlake.client.receipts import Receipt

BLOCK = 1 << 20
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
    text = path.read_text("utf-8-sig")
    if path.suffix.lower() == ".csv":
        rows: list[Any] = list(csv.DictReader(text.splitlines(keepends=True)))
    else:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
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

    A name that is taken by other bytes gets the beginning of the puuid before it.
    """
    part = folder / f".{puuid}.part"
    start = part.stat().st_size if part.exists() else 0
    try:
        sha256, name = _fetch(client, puuid, part, start)
    except Problem as problem:
        if problem.status != 416:
            raise
        part.unlink()  # it was whole, or longer than the object
        sha256, name = _fetch(client, puuid, part, 0)
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        raise Damaged(f"{puuid}: what came has the SHA-256 {found}, and {sha256} was stored.")
    path = folder / name
    if path.exists():
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        path = path if same else folder / f"{puuid[:8]}-{name}"
    part.replace(path)
    return path


def _fetch(client: Gateway, puuid: str, part: Path, start: int) -> tuple[str, str]:
    """The SHA-256 that was stored, and the file's name."""
    promise = client.promise(puuid)
    headers = {"Range": f"bytes={start}-"} if start else {}
    with client.resource(puuid, headers) as answer, part.open("ab" if answer.status == 206 else "wb") as file:
        for block in answer.iter_bytes(BLOCK):
            file.write(block)
    name = os.path.basename(str(promise.get("filename") or "").replace("\\", "/")).lstrip(".").replace("\0", "")  # noqa: PTH119
    return str(promise["sha256"]), name or puuid


def _differences(client: Gateway, puuid: str, receipt: Receipt) -> Iterator[str]:
    try:
        published = client.promise(puuid).get("receipt") or {}
        digest, size = hashlib.sha256(), 0
        with client.resource(puuid) as answer:
            for block in answer.iter_bytes(BLOCK):
                digest.update(block)
                size += len(block)
    except Problem as problem:
        yield f"{problem.detail} ({problem.status})"
        return
    for name in PLACE:
        if (published.get(name), receipt.get(name)) in OF_OUTBOX:
            continue
        if str(published.get(name)) != str(receipt.get(name)):
            yield f"The event's {name} is {published.get(name)}, and was {receipt.get(name)}."
    if digest.hexdigest() != receipt.get("sha256"):
        yield f"The object's SHA-256 is {digest.hexdigest()}, and was {receipt.get('sha256')}."
    if str(size) != str(receipt.get("size")):
        yield f"The object has {size:,} bytes, and had {receipt.get('size')}."
