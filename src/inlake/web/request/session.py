"""Cookies of the console: a session that no process keeps, and the token that only a page of ours knows.

A session is its end, the name of a key, and an HMAC of both with what the file of keys has of that key: every process
can check it, and it ends when the key is taken out of the file. Forms and scripts of our pages send a token, which a
page of another site cannot know: an HMAC of the session. Without a session it is a random cookie, sent once more
(double submit); a page of another port of this host can set that, but its `Origin` tells it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time

SESSION = "inlake_session"
TOKEN = "inlake_csrf"  # noqa: S105 - the name of a cookie
SESSION_SECONDS = 12 * 3600


def cookie_of(header: str, name: str) -> str:
    """The value of a cookie in a `Cookie` header; empty if there is none."""
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def new_session(name: str, digest: str) -> str:
    """A session of the key with this name and sha256."""
    end = f"{int(time.time()) + SESSION_SECONDS}.{name}"
    return f"{_sign(end, digest)}.{end}"


def session_name(session: str) -> str:
    """The name that the session says it is of."""
    return session.partition(".")[2].partition(".")[2]


def is_session(session: str, digest: str) -> bool:
    """Whether it is one of the key with this sha256, and not over."""
    signature, _, end = session.partition(".")
    until = end.partition(".")[0]
    good = hmac.compare_digest(signature.encode(), _sign(end, digest).encode())
    return good and until.isdigit() and int(until) > time.time()


def new_token() -> str:
    return os.urandom(16).hex()


def token_of(cookies: str) -> str:
    """The token that goes with the cookies of a request; empty if none does."""
    if session := cookie_of(cookies, SESSION):
        return hmac.new(session.encode(), b"inlake console token", hashlib.sha256).hexdigest()
    known = cookie_of(cookies, TOKEN)
    return known if len(known) == 32 else ""


def is_of_our_page(cookies: str, token: str) -> bool:
    """Whether the token that came with a request is that of its cookies."""
    known = token_of(cookies)
    return bool(known) and hmac.compare_digest(known.encode(), token.encode())


def set_cookie(name: str, value: str, *, path: str, secure: bool, seconds: int) -> tuple[bytes, bytes]:
    """The header that sets a cookie; with no seconds it is deleted."""
    flags = "; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
    return b"set-cookie", f"{name}={value}; Path={path or '/'}; Max-Age={seconds}{flags}".encode()


def _sign(text: str, digest: str) -> str:
    key = hmac.digest(digest.encode(), b"inlake console session", hashlib.sha256)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
