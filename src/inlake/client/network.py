"""The network between a client and its gateway: what broke, and what a proxy on the way says, each in a sentence."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from inlake.client.problems import CutOff, NotAGateway, Unreachable

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


def broken(error: httpx2.HTTPError, url: str, timeout: float, *, answered: bool) -> Unreachable | CutOff:
    """The error of a client for one of the network; `answered`: the answer had begun."""
    if isinstance(error, httpx2.ProxyError):
        return Unreachable(f"The proxy on the way to {url} does not let us through: {error}.", sent=False)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return Unreachable(_not_connected(error, url), sent=False)
    if isinstance(error, httpx2.TimeoutException):
        return Unreachable(f"The gateway at {url} was silent for {timeout:g} s: the outcome is unknown.")
    if answered:
        return CutOff(f"The answer of {url} ends early: the outcome of what is missing is unknown.")
    return Unreachable(f"The connection to {url} broke ({error}): the outcome is unknown.")


def strange(answer: httpx2.Response, url: str) -> NotAGateway:
    """The error for an answer that is neither a receipt nor a problem document."""
    if answer.is_redirect or "Location" in answer.headers:
        place = answer.headers.get("Location", "nowhere")
        return NotAGateway(
            f"{url} answers {answer.status_code}, a redirect to {place}: nothing was sent there. If that is your "
            "gateway, give its address (--url or INLAKE_URL)."
        )
    server = f" ({answer.headers['Server']})" if "Server" in answer.headers else ""
    sentence = OF_PROXIES.get(answer.status_code)
    if sentence:
        return NotAGateway(f"{sentence.format(url=url)}: HTTP status {answer.status_code}{server}.")
    kind = answer.headers.get("Content-Type", "nothing")
    return NotAGateway(
        f"What {url} answers is not a receipt: HTTP status {answer.status_code} with {kind}{server}. Is it a gateway?"
    )


def _not_connected(error: httpx2.HTTPError, url: str) -> str:
    proxy = _proxy_of(url)
    if proxy:
        return f"The proxy at {proxy}, which the environment names, does not answer ({error}): {url} was not asked."
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"The certificate of {url} is not trusted ({cause.verify_message}): name the file of the authority "
                "that signed it in SSL_CERT_FILE, or give the name that the certificate has."
            )
        if isinstance(cause, ssl.SSLError):
            return f"{url} does not speak TLS as we do ({cause.reason or cause}): is it http:// there?"
        if isinstance(cause, socket.gaierror):
            return f"The name in {url} is not known ({cause.strerror}): look for a typing error, or at your network."
        if isinstance(cause, ConnectionRefusedError):
            return f"No gateway answers at {url}: start one with `inlake serve`, or name another address."
    if isinstance(error, httpx2.ConnectTimeout):
        return f"{url} does not answer at all: the address is wrong, or a firewall is in between."
    return f"{url} cannot be reached ({error})."


def proxy_for(url: str) -> str | None:
    """The proxy that the environment wants for this address, as it is written there."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _proxy_of(url: str) -> str | None:
    """Host and port of the proxy that the environment wants for this address."""
    proxy = proxy_for(url)
    return urlsplit(proxy).netloc.rpartition("@")[2] if proxy else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
