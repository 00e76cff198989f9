"""A connection to one gateway: each method is one request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx2

from inlake import __version__
from inlake.client.multipart import RecordAndFile, Upload
from inlake.client.problems import CutOff, Unreachable, problem_of

Receipt = dict[str, Any]
BLOCK = 1 << 16


class Client:
    """Sends records and binaries to a gateway and returns its receipts. Not for use by several threads at once.

    Raises `Refused` (4xx) and `Failed` (5xx, 429) with the gateway's problem document, `Unreachable` when no answer
    comes, `CutOff` when receipts are missing at the end.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60) -> None:
        """`url`: `http(s)://HOST:PORT`, a path before the routes allowed; `token`: sent as `Authorization: Bearer`;
        `timeout`: seconds without any progress. Raises ValueError for a URL of another form."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not the address of a gateway: it starts with http:// or https://")
        headers = {"User-Agent": f"inlake/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url.rstrip("/")
        self.timeout = timeout
        try:
            self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=timeout)
        except httpx2.InvalidURL as error:
            raise ValueError(f"{url!r} is not the address of a gateway: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

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
        query = _query(schema=schema, destination=destination, version=version, message=message)
        headers = {"Content-Type": "application/json"}
        return self._one("/ingress/record-json", query, headers, _json_text(record))

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
        """Send records as one NDJSON stream of any length; yields the gateway's lines, its `summary` last.

        `lines`: each item one line or several whole ones, with or without the newline at its end; short ones are
        joined, and an empty item sends at once what is waiting. `receipts`: `all`, `rejects` or `none`.
        Nothing is sent before the first receipt is asked for; none is read before the last line is sent.
        """
        query = _query(schema=schema, destination=destination, version=version, message=message, receipts=receipts)
        headers = {"Content-Type": "application/x-ndjson"}
        with self._answer("/ingress/record-json", query, headers, _joined(lines)) as answer:
            if _media_type(answer) != "application/x-ndjson":
                raise _problem(answer)
            complete = False
            for line in _lines(answer.iter_bytes()):
                receipt = self._parsed(line)
                complete = receipt.get("complete", False)
                yield receipt
        if not complete:
            raise CutOff("The gateway's receipts end early: the records after the last receipt may not be published.")

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

        `file`: a path, or an open file with name and media type as `Upload`; it is read while it is sent.
        """
        if isinstance(file, Path):
            with file.open("rb") as opened:
                upload = Upload.of(opened, file.name)
                return self.send_binary(
                    schema, record, upload, destination=destination, version=version, message=message
                )
        query = _query(schema=schema, destination=destination, version=version, message=message)
        body = RecordAndFile(_json_text(record), file)
        return self._one("/ingress/record-json-and-binary", query, body.headers, body)

    def promises(self) -> Iterator[dict[str, Any]]:
        """One's own promises that wait for their binary or their record, page by page as they are read."""
        after: str | None = ""
        while after is not None:
            page = self._asked("GET", "/promises", _query(after=after or None))
            yield from page.get("promises", [])
            after = page.get("next")

    def promise(self, puuid: str) -> dict[str, Any]:
        """One promise: `state`, `received`, `size`, `expires_at`, and its `receipt` once its event is published."""
        return self._asked("GET", f"/promises/{quote(puuid, safe='')}", {})

    def cancel_promise(self, puuid: str) -> None:
        """Give a promise up; `Refused` with code `promise_used` once a record has claimed it and it is stored."""
        self._asked("DELETE", f"/promises/{quote(puuid, safe='')}", {})

    def _asked(self, method: str, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """The JSON that a request without a body is answered with, empty when it is answered with nothing."""
        with self._answer(path, query, {}, b"", method=method) as answer:
            if not answer.is_success:
                raise _problem(answer)
            text = answer.read()
            return self._parsed(text) if text else {}

    def _one(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes | Iterable[bytes]
    ) -> Receipt:
        with self._answer(path, query, headers, body) as answer:
            if not answer.is_success:
                raise _problem(answer)
            return self._parsed(answer.read())

    def _parsed(self, text: bytes) -> Receipt:
        try:
            receipt: Receipt = json.loads(text)
        except ValueError:
            raise CutOff(f"What {self.url} answers is not a receipt: is it a gateway?") from None
        return receipt

    @contextmanager
    def _answer(
        self,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes],
        *,
        method: str = "POST",
    ) -> Iterator[httpx2.Response]:
        """A response while it is read; what httpx2 raises on the way comes out as ours."""
        request = self._http.build_request(method, path, params=query, headers=headers, content=body)
        response = None
        try:
            response = self._http.send(request, stream=True)
            yield response
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise Unreachable(
                f"No gateway answers at {self.url}: start one with `inlake serve`, or name another address."
            ) from None
        except httpx2.TimeoutException:
            raise Unreachable(
                f"The gateway at {self.url} was silent for {self.timeout:g} s: the outcome is unknown."
            ) from None
        except httpx2.HTTPError as error:
            if response is not None:
                raise CutOff(
                    f"The answer of {self.url} ends early: the outcome of what is missing is unknown."
                ) from error
            raise Unreachable(f"The connection to {self.url} broke ({error}): the outcome is unknown.") from error
        finally:
            if response is not None:
                response.close()


def _problem(answer: httpx2.Response) -> Exception:
    text = answer.read()
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"detail": f"HTTP status {answer.status_code} without a problem document: is this a gateway?"}
    return problem_of(answer.status_code, document, answer.headers.get("Retry-After"))


def _media_type(answer: httpx2.Response) -> str:
    return str(answer.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _json_text(record: bytes | Mapping[str, Any]) -> bytes:
    return record if isinstance(record, bytes) else json.dumps(record, ensure_ascii=False, allow_nan=False).encode()


def _query(**parameters: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in parameters.items() if value is not None}


def _joined(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines in blocks, because each block is a chunk on the wire and a call to the system."""
    waiting = bytearray()
    for line in lines:
        waiting += line
        if line and not line.endswith(b"\n"):
            waiting += b"\n"
        if waiting and (not line or len(waiting) >= BLOCK):
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines that end at `\\n` only: httpx2's own also split at U+2028 and its like, which JSON may hold."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from filter(None, lines)
    if rest:
        yield rest
