"""Cookies of the console: a session that no process keeps, and the token that only a page of ours knows.

A session is its end, the name of a key, and an HMAC of both with what the file of keys has of that key: every process
can check it, and it ends when the key is taken out of the file. A session of who signed in at the issuer has what that
said in place of the name, and is signed with the secret that the issuer gave. Forms and scripts of our pages send a
token, which a page of another site cannot know: an HMAC of the session. Without a session it is a random cookie, sent
once more (double submit); a page of another port of this host can set that, but its `Origin` tells it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Iterable

import msgspec

SESSION = "inlake_session"
TOKEN = "inlake_csrf"  # noqa: S105 - the name of a cookie
SESSION_SECONDS = 12 * 3600
NAME_LENGTH = 3_500
"""A browser keeps 4,096 bytes of a cookie."""
_AT_ISSUER = "oidc:"


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


def name_of(subject: str, groups: Iterable[str]) -> str:
    """The text in the place of a key's name for who signed in at the issuer; no key is called so."""
    said = msgspec.json.encode([subject, sorted(groups)])
    return _AT_ISSUER + base64.urlsafe_b64encode(said).rstrip(b"=").decode()


def identity_of(name: str) -> tuple[str, frozenset[str]] | None:
    """Subject and groups; None for the name of a key. Whether it is true says the session's signature."""
    if not name.startswith(_AT_ISSUER):
        return None
    try:
        text = name.removeprefix(_AT_ISSUER)
        content = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        subject, groups = msgspec.json.decode(content, type=tuple[str, list[str]])
    except (ValueError, msgspec.MsgspecError):
        return None
    return subject, frozenset(groups)


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


def set_cookie(
    name: str, value: str, *, path: str, secure: bool, seconds: int, site: str = "Strict"
) -> tuple[bytes, bytes]:
    """The header that sets a cookie; with no seconds it is deleted. `site`: as `SameSite` has it."""
    flags = f"; HttpOnly; SameSite={site}" + ("; Secure" if secure else "")
    return b"set-cookie", f"{name}={value}; Path={path or '/'}; Max-Age={seconds}{flags}".encode()


def _sign(text: str, digest: str) -> str:
    key = hmac.digest(digest.encode(), b"inlake console session", hashlib.sha256)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
