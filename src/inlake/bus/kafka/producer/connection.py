"""One connection to one broker: requests go out, answers come back in their order."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import ssl
import struct
import termios
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from inlake.bus.kafka.oauth.tokens import TokenError
from inlake.bus.kafka.producer import wire
from inlake.bus.kafka.producer.sasl import NotTheServerError, prove, show
from inlake.bus.kafka.producer.wire import Answer, Refused
from inlake.bus.kafka.properties import Access

logger = logging.getLogger("inlake.bus")

T = TypeVar("T")
Answered = Callable[[bytes | None], None]
"""Called with the answer to a request, or None when the connection was lost before it came."""
OnLost = Callable[["Connection", str], None]
"""Called when a connection is gone, with what is wrong; empty when nobody waited for an answer, or we hung up."""
ANSWER = 10.0
"""Seconds a broker may take to answer a question."""
LARGE = 500_000
"""Bytes of a request that a broker may have hung up on for its size."""
SHARE = 2.0
"""Seconds for an address of a name that has more, but for the last."""
LARGEST = 16 << 20
"""Bytes of an answer; an answer to a producer is small."""
RENEWED = 0.8
"""Share of the time that a broker lets an authentication stand, after which a connection is to be replaced."""


class ConnectError(Exception):
    """A broker cannot be used: one sentence says why."""


class Connection(asyncio.Protocol):
    """Requests in flight and their answers. Made by `connect`."""

    def __init__(self, name: str, client_id: str, on_lost: OnLost) -> None:
        """`name`: host:port, for errors."""
        self.name = name
        self.versions: dict[int, int] = {}
        """Versions by request: the one that both sides speak."""
        self.until = float("inf")
        """The time when the connection is to be replaced, by the event loop's clock."""
        self._client = client_id.encode()
        self._on_lost = on_lost
        self._transport: asyncio.Transport
        self._waiting: deque[tuple[int, Answered, float, int]] = deque()
        """Number of the request, who wants the answer, when it was sent, its bytes."""
        self._correlation = 0
        self._answers = 0
        self._moved = 0.0
        """The time when the last answer came, or bytes went out that had waited, by the event loop's clock."""
        self._left = 0
        """Bytes that were not out yet then."""
        self._held_until = 0.0
        """The time when requests may be sent again: the broker has a quota (KIP-219)."""
        self._ended = self._retired = False
        self._rest = b""

    @property
    def is_open(self) -> bool:
        """Requests may be sent. A transport knows that its connection is gone before it says so."""
        return not (self._ended or self._transport.is_closing())

    def send(self, key: int, body: Sequence[bytes], answered: Answered) -> None:
        """Send a request; `answered` is called once, never from within."""
        self._correlation = correlation = (self._correlation + 1) & 0x7FFFFFFF
        version = self.versions.get(key, wire.VERSIONS[key][0])
        request = wire.request(key, version, correlation, self._client, body)
        self._waiting.append((correlation, answered, asyncio.get_running_loop().time(), sum(map(len, request))))
        self._transport.writelines(request)

    async def ask(self, key: int, body: Sequence[bytes], read: Callable[[Answer], T], seconds: float = ANSWER) -> T:
        """Sends a request and waits for its answer. Raises `ConnectError`, and `Refused` if `read` does."""
        if not self.is_open:
            raise ConnectError(f"{self.name}: the broker hung up")
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def answered(data: bytes | None) -> None:
            if not answer.done():  # whoever asked may be gone
                answer.set_result(data)

        self.send(key, body, answered)
        try:
            async with asyncio.timeout(seconds):
                data = await answer
        except TimeoutError:  # it may come yet: who waits for other answers on this connection decides
            raise ConnectError(f"{self.name}: no answer within {seconds:g} s") from None
        if data is None:
            raise ConnectError(f"{self.name}: the broker hung up")
        try:
            return read(Answer(data))
        except ValueError:
            self.abort()
            raise ConnectError(f"{self.name}: what answers does not speak Kafka's protocol") from None

    def is_proven(self) -> bool:
        """The broker has answered more than the greeting, which a broker that does not let us in answers too."""
        return self._answers > 1

    def is_idle(self) -> bool:
        return not self._waiting

    def silence(self) -> float:
        """Seconds for which an answer is owed and no byte has moved: answers come one after the other."""
        if not self._waiting:
            return 0.0
        now, left = asyncio.get_running_loop().time(), self._transport.get_write_buffer_size() + self._unacknowledged()
        if left < self._left:
            self._moved = now
        self._left = left
        return now - max(self._waiting[0][2], self._moved, self._held_until)

    def owed(self) -> int:
        """Bytes of the requests without an answer."""
        return sum([size for *_, size in self._waiting])

    def hold(self, seconds: float) -> None:
        """Lets the broker alone for so long: it wants it so, and reads nothing meanwhile."""
        self._held_until = max(self._held_until, asyncio.get_running_loop().time() + seconds)

    def held(self) -> float:
        """Seconds for which nothing may be sent."""
        return max(self._held_until - asyncio.get_running_loop().time(), 0.0)

    def _unacknowledged(self) -> int:
        """Bytes that the kernel has and the other side's has not: on a slow link they take their time."""
        try:
            queue = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (AttributeError, OSError, ValueError):  # no such question here, or the socket is closed
            return 0
        return int(struct.unpack("i", queue)[0])

    def retire(self) -> None:
        """Hang up when the last answer is there."""
        self._retired = True
        if not self._waiting:
            self.abort()

    def abort(self) -> None:
        """Hang up; who waits for an answer hears None, soon but not from within."""
        self._ended = True
        self._transport.abort()

    # ------------------------------------------------------------------------------------------- asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Tell all who wait."""
        waiting, self._waiting = self._waiting, deque()
        reason = ""
        if waiting and not self._ended:
            reason = f"{self.name}: {self._why_lost(waiting[0][3])}"
        self._ended = True
        self._on_lost(self, reason)
        for _, answered, *_ in waiting:
            self._tell(answered, None)

    def _why_lost(self, size: int) -> str:
        if size > LARGE:
            return f"the connection was lost with a request of {size} bytes: see the broker's socket.request.max.bytes"
        return (
            "the connection was lost"
            if self.is_proven()
            else "the broker hung up at the first request: see security.protocol"
        )

    def data_received(self, data: bytes) -> None:
        """Cut the stream into answers."""
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while end - at >= 4 and not self._ended:
            size = int.from_bytes(data[at : at + 4], "big")
            if not self._waiting or not 4 <= size <= LARGEST:
                self.abort()
                return
            if end - at - 4 < size:
                break
            self._answer(data[at + 4 : at + 4 + size])
            at += 4 + size
        self._rest = bytes(data[at:])

    def _answer(self, data: bytes) -> None:
        correlation, answered, *_ = self._waiting.popleft()
        self._moved = asyncio.get_running_loop().time()
        self._answers += 1
        if int.from_bytes(data[:4], "big") == correlation:
            self._tell(answered, data[4:])
        else:
            self.abort()
            self._tell(answered, None)
        if self._retired and not self._waiting:
            self.abort()

    def _tell(self, answered: Answered, data: bytes | None) -> None:
        """A fault of one who hears it must not keep the others from hearing theirs."""
        try:
            answered(data)
        except Exception:
            logger.exception("A fault while an answer of Kafka was read")
            self.abort()


