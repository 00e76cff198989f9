"""Text on a terminal: words stay whole."""

from __future__ import annotations

from inlake.cli.terminal import between_words


def test_a_line_is_broken_between_words_and_a_long_word_stays_whole() -> None:
    path = "/a/" + "long/" * 20
    shown = between_words(f"inlake: {path} cannot be read: it is not there, or it may not be read by you.", 40)
    assert shown.splitlines() == [
        "inlake:",
        f"  {path}",
        "  cannot be read: it is not there, or it",
        "  may not be read by you.",
    ]


def test_lines_stay_lines_and_keep_their_place() -> None:
    shown = between_words("first:\n  a-b of c and d\n\nlast", 12)
    assert shown == "first:\n  a-b of c\n    and d\n\nlast"


def test_all_is_further_in_by_an_indent() -> None:
    assert between_words("one two three", 9, "  ") == "  one two\n    three"
