"""A page's words, and the addresses of what it loads."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from inlake.web.console.page import breakable, digest_of, prose, said


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


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("heritage.digital_object", "heritage.<wbr>digital_<wbr>object"),
        ("a/b-c", "a/<wbr>b-<wbr>c"),
        ("..a__b.", "..<wbr>a__<wbr>b."),
        ("<b>.x&y", "&lt;b&gt;.<wbr>x&amp;y"),
        ("", ""),
    ],
)
def test_a_name_is_broken_behind_what_divides_it(name: str, shown: str) -> None:
    assert str(breakable(name)) == shown


def test_a_changed_file_makes_all_addresses_new() -> None:
    before = digest_of({"a.js": b"1", "b.css": b"2"})
    assert before == digest_of({"b.css": b"2", "a.js": b"1"})
    assert len({before, digest_of({"a.js": b"1", "b.css": b"3"}), digest_of({"a.js": b"12", "b.css": b""})}) == 3


@dataclass
class Told:
    detail: str


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        ("/acno: A value is missing.", "A value is missing."),
        ("/first name: A value is missing.", "A value is missing."),
        ("/a/0/b: Write 1: no more.", "Write 1: no more."),
        ("The body is empty.", "The body is empty."),
    ],
)
def test_what_a_client_was_told_is_said_without_its_place(detail: str, words: str) -> None:
    assert str(said(Told(detail))) == words