async def connect(
    address: tuple[str, int], access: Access, seconds: float, on_lost: OnLost, *, first: int = 0
) -> tuple[Connection, int]:
    """A connection that is ready for requests, and which of the name's addresses it is to. They are tried in turn from
    the one with the number `first` on, each with its share of the time: one may be silent. Raises `ConnectError`."""
    host, port = address
    name, end = f"{host}:{port}", asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        raise ConnectError(f"{name}: {_reason(error, access, seconds)}") from None
    numbers = [(first + n) % len(found) for n in range(len(found))]
    for tried, number in enumerate(numbers, 1):
        left = end - asyncio.get_running_loop().time()
        share = min(left / (len(numbers) - tried + 1), SHARE) if tried < len(numbers) else left
        try:
            return await _connect(host, found[number][4][:2], access, round(share, 1), on_lost, name), number
        except ConnectError:
            if tried == len(numbers):
                raise
    raise ConnectError(f"{name}: its name has no address")


async def _connect(  # the connection to one address of a name
    host: str, address: Any, access: Access, seconds: float, on_lost: OnLost, name: str
) -> Connection:
    connection = None
    try:
        async with asyncio.timeout(seconds):
            tls: dict[str, Any] = {"ssl": access.tls, "server_hostname": host} if access.tls else {}
            transport, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(name, access.client_id, on_lost), *address, **tls
            )
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await _greet(connection, access)
            return connection
    except BaseException as error:
        if connection is not None:
            connection.abort()
        if reason := _reason(error, access, seconds):
            raise ConnectError(f"{name}: {reason}") from None
        raise


