"""An OAuth server of a test's own: tokens that brokers take, and an address that gives them for client credentials."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

KEY = rsa.generate_private_key(65537, 2048)


class OauthServer(NamedTuple):
    """Where it is, and what it was asked."""

    url: str
    asked: list[bytes]


def write_keys(folder: Path) -> Path:
    """The file by which brokers check the tokens (RFC 7517)."""
    numbers = KEY.public_key().public_numbers()
    n, e = text(numbers.n.to_bytes(256, "big")), text(numbers.e.to_bytes(3, "big"))
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [{"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig", "n": n, "e": e}]}))
    return jwks


def signed(seconds: float = 600, **claims: object) -> str:
    """A token that is good for so long."""
    now = int(time.time())
    known = {"iss": "test", "aud": "kafka", "sub": "museum", "scope": "kafka", "iat": now, "exp": now + seconds}
    head = text(json.dumps({"alg": "RS256", "kid": "1", "typ": "JWT"}).encode())
    body = f"{head}.{text(json.dumps(known | claims).encode())}"
    return f"{body}.{text(KEY.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@asynccontextmanager
async def token_endpoint(
    give: Callable[[], str], seconds: float | None = 600, status: str = "200 OK", body: bytes | None = None
) -> AsyncIterator[OauthServer]:
    """An OAuth server (RFC 6749, client credentials) that gives these tokens, good for so long, or another answer."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        asked.append(head + await reader.readexactly(int(length)))
        told = {"access_token": give(), "token_type": "bearer"} | ({} if seconds is None else {"expires_in": seconds})
        answer = json.dumps(told).encode() if body is None else body
        kind = b"Content-Type: application/json\r\nConnection: close\r\n"
        writer.write(f"HTTP/1.1 {status}\r\n".encode() + kind + b"Content-Length: %d\r\n\r\n" % len(answer) + answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield OauthServer(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token", asked)


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
