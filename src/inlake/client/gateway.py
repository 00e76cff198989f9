"""A gateway as its clients see it: records and binaries go in, receipts come back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

from inlake.client.batches import Batch, cut
from inlake.client.connection import Connection, Request, media_type
from inlake.client.multipart import RecordAndFile, Upload
from inlake.client.network import strange
from inlake.client.problems import ClientError, CutOff, NotAGateway, Refused
from inlake.client.receipts import WORDS, Receipt, is_receipt, parse_lines
from inlake.client.response import Response
from inlake.client.retries import Waits, until_settled

T = TypeVar("T")
RECORD = "/ingress/record-json"
RECORD_AND_BINARY = "/ingress/record-json-and-binary"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Address:
    """The schema and the destination that records go to."""

    schema: str
    destination: str | None = None
    version: int | None = None
    """The version of the schema; the latest if not given."""
    message: str | None = None
    """Protobuf: full name of the message."""

    def query(self, **more: str) -> dict[str, str]:
        return _query(
            schema=self.schema, destination=self.destination, version=self.version, message=self.message, **more
        )


@dataclass(slots=True)
class Answer:
    """The gateway's answer to one batch."""

    batch: Batch
    receipts: list[Receipt] = field(default_factory=list)
    """With the numbers of the lines as the source has them."""
    summary: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WORDS, 0))
    retry_after: str | None = None


