"""Proving who we are to a broker: SASL PLAIN (RFC 4616), SCRAM (RFC 5802, RFC 7677) and OAUTHBEARER (RFC 7628)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable

from inlake.bus.kafka.oauth.tokens import Token
from inlake.bus.kafka.producer.wire import SASL_AUTHENTICATION_FAILED, Refused

Exchange = Callable[[bytes], Awaitable[bytes]]
"""Sends our message and gives the server's."""
LEAST_ITERATIONS, MOST_ITERATIONS = 4096, 1_000_000
"""Fewer are forbidden by RFC 7677; more would take longer than a connection may."""


class NotTheServerError(Exception):
    """The server does not know the password either: it is not the one it says it is."""


async def show(exchange: Exchange, token: Token) -> None:
    """Authenticates by a token. Raises what `exchange` raises."""
    told = [("auth", f"Bearer {token.value}"), *token.extensions]
    error = await exchange(b"n,,\1" + b"".join(f"{name}={value}\1".encode() for name, value in told) + b"\1")
    if error:  # which a client acknowledges, to be refused
        await exchange(b"\1")
        raise Refused(SASL_AUTHENTICATION_FAILED, "the broker does not take the token")


async def prove(exchange: Exchange, mechanism: str, user: str, password: str, nonce: str = "") -> None:
    """Authenticate. `nonce`: of the client; a new one when empty. Raises what `exchange` raises, and
    `NotTheServerError`."""
    if mechanism == "PLAIN":
        await exchange(f"\0{user}\0{password}".encode())
        return
    try:
        await _scram(
            exchange,
            mechanism.removeprefix("SCRAM-").replace("-", "").lower(),
            (user, password),
            nonce or secrets.token_urlsafe(24),
        )
    except (KeyError, ValueError):  # a part is missing, or is no number, text or base64
        raise NotTheServerError from None


async def _scram(exchange: Exchange, algorithm: str, who: tuple[str, str], nonce: str) -> None:
    user, password = who
    first = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
    challenge = (await exchange(f"n,,{first}".encode())).decode()
    given = _parts(challenge)
    iterations, salt = int(given["i"]), base64.b64decode(given["s"], validate=True)
    if not given["r"].startswith(nonce) or "m" in given or not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
        raise NotTheServerError
    salted = await asyncio.to_thread(hashlib.pbkdf2_hmac, algorithm, password.encode(), salt, iterations)
    last = f"c=biws,r={given['r']}"
    message = f"{first},{challenge},{last}".encode()

    def keyed(key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, algorithm)

    client_key = keyed(salted, b"Client Key")
    signature = keyed(hashlib.new(algorithm, client_key).digest(), message)
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    verdict = _parts((await exchange(f"{last},p={base64.b64encode(proof).decode()}".encode())).decode())
    expected = keyed(keyed(salted, b"Server Key"), message)
    if not hmac.compare_digest(base64.b64decode(verdict["v"], validate=True), expected):
        raise NotTheServerError


def _parts(message: str) -> dict[str, str]:
    """`a=1,b=2` as a dictionary."""
    return {name: value for name, _, value in (part.partition("=") for part in message.split(","))}
