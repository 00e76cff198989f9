"""Bearer tokens of an OpenID Connect issuer: JWTs (RFC 7519) whose keys come from its JWK set (RFC 7517).

Signed with an asymmetric algorithm, by a key of the issuer, for our audience, not expired: OpenID Connect Core 1.0,
3.1.3.7, and RFC 8725 (what has gone wrong with JWTs elsewhere).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key
from joserfc.jws import JWSRegistry

from inlake.errors import IssuerUnavailable, Unauthorized
from inlake.memory import Recent, Shared

log = logging.getLogger("inlake.access")
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
"""Asymmetric ones: with `none` or HS256 whoever knows the public key, or nothing, could make a token."""
KEY_TYPES = {"RSA", "EC", "OKP"}
CLOCK_SKEW = 60
"""Seconds that the issuer's clock may differ from ours."""
LONGEST_TOKEN = 16 << 10
DOCUMENT_BYTES = 4 << 20
FETCH_SECONDS = 5
FRESH_SECONDS = 3600
"""Keys older than this are fetched again beside the requests, which go on with the old ones."""
STALE_SECONDS = 86_400
"""Keys older than this are not believed any more."""
PAUSE_SECONDS = 10
"""Between two fetches: tokens with made-up key ids must not make us a load for the issuer."""
VERIFIED_SECONDS = 60
"""A token that was verified is believed so long without its signature: one that is sent with each record costs once."""
_DOT = "."


@dataclass(frozen=True, slots=True)
class Identity:
    """A token's word on who sends."""

    subject: str
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Claims:
    """Names of the claims, and what must stand in them."""

    issuer: str
    audience: str
    subject: str = "sub"
    groups: str = "groups"


def is_token(text: str) -> bool:
    """Whether a bearer's text has the form of a signed JWT, and not of an API key."""
    return text.count(_DOT) == 2 and text.startswith("ey")