class Gateway:
    """Sends records and binaries to a gateway and returns its receipts. Not for use by several threads at once.

    Raises `Refused` (4xx) and `Failed` (5xx, 429) with the gateway's problem document, `Unreachable` when no answer
    comes, `CutOff` when receipts are missing at the end, `NotAGateway` for an answer that is no receipt.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60, retry: float = 60) -> None:
        """`url`: `http(s)://HOST:PORT`, a path before the routes allowed; `token`: sent as `Authorization: Bearer`;
        `timeout`: seconds without any progress; `retry`: seconds for which a stream of records is sent again where that
        may help. Raises ValueError for a URL or token of another form."""
        self._connection = Connection(url, token, timeout)
        self._retry = retry
        self._token = token

    def another(self) -> Self:
        """One more client of the same gateway, for another thread."""
        timeout = self._connection.timeout
        return type(self)(self.url, token=self._token, timeout=timeout, retry=self._retry)

    @property
    def url(self) -> str:
        return self._connection.url

    @property
    def connection(self) -> Connection:
        """The connection, for requests that this class has no method for."""
        return self._connection

    @property
    def retry(self) -> float:
        """Seconds for which a request is sent again."""
        return self._retry

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def send_record(
        self,
        schema: str,
        record: bytes | Mapping[str, Any],
        *,
        destination: str | None = None,
        version: int | None = None,
        message: str | None = None,
    ) -> Receipt:
        """Send one record, JSON text or a mapping; returns when its event is confirmed."""
        query = Address(schema, destination, version, message).query()
        headers = {"Content-Type": "application/json"}
        return self._receipt(Request("POST", RECORD, query, headers, json_text(record)))

    def send_records(
        self,
        schema: str,
        lines: Iterable[bytes],
        *,
        destination: str | None = None,
        version: int | None = None,
        message: str | None = None,
        receipts: str = "all",
    ) -> Iterator[Receipt]:
        """Send records of any number; yields the gateway's lines as they are confirmed, a `summary` of all last.

        `lines`: each item one line or several whole ones, with or without the newline at its end; an empty item sends
        at once what is waiting. `receipts`: `all`, `rejects` or `none`. Nothing is sent before the first receipt is
        asked for. Lines go out in order, in batches: one of which nobody knows what became is sent again, with its
        Idempotency-Key.
        """
        summary = dict.fromkeys(WORDS, 0)
        for answer in self.send_batches(
            Address(schema, destination, version, message), cut(lines), run=uuid4().hex, receipts=receipts
        ):
            yield from answer.receipts
            for word in WORDS:
                summary[word] += answer.summary[word]
        yield {"summary": summary, "complete": True}

    def send_batches(
        self, to: Address, batches: Iterable[Batch], *, run: str, receipts: str = "all"
    ) -> Iterator[Answer]:
        """Send batches one after the other; `run` and the numbers of its lines make the Idempotency-Key of each.

        A batch that the gateway finds too large for one request is sent in halves.
        """
        for batch in batches:
            yield from self._send_whole(to, batch, run, receipts)

    def validate_batches(self, to: Address, batches: Iterable[Batch]) -> Iterator[Answer]:
        """The gateway's word on each line, had it been sent; its receipts are those of lines that it would refuse."""
        query = to.query(receipts="rejects")
        for batch in batches:
            if not batch.body.strip():
                yield Answer(batch)
                continue
            request = Request("POST", "/ingress/validate", query, {"Content-Type": NDJSON}, batch.body)
            yield self._until_settled(partial(self._send_once, request, batch))

    def validate_text(self, to: Address, record: bytes) -> None:
        """Have one record checked. Raises `Refused` when it does not fit."""
        query = _query(schema=to.schema or None, destination=to.destination, version=to.version, message=to.message)
        headers = {"Content-Type": "application/json"}
        self._connection.document(Request("POST", "/ingress/validate", query, headers, record))

    def send_text(self, to: Address, record: bytes, *, key: str) -> Receipt:
        """Send one record; sent again with the same Idempotency-Key where that may help."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{key}"'}
        request = Request("POST", RECORD, to.query(), headers, record)
        return self._until_settled(partial(self._receipt, request))

    def send_file(self, to: Address, record: bytes, path: Path, *, key: str) -> Receipt:
        """Send a record with the binary at a path; sent again with the same Idempotency-Key where that may help."""
        headers = {"Idempotency-Key": f'"{key}"'}

        def once() -> Receipt:
            with path.open("rb") as file:
                body = RecordAndFile(record, Upload.of(file, path.name))
                return self._receipt(Request("POST", RECORD_AND_BINARY, to.query(), {**headers, **body.headers}, body))

        return self._until_settled(once)

    def _until_settled(self, once: Callable[[], T]) -> T:
        return until_settled(once, self._retry)

    def _send_whole(self, to: Address, batch: Batch, run: str, receipts: str) -> Iterator[Answer]:
        if not batch.body.strip():
            yield Answer(batch)  # blank lines alone are no body
            return
        try:
            yield self._send_as_before(to, batch, run, receipts)
        except Refused as refused:
            if refused.code != "idempotent_too_large" or batch.first == batch.last:
                raise
            for half in batch.halves():
                yield from self._send_whole(to, half, run, receipts)

    def _send_as_before(self, to: Address, batch: Batch, run: str, receipts: str) -> Answer:
        """The answer; with more or fewer receipts where an earlier run asked for those: a key is of one request."""
        try:
            return self._send_until_settled(to, batch, run, receipts)
        except Refused as refused:
            if refused.code != "idempotency_key_reused":
                raise
            return self._send_until_settled(to, batch, run, "rejects" if receipts == "all" else "all")

    def _send_until_settled(self, to: Address, batch: Batch, run: str, receipts: str) -> Answer:
        """The answer; after the time for retries, the last one with lines that failed, or the last error."""
        waits = Waits(self._retry)
        headers = {"Content-Type": NDJSON, "Idempotency-Key": f'"{run}-{batch.first}-{batch.last}"'}
        request = Request("POST", RECORD, to.query(receipts=receipts), headers, batch.body)
        answer: Answer | None = None
        while True:
            try:
                answer = self._until_settled(partial(self._send_once, request, batch))
            except ClientError as error:
                error.in_doubt |= answer is not None  # of which some lines may be in
                raise
            if not answer.summary["failed"] or not waits.wait(answer.retry_after):
                return answer

    def _send_once(self, request: Request, batch: Batch) -> Answer:
        with self._connection.answer(request) as response:
            if media_type(response) != NDJSON:
                raise self._connection.problem(response)
            answer = Answer(batch, retry_after=response.headers.get("Retry-After"))
            complete = False
            try:
                for receipt in parse_lines(response.iter_bytes()):
                    if "summary" in receipt:
                        answer.summary, complete = receipt["summary"], receipt.get("complete") is True
                    else:
                        answer.receipts.append({**receipt, "line": receipt["line"] + batch.first - 1})
            except ValueError:
                raise strange(response, self.url) from None
        if not complete:
            raise CutOff("The gateway's receipts end early: the records after the last receipt may not be published.")
        return answer

    def send_binary(
        self,
        schema: str,
        record: bytes | Mapping[str, Any],
        file: Path | Upload,
        *,
        destination: str | None = None,
        version: int | None = None,
        message: str | None = None,
    ) -> Receipt:
        """Send a record with its binary in one request; returns when it is stored and its event confirmed.

        `file`: a path, or an open file with name and media type as `Upload`; it is read while it is sent. Raises
        `FileChanged` when it is shorter than it was.
        """
        if isinstance(file, Path):
            with file.open("rb") as opened:
                upload = Upload.of(opened, file.name)
                return self.send_binary(
                    schema, record, upload, destination=destination, version=version, message=message
                )
        query = Address(schema, destination, version, message).query()
        body = RecordAndFile(json_text(record), file)
        return self._receipt(Request("POST", RECORD_AND_BINARY, query, body.headers, body))

    def check_alive(self) -> None:
        """Raises `Unreachable` when no gateway answers."""
        self._connection.document(Request("GET", "/health/live", {}))

    def schemas(self) -> list[dict[str, Any]]:
        """The schemas that records can name, each with its `subject`."""
        found = self._connection.document(Request("GET", "/schemas", {}))
        if not isinstance(found.get("schemas"), list):
            raise NotAGateway(f"What {self.url} answers is not a list of schemas: is it a gateway?")
        schemas: list[dict[str, Any]] = found["schemas"]
        return schemas

    def schema(self, name: str, version: int | None = None, message: str | None = None) -> dict[str, Any]:
        """A schema: its text, versions, an example record, and the fields that a table can fill."""
        query = _query(version=version, message=message)
        request = Request("GET", f"/schemas/{quote(name, safe='')}", query)
        return self._until_settled(partial(self._connection.document, request))

    def promises(self) -> Iterator[dict[str, Any]]:
        """One's own promises that wait for their binary or their record, page by page as they are read."""
        after: str | None = ""
        while after is not None:
            page = self._connection.document(Request("GET", "/promises", _query(after=after or None)))
            if not isinstance(page.get("promises"), list):
                raise NotAGateway(f"What {self.url} answers is not a list of promises: is it a gateway?")
            yield from page["promises"]
            after = page.get("next")

    def promise(self, puuid: str) -> dict[str, Any]:
        """One promise: `state`, `received`, `size`, `expires_at`, and its `receipt` once its event is published."""
        found = self._connection.document(Request("GET", f"/promises/{quote(puuid, safe='')}", {}))
        if "puuid" not in found or "state" not in found:
            raise NotAGateway(f"What {self.url} answers is not a promise: is it a gateway?")
        return found

    @contextmanager
    def resource(self, puuid: str, headers: Mapping[str, str] | None = None) -> Iterator[Response]:
        """An object while it is read; `headers`: `Range` and the like. Raises `Problem`."""
        request = Request("GET", f"/resources/{quote(puuid, safe='')}", {}, headers or {}, elsewhere=True)
        with self._connection.answer(request) as answer:
            if not answer.is_success:
                raise self._connection.problem(answer)
            yield answer

    def json_lines(self, request: Request) -> list[dict[str, Any]]:
        """The objects of an answer in NDJSON, the last of which has `complete`; the request may be sent again."""
        return self._until_settled(partial(self._json_lines, request))

    def _json_lines(self, request: Request) -> list[dict[str, Any]]:
        with self._connection.answer(request) as answer:
            if media_type(answer) != NDJSON:
                raise self._connection.problem(answer)
            try:
                lines = [json.loads(line) for line in answer.read().split(b"\n") if line]
            except (ValueError, RecursionError):
                raise strange(answer, self.url) from None
        if not (lines and isinstance(lines[-1], dict) and lines[-1].get("complete") is True):
            raise CutOff("The gateway's answer ends early: what became of its lines is not known.")
        return lines

    def cancel_promise(self, puuid: str) -> None:
        """Give a promise up; `Refused` with code `promise_used` once a record has claimed it and it is stored."""
        with self._connection.answer(Request("DELETE", f"/promises/{quote(puuid, safe='')}", {})) as answer:
            if answer.status != 204:
                raise self._connection.problem(answer)

    def causes(self, *, schema: str | None = None) -> list[dict[str, Any]]:
        """The causes of one's own rejects: `reasons`, `count` and an `example` of each cause."""
        found = self._connection.document(Request("GET", "/rejects/causes", _query(schema=schema)))
        if not isinstance(found.get("causes"), list):
            raise NotAGateway(f"What {self.url} answers is not a list of causes: is it a gateway?")
        causes: list[dict[str, Any]] = found["causes"]
        return causes

    def rejects(
        self, *, schema: str | None = None, cause: str | None = None, state: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """One's own refused records, the newest first, page by page as they are read; `state`: `open` (the default),
        `mended` or `all`."""
        after: str | None = ""
        while after is not None:
            query = _query(schema=schema, cause=cause, state=state, limit=1_000, after=after or None)
            page = self._connection.document(Request("GET", "/rejects", query))
            if not isinstance(page.get("rejects"), list):
                raise NotAGateway(f"What {self.url} answers is not a list of rejects: is it a gateway?")
            yield from page["rejects"]
            after = page.get("next")

    def reject(self, reject_id: str) -> dict[str, Any]:
        """One refused record: its `text` as it came, and all `errors`."""
        return self._connection.document(Request("GET", f"/rejects/{quote(reject_id, safe='')}", {}))

    def resend(self, reject_id: str, record: bytes = b"") -> Receipt:
        """Send a refused record again, as it came or mended. Raises `Refused` when it still does not fit."""
        path = f"/rejects/{quote(reject_id, safe='')}/resend"
        request = Request("POST", path, {}, {"Content-Type": "application/json"}, record)
        return self._until_settled(partial(self._receipt, request))

    def _receipt(self, request: Request) -> Receipt:
        document = self._connection.document(request)
        if not is_receipt(document):
            raise NotAGateway(f"What {self.url} answers is not a receipt: is it a gateway?")
        return document


def json_text(record: bytes | Mapping[str, Any]) -> bytes:
    """A record as it is sent; text that is JSON already stays as it is."""
    return record if isinstance(record, bytes) else json.dumps(record, ensure_ascii=False, allow_nan=False).encode()


def _query(**parameters: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in parameters.items() if value is not None}
