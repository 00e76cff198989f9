"""The addresses of what a page loads."""

from __future__ import annotations

from inlake.web.console.page import digest_of


def test_a_changed_file_makes_all_addresses_new() -> None:
    before = digest_of({"a.js": b"1", "b.css": b"2"})
    assert before == digest_of({"b.css": b"2", "a.js": b"1"})
    assert len({before, digest_of({"a.js": b"1", "b.css": b"3"}), digest_of({"a.js": b"12", "b.css": b""})}) == 3