class Oidc:
    """The issuer's keys, and the tokens that were verified of late."""

    def __init__(self, claims: Claims, client: httpx2.AsyncClient) -> None:
        self._claims = claims
        self._client = client
        self._keys: dict[str, dict[str, Any]] = {}
        """By key id, as the issuer gives them."""
        self._imported: Recent[str, Key] = Recent(1_000)
        self._fetched = self._tried = float("-inf")
        self._fetching: Shared[None, None] = Shared()
        self._verified: Recent[bytes, tuple[Identity, float]] = Recent()
        self._about: dict[str, Any] = {}
        """The issuer's word on itself."""
        self._registry = self._made_for(claims.audience)

    @property
    def issuer(self) -> str:
        return self._claims.issuer

    async def identity(self, token: str) -> Identity:
        """Who the token says it is from. Raises `Unauthorized`, `IssuerUnavailable`."""
        if len(token) > LONGEST_TOKEN:
            raise Unauthorized(f"The token has {len(token):,} bytes, and may have {LONGEST_TOKEN:,}.")
        digest, now = hashlib.sha256(token.encode()).digest(), time.time()
        known = self._verified.recall(digest)
        if known is not None and now < known[1]:
            return known[0]
        claims = self._checked(token, await self._key(_header(token)), self._registry)
        found = self._identity(claims)
        self._verified.keep(digest, (found, min(now + VERIFIED_SECONDS, claims["exp"] + CLOCK_SKEW)))
        return found

    async def signed_in(self, token: str, client: str) -> tuple[Identity, str]:
        """Who an ID token is about that was made for this client, and its nonce (OpenID Connect Core 1.0, 3.1.3.7).
        Raises `Unauthorized`, `IssuerUnavailable`."""
        claims = self._checked(token, await self._key(_header(token)), self._made_for(client))
        if claims.get("azp", client) != client:
            raise Unauthorized("The ID token was given to another client.")
        return self._identity(claims), str(claims.get("nonce", ""))

    async def endpoint(self, name: str) -> str:
        """An address that the issuer says it has. Raises `IssuerUnavailable`."""
        if not self._about:
            await self._fetch_again()
        where = self._about.get(name)
        is_plain = self._claims.issuer.startswith("https:") and not str(where).startswith("https:")
        if not isinstance(where, str) or is_plain:
            raise IssuerUnavailable(f"The issuer {self._claims.issuer} names no {name} that can be used.")
        return where

    async def ask(self, url: str, form: Mapping[str, str], basic: tuple[str, str]) -> dict[str, Any]:
        """The issuer's answer to a form: a JSON object, also when it refuses. Raises `IssuerUnavailable`."""
        try:
            return await self._document(url, form, basic)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TimeoutError) as error:
            log.warning("the issuer %s gives no token: %s", self._claims.issuer, str(error) or type(error).__name__)
            raise IssuerUnavailable(
                f"The issuer {self._claims.issuer} gives no token now: sign in again later."
            ) from None

    async def close(self) -> None:
        await self._fetching.close()
        await self._client.aclose()

    def _made_for(self, audience: str) -> jwt.JWTClaimsRegistry:
        """The claims that a token for this audience must have."""
        return jwt.JWTClaimsRegistry(
            leeway=CLOCK_SKEW,
            iss={"essential": True, "value": self._claims.issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
        )

    def _checked(self, token: str, key: Key, registry: jwt.JWTClaimsRegistry) -> Mapping[str, Any]:
        """The claims, once signature, issuer, audience and times are right."""
        try:
            claims = jwt.decode(token, key, algorithms=ALGORITHMS, registry=_signatures).claims
            registry.validate(claims)
        except JoseError as error:
            raise Unauthorized(f"The token is not taken: {_sentence(error)}") from None
        except (ValueError, TypeError, RecursionError):
            raise Unauthorized("The token cannot be read.") from None
        return claims

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        subject, groups = claims.get(self._claims.subject), claims.get(self._claims.groups, [])
        if not isinstance(subject, str) or not subject or len(subject) > 255 or not subject.isprintable():
            raise Unauthorized(f"The token has no claim {self._claims.subject} that says who sends.")
        if isinstance(groups, str):
            groups = groups.split()
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise Unauthorized(f"The token's claim {self._claims.groups} is not a list of names.")
        return Identity(subject, frozenset(groups))

    # ---------------------------------------------------------------------------------------------------------- keys
    async def _key(self, header: Mapping[str, Any]) -> Key:
        """The issuer's key that the header names."""
        if header.get("alg") not in ALGORITHMS:
            raise Unauthorized(f"The token is signed with {str(header.get('alg'))[:20]}: asymmetric algorithms only.")
        kid = header.get("kid", "")
        if not isinstance(kid, str):
            raise Unauthorized("The token's key id is not text.")
        if self._is_stale() or self._found(kid) is None:
            await self._fetch_again()
        elif time.monotonic() - self._fetched > FRESH_SECONDS and self._may_ask():
            self._fetching.start(None, self._fetch)
        jwk = self._found(kid)
        if jwk is None:
            raise Unauthorized("The token is signed with a key that its issuer does not have.")
        return self._import(jwk)

    async def _fetch_again(self) -> None:
        """Fetches the keys if the issuer may be asked, or waits for who does. Raises `IssuerUnavailable` while there
        are none that are believed."""
        if self._may_ask() or self._fetching.is_running(None):
            await self._fetching.join(None, self._fetch)
        elif self._is_stale():
            raise self._no_keys()

    def _may_ask(self) -> bool:
        return time.monotonic() - self._tried > PAUSE_SECONDS

    def _is_stale(self) -> bool:
        return time.monotonic() - self._fetched > STALE_SECONDS

    def _no_keys(self) -> IssuerUnavailable:
        return IssuerUnavailable(
            f"The issuer of tokens, {self._claims.issuer}, gives no keys to check them with: send the request again."
        )

    def _found(self, kid: str) -> dict[str, Any] | None:
        """The key of this id; a token without an id needs an issuer that has one key only."""
        if not kid and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _import(self, jwk: dict[str, Any]) -> Key:
        mark = msgspec.json.encode(jwk).decode()
        key = self._imported.recall(mark)
        if key is None:
            try:
                key = JWKRegistry.import_key(jwk)
            except (JoseError, ValueError, TypeError, KeyError):
                raise Unauthorized(
                    "The token is signed with a key that its issuer gives in a form not known."
                ) from None
            self._imported.keep(mark, key)
        return key

    async def _fetch(self) -> None:
        """The issuer's keys anew. Raises `IssuerUnavailable` only when those of before are too old or none."""
        self._tried = time.monotonic()
        try:
            about = await self._document(f"{self._claims.issuer.rstrip('/')}/.well-known/openid-configuration")
            if about.get("issuer") != self._claims.issuer:
                raise ValueError(f"it calls itself {str(about.get('issuer'))[:200]!r}")
            found = await self._document(str(about.get("jwks_uri")))
            self._about = about
            self._keys = await asyncio.to_thread(_by_id, found.get("keys"))
            self._fetched = time.monotonic()
            self._verified.clear()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TimeoutError) as error:
            log.warning("the issuer %s gives no keys: %s", self._claims.issuer, str(error) or type(error).__name__)
            if self._is_stale():
                raise self._no_keys() from None

    async def _document(
        self, url: str, form: Mapping[str, str] | None = None, basic: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        """A JSON object of at most `DOCUMENT_BYTES`; with a form that is what it is answered, refused or not. Raises
        `HTTPError`, `InvalidURL`, `ValueError`, `TimeoutError`."""
        body = bytearray()
        method, good = ("GET", {200}) if form is None else ("POST", {200, 400, 401})
        async with (
            asyncio.timeout(FETCH_SECONDS),
            self._client.stream(method, url, data=form, auth=basic) as answer,
        ):
            if answer.status_code not in good:
                raise ValueError(f"{url} answers {answer.status_code}")
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > DOCUMENT_BYTES:
                    raise ValueError(f"{url} is larger than {DOCUMENT_BYTES:,} bytes")
        try:
            return msgspec.json.decode(bytes(body), type=dict[str, Any])
        except msgspec.MsgspecError:
            raise ValueError(f"{url} is not a JSON object") from None


_signatures = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)


def _header(token: str) -> Mapping[str, Any]:
    """The token's word on its signature, which proves nothing yet. Raises `Unauthorized`."""
    text = token.partition(_DOT)[0]
    try:
        return msgspec.json.decode(
            base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True), type=dict[str, Any]
        )
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        raise Unauthorized("The token's header cannot be read.") from None


def _by_id(keys: object) -> dict[str, dict[str, Any]]:
    """Public keys for signatures; what else an issuer has in its set is left out. Raises `ValueError`."""
    if not isinstance(keys, list):
        raise ValueError("its key set has no list of keys")  # noqa: TRY004 - of a document, not of a caller
    return {
        str(key.get("kid", "")): key
        for key in keys
        if isinstance(key, dict) and key.get("kty") in KEY_TYPES and key.get("use", "sig") == "sig"
    }


def _sentence(error: JoseError) -> str:
    """One of joserfc's short descriptions as the end of a sentence."""
    return f"{(error.description or error.error or 'it is not right').rstrip('.')}."
