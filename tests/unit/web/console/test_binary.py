"""How a page shows a file is told by its type, and by its name where the type says nothing."""

from __future__ import annotations

import pytest

from inlake.web.console.binary import MODEL_BYTES, PICTURE_BYTES, way_of


@pytest.mark.parametrize(
    ("kind", "name", "size", "way"),
    [
        ("image/jpeg", "a.jpg", 10, "picture"),
        ("image/jpeg", "a.jpg", PICTURE_BYTES + 1, "preview"),
        ("image/svg+xml", "a.svg", PICTURE_BYTES + 1, "picture"),
        ("image/tiff", "a.tif", 10, "preview"),
        ("application/pdf", "a.pdf", 10, "preview"),
        ("application/octet-stream", "a.TIF", 10, "preview"),
        ("model/gltf-binary", "a", 10, "gltf"),
        ("application/octet-stream", "a.GLB", 10, "gltf"),
        ("model/obj; charset=utf-8", "a", 10, "obj"),
        ("text/plain", "a.obj", 10, "obj"),
        ("model/stl", "a", 10, "stl"),
        ("application/octet-stream", "a.ply", 10, "ply"),
        ("model/x-ply", "a.ply", 10, "ply"),
        ("model/vnd.usdz+zip", "a.usdz", 10, "none"),
        ("model/stl", "a", MODEL_BYTES + 1, "none"),
        ("application/n-quads", "a.nq", 10, "text"),
        ("application/ld+json", "a.jsonld", 10, "text"),
        ("application/tei+xml", "a.tei", 10, "text"),
        ("text/csv; charset=utf-8", "a.csv", 10, "text"),
        ("application/zip", "a.obj", 10, "none"),
        ("application/octet-stream", "obj", 10, "none"),
        ("", "", 10, "none"),
    ],
)
def test_the_way_of_a_file(kind: str, name: str, size: int, way: str) -> None:
    assert way_of(kind, name, size) == way
