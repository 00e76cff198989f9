"""The media type of a file by its name."""

from __future__ import annotations

import mimetypes

import pytest

from inlake.client.media_types import _BY_SUFFIX, UNKNOWN, media_type


@pytest.mark.parametrize(
    ("filename", "kind"),
    [
        ("x.csv.gz", "application/gzip"),
        ("x.obj.gz", "application/gzip"),
        ("x.tar.gz", "application/gzip"),
        ("x.tgz", "application/gzip"),
        ("x.svgz", "application/gzip"),
        ("x.json.gz", "application/gzip"),
        ("x.xml.bz2", "application/x-bzip2"),
        ("x.csv.xz", "application/x-xz"),
        ("x.tif.Z", "application/x-compress"),
        ("x.csv.zst", "application/zstd"),
        ("X.CSV", "text/csv"),
        ("a.obj", "model/obj"),
        ("a.glb", "model/gltf-binary"),
        ("a.ttl", "text/turtle"),
        ("a.png", "image/png"),
        ("a.pdf", "application/pdf"),
        ("x.jp2", "image/jp2"),
        ("x.dcm", "application/dicom"),
        ("x.jsonld", "application/ld+json"),
        ("x.unknown", UNKNOWN),
        ("x", UNKNOWN),
        (".gz", UNKNOWN),
    ],
)
def test_a_compressed_file_is_of_the_type_of_its_own_bytes(filename: str, kind: str) -> None:
    assert media_type(filename) == kind


def test_this_machine_has_no_say() -> None:
    mimetypes.add_type("text/x-here-only", ".webp")
    assert media_type("a.webp") == "image/webp"


def test_every_type_is_one_and_every_suffix_is_named_once() -> None:
    assert all(kind.count("/") == 1 and kind == kind.lower() for kind in _BY_SUFFIX.values())
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in _BY_SUFFIX)
