"""A BagIt bag (RFC 8493): its payload, what its manifests say of it, and `bag-info.txt`."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from inlake.client.records import BrokenFile
from inlake.client.tables import Fault

DECLARATION = "bagit.txt"
ALGORITHMS = {"md5": hashlib.md5, "sha1": hashlib.sha1, "sha256": hashlib.sha256, "sha512": hashlib.sha512}
"""The algorithms that names of manifests mean (RFC 8493, 2.4); others are told, and not checked."""
BLOCK = 1 << 20
_VERSION = re.compile(r"BagIt-Version: *([0-9]+\.[0-9]+)\s*\nTag-File-Character-Encoding: *(\S+)\s*")
_LINE = re.compile(r"([0-9A-Fa-f]+)[ \t]+\*?(?:\./)?(.+)")
_LABEL = re.compile(r"([^:\s][^:]*?)\s*:\s*(.*)")
_ESCAPED = {"%0A": "\n", "%0D": "\r", "%25": "%"}


def is_bag(folder: Path) -> bool:
    """Whether a folder says that it is one."""
    return (folder / DECLARATION).is_file()


class Bag:
    """A bag as it says it is; nothing of its payload is read yet."""

    def __init__(self, folder: Path) -> None:
        """`BrokenFile` for a declaration or a tag file that cannot be read, or that is not what its manifest says."""
        self.folder = folder
        found = _VERSION.fullmatch(_text(folder / DECLARATION, "utf-8"))
        if not found:
            raise BrokenFile(str(folder / DECLARATION), "it does not declare a version of BagIt and an encoding.")
        self._encoding = found[2]
        self.info = self._read_info()
        """Labels of `bag-info.txt` with their values, in order; one may come several times."""
        self._manifests = self._read("manifest-*.txt")
        if not self._manifests:
            raise BrokenFile(str(folder), "the bag has no manifest that can be checked (md5, sha1, sha256, sha512).")
        for path, digests in self._read("tagmanifest-*.txt").items():
            if fault := self._wrong(path, digests):
                raise BrokenFile(str(folder / path), fault.detail)

    def files(self) -> dict[str, Path]:
        """The payload by its paths in the bag: what a manifest names, and what lies in `data/`."""
        here = (path for path in (self.folder / "data").rglob("*") if not path.is_dir())
        there = {path.relative_to(self.folder).as_posix() for path in here}
        return {name: self.folder / name for name in sorted(there | self._manifests.keys())}

    def check(self, name: str) -> tuple[Fault, ...]:
        """Why a file of the payload is not what the manifests say."""
        digests = self._manifests.get(name)
        if digests is None:
            return (Fault("not_in_manifest", "No manifest of the bag names this file."),)
        fault = self._wrong(name, digests)
        return (fault,) if fault else ()

    def check_size(self) -> Fault | None:
        """Whether bytes and files are as many as `Payload-Oxum` says, if it is there."""
        told = self.info.get("Payload-Oxum", [""])[0]
        found = re.fullmatch(r"([0-9]+)\.([0-9]+)", told)
        if not found:
            return None
        sizes = [path.stat().st_size for path in self.files().values() if path.is_file()]
        if (sum(sizes), len(sizes)) == (int(found[1]), int(found[2])):
            return None
        there = f"{len(sizes)} of {sum(sizes):,}"
        return Fault(
            "bag_incomplete", f"Payload-Oxum says {found[2]} files of {int(found[1]):,} bytes; there are {there}."
        )

    def _wrong(self, name: str, digests: dict[str, str]) -> Fault | None:
        hashes = {algorithm: ALGORITHMS[algorithm](usedforsecurity=False) for algorithm in digests}
        path = self.folder / name
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                return Fault("unreadable", "This is no file.")
            with path.open("rb") as file:
                while block := file.read(BLOCK):
                    for one in hashes.values():
                        one.update(block)
        except FileNotFoundError:
            return Fault("bag_incomplete", f"A manifest of the bag names it, and it is not there{self._fetched(name)}.")
        except OSError as error:
            return Fault("unreadable", f"The file cannot be read: {error.strerror}.")
        for algorithm, told in digests.items():
            if hashes[algorithm].hexdigest() != told:
                detail = f"Its {algorithm} is {hashes[algorithm].hexdigest()}, and the manifest of the bag says {told}."
                return Fault("bag_damaged", detail)
        return None

    def _fetched(self, name: str) -> str:
        """The sentence about a file of `fetch.txt` that is not there: nobody fetches it here."""
        path = self.folder / "fetch.txt"
        if not path.is_file():
            return ""
        lines = (line.split(None, 2) for line in _text(path, self._encoding).splitlines())
        urls = [parts[0] for parts in lines if len(parts) == 3 and _plain(parts[2]) == name]
        return f" (fetch.txt has it at {urls[0]}: fetch it first)" if urls else ""

    def _read(self, pattern: str) -> dict[str, dict[str, str]]:
        """The digests of all manifests of a kind, by path and algorithm."""
        found: dict[str, dict[str, str]] = {}
        for manifest in sorted(self.folder.glob(pattern)):
            algorithm = manifest.stem.rpartition("-")[2].lower()
            if algorithm not in ALGORITHMS:
                continue
            for number, line in enumerate(_text(manifest, self._encoding).splitlines(), 1):
                if not line.strip():
                    continue
                parts = _LINE.fullmatch(line)
                if not parts or not _is_inside(parts[2]):
                    raise BrokenFile(str(manifest), "this is no line of a manifest.", number, 1)
                found.setdefault(_plain(parts[2]), {})[algorithm] = parts[1].lower()
        return found

    def _read_info(self) -> dict[str, list[str]]:
        path, info = self.folder / "bag-info.txt", dict[str, list[str]]()
        last = ""
        for line in _text(path, self._encoding).splitlines() if path.is_file() else ():
            if line[:1].isspace() and last:  # it goes on with the one before
                info[last][-1] = f"{info[last][-1]} {line.strip()}".strip()
            elif found := _LABEL.fullmatch(line):
                last = found[1]
                info.setdefault(last, []).append(found[2].strip())
        return info


def differences(bag: Bag, receipts: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Files of a bag that are not as they should be, or did not go in, and why; `receipts`: SHA-256 by file."""
    if fault := bag.check_size():
        yield str(bag.folder), fault.detail
    for name, path in bag.files().items():
        if faults := bag.check(name):
            yield name, faults[0].detail
        elif (told := receipts.get(name) or receipts.get(name.removeprefix("data/"))) is None:
            yield name, "It is in the bag, and no receipt names it."
        else:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != told:
                yield name, f"Its SHA-256 in the bag is {found}, and {told} in the receipt."


def _text(path: Path, encoding: str) -> str:
    try:
        return path.read_bytes().decode(encoding).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise BrokenFile(str(path), f"it cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, LookupError):
        raise BrokenFile(str(path), f"it is not {encoding}, as {DECLARATION} says.") from None


def _plain(path: str) -> str:
    """A path in a manifest without its escapes (RFC 8493, 2.1.3)."""
    return re.sub("%0A|%0D|%25", lambda found: _ESCAPED[found[0].upper()], path, flags=re.IGNORECASE)


def _is_inside(path: str) -> bool:
    return not path.startswith(("/", "~")) and ".." not in path.split("/")
