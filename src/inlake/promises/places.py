"""Where a binary goes: the object keys the gateway makes, and the places a client may name (design: HTTP 3.2)."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from urllib.parse import unquote, urlsplit
from uuid import UUID

from inlake.errors import BadPlace, NoResourceField, ResourceNotAPromise
from inlake.ports import Codec

OBJECTS = "objects"
SEGMENT_BYTES = 200
FILENAME_BYTES = 120
PLACE_BYTES = 900
"""S3 takes keys of 1,024 bytes, the prefix of the store included."""
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S*")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\#?%]")


def object_key(puuid: str, filename: str) -> str:
    """`objects/<puuid>/<filename>`, the name made safe for every store and file system."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", filename)[-1])
    return f"{OBJECTS}/{puuid}/{_UNSAFE.sub('_', name).lstrip('.')[-FILENAME_BYTES:].lstrip('.') or 'binary'}"


def check_resource_field(codec: Codec, schema: str) -> None:
    """Raises `NoResourceField` for a schema whose records cannot name a binary."""
    if not codec.has_resource_field:
        raise NoResourceField(f"The schema {schema} has no top-level text field for the path of the binary.")


def promise_named(resource: object) -> str | None:
    """The puuid that a resource path names (`<uuid>` or `urn:uuid:<uuid>`), None if it names something else."""
    if not isinstance(resource, str):
        return None
    text = resource[9:] if resource[:9].lower() == "urn:uuid:" else resource
    try:
        return str(UUID(text)) if len(text) == 36 else None
    except ValueError:
        return None


def check_foreign(resource: object, store_uri: str) -> None:
    """Pass an absolute URI outside our store, published as it is; else raise `ResourceNotAPromise`."""
    if not isinstance(resource, str):
        raise ResourceNotAPromise("The resource path must be text or null.")
    if URI.fullmatch(resource) and not _is_inside(resource, store_uri):
        return
    raise ResourceNotAPromise(
        f"{resource[:200]!r} is no promise and no absolute URI outside the store. "
        "Send the binary to /ingress/binary and name its puuid, or send it along as part `file`, or leave this out."
    )


def _is_inside(uri: str, store_uri: str) -> bool:
    """Whether a URI leads into the store, however it is spelt: case, `localhost`, percent-encoding, dots."""
    try:
        place, store = _place(uri), _place(store_uri)
    except ValueError:  # not a URL: a URN, say
        return False
    return place[:2] == store[:2] and place[2].startswith(store[2])


def _place(uri: str) -> tuple[str, str, str]:
    parts = urlsplit(uri)
    host = "" if parts.netloc.lower() == "localhost" else parts.netloc.lower()
    return parts.scheme.lower(), host, posixpath.normpath(unquote(parts.path)).rstrip("/") + "/"


def named_place(resource: object, store_uri: str) -> str:
    """The key of a place that a client names, relative to the store or a URI below it, in NFC. Raises `BadPlace`."""
    if not isinstance(resource, str):
        raise BadPlace("The resource path must be text or null.")
    if promise_named(resource):
        raise BadPlace(f"{resource} names a promise, and a file came along: send the record without the file.")
    path = unicodedata.normalize("NFC", resource.removeprefix(store_uri))
    if URI.fullmatch(path):
        raise BadPlace(f"{resource[:200]!r} lies outside the store, {store_uri}: give a path relative to it.")
    if found := _FORBIDDEN.search(path):
        raise BadPlace(f"The place {path[:200]!r} holds {found[0]!r}: control characters and \\ # ? % are not allowed.")
    if len(path.encode()) > PLACE_BYTES:
        raise BadPlace(f"The place {path[:200]!r}… is longer than {PLACE_BYTES} bytes.")
    segments = path.split("/")
    for segment in segments:
        if segment in {"", ".", ".."} or len(segment.encode()) > SEGMENT_BYTES:
            raise BadPlace(
                f"The place {path[:200]!r} has a segment that is empty, '.', '..' or over {SEGMENT_BYTES} bytes."
            )
    if segments[0] == OBJECTS or segments[0].startswith("."):
        raise BadPlace(f"The place {path[:200]!r} begins with {segments[0]!r}, which belongs to the gateway.")
    return path
