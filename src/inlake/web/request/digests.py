"""Digests of a body that a client announces: what is announced is checked, and what cannot be checked is refused.

`Repr-Digest` and `Content-Digest` are of RFC 9530; before them there were `Digest` (RFC 3230) and `Content-MD5`
(RFC 1864).
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable

from inlake.errors import BadDigest, DigestMismatch
from inlake.web.request.exchange import Exchange

FIELDS = frozenset({"repr-digest", "content-digest", "digest", "content-md5"})
"""All are of the same bytes here: binaries are taken without Content-Encoding (RFC 9530, appendix A)."""
FIELD_NAMES = frozenset(name.encode() for name in FIELDS)
ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512", "sha": "sha1", "md5": "md5"}
_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):(?:[ ]*;[^,;]*)*")
"""A member of a dictionary that is a byte sequence, its parameters ignored (RFC 8941, 3.2 and 3.3.5)."""
_INSTANCE = re.compile(r"([A-Za-z0-9-]+)=([A-Za-z0-9+/=]+)")
"""A member of `Digest`."""


Digests = dict[str, bytes]
"""Digests by hashlib's names of their algorithms."""


class Check:
    """Hashes bytes as they come, and compares at their end."""

    def __init__(self, digests: Digests) -> None:
        self._wanted = digests
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in self._wanted}

    def update(self, chunk: bytes) -> None:
        """The next bytes."""
        for digest in self._hashes.values():
            digest.update(chunk)

    def end(self) -> None:
        """Compare. Raises `DigestMismatch`."""
        for name, digest in self._hashes.items():
            if digest.digest() != self._wanted[name]:
                raise DigestMismatch(
                    f"The bytes that came have the {name.upper()} {digest.hexdigest()}, and {self._wanted[name].hex()} "
                    "was announced: nothing was stored or published, send them again."
                )


def sha256_of(digests: Digests) -> str | None:
    """The SHA-256 that a header names, in hexadecimal."""
    return digests["sha256"].hex() if "sha256" in digests else None


async def checked(digests: Digests, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The bytes of a binary, at whose end all is compared but the SHA-256, which is computed of every binary anyway."""
    check = Check({name: digest for name, digest in digests.items() if name != "sha256"})
    async for chunk in chunks:
        check.update(chunk)
        yield chunk
    check.end()


def check_body(x: Exchange, body: bytes) -> None:
    """Compare records that were read whole. Raises `BadDigest`, `DigestMismatch`."""
    if x.header(b"content-encoding"):
        raise BadDigest("A digest of a compressed body is not checked: send the one or the other.")
    check = Check(announced(x.headers()))
    check.update(body)
    check.end()


def announced(headers: Iterable[tuple[str, str]]) -> Digests:
    """The digests that the fields among headers tell. Raises `BadDigest` for what cannot be read or checked.

    In RFC 9530's fields other algorithms beside SHA-256 are ignored, as it allows.
    """
    found: Digests = {}
    for field, text in _fields(headers):
        for algorithm, value in _members(field, text):
            digest = _decoded(field, algorithm, value)
            if found.setdefault(ALGORITHMS[algorithm], digest) != digest:
                raise BadDigest("The digest fields of the request contradict each other.")
    return found


def digest_field(sha256: str) -> str:
    """The value of RFC 9530's fields for a SHA-256 in hexadecimal."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:"


def _fields(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Digest fields with their values; one that stands in several lines is one (RFC 8941, 4.2)."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower() in FIELDS:
            found.setdefault(name.lower(), []).append(value)
    return [(name, ", ".join(values)) for name, values in found.items()]


def _members(field: str, text: str) -> list[tuple[str, str]]:
    """The algorithms of a field that are checked, each with its value in base64."""
    if field == "content-md5":
        return [("md5", text.strip())]
    pattern, form = (_INSTANCE, "SHA-256=BASE64") if field == "digest" else (_MEMBER, "sha-256=:BASE64: (RFC 9530)")
    members = []
    for member in text.split(","):
        found = pattern.fullmatch(member.strip(" \t"))
        if not found:
            raise BadDigest(f"{field} cannot be read at {member[:100]!r}: it looks like {form}.")
        members.append((found[1].lower(), found[2]))
    known = [(algorithm, value) for algorithm, value in members if algorithm in ALGORITHMS]
    if field == "digest" and not known:
        raise BadDigest(f"digest has no algorithm that this gateway checks: {', '.join(ALGORITHMS)}.")
    if field != "digest":
        known = [member for member in known if member[0] == "sha-256"][-1:]
        if not known:
            names = ", ".join(algorithm for algorithm, _ in members)
            raise BadDigest(f"{field} has no sha-256, the one that this gateway checks; it has {names[:100]}.")
    return known


def _decoded(field: str, algorithm: str, value: str) -> bytes:
    try:
        digest = b64decode(value + "=" * (-len(value) % 4), validate=True)  # padding may be missing (RFC 8941, 4.2.7)
    except ValueError:
        digest = b""
    if len(digest) != (size := hashlib.new(ALGORITHMS[algorithm], usedforsecurity=False).digest_size):
        raise BadDigest(f"The {algorithm} of {field} is not the Base64 of {size} bytes.")
    return digest
