"""Rules for a key of the store, checked by every adapter, whoever made the key."""

from __future__ import annotations

from inlake.errors import BadParameter, BadPlace

FORBIDDEN_SEGMENTS = {"", ".", ".."}


def segments(key: str, *, foreign: bool = False) -> list[str]:
    """The segments between the slashes of `key`. `BadPlace` when one is empty, `.` or `..` or has control characters;
    `foreign`: others made the key, and NUL alone is refused.

    Adapters check this themselves because obstore quietly drops a leading or trailing slash and a folder would climb.
    """
    found = key.split("/")
    if not FORBIDDEN_SEGMENTS.isdisjoint(found):
        raise BadPlace(f"The key {key!r} has an empty, . or .. segment; name each one.")
    if "\0" in key or (not foreign and not key.isprintable() and any(c < " " or c == "\x7f" for c in key)):
        raise BadPlace(f"The key {key!r} has a control character in it.")
    return found


def check_key(key: str) -> str:
    """The key itself. `BadPlace` as `segments` has it, and for bytes that are no UTF-8: S3 has no such keys."""
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError:
            raise BadPlace(f"The key {key!r} is not UTF-8.") from None
    return "/".join(segments(key))


def check_ascii(attributes: dict[str, str]) -> None:
    """`BadParameter` unless all is printable ASCII: S3 stores other text, and then no client can read the object."""
    for name, value in attributes.items():
        text = name + value
        if not (text.isascii() and text.isprintable()):
            raise BadParameter(f"{name} of a binary must be printable ASCII text, got {value!r}.")
