"""The network between a client and its gateway: what broke, and what a proxy on the way says, each in a sentence."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from urllib.parse import urlsplit

from inlake.client.problems import CutOff, NotAGateway, Unreachable
from inlake.client.response import Response

OF_PROXIES = {
    403: "Something on the way to {url}, a proxy or a firewall, does not let this through",
    407: "The proxy on the way to {url} wants a name and a password: write them into HTTP_PROXY or HTTPS_PROXY, as in "
    "http://NAME:PASSWORD@HOST:PORT",
    413: "Something in front of the gateway at {url} takes no body of this size: let it take more (nginx: "
    "client_max_body_size), or send large binaries by tus",
    502: "A proxy answers at {url}, and reaches no gateway behind it",
    503: "A proxy answers at {url}, and has no gateway behind it now",
    504: "A proxy at {url} waited too long for the gateway behind it: the outcome is unknown",
}
"""Statuses that a proxy answers by itself; a gateway's own come with a problem document."""

TUNNEL = "Tunnel connection failed"
"""The words of Python where a proxy makes no connection for us."""


def broken(error: Exception, url: str, timeout: float, *, answered: bool) -> Unreachable | CutOff:
    """The error of a client for one of the network; `answered`: the answer had begun."""
    if isinstance(error, TimeoutError):
        return Unreachable(f"The gateway at {url} was silent for {timeout:g} s: the outcome is unknown.")
    if answered:
        return CutOff(f"The answer of {url} ends early: the outcome of what is missing is unknown.")
    return Unreachable(f"The connection to {url} broke ({_said(error)}): the outcome is unknown.")


def strange(answer: Response, url: str) -> NotAGateway:
    """The error for an answer that is neither a receipt nor a problem document."""
    if answer.location or 300 <= answer.status < 400:
        place = answer.location or "nowhere"
        return NotAGateway(
            f"{url} answers {answer.status}, a redirect to {place}: nothing was sent there. If that is your "
            "gateway, give its address (--url or INLAKE_URL)."
        )
    servers = answer.headers.get_all("Server", [])
    server = f" ({', '.join(servers)})" if servers else ""
    sentence = OF_PROXIES.get(answer.status)
    if sentence:
        return NotAGateway(f"{sentence.format(url=url)}: HTTP status {answer.status}{server}.")
    kind = answer.headers.get("Content-Type", "nothing")
    return NotAGateway(
        f"What {url} answers is not a receipt: HTTP status {answer.status} with {kind}{server}. Is it a gateway?"
    )


def not_connected(error: Exception, url: str) -> Unreachable:
    """The error of a client that no connection was made for: nothing was sent."""
    if TUNNEL in str(error):
        said = str(error).removeprefix(TUNNEL).strip(" :")
        return Unreachable(f"The proxy on the way to {url} does not let us through: {said}.", sent=False)
    return Unreachable(_why(error, url), sent=False)


def _why(error: Exception, url: str) -> str:
    proxy = _proxy_of(url)
    if proxy:
        return (
            f"The proxy at {proxy}, which the environment names, does not answer ({_said(error)}): {url} was not asked."
        )
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"The certificate of {url} is not trusted ({error.verify_message}): name the file of the authority "
                "that signed it in SSL_CERT_FILE, or give the name that the certificate has."
            )
        case ssl.SSLError():
            return f"{url} does not speak TLS as we do ({error.reason or error}): is it http:// there?"
        case socket.gaierror():
            return f"The name in {url} is not known ({error.strerror}): look for a typing error, or at your network."
        case ConnectionRefusedError():
            return f"No gateway answers at {url}: start one with `inlake serve`, or name another address."
        case TimeoutError():
            return f"{url} does not answer at all: the address is wrong, or a firewall is in between."
    return f"{url} cannot be reached ({_said(error)})."


def _said(error: Exception) -> str:
    """The words of the system, without its number, or of a server that speaks no HTTP, without its line break."""
    return (getattr(error, "strerror", None) or str(error)).strip()


def proxy_for(url: str) -> str | None:
    """The proxy that the environment wants for this address, as it is written there."""
    if sys.platform != "darwin" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None  # what looks further takes a while to be loaded
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415

    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _proxy_of(url: str) -> str | None:
    """Host and port of the proxy that the environment wants for this address."""
    proxy = proxy_for(url)
    return urlsplit(proxy).netloc.rpartition("@")[2] if proxy else None
