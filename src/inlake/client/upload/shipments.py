"""Shipments as a client sees them: files are announced, each goes where the gateway says, then all are completed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import quote, urlsplit

from inlake.client.connection import Request, media_type
from inlake.client.gateway import NDJSON, Address, Gateway
from inlake.client.network import strange
from inlake.client.problems import ClientError, CutOff
from inlake.client.retries import until_settled

Document = dict[str, Any]
T = TypeVar("T")


class Target(NamedTuple):
    """Where a file goes."""

    url: str
    headers: Mapping[str, str]


class Announced(NamedTuple):
    """A gateway's answer to an announcement."""

    shipment: str | None
    """None when all lines are refused."""
    targets: dict[int, Target]
    """By line, from 1."""
    refused: dict[int, Document]


class Shipments:
    """The shipments of one gateway. Not for use by several threads at once.

    Raises what `Gateway` raises, after the time for retries; a gateway that went away may come back in it.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._connection = gateway, gateway.connection
        self.retry = gateway.retry
        place = urlsplit(gateway.url)
        self._origin, self._prefix = f"{place.scheme}://{place.netloc}", place.path

    def announce(self, to: Address, body: bytes, key: str) -> Announced:
        """Announce a file and its record in each line; with the same key it is the same shipment."""
        headers = {"Content-Type": NDJSON, "Idempotency-Key": f'"{key}"'}
        *lines, summary = self._lines(Request("POST", "/shipments", to.query(), headers, body))
        targets = {each["line"]: self._target(each["put"]) for each in lines if "put" in each}
        return Announced(summary.get("id"), targets, {each["line"]: each for each in lines if "put" not in each})

    def missing(self, shipment: str) -> dict[int, Target]:
        """The lines whose files are not there yet, and where they go; none of a shipment that has ended."""
        request = Request("GET", f"/shipments/{quote(shipment, safe='')}", {"missing": "true"})
        found = self._settled(partial(self._connection.document, request))
        return {each["line"]: self._target(each["put"]) for each in found.get("lines", ()) if each.get("put")}

    def complete(self, shipment: str) -> dict[int, Document]:
        """Publish what is there: for each line its receipt, or why it has none."""
        request = Request("POST", f"/shipments/{quote(shipment, safe='')}/complete", {}, {}, b"")
        *lines, _ = self._lines(request)
        return {each["line"]: each for each in lines}

    def cancel(self, shipment: str) -> bool:
        """Give up what is not published; whether it is, or was before."""
        request = Request("DELETE", f"/shipments/{quote(shipment, safe='')}", {})
        try:
            with self._connection.answer(request) as answer:
                return answer.status in {204, 404, 410}
        except ClientError:
            return False

    def _target(self, put: Mapping[str, Any]) -> Target:
        url, headers = str(put["url"]), dict(put["headers"])
        if not url.startswith("/"):
            return Target(url, headers)
        prefix = "" if url.startswith(f"{self._prefix}/") else self._prefix
        return Target(f"{self._origin}{prefix}{url}", headers | self._connection.authorization)

    def _lines(self, request: Request) -> list[Document]:
        return self._settled(partial(self._once, request))

    def _settled(self, once: Callable[[], T]) -> T:
        return until_settled(once, self.retry, gone=True)

    def _once(self, request: Request) -> list[Document]:
        with self._connection.answer(request) as response:
            if media_type(response) != NDJSON:
                raise self._connection.problem(response)
            try:
                lines = _parsed(response.read())
            except (ValueError, RecursionError):
                raise strange(response, self._gateway.url) from None
        if not lines or lines[-1].get("complete") is not True:
            raise CutOff("The gateway's answer ends early: send it again.")
        return lines


def _parsed(text: bytes) -> list[Document]:
    """The lines of an answer; its last one is its summary. Raises ValueError.

    They are parsed as one list: a call for each line would take as long again.
    """
    documents = json.loads(b"[%b]" % b",".join(filter(None, text.split(b"\n"))))
    for document in documents:
        if not isinstance(document, dict) or not ("summary" in document or isinstance(document.get("line"), int)):
            raise ValueError("no line of an answer")
    return cast("list[Document]", documents)
