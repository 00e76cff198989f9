"""A connection to a broker that is none, or a broken one: an answer of its own making, from a server in the test."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import pytest
from aiokafka.protocol.admin import ApiVersionResponse_v0
from aiokafka.protocol.metadata import MetadataResponse_v4
from aiokafka.protocol.produce import ProduceResponse_v7
from aiokafka.protocol.transaction import InitProducerIdResponse_v0

from inlake.bus.kafka.producer import Producer
from inlake.bus.kafka.producer.connection import ConnectError, connect
from inlake.bus.kafka.properties import CONNECTION, Access, find_access
from inlake.errors import BusUnavailable, OutcomeUnknown
from inlake.model import Event, Position

Answer = Callable[[bytes], bytes | None]
"""Gives bytes for a request, both with their length in front."""
MOST = 100 << 20
"""Bytes of a request: a broker hangs up on more (socket.request.max.bytes)."""


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@asynccontextmanager
async def broker(answer: Answer) -> AsyncIterator[int]:
    """Its port. It hangs up where there is no answer."""
    serving = set[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while (size := int.from_bytes(head := await reader.readexactly(4), "big")) < MOST:
                if (data := answer(head + await reader.readexactly(size))) is None:
                    return
                writer.write(data)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*filter(None, serving))


def access(port: int, **properties: str) -> Access:
    named = {name.replace("_", "."): value for name, value in properties.items()}
    found = find_access({**CONNECTION, "bootstrap.servers": f"127.0.0.1:{port}", **named})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "hung up"),
        (bytes(4), "hung up"),
        (b"\0\0\0\x03abc", "hung up"),
        (b"\xff\xff\xff\xff", "hung up"),
        (framed(bytes(4)), "hung up"),  # the number of another request
        (framed(b"\0\0\0\x01"), "does not speak Kafka's protocol"),
        (framed(b"\0\0\0\x01" + ApiVersionResponse_v0(0, []).encode()), "too old or too new"),
        (framed(b"\0\0\0\x01" + ApiVersionResponse_v0(35, []).encode()), "too old or too new"),
        (b"", "no answer within 0.5 s"),
        (b"\0\0\0\x04\0", "no answer within 0.5 s"),
    ],
)
async def test_what_does_not_answer_as_a_broker_is_told_in_a_sentence(answer: bytes, reason: str) -> None:
    async with broker(lambda _: answer) as port:
        with pytest.raises(ConnectError, match=reason) as error:
            await connect(("127.0.0.1", port), access(port), 0.5, lambda *_: None)
        assert str(error.value).startswith(f"127.0.0.1:{port}: ")


async def test_a_broker_that_hangs_up_within_the_greeting_is_told_at_once() -> None:
    began = time.monotonic()
    async with broker(greeting_only) as port:
        properties = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}
        with pytest.raises(ConnectError, match="hung up"):
            await connect(("127.0.0.1", port), access(port, **properties), 10, lambda *_: None)
    assert time.monotonic() - began < 1


async def test_a_broker_that_hangs_up_after_the_greeting_is_told_and_has_its_peace() -> None:
    asked = list[bytes]()

    def answer(request: bytes) -> bytes | None:
        asked.append(request)
        return greeting_only(request)

    async with broker(answer) as port:
        producer = Producer(access(port), timeout=1.0, on_trouble=lambda: None)
        [result] = await producer.publish([Event("1", "topic", b"key", b"", ())], {"topic": 1})
        await producer.close()
    assert isinstance(result, BusUnavailable)
    assert "hung up" in result.detail
    assert len(asked) < 20


def greeting_only(request: bytes) -> bytes | None:
    """As a broker does that lets nobody in who does not prove who it is."""
    return Broken(produced()).answer(request) if request[4:6] == b"\0\x12" else None


async def test_a_name_that_nobody_knows_and_a_port_where_nobody_listens_are_told() -> None:
    with pytest.raises(ConnectError, match="its name cannot be found"):
        await connect(("no-such-host.invalid", 9092), access(9092), 5, lambda *_: None)
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1: connecting failed: Connection refused"):
        await connect(("127.0.0.1", 1), access(9092), 5, lambda *_: None)


async def test_a_broker_without_tls_is_told_when_tls_is_asked_for() -> None:
    async with broker(lambda _: b"\0\0\0\0") as port:
        with pytest.raises(ConnectError, match=r"security\.protocol"):
            await connect(("127.0.0.1", port), access(port, security_protocol="SSL"), 5, lambda *_: None)


class Broken:
    """Answers as a broker does, but for PRODUCE."""

    def __init__(self, produced: Answer) -> None:
        self.port = 0
        self.requests = itertools.count()
        self._produced = produced

    def answer(self, request: bytes) -> bytes | None:
        number = request[8:12]
        match int.from_bytes(request[4:6], "big"):
            case 18:
                answer = ApiVersionResponse_v0(0, [(key, 0, 4 if key == 3 else 7) for key in (0, 3, 17, 18, 22, 36)])
            case 3:
                led = [(0, "topic", False, [(0, partition, 1, [1], [1]) for partition in range(3)])]
                answer = MetadataResponse_v4(0, [(1, "127.0.0.1", self.port, None)], None, 1, led)
            case 22:
                answer = InitProducerIdResponse_v0(0, 0, 7, 0)
            case _:
                next(self.requests)
                return self._produced(request)
        return framed(number + answer.encode())


def produced(*topics: tuple[str, list[tuple[int, int, int, int, int]]]) -> Answer:
    return lambda request: framed(request[8:12] + ProduceResponse_v7(list(topics), 0).encode())


OURS = ("topic", [(0, 7, -1, -1, 0)])


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: b"",
        lambda _: b"\0\0\0\0",
        lambda request: framed(request[8:12]),
        lambda request: framed(request[8:12] + b"\x7f\xff\xff\xff\0\0"),
        lambda _: framed(bytes(4) + ProduceResponse_v7([OURS], 0).encode()),
        lambda request: 2 * (produced(OURS)(request) or b""),
        produced(),
        produced(("another", [(0, 0, 1, -1, 0)])),
        produced(("topic", [(99, 0, 1, -1, 0), (-1, 0, 1, -1, 0)])),
        produced(OURS, OURS),
        produced(("topic", [(0, 12345, 1, -1, 0)])),
    ],
)
async def test_whatever_a_broken_broker_answers_the_event_has_an_end_in_time_and_the_broker_has_its_peace(
    answer: Answer,
) -> None:
    broken = Broken(answer)
    async with broker(broken.answer) as broken.port:
        producer = Producer(access(broken.port), timeout=0.5, on_trouble=lambda: None)
        began = time.monotonic()
        results = await producer.publish([Event(str(i), "topic", b"key", b"", ()) for i in range(3)], {"topic": 1})
        assert time.monotonic() - began < 1
        assert all(isinstance(result, OutcomeUnknown | BusUnavailable) for result in results)
        await producer.close()
    assert next(broken.requests) < 20


# ----------------------------------------------------------------------------------------------- addresses, slow links
class TwoAddresses(asyncio.SelectorEventLoop):
    """A loop to which each name has two addresses: one is silent, the other has the broker."""

    silent = good = 0
    asked = 0

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        if port != NAMED:
            return await super().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self.asked += 1
        return [(2, 1, 6, "", ("127.0.0.1", self.silent)), (2, 1, 6, "", ("127.0.0.1", self.good))]


NAMED = 9092


def test_a_name_whose_first_address_is_silent_is_reached_by_the_next_which_is_first_from_then_on() -> None:
    loop = TwoAddresses()

    async def run() -> None:
        async with broker(lambda _: b"") as loop.silent, broker(Broken(produced(OURS)).answer) as loop.good:
            began = time.monotonic()
            first, number = await connect(("kafka.example", NAMED), access(NAMED), 2, lambda *_: None)
            assert (first.name, number) == ("kafka.example:9092", 1)
            assert 1 <= time.monotonic() - began < 2
            began = time.monotonic()
            again, _ = await connect(("kafka.example", NAMED), access(NAMED), 2, lambda *_: None, first=number)
            assert time.monotonic() - began < 0.9
            first.abort()
            again.abort()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())


async def slow(reader: asyncio.StreamReader, size: int, rate: float) -> bytes:
    """Reads so many bytes, at so many a second."""
    data = b""
    while len(data) < size:
        data += await reader.readexactly(min(int(rate / 50), size - len(data)))
        await asyncio.sleep(1 / 50)
    return data


async def test_a_large_record_on_a_slow_link_is_waited_for() -> None:
    broken = Broken(
        lambda request: framed(request[8:12] + ProduceResponse_v7([("topic", [(0, 0, 5, -1, 0)])], 0).encode())
    )
    connections = itertools.count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        next(connections)
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(4)
                body = await slow(reader, int.from_bytes(head, "big"), 100_000)
                writer.write(broken.answer(head + body) or b"")

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 14)
    async with server:
        broken.port = server.sockets[0].getsockname()[1]
        producer = Producer(access(broken.port), timeout=3.0, on_trouble=lambda: None)
        [result] = await producer.publish([Event("1", "topic", b"key", bytes(150_000), ())], {"topic": 1})
        assert result == Position("topic", 0, 5), "half of its time-out went by before it was out"
        assert next(connections) == 1
        await producer.close()


async def test_no_request_of_several_batches_is_larger_than_the_least_limit_that_is_known() -> None:
    sizes, taken = list[int](), itertools.count()

    def answer(request: bytes) -> bytes:
        sizes.append(len(request))
        (count,) = struct.unpack_from(">i", request, 14 + len("inlake") + 2 + 6 + 4 + 2 + len("topic"))
        at = 14 + len("inlake") + 2 + 6 + 4 + 2 + len("topic") + 4
        partitions = []
        for _ in range(count):
            partition, size = struct.unpack_from(">ii", request, at)
            partitions.append((partition, 0, next(taken), -1, 0))
            at += 8 + size
        return framed(request[8:12] + ProduceResponse_v7([("topic", partitions)], 0).encode())

    broken = Broken(answer)
    async with broker(broken.answer) as broken.port:
        producer = Producer(access(broken.port), timeout=5.0, on_trouble=lambda: None)
        events = [[Event(f"{n}", "topic", b"key-%d" % n, bytes(400_000), ())] for n in range(12)]
        results = await asyncio.gather(*[producer.publish(one, {"topic": 3}) for one in events])
        assert all(isinstance(result, Position) for [result] in results)
        await producer.close()
    assert max(sizes) <= 1_046_528


async def test_a_broker_that_hangs_up_on_large_requests_is_told_so_and_not_blamed_for_its_protocol() -> None:
    broken = Broken(lambda _: None)
    async with broker(broken.answer) as broken.port:
        producer = Producer(access(broken.port), timeout=1.0, on_trouble=lambda: None)
        [result] = await producer.publish([Event("1", "topic", b"key", bytes(600_000), ())], {"topic": 1})
        await producer.close()
    assert isinstance(result, OutcomeUnknown)
    assert "socket.request.max.bytes" in result.detail
    assert "security.protocol" not in result.detail
