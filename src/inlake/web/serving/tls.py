"""The gateway's own TLS: a certificate that is read again when it changes."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from inlake.settings import Settings, SettingsError

log = logging.getLogger("inlake.web")
LOOK_SECONDS = 1.0


class Certificate:
    """A certificate and its key, in files. New connections have what was last in order."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        """Raises `SettingsError`."""
        self._files = (certificate, key or certificate)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._seen = self._stamp()
        if fault := self._load(self.context):
            raise SettingsError(f"INLAKE_TLS_CERTIFICATE, INLAKE_TLS_KEY: {fault}")

    async def reload_for_ever(self) -> None:
        """Look for a new certificate once a second. A certificate without its key, as between two writes, waits."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if (stamp := self._stamp()) != self._seen:
                self._seen = stamp
                fault = self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) or self._load(self.context)
                if fault:
                    log.error("the new certificate is not taken, the old one goes on: %s", fault)
                else:
                    log.info("a new certificate is read from %s", self._files[0])

    def _load(self, context: ssl.SSLContext) -> str:
        """Why the files cannot be used; empty when they are."""
        try:
            context.load_cert_chain(*self._files, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            return f"{' and '.join(map(str, dict.fromkeys(self._files)))} cannot be used: {error}"
        return ""

    def _stamp(self) -> tuple[object, ...]:
        try:
            return tuple((s.st_mtime_ns, s.st_ino, s.st_size) for s in (file.stat() for file in self._files))
        except OSError:
            return ()


def certificate(settings: Settings) -> Certificate | None:
    """The certificate of the settings; None where TLS is a proxy's. Raises `SettingsError`."""
    if settings.tls_certificate is not None:
        return Certificate(settings.tls_certificate, settings.tls_key)
    if settings.tls_key is not None:
        raise SettingsError("INLAKE_TLS_KEY: it goes with INLAKE_TLS_CERTIFICATE")
    return None


def _no_password() -> str:
    raise ValueError("the key is encrypted, and nobody is there to type its password")
