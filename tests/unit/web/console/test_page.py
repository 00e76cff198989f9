"""A page's words, and the addresses of what it loads."""

from __future__ import annotations

import pytest

from inlake.web.console.page import digest_of, prose


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Set `title` to `x`.", "Set <code>title</code> to <code>x</code>."),
        ("`a` first", "<code>a</code> first"),
        ("no code", "no code"),
        ("one ` alone", "one ` alone"),
        ("`a` and one ` alone", "<code>a</code> and one ` alone"),
        ("<b> `<script>`</b>", "&lt;b&gt; <code>&lt;script&gt;</code>&lt;/b&gt;"),
        ("`{}` {} {0}", "<code>{}</code> {} {0}"),
        ("", ""),
    ],
)
def test_what_stands_between_backquotes_is_code_and_nothing_of_it_is_markup(text: str, shown: str) -> None:
    assert str(prose(text)) == shown


def test_a_changed_file_makes_all_addresses_new() -> None:
    before = digest_of({"a.js": b"1", "b.css": b"2"})
    assert before == digest_of({"b.css": b"2", "a.js": b"1"})
    assert len({before, digest_of({"a.js": b"1", "b.css": b"3"}), digest_of({"a.js": b"12", "b.css": b""})}) == 3
