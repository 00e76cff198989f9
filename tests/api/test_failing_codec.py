"""A codec that fails in every way it can: the line is a 500, its request is in the log, and the others go on."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from inlake.codecs import Compiled, Finder
from inlake.ports import Codec
from tests.gateways import Answer, Gateway, embedded

NDJSON = "application/x-ndjson"
PATH = "/ingress/record-json?schema=note"
GOOD, BAD = b'{"title": "good"}\n', b'{"title": "fails"}\n'


class PanicException(BaseException):
    """As a library in Rust raises it: no `Exception`."""


def endless() -> Any:
    return endless()


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise error

    return fail


FAILURES: dict[str, Callable[[], Any]] = {
    "key": raising(KeyError("secret of the record")),
    "attribute": lambda: None.nothing,  # type: ignore[attr-defined]
    "type": lambda: None,
    "text": b"\xff".decode,
    "recursion": endless,
    "memory": raising(MemoryError()),
    "assertion": raising(AssertionError()),
    "stop": raising(StopIteration()),
    "stop of an asynchronous one": raising(StopAsyncIteration()),
    "time-out": raising(TimeoutError()),
    "disk": raising(OSError(28, "No space left on device")),
    "group": raising(ExceptionGroup("several", [ValueError(), KeyError()])),
    "panic": raising(PanicException("index out of bounds")),
}
NOTHING_RAISED = {("encode_plain", "type"), ("resource", "type")}  # None is an answer there
FAILING = [(step, failure) for step in ("encode_plain", "read", "resource", "encode") for failure in FAILURES]
FAILING = [each for each in FAILING if each not in NOTHING_RAISED]


class Draft:
    """What `read` makes of a record; its resource may be what fails."""

    def __init__(self, codec: FailingCodec, draft: Any) -> None:
        self.codec = codec
        self.draft = draft

    @property
    def resource(self) -> Any:
        return self.codec.at("resource", b"fails", lambda: self.draft.resource)


class FailingCodec:
    """The codec of a schema, which fails on some records in one of its steps."""

    def __init__(self, codec: Any, step: str, fail: Callable[[], Any]) -> None:
        self.codec, self.step, self.fail = codec, step, fail
        self.content_type, self.has_resource_field = codec.content_type, codec.has_resource_field

    def at(self, step: str, record: bytes, work: Callable[[], Any]) -> Any:
        return self.fail() if step == self.step and b"fails" in record else work()

    def encode_plain(self, record: bytes) -> Any:
        if b"fails" in record and self.step != "encode_plain":
            return None
        return self.at("encode_plain", record, lambda: self.codec.encode_plain(record))

    def read(self, record: bytes, *, tagged: bool = False) -> Any:
        draft = self.at("read", record, lambda: self.codec.read(record, tagged=tagged))
        return Draft(self, draft) if b"fails" in record and draft is not None else draft

    def encode(self, draft: Any, resource: str | None = None) -> Any:
        if isinstance(draft, Draft):
            return self.at("encode", b"fails", lambda: self.codec.encode(draft.draft, resource))
        return self.codec.encode(draft, resource)


class FailingCodecs:
    """A finder of that codec."""

    def __init__(self, finder: Finder, step: str, failure: str) -> None:
        self.finder, self.step, self.failure = finder, step, failure

    async def find(self, name: str, version: int | None = None, message: str | None = None) -> Compiled:
        if name == "broken":
            FAILURES[self.failure]()
        compiled = await self.finder.find("note", version, message)
        codec = FailingCodec(compiled.codec, self.step, FAILURES[self.failure])
        return dataclasses.replace(compiled, codec=cast("Codec", codec))


def with_failures(gateway: Gateway, step: str, failure: str) -> None:
    path = gateway.deployment.gateway
    path.codecs = FailingCodecs(path.codecs, step, failure)


def check_log(caplog: pytest.LogCaptureFixture, instance: str) -> None:
    """The log names the request, and has the cause once."""
    told = [record for record in caplog.records if record.exc_info]
    assert [instance in record.getMessage() for record in told] == [True]


def instance_of(line: dict[str, Any]) -> str:
    return str(line["detail"]).rpartition(" ")[2].rstrip(".")


@pytest.mark.parametrize(("step", "failure"), FAILING)
async def test_a_line_that_fails_in_its_codec_is_a_500_and_the_stream_goes_on(
    tmp_path: Path, step: str, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with embedded(tmp_path, window_records=3) as gateway:
        with_failures(gateway, step, failure)
        for path in (PATH, PATH.replace("record-json", "validate")):
            caplog.clear()
            answer = await gateway.post(path, (GOOD + BAD) * 4 + GOOD, NDJSON)
            *lines, last = answer.lines()
            good = 201 if path == PATH else 200
            assert [line["status"] for line in lines] == [good, 500] * 4 + [good]
            assert (answer.status, last["complete"]) == (207, True)
            assert (last["summary"]["accepted"], last["summary"]["failed"]) == (5, 4)
            failed = lines[1]
            assert (failed["code"], failed["line"]) == ("internal_error", 2)
            check_log(caplog, f"{instance_of(failed)}, line 2 ")
            assert caplog.messages[-1].endswith(": 4 lines failed")
            assert "secret" not in answer.body.decode()
        assert len(await gateway.events()) == 5


@pytest.mark.parametrize("failure", sorted(FAILURES.keys() - {"type"}))
async def test_a_schema_whose_compilation_fails_is_the_500_of_its_lines(tmp_path: Path, failure: str) -> None:
    async with embedded(tmp_path) as gateway:
        with_failures(gateway, "read", failure)
        lines = [{"schema": name, "record": {"title": "a"}} for name in ("note", "broken", "note")]
        body = "\n".join(map(json.dumps, lines)).encode()
        answer = await gateway.post("/ingress/record-json", body, NDJSON)
        assert [line["status"] for line in answer.lines()[:-1]] == [201, 500, 201]


@pytest.mark.parametrize(("step", "failure"), [each for each in FAILING if each[0] != "encode_plain"])
async def test_a_single_record_that_fails_in_its_codec_is_a_500(
    tmp_path: Path, step: str, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with embedded(tmp_path) as gateway:
        with_failures(gateway, step, failure)
        paths = [PATH] if step == "resource" else [PATH, PATH.replace("record-json", "validate")]
        for path in paths:
            if (step, failure, path == PATH) == ("encode", "type", False):
                continue  # what was encoded is not looked at
            caplog.clear()
            answer = await gateway.post(path, BAD)
            check_failed(answer)
            check_log(caplog, answer.json()["instance"])
        assert await gateway.events() == []


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_body_that_is_all_or_nothing_fails_whole(
    tmp_path: Path, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with embedded(tmp_path) as gateway:
        with_failures(gateway, "read", failure)
        answer = await gateway.post(f"{PATH}&mode=atomic", GOOD + BAD + GOOD, NDJSON)
        check_failed(answer)
        check_log(caplog, answer.json()["instance"])
        assert await gateway.events() == []


@pytest.mark.parametrize(("step", "failure"), [each for each in FAILING if each[0] in {"read", "encode"}])
async def test_a_line_of_a_shipment_that_fails_is_a_500_and_the_others_are_announced(
    tmp_path: Path, step: str, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with embedded(tmp_path) as gateway:
        with_failures(gateway, step, failure)
        file = {"filename": "a", "size": 1, "sha256": "0" * 64}
        lines = [{"file": file, "record": {"title": title}} for title in ("good", "fails", "good")]
        answer = await gateway.post("/shipments?schema=note", "\n".join(map(json.dumps, lines)).encode(), NDJSON)
        assert [line.get("status") for line in answer.lines()[:-1]] == [202, 500, 202]
        check_log(caplog, f"{instance_of(answer.lines()[1])}, line 2 ")


def check_failed(answer: Answer) -> None:
    assert (answer.status, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.body.decode()


async def test_a_request_that_is_cancelled_is_not_taken_for_a_bad_line(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        finder = gateway.deployment.gateway.codecs

        class Slow:
            async def find(self, name: str, version: int | None = None, message: str | None = None) -> Compiled:
                await asyncio.sleep(30)
                return await finder.find(name, version, message)

        gateway.deployment.gateway.codecs = Slow()
        request = asyncio.create_task(gateway.post(PATH, GOOD, NDJSON))
        await asyncio.sleep(0.05)
        request.cancel()
        assert (await request).status == 503
