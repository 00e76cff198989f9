"""A bag is read as RFC 8493 has it, and as the Library of Congress' own program makes and judges it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import bagit
import pytest

from inlake.client.bag import Bag, differences, is_bag
from inlake.client.records import BrokenFile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bag"
    (folder / "box").mkdir(parents=True)
    (folder / "a b.txt").write_text("first")
    (folder / "box" / "n\nl 100%.txt").write_text("second")
    (folder / "box" / ".hidden").write_text("")
    info = {"Source-Organization": "Museum", "Contact-Name": ["Ada", "Grace"], "External-Description": "x " * 80}
    bagit.make_bag(str(folder), info, checksums=["md5", "sha1", "sha256", "sha512"])
    return folder


def wrong(bag: Bag) -> dict[str, str]:
    found = {name: bag.check(name) for name in bag.files()}
    return {name: faults[0].code for name, faults in found.items() if faults}


def test_a_bag_of_another_program_is_whole(folder: Path) -> None:
    bag = Bag(folder)
    assert is_bag(folder)
    assert [*bag.files()] == ["data/a b.txt", "data/box/.hidden", "data/box/n\nl 100%.txt"]
    assert (wrong(bag), bag.check_size()) == ({}, None)
    assert bag.info["Contact-Name"] == ["Ada", "Grace"]
    assert bag.info["External-Description"] == [("x " * 80).strip()]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda data: (data / "a b.txt").write_text("other"), {"data/a b.txt": "bag_damaged"}),
        (lambda data: (data / "a b.txt").unlink(), {"data/a b.txt": "bag_incomplete"}),
        (lambda data: (data / "more.txt").write_text(""), {"data/more.txt": "not_in_manifest"}),
    ],
    ids=["changed", "gone", "more"],
)
def test_what_is_not_as_the_manifests_say_is_named(
    folder: Path, spoil: Callable[[Path], object], code: dict[str, str]
) -> None:
    spoil(folder / "data")
    assert wrong(Bag(folder)) == code
    assert not bagit.Bag(str(folder)).is_valid()


def test_fewer_bytes_than_payload_oxum_says_are_told(folder: Path) -> None:
    (folder / "data" / "a b.txt").write_text("firs")
    fault = Bag(folder).check_size()
    assert fault
    assert fault.detail == "Payload-Oxum says 3 files of 11 bytes; there are 3 of 10."


def test_a_tag_file_that_was_changed_refuses_the_bag(folder: Path) -> None:
    (folder / "bag-info.txt").write_text("Source-Organization: Another\n")
    with pytest.raises(BrokenFile, match="the manifest of the bag says"):
        Bag(folder)


def test_a_file_to_be_fetched_is_said_to_be(folder: Path) -> None:
    (folder / "data" / "a b.txt").unlink()
    (folder / "fetch.txt").write_text("https://museum.example/a.txt 5 data/a b.txt\n")
    (fault,) = Bag(folder).check("data/a b.txt")
    assert "(fetch.txt has it at https://museum.example/a.txt: fetch it first)" in fault.detail


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "~/x", "data/../../x"])
def test_a_manifest_leads_nowhere_outside_of_its_bag(folder: Path, path: str) -> None:
    (folder / "manifest-md5.txt").write_text(f"d41d8cd98f00b204e9800998ecf8427e  {path}\n")
    with pytest.raises(BrokenFile, match="no line of a manifest"):
        Bag(folder)


@pytest.mark.parametrize(
    "text", ["", "BagIt-Version: 1.0\n", "BagIt-Version: 1.0\nTag-File-Character-Encoding: none\n"]
)
def test_a_declaration_that_says_nothing_refuses_the_bag(folder: Path, text: str) -> None:
    (folder / "bagit.txt").write_text(text)
    with pytest.raises(BrokenFile):
        Bag(folder)


def test_receipts_are_held_against_the_bag(folder: Path) -> None:
    digests = {"data/a b.txt": hashlib.sha256(b"first").hexdigest(), "box/.hidden": hashlib.sha256(b"").hexdigest()}
    missing = [("data/box/n\nl 100%.txt", "It is in the bag, and no receipt names it.")]
    assert [*differences(Bag(folder), digests)] == missing
    (name, said), *_ = differences(Bag(folder), digests | {"data/a b.txt": "0"})
    assert (name, said.endswith("and 0 in the receipt.")) == ("data/a b.txt", True)
