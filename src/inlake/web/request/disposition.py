"""`Content-Disposition`: the name of a file, of a part of a form (RFC 7578) or of a whole body (RFC 6266)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from multipart import content_disposition_unquote

_PARAMETER = re.compile(r';\s*([\w-]+\*?)\s*=\s*("(?:[^"\\]|\\.)*"|"[^"]*"|[^;\s]*)')
"""A quoted string is one whole: what looks like a parameter in it is none."""
_EXTENDED = re.compile(r"(utf-8|iso-8859-1)'[^']*'(.+)", re.IGNORECASE)
"""RFC 8187, 3.2.1."""


def filename(header: str, *, may_be_latin_1: bool = False) -> str:
    """The file's name, `filename*` before `filename`, if that can be read; empty if there is none.

    The characters of the header stand for its bytes. Raises `UnicodeDecodeError` when the name is not UTF-8.
    """
    found = {name.lower(): value for name, value in reversed(_PARAMETER.findall(header))}
    if extended := _EXTENDED.fullmatch(found.get("filename*", "").strip('"')):
        try:
            return unquote_to_bytes(extended[2]).decode(extended[1])
        except UnicodeDecodeError:
            pass
    name: str = content_disposition_unquote(found.get("filename", ""), True)
    try:
        return name.encode("latin-1").decode()
    except UnicodeDecodeError:
        if may_be_latin_1:
            return name
        raise
