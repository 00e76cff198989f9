"""API keys from a file of `name:sha256`, sent as `Authorization: Bearer KEY`."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

from inlake.access.reloaded import Reloaded
from inlake.errors import Unauthorized

_LINE = re.compile(r"([A-Za-z0-9._@-]{1,100}):([0-9a-fA-F]{64})")


class ApiKeys:
    """The keys of a file."""

    def __init__(self, path: Path) -> None:
        """Raises `ValueError` when the file cannot be read or a line is not `name:sha256`."""
        self._keys = Reloaded(path, _read)

    def principal(self, key: str) -> str:
        """`token:<name>` of the key. Raises `Unauthorized`."""
        return f"token:{self.find(key)[0]}"

    def find(self, key: str) -> tuple[str, str]:
        """The name of the key, and its sha256 in hexadecimal. Raises `Unauthorized`."""
        digest = hashlib.sha256(key.encode("latin-1", "replace")).hexdigest()
        # all keys are compared, each in constant time: how long it takes tells nothing about a key
        found = [name for name, known in self._keys.current if hmac.compare_digest(digest, known)]
        if not found:
            raise Unauthorized("The API key is not known to this gateway.")
        return found[0], digest

    def digests(self, name: str) -> list[str]:
        """The sha256 of each key that has this name."""
        return [known for other, known in self._keys.current if other == name]


def _read(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    keys = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            match = _LINE.fullmatch(text)
            if not match:
                raise ValueError(f"{path}, line {number}: it is not name:sha256 (64 hexadecimal digits)")
            keys.append((match[1], match[2].lower()))
    return keys
