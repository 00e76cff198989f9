"""Errors that are kept."""

from __future__ import annotations

import pytest

from inlake.errors import BadName, FieldError, InlakeError, InternalError, RecordRejected


def test_an_error_that_is_kept_holds_no_frames() -> None:
    def refuse() -> None:
        try:
            raise KeyError("a")
        except KeyError:
            raise BadName("no") from None

    try:
        refuse()
    except BadName as error:
        kept = error.without_frames()
    assert (kept.detail, kept.__traceback__, kept.__context__) == ("no", None, None)


def test_the_code_of_an_error_is_the_name_of_its_class() -> None:
    assert (BadName.code, InlakeError.code, InternalError.code) == ("bad_name", "internal_error", "internal_error")


@pytest.mark.parametrize(
    ("said", "told"), [("Too long", "Too long."), ("Too long.", "Too long."), ("Is it a?", "Is it a?")]
)
def test_a_refusal_ends_as_a_sentence_does(said: str, told: str) -> None:
    assert RecordRejected([FieldError("/a", "code", said, "", "")]).detail == f"/a: {told}"
