"""Pages of other origins: which may use the gateway, and what their browsers are told (Fetch standard, 3.2)."""

from __future__ import annotations

import re

from inlake.settings import SettingsError

_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
EXPOSED = (
    "Location, Retry-After, RateLimit, RateLimit-Policy, Idempotent-Replayed, ETag, Content-Disposition, "
    "Content-Range, Accept-Ranges, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, "
    "Upload-Offset, Upload-Length, Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Expires"
)
"""Headers of answers that a page may read beside those that it always may."""
_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2000}")
Headers = list[tuple[bytes, bytes]]


class Cors:
    """The origins whose pages may use the gateway. They send keys and tokens, never our cookies: none are allowed."""

    def __init__(self, origins: str) -> None:
        """`origins`: with commas between, or `*`. Raises `SettingsError`."""
        self._origins = frozenset(part.strip() for part in origins.split(",") if part.strip())
        for origin in self._origins - {"*"}:
            if not _ORIGIN.fullmatch(origin):
                raise SettingsError(
                    f"INLAKE_CORS_ORIGINS: {origin!r} is no origin such as https://app.example, without a path"
                )

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may use the gateway."""
        return origin in self._origins or "*" in self._origins

    def headers(self, origin: str) -> Headers:
        """The headers that each answer to such a page has."""
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", EXPOSED.encode()),
            (b"vary", b"Origin"),
        ]

    def preflight(self, origin: str, asked: str) -> Headers:
        """The answer to a browser that asks first; `asked`: the headers that the page wants to send."""
        names = asked.encode("latin-1")
        return [
            *self.headers(origin),
            (b"access-control-allow-methods", METHODS.encode()),
            *([(b"access-control-allow-headers", names)] if _NAMES.fullmatch(names) else []),
            (b"access-control-max-age", b"600"),
        ]
