"""Tokens of an OAuth server by client credentials (RFC 6749, 4.4), or out of a file that somebody else keeps fresh."""

from __future__ import annotations

import base64
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from inlake.bus.kafka.oauth.tokens import Token, TokenError

TIMEOUT = 5.0
"""Seconds for the OAuth server's answer."""
AGAIN = 60.0
"""Seconds until a token is got anew that does not say how long it is good."""


class Granted(msgspec.Struct):
    """The OAuth server's answer (RFC 6749, 5.1)."""

    access_token: str
    expires_in: float | None = None


class Claims(msgspec.Struct):
    """The claims that are read of a JSON Web Token (RFC 7519); brokers check the token."""

    exp: float


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Asks for a token with the gateway's own id and secret."""

    url: str
    client_id: str
    secret: str = field(repr=False)
    scope: str = ""
    ca: str = ""
    """File of certificates; empty: those of the system."""

    def __call__(self) -> Token:
        """See `Fetch`."""
        form = {"grant_type": "client_credentials"} | ({"scope": self.scope} if self.scope else {})
        try:
            tls: Any = ssl.create_default_context(cafile=self.ca) if self.ca else True
            with httpx2.Client(verify=tls, timeout=TIMEOUT) as client:
                answer = client.post(self.url, data=form, auth=(self.client_id, self.secret))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise TokenError(f"{self.url} gives no token: {str(error) or type(error).__name__}") from None
        if answer.status_code != 200:
            raise TokenError(f"{self.url} gives no token: it answers {answer.status_code}{_said(answer.content)}")
        try:
            granted = msgspec.json.decode(answer.content, type=Granted)
        except ValueError:  # also of msgspec, for what is not UTF-8
            raise TokenError(f"{self.url} gives no token: its answer has none") from None
        seconds = granted.expires_in
        return Token(granted.access_token, time.time() + seconds if seconds else expiry(granted.access_token))


@dataclass(frozen=True, slots=True)
class TokenFile:
    """Reads the token from a file each time, such as one of Kubernetes."""

    path: Path

    def __call__(self) -> Token:
        """See `Fetch`."""
        try:
            value = self.path.read_text("ascii").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise TokenError(f"the token cannot be read from {str(self.path)!r}: {reason}") from None
        if not value:
            raise TokenError(f"the token cannot be read from {str(self.path)!r}: it is empty")
        return Token(value, expiry(value))


def expiry(token: str) -> float:
    """Until when a JSON Web Token is good, in seconds since 1970; a while for one that does not say it."""
    payload = token.split(".")[1:2]
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(payload[0] + "=="), type=Claims).exp
    except (IndexError, ValueError):
        return time.time() + AGAIN


def _said(body: bytes) -> str:
    """The OAuth server's own word for what is wrong (RFC 6749, 5.2)."""
    try:
        error = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except ValueError:
        return ""
    return f" {error}" if isinstance(error, str) else ""
