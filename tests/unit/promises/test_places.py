"""Object keys that the gateway makes, and the places that a client may name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inlake.errors import BadPlace, ResourceNotAPromise
from inlake.promises.places import check_foreign, named_place, object_key, promise_named

STORE = "s3://bucket/museum/"
PUUID = "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("spot.obj", "spot.obj"),
        ("C:\\scans\\spot.obj", "spot.obj"),
        ("../../etc/passwd", "passwd"),
        ("été 1.jpg", "_t__1.jpg"),
        (".htaccess", "htaccess"),
        ("", "binary"),
        ("...", "binary"),
        ("日本", "__"),
        ("a" * 300 + ".jpg", "a" * 116 + ".jpg"),
    ],
)
def test_a_filename_is_made_safe_for_every_store(sent: str, stored: str) -> None:
    assert object_key(PUUID, sent) == f"objects/{PUUID}/{stored}"


@given(st.text())
def test_no_filename_leaves_its_folder(sent: str) -> None:
    head, middle, name = object_key(PUUID, sent).split("/")
    assert (head, middle) == ("objects", PUUID)
    assert 0 < len(name) <= 120
    assert name not in {".", ".."}
    assert name.isascii()


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ("a.obj", "a.obj"),
        ("scans/2022/a.obj", "scans/2022/a.obj"),
        (STORE + "scans/a", "scans/a"),
        ("e\u0301.jpg", "\u00e9.jpg"),
    ],
)
def test_a_client_names_a_place_relative_to_the_store_or_by_its_uri(named: str, key: str) -> None:
    assert named_place(named, STORE) == key


@pytest.mark.parametrize(
    "named",
    ["", "/", "/a", "a/", "a//b", "a/./b", "../a", "objects/a", ".inlake/open/x", ".a", "a\\b", "a#b", "a?b", "a%2e", "a\x00", "a\nb",
     "x" * 201, "/".join(["x" * 100] * 10), "s3://other/a", "https://example.org/a", PUUID, "urn:uuid:" + PUUID, STORE, 7],
)  # fmt: skip
def test_a_place_that_could_reach_elsewhere_is_refused(named: object) -> None:
    with pytest.raises(BadPlace):
        named_place(named, STORE)


def test_a_uuid_names_a_promise_and_nothing_else_does() -> None:
    assert promise_named(PUUID) == PUUID
    assert promise_named("URN:UUID:" + PUUID.upper()) == PUUID
    assert promise_named(PUUID.replace("-", "")) is None
    assert promise_named("spot.obj") is None
    assert promise_named(7) is None


def test_only_an_absolute_uri_outside_the_store_is_foreign() -> None:
    check_foreign("https://iiif.example.org/a%20b.jpg", STORE)
    check_foreign("urn:isbn:0451450523", STORE)
    elsewhere_spelt = [
        "S3://Bucket/museum/x",
        "s3://bucket/%6duseum/x",
        "s3://bucket/x/../museum/y",
        "s3://bucket/museum",
    ]
    for resource in (STORE + "objects/x", "spot.obj", "a b:c d", 7, "", *elsewhere_spelt):
        with pytest.raises(ResourceNotAPromise):
            check_foreign(resource, STORE)
