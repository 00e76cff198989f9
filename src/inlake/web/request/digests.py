"""`Repr-Digest` and `Content-Digest` (RFC 9530): which SHA-256 a client announces, and how it is answered."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable

from inlake.errors import BadDigest

FIELDS = {"repr-digest", "content-digest"}
"""Both are of the same bytes here: binaries are taken without Content-Encoding (RFC 9530, appendix A)."""
_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):(?:[ ]*;[^,;]*)*")
"""A member of a dictionary that is a byte sequence, its parameters ignored (RFC 8941, 3.2 and 3.3.5)."""


def announced(headers: Iterable[tuple[str, str]]) -> str | None:
    """The SHA-256 that the digest fields among headers tell, in hexadecimal; None when there are no such fields.

    Other algorithms beside it are ignored, as RFC 9530 allows. Raises `BadDigest`: what cannot be checked is refused.
    """
    told = {_sha256(name, value) for name, value in _fields(headers)}
    if len(told) > 1:
        raise BadDigest("Repr-Digest and Content-Digest contradict each other.")
    return told.pop() if told else None


def digest_field(sha256: str) -> str:
    """The value of the fields for a SHA-256 in hexadecimal."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:"


def _fields(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Digest fields with their values; one that stands in several lines is one (RFC 8941, 4.2)."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower() in FIELDS:
            found.setdefault(name.lower(), []).append(value)
    return [(name, ", ".join(values)) for name, values in found.items()]


def _sha256(name: str, text: str) -> str:
    digests = {}
    for member in text.split(","):
        found = _MEMBER.fullmatch(member.strip(" \t"))
        if not found:
            raise BadDigest(f"{name} cannot be read at {member[:100]!r}: it looks like sha-256=:BASE64: (RFC 9530).")
        digests[found[1]] = found[2]
    if "sha-256" not in digests:
        raise BadDigest(f"{name} has no sha-256, the one that this gateway checks; it has {', '.join(digests)[:100]}.")
    try:
        value = digests["sha-256"]
        digest = b64decode(value + "=" * (-len(value) % 4), validate=True)  # padding may be missing (RFC 8941, 4.2.7)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise BadDigest(f"The sha-256 of {name} is not the Base64 of 32 bytes.")
    return digest.hex()
