"""Ids of events and promises that are the same in every attempt and every run."""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

NAMESPACE = UUID("8d5f1f3e-6a0c-5c0e-9b0e-0f6a4f1c2d37")
"""Of the event ids: `uuid5(NAMESPACE, "<key>\\n<place>\\n<position>\\n" + content)`."""

_VARIANT = {f"{n:x}": "89ab"[n & 3] for n in range(16)}


class Ids:
    """The ids of the events of one place: a file, or a partition of a topic.

    An id is a UUIDv5 (RFC 9562, 5.5) of the event's key, the place, the position in it and the content: a task that is
    tried again and a second run make the same, whatever the number of executors and the size of their shares.
    """

    def __init__(self, key: bytes, place: str) -> None:
        self._begun = hashlib.sha1(NAMESPACE.bytes + key + b"\n" + place.encode() + b"\n", usedforsecurity=False)

    def of(self, position: int, content: bytes) -> str:
        """The id of the record at a position: the byte in a text, the number of a row or message."""
        hashed = self._begun.copy()
        hashed.update(b"%d\n" % position)
        hashed.update(content)
        h = hashed.hexdigest()
        return f"{h[:8]}-{h[8:12]}-5{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:32]}"


def puuid_of(secret: bytes, *parts: str) -> str:
    """The name of a promise: a UUIDv8 (RFC 9562, 5.8) of bits that only who knows the secret can tell."""
    digest = hmac.digest(secret, "\n".join(parts).encode(), "sha256")
    number = int.from_bytes(digest[:16])
    number = number & ~(0xF << 76) & ~(0x3 << 62) | 8 << 76 | 2 << 62
    return str(UUID(int=number))
