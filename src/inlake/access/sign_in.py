"""Signing in at the issuer: the authorization code flow of OpenID Connect Core 1.0 (3.1), with PKCE (RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from inlake.access.oidc import Identity, Oidc
from inlake.errors import IssuerUnavailable, Unauthorized

SCOPE = "openid"


class Asked(NamedTuple):
    """A browser's note while its person is at the issuer."""

    state: str
    """Comes back with the code: the answer is to this browser's own question."""
    nonce: str
    """Stands in the token: it is made for this question."""
    verifier: str
    """A secret whose SHA-256 goes to the issuer first, itself only with the code: the code alone is of no use."""

    @property
    def text(self) -> str:
        """For a cookie."""
        return ".".join(self)

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def new_question() -> Asked:
    return Asked(*(secrets.token_urlsafe(32) for _ in range(3)))


def question_of(text: str) -> Asked | None:
    """The question that a cookie has; None if it has none."""
    parts = text.split(".")
    return Asked(*parts) if len(parts) == 3 and all(len(part) == 43 for part in parts) else None


@dataclass(frozen=True, slots=True)
class Client:
    """The gateway as its issuer knows it."""

    id: str
    secret: str


class SignIn:
    """Leads people to the issuer, and believes what it says of those who come back."""

    def __init__(self, oidc: Oidc, client: Client, scopes: str) -> None:
        self._oidc, self._client = oidc, client
        self._scope = " ".join(dict.fromkeys([SCOPE, *scopes.split()]))
        self.digest = hashlib.sha256(client.secret.encode()).hexdigest()
        """Sessions are signed with it: every process has it, and a new secret ends them."""

    @property
    def host(self) -> str:
        """Where one signs in, for a person."""
        return urlsplit(self._oidc.issuer).netloc

    async def address(self, redirect: str, asked: Asked) -> str:
        """Where the browser goes. Raises `IssuerUnavailable`."""
        where = await self._oidc.endpoint("authorization_endpoint")
        query = {
            "response_type": "code",
            "client_id": self._client.id,
            "redirect_uri": redirect,
            "scope": self._scope,
            "state": asked.state,
            "nonce": asked.nonce,
            "code_challenge": asked.challenge,
            "code_challenge_method": "S256",
        }
        return f"{where}{'&' if '?' in where else '?'}{urlencode(query)}"

    async def identity(self, redirect: str, code: str, asked: Asked) -> Identity:
        """Who came back with this code. Raises `Unauthorized`, `IssuerUnavailable`."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "client_id": self._client.id,
            "code_verifier": asked.verifier,
        }
        # RFC 6749, 2.3.1: both are encoded as in a form before they become Basic authentication
        basic = quote(self._client.id, safe=""), quote(self._client.secret, safe="")
        told = await self._oidc.ask(await self._oidc.endpoint("token_endpoint"), form, basic)
        if "error" in told:
            reason = str(told["error"])[:60]
            if reason == "invalid_client":
                raise IssuerUnavailable(
                    "The issuer does not know this gateway: INLAKE_OIDC_CLIENT_ID or its secret is wrong."
                )
            raise Unauthorized(f"The issuer did not take its own code ({reason}): sign in again.")
        token = told.get("id_token")
        if not isinstance(token, str):
            raise Unauthorized("The issuer gave no ID token: it has to know OpenID Connect.")
        identity, nonce = await self._oidc.signed_in(token, self._client.id)
        if not hmac.compare_digest(nonce.encode(), asked.nonce.encode()):
            raise Unauthorized("The ID token was made for another sign-in.")
        return identity
