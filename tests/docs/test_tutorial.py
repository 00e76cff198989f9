"""The tutorial and the pages that show commands are run, command by command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Command, File, Reader, matches, steps

PAGES = [
    "tutorial.md",
    "coming-from-the-first-inlake.md",
    "how-to/bagit.md",
    "how-to/check-in-ci.md",
    "how-to/collections.md",
    "how-to/csv.md",
    "how-to/linked-art-and-iiif.md",
    "how-to/python-client.md",
    "how-to/rejects.md",
    "how-to/retries.md",
    "how-to/rights.md",
    "how-to/shipments.md",
    "how-to/tables.md",
    "how-to/tus.md",
    "how-to/two-requests.md",
    "how-to/unstructured-text.md",
]
LIVE_PAGES = ["how-to/direct-to-s3.md"]
"""They want real servers: `tests/live` runs them."""


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    Reader(tmp_path).follow((ROOT / "docs" / page).read_text())


def test_what_the_readme_shows_by_hand_does_what_it_says(tmp_path: Path) -> None:
    page = (ROOT / "README.md").read_text()
    Reader(tmp_path).follow(page[page.index("By hand") : page.index("Nothing is on a public")])


def test_every_page_with_commands_and_their_output_is_run() -> None:
    pages = {path.relative_to(ROOT / "docs").as_posix(): path.read_text() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(name for name, text in pages.items() if "```console\n" in text) == sorted(PAGES + LIVE_PAGES)


def test_a_page_is_read_as_files_and_commands() -> None:
    page = "Save it as `a.json`:\n\n```json\n{}\n```\n\n```console\n$ ls \\\n  -l\nx\n$ pwd\n```\n\n```sh\nrm x\n```\n"
    assert steps(page) == [File("a.json", "{}\n"), Command("ls \\\n  -l", "x\n"), Command("pwd", "")]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("", "anything", True),
        ("a … c\n", "a b c\n", True),
        ("a … c\n", "a b d\n", False),
        ("a\n…\nc\n", "a\nb\nb\nc\n", True),
        ("a\n…\nc\n", "a\nc\n", True),
        ("a\n", "a\nb\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_what_is_printed_is_compared_with_what_is_shown(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same
