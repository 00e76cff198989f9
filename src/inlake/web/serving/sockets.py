"""Where the gateway listens: an address and a port, of one process or of several, or a Unix socket."""

from __future__ import annotations

import errno
import ipaddress
import socket
from contextlib import suppress
from pathlib import Path

from inlake.settings import Settings, SettingsError
from inlake.web.serving.workers import reserve_port

ADVICE = {
    errno.EADDRINUSE: " Another program, perhaps a gateway, listens there: take another port by --port or INLAKE_PORT.",
    errno.EACCES: " Ports below 1024 are for root: take another one by --port or INLAKE_PORT.",
    errno.EADDRNOTAVAIL: " This machine has no such address: --host or INLAKE_HOST names one of its own.",
}


def check_bind(settings: Settings) -> None:
    """Refuse to take anybody's requests from other machines, unless that is meant. Raises `SettingsError`."""
    if settings.unix_socket is not None or settings.allow_anonymous or settings.has_authentication:
        return
    try:
        is_loopback = settings.host == "localhost" or ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise SettingsError(
            f"INLAKE_HOST: {settings.host} is reachable from other machines, and no client has to say who it is: "
            "give INLAKE_API_KEYS, or set INLAKE_ALLOW_ANONYMOUS=true if that is meant."
        )


def bound(settings: Settings) -> socket.socket:
    """A socket that takes connections; with several workers on a port it only holds that. Raises `SettingsError`."""
    host, port = settings.host, settings.port
    if settings.unix_socket is not None:
        return _unix(settings.unix_socket)
    try:
        if settings.workers > 1:
            return reserve_port(host, port, _family(host))
        found = socket.socket(_family(host), socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(1)
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, "")
        raise SettingsError(
            f"INLAKE_HOST, INLAKE_PORT: cannot listen on {host}:{port}: {error.strerror}.{advice}"
        ) from None
    return found


def leave(settings: Settings) -> None:
    """Takes the Unix socket out of the file system: who connects from now on is told so at once, and goes elsewhere.

    Connections that wait to be taken are still taken; those to a port are cut when it is closed.
    """
    if settings.unix_socket is not None:
        settings.unix_socket.unlink(missing_ok=True)


def inode(settings: Settings) -> int | None:
    """The number that tells the Unix socket from one that another gateway has put there since; None: no socket."""
    path = settings.unix_socket
    return path.stat().st_ino if path is not None and path.exists() else None


def of_worker(held: socket.socket) -> socket.socket:
    """A worker's socket: one of its own on the port that the parent holds; a Unix socket is one for all."""
    if held.family == socket.AF_UNIX:
        return held
    found = socket.socket(held.family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind(held.getsockname())
    return found


def address_of(settings: Settings, listening: socket.socket) -> str:
    """Where clients find it."""
    if listening.family == socket.AF_UNIX:
        return f"the Unix socket {settings.unix_socket}"
    host, port = listening.getsockname()[:2]
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port} (docs at /docs)"


def _unix(path: Path) -> socket.socket:
    """A socket in the file system, in the place of one that nobody listens on any more."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_left_over(path):
            path.unlink()
        found.bind(str(path))
        path.chmod(0o660)
        found.listen(2048)
    except OSError as error:
        found.close()
        raise SettingsError(f"INLAKE_UNIX_SOCKET: cannot listen on {path}: {error.strerror or error}.") from None
    return found


def _is_left_over(path: Path) -> bool:
    """Whether there is a socket that a process which died has left."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.connect(str(path))
        return False
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][0]
