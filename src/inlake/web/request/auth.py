"""Who sends a request: an API key, a token of the OIDC issuer, or a trusted proxy says it; else `anonymous`."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import httpx2

from inlake.access.keys import ApiKeys
from inlake.access.oidc import Claims, Identity, Oidc, is_token
from inlake.access.reloaded import Reloaded
from inlake.access.rights import Caller, Rights, read
from inlake.access.sign_in import Client, SignIn
from inlake.errors import Forbidden, Unauthorized
from inlake.settings import Settings, SettingsError
from inlake.web.request.cors import Cors
from inlake.web.request.forwarded import Proxies, Sent
from inlake.web.request.session import (
    NAME_LENGTH,
    SESSION,
    cookie_of,
    identity_of,
    is_of_our_page,
    is_session,
    name_of,
    new_session,
    session_name,
)

_LOCAL_HOST = re.compile(r"(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", re.IGNORECASE)
SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
OUR_PAGES = ("same-origin", "none")
"""`Sec-Fetch-Site` of a request from our own pages, and from no page (Fetch Metadata). Who is signed in at a proxy is
signed in for the pages of others, too."""
T = TypeVar("T")
Header = Callable[[bytes], str]
"""Gives the value of a header of the request, empty when absent."""


class Auth:
    """Says of each request who sends it, and what that one may do."""

    def __init__(self, settings: Settings) -> None:
        """Raises `SettingsError`."""
        self._is_for_all_hosts = settings.allow_anonymous
        self._is_anonymous = not settings.has_authentication
        self._keys = _opened("INLAKE_API_KEYS", settings.api_keys, ApiKeys)
        self._rights: Reloaded[Rights] | None = _opened("INLAKE_RIGHTS", settings.rights, lambda p: Reloaded(p, read))
        self._oidc = _oidc(settings) if settings.oidc_issuer else None
        self.issuer = _sign_in(settings, self._oidc)
        """Where people sign in that have no key; None: nowhere."""
        self.proxies = Proxies(settings)
        self.cors = Cors(settings.cors_origins) if settings.cors_origins else None
        self._proxy = Proxy(settings, self.proxies) if settings.principal_header else None
        self._anonymous = Caller(rights=self._rights)

    async def caller(self, x: Sent, is_open: bool, method: str = "GET") -> Caller:
        """The caller who sends a request. `is_open`: nobody needs to say it.

        A browser that is signed in sends its session for a key; what may change something must then have the token
        that only our own pages know. Raises `Unauthorized`, `Forbidden`, `IssuerUnavailable`.
        """
        header = x.header
        if self._is_anonymous:
            self._refuse_foreign_pages(x, header(b"host"), header(b"origin"))
            return self._anonymous
        if is_open:
            return self._anonymous
        if self._proxy is not None and (named := self._proxy.caller(x, self._rights)):
            if method not in SAFE and not self.is_from_here(x):
                raise Forbidden("A page of another site may not send in the name of who is signed in at the proxy.")
            return named
        authorization = header(b"authorization")
        if not authorization and (signed_in := self._of_session(header(b"cookie"))):
            if method not in SAFE and not is_of_our_page(header(b"cookie"), header(b"x-csrf-token")):
                raise Forbidden("A request of a page that is signed in needs its X-CSRF-Token.")
            if method not in SAFE and not self.is_from_here(x):
                raise Forbidden("A page of another site may not send in the name of who is signed in here.")
            return signed_in
        scheme, _, text = authorization.partition(" ")
        text = text.strip()
        if scheme.lower() != "bearer" or not text:
            raise Unauthorized("Say who you are: Authorization: Bearer KEY.")
        if self._oidc is not None and (self._keys is None or is_token(text)):
            found = await self._oidc.identity(text)
            return Caller(f"oidc:{found.subject}", found.groups, self._rights)
        if self._keys is None:
            raise Unauthorized("This gateway takes no API keys.")
        return Caller(self._keys.principal(text), rights=self._rights)

    def person(self, x: Sent) -> Caller | None:
        """The person who looks at a page: signed in, or named by a trusted proxy; None where one has to sign in."""
        if self._is_anonymous:
            return self._anonymous
        named = self._proxy.caller(x, self._rights) if self._proxy is not None else None
        return named or self._of_session(x.header(b"cookie"))

    def sign_in(self, key: str) -> tuple[Caller, str]:
        """The caller whose key it is, and a new session. Raises `Unauthorized`."""
        if self._keys is None:
            raise Unauthorized("This gateway has no API keys to sign in with.")
        name, digest = self._keys.find(key.strip())
        return Caller(f"token:{name}", rights=self._rights), new_session(name, digest)

    def signed_in(self, identity: Identity) -> tuple[Caller, str]:
        """The caller who signed in at the issuer, and a new session. Raises `Unauthorized`."""
        assert self.issuer is not None
        name = name_of(identity.subject, identity.groups)
        if len(name) > NAME_LENGTH:
            raise Unauthorized("You are in more groups than a session can hold: INLAKE_OIDC_GROUPS_CLAIM names fewer.")
        return Caller(f"oidc:{identity.subject}", identity.groups, self._rights), new_session(name, self.issuer.digest)

    @property
    def takes_keys(self) -> bool:
        """Whether one can sign in with an API key."""
        return self._keys is not None

    def _of_session(self, cookies: str) -> Caller | None:
        """The person who signed in, if the session is not over and its key is still one."""
        session = cookie_of(cookies, SESSION) if SESSION in cookies else ""
        name = session_name(session)
        if said := identity_of(name):
            is_good = self.issuer is not None and is_session(session, self.issuer.digest)
            return Caller(f"oidc:{said[0]}", said[1], self._rights) if is_good else None
        if not session or self._keys is None or not any(is_session(session, d) for d in self._keys.digests(name)):
            return None
        return Caller(f"token:{name}", rights=self._rights)

    async def close(self) -> None:
        """Let go of the issuer."""
        if self._oidc is not None:
            await self._oidc.close()

    def is_from_here(self, x: Sent) -> bool:
        """Whether a request comes from a page of ours, or from what is no page, as far as its sender is a browser.

        Browsers leave `Sec-Fetch-Site` out on plain HTTP; then the page's origin, which they name with every POST, must
        be the host that was asked.
        """
        if site := x.header(b"sec-fetch-site"):
            return site in OUR_PAGES
        origin = x.header(b"origin")
        return not origin or origin.partition("://")[2] == self.proxies.seen(x).host

    def _refuse_foreign_pages(self, x: Sent, host: str, origin: str) -> None:
        """A page of another origin must not send through the browser of somebody who can reach an anonymous gateway.

        A browser names the page's origin with every POST (Fetch standard, 3.2); other clients send no `Origin`. A page
        whose own name leads to this machine (DNS rebinding) is told by `Host`: on loopback it is an address or
        localhost.
        """
        is_foreign = origin and origin.partition("://")[2] not in (host, self.proxies.seen(x).host)
        if is_foreign and not (self.cors is not None and self.cors.allows(origin)):
            raise Forbidden(
                f"A page of {origin[:100]} may not use this gateway: it takes anonymous clients, and no other pages."
            )
        if host and not self._is_for_all_hosts and not _is_local(host):
            raise Forbidden(
                f"This gateway is anonymous and for this machine only; it is not {host[:100]}. Behind a proxy give it "
                "INLAKE_API_KEYS, or set INLAKE_ALLOW_ANONYMOUS=true."
            )


class Proxy:
    """A proxy that has found out who sends, and says so in a header; believed only from an address that is trusted."""

    def __init__(self, settings: Settings, proxies: Proxies) -> None:
        """Raises `SettingsError`."""
        if not settings.trusted_proxies:
            raise SettingsError(
                "INLAKE_PRINCIPAL_HEADER: whom it is believed from is to be set in INLAKE_TRUSTED_PROXIES"
            )
        self._proxies = proxies
        self._principal = settings.principal_header.lower().encode()
        self._groups = settings.groups_header.lower().encode()

    def caller(self, x: Sent, rights: Reloaded[Rights] | None) -> Caller | None:
        """The caller that the proxy names; None when it says nothing, or the client is none that is trusted.

        Two headers of one name are refused: the first would be the client's own, which the proxy must take out.
        """
        name = x.header(self._principal)
        if not name or not self._proxies.is_trusted(x.client):
            return None
        if len(name) > 255 or not name.isprintable() or x.all(self._principal) != name:
            raise Unauthorized("The proxy's word on who sends cannot be read.")
        said = x.header(self._groups) if self._groups else ""
        if said and x.all(self._groups) != said:
            raise Unauthorized("The proxy's word on the groups of who sends stands there twice.")
        groups = [group.strip() for group in said.split(",")]
        return Caller(f"proxy:{name}", frozenset(filter(None, groups)), rights)


def _opened(variable: str, path: Path | None, open_: Callable[[Path], T]) -> T | None:
    """A reader of a file of the operator; None without a file. Raises `SettingsError`."""
    try:
        return None if path is None else open_(path)
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from None


def _oidc(settings: Settings) -> Oidc:
    """Raises `SettingsError`."""
    if not settings.oidc_audience:
        raise SettingsError(
            "INLAKE_OIDC_AUDIENCE: with an issuer it must say for whom tokens are made; without, tokens made for "
            "others would be taken"
        )
    try:
        tls = ssl.create_default_context(cafile=settings.oidc_ca) if settings.oidc_ca else True
    except OSError as error:
        raise SettingsError(f"INLAKE_OIDC_CA: {settings.oidc_ca} cannot be read: {error}") from None
    claims = Claims(
        settings.oidc_issuer, settings.oidc_audience, settings.oidc_principal_claim, settings.oidc_groups_claim
    )
    return Oidc(claims, httpx2.AsyncClient(verify=tls))


def _sign_in(settings: Settings, oidc: Oidc | None) -> SignIn | None:
    """Raises `SettingsError`."""
    if not settings.oidc_client_id:
        return None
    if oidc is None:
        raise SettingsError("INLAKE_OIDC_CLIENT_ID: the issuer that has given it is to be set in INLAKE_OIDC_ISSUER")
    secret = settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret else ""
    if len(secret) < 16:
        raise SettingsError(
            "INLAKE_OIDC_CLIENT_SECRET: signing in needs the secret that the issuer gave, 16 characters at least: "
            "sessions are signed with it"
        )
    return SignIn(oidc, Client(settings.oidc_client_id, secret), settings.oidc_scopes)


@lru_cache(1000)
def _is_local(host: str) -> bool:
    return _LOCAL_HOST.fullmatch(host) is not None
