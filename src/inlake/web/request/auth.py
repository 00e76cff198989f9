"""Who sends: API keys from a file of `name:sha256`, sent as `Authorization: Bearer KEY`; without keys `anonymous`."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from inlake.errors import Forbidden, Unauthorized
from inlake.model import ANONYMOUS
from inlake.settings import Settings, SettingsError

log = logging.getLogger("inlake.web")
LOOK_SECONDS = 1.0
_LINE = re.compile(r"([A-Za-z0-9._@-]{1,100}):([0-9a-fA-F]{64})")
_LOCAL_HOST = re.compile(r"(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", re.IGNORECASE)


class Auth:
    """Says of each request who sends it."""

    def __init__(self, settings: Settings) -> None:
        """Raises `SettingsError`."""
        self._is_for_all_hosts = settings.allow_anonymous
        try:
            self._keys = ApiKeys(settings.api_keys) if settings.api_keys else None
        except ValueError as error:
            raise SettingsError(f"INLAKE_API_KEYS: {error}") from None

    def principal(self, header: Callable[[bytes], str], is_open: bool) -> str:
        """Who sends a request with these headers. `is_open`: it needs no key. Raises `Unauthorized`, `Forbidden`."""
        if self._keys is None:
            self._refuse_foreign_pages(header(b"host"), header(b"origin"))
        elif not is_open:
            return self._keys.principal(header(b"authorization"))
        return ANONYMOUS

    def _refuse_foreign_pages(self, host: str, origin: str) -> None:
        """A page of another origin must not send through the browser of somebody who can reach an anonymous gateway.

        A browser names the page's origin with every POST (Fetch standard, 3.2); other clients send no `Origin`. A page
        whose own name leads to this machine (DNS rebinding) is told by `Host`: on loopback it is an address or
        localhost.
        """
        if origin and origin.partition("://")[2] != host:
            raise Forbidden(
                f"A page of {origin[:100]} may not use this gateway: it takes anonymous clients, and no other pages."
            )
        if host and not self._is_for_all_hosts and not _is_local(host):
            raise Forbidden(
                f"This gateway is anonymous and for this machine only; it is not {host[:100]}. Behind a proxy give it "
                "INLAKE_API_KEYS, or set INLAKE_ALLOW_ANONYMOUS=true."
            )


class ApiKeys:
    """The keys of a file, read again when it changes. A broken file keeps the keys that were read last."""

    def __init__(self, path: Path) -> None:
        """Raises `ValueError` when the file cannot be read or a line is not `name:sha256`."""
        self._path = path
        self._seen = self._stamp()
        self._keys = _read(path)
        self._looked = time.monotonic()

    def principal(self, authorization: str) -> str:
        """`token:<name>` of the key in an `Authorization` header. Raises `Unauthorized`."""
        self._refresh()
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthorized("Say who you are: Authorization: Bearer KEY.")
        digest = hashlib.sha256(key.strip().encode("latin-1", "replace")).hexdigest()
        # all keys are compared, each in constant time: how long it takes tells nothing about a key
        found = [name for name, known in self._keys if hmac.compare_digest(digest, known)]
        if not found:
            raise Unauthorized("The API key is not known to this gateway.")
        return f"token:{found[0]}"

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen, self._keys = stamp, _read(self._path)
                log.info("%d API keys read from %s", len(self._keys), self._path)
        except ValueError as error:
            log.warning("the API keys of before stay: %s", error)

    def _stamp(self) -> tuple[int, int, int]:
        try:
            stat = self._path.stat()
        except OSError as error:
            raise ValueError(f"{self._path} cannot be read: {error.strerror}") from None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _read(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    keys = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            match = _LINE.fullmatch(text)
            if not match:
                raise ValueError(f"{path}, line {number}: it is not name:sha256 (64 hexadecimal digits)")
            keys.append((match[1], match[2].lower()))
    return keys


@lru_cache(1000)
def _is_local(host: str) -> bool:
    return _LOCAL_HOST.fullmatch(host) is not None
