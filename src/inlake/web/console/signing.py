"""Signing in with an API key or at the OpenID Connect issuer, and out."""

from __future__ import annotations

import hmac

from msgspec import Struct

from inlake.access.sign_in import SignIn, new_question, question_of
from inlake.errors import InlakeError, RouteNotFound, Unauthorized
from inlake.web.console.page import KEY_BYTES, form, go, is_secure, show
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.web.request.session import SESSION, SESSION_SECONDS, cookie_of, set_cookie
from inlake.wiring import Deployment

ASKED = "inlake_signing_in"
"""Cookie of a browser whose person is at the issuer. It has to come with a page that the issuer leads to: Lax."""
ASKED_SECONDS = 600


class Returned(Struct):
    """The query that the issuer leads back with (RFC 6749, 4.1.2; RFC 9207)."""

    code: str = ""
    state: str = ""
    error: str = ""
    iss: str | None = None


async def ask(x: Exchange, _: Deployment) -> None:
    """The page where one signs in."""
    if not x.settings.has_authentication:
        await go(x, "/")
        return
    await _show(x)


async def sign_in(x: Exchange, _: Deployment) -> None:
    """Take a key, and begin a session."""
    try:
        fields = await form(x, KEY_BYTES)
        x.caller, session = x.site.auth.sign_in(fields.get("key", ""))
    except InlakeError as error:
        await _show(x, status=error.status, wrong=error.detail)
        return
    await go(x, "/", _session(x, session))


async def begin(x: Exchange, _: Deployment) -> None:
    """Lead to the issuer."""
    asked = new_question()
    try:
        where = await _issuer(x).address(_redirect(x), asked)
    except InlakeError as error:
        await _show(x, status=error.status, failed=error.detail)
        return
    headers = [(b"location", where.encode()), (b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer")]
    await x.reply_without_body(303, [*headers, _asked(x, asked.text, ASKED_SECONDS)])


async def come_back(x: Exchange, _: Deployment) -> None:
    """Take what the issuer says, and begin a session. A page leads on: browsers send no strict cookie with an address
    that another site has led to."""
    issuer = _issuer(x)
    try:
        told, asked = query(x, Returned), question_of(cookie_of(x.header(b"cookie"), ASKED))
        if asked is None or not hmac.compare_digest(told.state.encode(), asked.state.encode()):
            raise Unauthorized("This browser did not ask to sign in, or too long ago: sign in again.")
        if told.iss not in {None, x.settings.oidc_issuer}:
            raise Unauthorized("Another issuer than the gateway's has led here.")
        if told.error or not told.code:
            raise Unauthorized(f"The issuer did not sign you in: {told.error[:60] or 'it gave no code'}.")
        x.caller, session = x.site.auth.signed_in(await issuer.identity(_redirect(x), told.code, asked))
    except InlakeError as error:
        await _show(x, status=error.status, failed=error.detail, headers=[_asked(x, "", 0)])
        return
    await show(x, "signed_in.html", title="Signed in", headers=[_session(x, session), _asked(x, "", 0)])


async def sign_out(x: Exchange, _: Deployment) -> None:
    """End the session of this browser."""
    await form(x, KEY_BYTES)
    cookie = set_cookie(SESSION, "", path=x.settings.root_path, secure=is_secure(x), seconds=0)
    await go(x, "/console/sign-in", cookie)


async def _show(
    x: Exchange,
    *,
    status: int = 200,
    wrong: str = "",
    failed: str = "",
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    """The page; `wrong`: with the key, `failed`: at the issuer."""
    auth = x.site.auth
    await show(
        x, "sign_in.html", title="Sign in", status=status, headers=headers or [], wrong=wrong, failed=failed,
        takes_keys=auth.takes_keys, issuer=auth.issuer.host if auth.issuer else "",
    )  # fmt: skip


def _issuer(x: Exchange) -> SignIn:
    if x.site.auth.issuer is None:
        raise RouteNotFound("Nobody signs in at an issuer here.")
    return x.site.auth.issuer


def _redirect(x: Exchange) -> str:
    """Where the issuer leads back to: the same in both requests to it."""
    scheme = "https" if is_secure(x) else "http"
    return x.settings.oidc_redirect or f"{scheme}://{x.seen.host}{x.address('/console/sign-in/return')}"


def _session(x: Exchange, session: str) -> tuple[bytes, bytes]:
    return set_cookie(SESSION, session, path=x.settings.root_path, secure=is_secure(x), seconds=SESSION_SECONDS)


def _asked(x: Exchange, text: str, seconds: int) -> tuple[bytes, bytes]:
    path = x.address("/console/sign-in")
    return set_cookie(ASKED, text, path=path, secure=is_secure(x), seconds=seconds, site="Lax")
