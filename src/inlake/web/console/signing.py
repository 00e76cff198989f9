"""Signing in with an API key, and out."""

from __future__ import annotations

from inlake.errors import InlakeError, Unauthorized
from inlake.web.console.page import KEY_BYTES, form, go, is_secure, show
from inlake.web.request.exchange import Exchange
from inlake.web.request.session import SESSION, SESSION_SECONDS, set_cookie
from inlake.wiring import Deployment


async def ask(x: Exchange, _: Deployment) -> None:
    """The page that asks for a key."""
    if not x.settings.has_authentication:
        await go(x, "/")
        return
    await show(x, "sign_in.html", title="Sign in", wrong="")


async def sign_in(x: Exchange, _: Deployment) -> None:
    """Take a key, and begin a session."""
    try:
        fields = await form(x, KEY_BYTES)
        x.caller, session = x.site.auth.sign_in(fields.get("key", ""))
    except Unauthorized as error:
        await show(x, "sign_in.html", title="Sign in", status=401, wrong=error.detail)
        return
    except InlakeError as error:
        await show(x, "sign_in.html", title="Sign in", status=error.status, wrong=error.detail)
        return
    root = x.settings.root_path
    await go(x, "/", set_cookie(SESSION, session, path=root, secure=is_secure(x), seconds=SESSION_SECONDS))


async def sign_out(x: Exchange, _: Deployment) -> None:
    """End the session of this browser."""
    await form(x, KEY_BYTES)
    cookie = set_cookie(SESSION, "", path=x.settings.root_path, secure=is_secure(x), seconds=0)
    await go(x, "/console/sign-in", cookie)
