"""The token that proves to brokers who the gateway is (RFC 7628): kept as long as it is good, then got anew."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from inlake.memory import Shared

RENEWED = 0.8
"""Share of its time after which a token is got anew."""


class Token(NamedTuple):
    """A token, as a broker is shown it."""

    value: str
    expires: float
    """Seconds since 1970 UTC."""
    extensions: tuple[tuple[str, str], ...] = ()
    """Names and values that some brokers want beside it (KIP-342)."""


class TokenError(Exception):
    """There is no token: one sentence says why, and has no secret in it."""


Fetch = Callable[[], Token]
"""Gets a token, and may block. Raises `TokenError`."""


class Tokens:
    """The token in use, the same for all connections. For one event loop."""

    def __init__(self, fetch: Fetch) -> None:
        """`fetch`: called in a thread of its own, one call at a time."""
        self._fetch = fetch
        self._token: Token | None = None
        self._renew_at = 0.0
        self._fetching: Shared[None, Token] = Shared()

    async def current(self) -> Token:
        """A token that is good for a while. Raises `TokenError`."""
        if self._token is None or time.time() >= self._renew_at:
            return await self._fetching.join(None, self._renew)
        return self._token

    def forget(self) -> None:
        """Gets another the next time: a broker did not take this one."""
        self._token = None

    async def _renew(self) -> Token:
        now = time.time()
        try:
            token = await asyncio.to_thread(self._fetch)
        except TokenError:
            if self._token is not None and now < self._token.expires:
                return self._token
            raise
        self._token, self._renew_at = token, now + RENEWED * (token.expires - now)
        return token