async def _greet(connection: Connection, access: Access) -> None:
    """Agree on versions, and say who we are."""
    try:
        chosen = await connection.ask(wire.API_VERSIONS, [], wire.read_versions)
    except ConnectError as error:
        raise ConnectError(f"{error}: see security.protocol") from None
    except Refused:
        chosen = {}
    needed = {wire.PRODUCE, wire.METADATA, wire.INIT_PRODUCER_ID}
    if access.mechanism:
        needed |= {wire.SASL_HANDSHAKE, wire.SASL_AUTHENTICATE}
    if not needed <= chosen.keys():
        raise ConnectError(f"{connection.name}: the broker is too old or too new for this producer")
    connection.versions = chosen
    if access.mechanism:
        await _authenticate(connection, access)


async def _authenticate(connection: Connection, access: Access) -> None:
    version = connection.versions[wire.SASL_AUTHENTICATE]
    loop = asyncio.get_running_loop()

    async def exchange(data: bytes) -> bytes:
        done = await connection.ask(
            wire.SASL_AUTHENTICATE, wire.sasl_authenticate_body(data), lambda a: wire.read_authenticated(a, version)
        )
        if done.seconds > 0:
            connection.until = loop.time() + max(RENEWED * done.seconds, 1.0)
        return done.data

    await connection.ask(wire.SASL_HANDSHAKE, wire.sasl_handshake_body(access.mechanism), wire.read_handshake)
    if access.tokens is None:
        await prove(exchange, access.mechanism, access.user, access.password)
        return
    token = await access.tokens.current()
    try:
        await show(exchange, token)
    except Refused:
        access.tokens.forget()
        raise


def _reason(error: BaseException, access: Access, seconds: float) -> str:
    """A sentence for what may go wrong; empty for what must go through as it is."""
    match error:
        case ConnectError():
            return str(error).partition(": ")[2]
        case Refused():
            return f"SASL authentication failed: {error.words or f'error {error.code}'}"
        case TokenError():
            return str(error)
        case NotTheServerError():
            return f"SASL authentication failed: the broker does not know the password of {access.user!r}"
        case TimeoutError():
            return f"no answer within {seconds:.3g} s"
        case ssl.SSLCertVerificationError():
            return f"the broker's certificate could not be verified ({error.verify_message}): see ssl.ca.location"
        case ssl.SSLError():
            return f"TLS failed ({error.reason}): see security.protocol"
        case socket.gaierror():
            return f"its name cannot be found ({error.strerror})"
        case ConnectionError() if access.tls and not error.errno:
            return "the broker hung up on TLS: connecting to a PLAINTEXT broker listener? see security.protocol"
        case OSError():
            return f"connecting failed: {os.strerror(error.errno) if error.errno else error}"
    return ""
