"""The binary of an event, and how a page shows it: as a picture, its preview, a form in 3D, a text, or by its name."""

from __future__ import annotations

from msgspec import Struct

from inlake.errors import InlakeError
from inlake.formats.events import Decoded
from inlake.previews.keeper import can_be_drawn
from inlake.web.console.row import PICTURES, file_of, size_of
from inlake.web.request.exchange import Exchange
from inlake.web.routes.resources import open_object
from inlake.wiring import Deployment

TEXT_BYTES = 100_000
"""The most bytes of a text that is shown."""
PICTURE_BYTES = 1_000_000
"""A larger picture is shown by its preview."""
MODEL_BYTES = 200_000_000
"""A browser has a larger one not drawn in a time that a person waits."""
SCENES = {"model/gltf-binary": "gltf", "model/gltf+json": "gltf"}
MESHES = {
    "model/obj": "obj",
    "model/stl": "stl",
    "model/x.stl-binary": "stl",
    "model/x.stl-ascii": "stl",
    "application/sla": "stl",
    "application/x-ply": "ply",
    "model/ply": "ply",
}
ENDINGS = {".glb": "gltf", ".gltf": "gltf", ".obj": "obj", ".stl": "stl", ".ply": "ply"}
"""Endings of files whose type says nothing, or that it is a model of some kind."""
TEXTS = {
    "application/json", "application/xml", "application/yaml", "application/x-ndjson", "application/jsonl",
    "application/n-quads", "application/n-triples", "application/trig", "application/sparql-query",
}  # fmt: skip
"""Types of text beside text/*, and all that are written in JSON or XML."""


class Binary(Struct):
    """The binary of an event, and how a page shows it."""

    puuid: str
    uri: str
    name: str
    kind: str
    size: int
    sha256: str
    way: str
    """`picture`, `preview`, `gltf`, `obj`, `stl`, `ply`, `text`, or `none`."""
    text: str = ""
    is_cut: bool = False
    trouble: str = ""
    """Why it cannot be shown."""


async def binary_of(x: Exchange, d: Deployment, decoded: Decoded) -> Binary | None:
    """The binary of an event; None if it has none."""
    h = decoded.headers
    if "inlake_resource_uri" not in h:
        return None
    kind, size = h.get("inlake_resource_type", ""), size_of(h.get("inlake_resource_size", ""))
    name = file_of(h)
    found = Binary(
        puuid=h.get("inlake_puuid", ""),
        uri=h["inlake_resource_uri"],
        name=name,
        kind=kind,
        size=size,
        sha256=h.get("inlake_resource_sha256", ""),
        way=way_of(kind, name, size),
    )
    try:
        await _fill(x, d, found)
    except InlakeError as error:
        found.way, found.trouble = "none", error.detail
    return found


def way_of(kind: str, name: str, size: int) -> str:
    """How a page shows a file of this media type, name and size."""
    media = kind.partition(";")[0].strip().lower()
    ending = name[name.rfind(".") :].lower()
    says_nothing = media in {"", "application/octet-stream", "text/plain"} or media.startswith("model/")
    model = SCENES.get(media) or MESHES.get(media) or (ENDINGS.get(ending) if says_nothing else None)
    if model:
        return model if size <= MODEL_BYTES else "none"
    if media in PICTURES and (size <= PICTURE_BYTES or not can_be_drawn(kind, name)):
        return "picture"
    if can_be_drawn(kind, name):
        return "preview"
    is_text = media.startswith("text/") or media in TEXTS or media.endswith(("+json", "+xml"))
    return "text" if is_text else "none"


async def _fill(x: Exchange, d: Deployment, found: Binary) -> None:
    """The text of a text. Raises what says that the object cannot be read."""
    x.caller.check_some(["read"])  # as GET /resources does
    stored, store, key = await open_object(d, found.puuid, x.principal)
    if found.way != "text":
        return
    size = min(stored.size, TEXT_BYTES)
    content = b"".join([chunk async for chunk in store.read(key, 0, size)]) if size else b""
    charset = found.kind.lower().partition("charset=")[2].split(";")[0].strip(' "') or "utf-8"
    try:
        found.text = content.decode(charset, "replace")
    except LookupError:
        found.text = content.decode("utf-8", "replace")
    found.is_cut = stored.size > size
