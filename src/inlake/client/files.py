"""The files of a collection, each with its record: from a table that names them, or from a sidecar beside each."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from inlake.client.journal import SUFFIX
from inlake.client.multipart import readable
from inlake.client.records import BrokenFile
from inlake.client.tables import Converted, Fault, Row, TableError

SIDECAR = ".json"
FILE_COLUMNS = frozenset(
    {"file", "filename", "file_name", "path", "filepath", "datei", "dateiname", "fichier", "image"}
)
"""Names of a column of files, where none is told."""


UNNAMED = Fault("no_pair", "No row of the table names this file.")


class Placed(NamedTuple):
    """An object that is in the gateway's store already."""

    uri: str
    size: int
    modified: int
    """Nanoseconds since 1970."""


class Item(NamedTuple):
    """A binary and the record that belongs to it, as far as they are there."""

    name: str
    """The name in the journal, the receipts and messages: the path below its source."""
    path: Path | None
    """None: a row names a file that is not there, or none."""
    record: bytes | None
    """One line of JSON; None where `faults` say why."""
    row: Row | None = None
    """The row of the table."""
    faults: tuple[Fault, ...] = ()
    """Why it cannot be sent."""
    placed: Placed | None = None
    """The object, where it is in the store already and there is no file of it here."""
    former: bytes | None = None
    """The record as earlier versions of Inlake wrote it, where that is another text: a journal may know it so."""

    @property
    def entry(self) -> str:
        """The name of its entry in a journal: of an object in the store its URI."""
        return self.placed.uri if self.placed else self.name


def size_of(item: Item) -> int:
    """Bytes of the file now; 0 for one that is not there."""
    if item.placed:
        return item.placed.size
    try:
        return os.stat(item.path).st_size if item.path else 0  # noqa: PTH116 (half the time of Path.stat)
    except OSError:
        return 0


def find_files(sources: Sequence[str], listed: Iterable[str] = ()) -> dict[str, Path]:
    """All files below folders, of patterns and of a list (where a source is `-`), by the names they get.

    Hidden files and journals are left out. `BrokenFile` for a source that is not there, and for two files of one name.
    """
    found: dict[str, Path] = {}
    for source in sources:
        for name, path in _below(source, listed):
            if found.setdefault(name, path) != path:
                raise BrokenFile(name, f"{found[name]} and {path} would both be called so; send one after the other.")
    return found


def file_column(names: Sequence[str]) -> str:
    """The column that is called as one of files. `TableError` when there is none."""
    for name in names:
        if name.strip().lower() in FILE_COLUMNS:
            return name
    some = ", ".join([*names[:8], "..."] if len(names) > 8 else names)
    said = f"No column is called file, filename, path or the like; there are {some}."
    raise TableError([Fault("no_file_column", said, "Say which it is with --file-column NAME.")])


def with_sidecars(files: dict[str, Path]) -> Iterator[Item]:
    """Each file with the record in `NAME.json` beside it; a sidecar of nothing is an item that is wrong."""
    for name, path in files.items():
        if name.endswith(SIDECAR):
            if name.removesuffix(SIDECAR) not in files:
                yield Item(name, path, None, faults=(_fault("There is no file beside this record."),))
            continue
        sidecar = files.get(name + SIDECAR)
        if sidecar is None:
            yield Item(name, path, None, faults=(_fault(f"There is no record {Path(name).name}{SIDECAR} beside it."),))
            continue
        record, faults = _one_line(sidecar)
        yield Item(name, path, record, faults=faults)


def with_table(
    files: dict[str, Path], rows: Iterable[tuple[Row, str | None]], convert: Callable[[Row, str | None], Converted]
) -> Iterator[Item]:
    """Each row with the file that it names, by its path or, where only one has it, by its last part; then the files
    that no row names.

    `rows`: each with what stands in its column of files. `convert`: makes the record of a row, whose file has this
    name, None when it is not there.
    """
    names = _Names(files)
    taken: dict[str, int] = {}
    for row, file in rows:
        name, missing = names.find(file)
        _, record, _, faults, former = convert(row, name)
        if name is None:
            fault = _fault(missing)._replace(row=row.number)
            yield Item(file or f"row {row.number}", None, record, row, (*faults, fault))
        elif name in taken:
            fault = _fault(f"Row {taken[name]} names this file too.")._replace(row=row.number)
            yield Item(name, files[name], record, row, (*faults, fault))
        else:
            taken[name] = row.number
            yield Item(name, files[name], record, row, faults, former=former)
    for name, path in files.items():
        if name not in taken:
            yield Item(name, path, None, faults=(UNNAMED,))


class _Names:
    """Files by what a table may call them."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    @cached_property
    def _last(self) -> dict[str, list[str]]:
        """The names by their last parts in small letters: needed where a table writes one in another way."""
        found: dict[str, list[str]] = {}
        for name in self._files:
            found.setdefault(name.rpartition("/")[2].lower(), []).append(name)
        return found

    def find(self, file: str | None) -> tuple[str | None, str]:
        """The name, or why there is none."""
        if not file:
            return None, "This row names no file."
        name = file.strip().replace("\\", "/").removeprefix("./")
        if name in self._files:
            return name, ""
        alike = self._last.get(name.rpartition("/")[2].lower(), [])
        below = [one for one in alike if one.lower().endswith(f"/{name.lower()}") or one.lower() == name.lower()]
        if len(below) == 1:
            return below[0], ""
        if below:
            return None, f"This row names {file}, and there are {', '.join(below[:3])}: write the folder too."
        return None, f"There is no file {file}, which this row names."


def _below(source: str, listed: Iterable[str]) -> Iterator[tuple[str, Path]]:
    if source == "-":
        yield from ((_name(Path(line)), Path(line)) for line in listed if line)
        return
    path = Path(source)
    if path.is_dir():
        root = str(path)
        for folder, folders, names in os.walk(root, onerror=_cannot_be_read):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            below = folder[len(root) :].lstrip("/")
            links = [name for name in folders if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114 (as in the line below)
            for name in sorted([*names, *links]):  # a link to a folder is not followed, and so not left out unsaid
                if not name.startswith(".") and SUFFIX not in name:
                    # names are put together as text: a Path for each step takes most of the time of 100,000 files
                    yield readable(f"{below}/{name}" if below else name), Path(f"{folder}/{name}")
        return
    matches = [path] if path.exists() else sorted(map(Path, glob.glob(source, recursive=True)))  # noqa: PTH207 (any root)
    if not matches:
        raise BrokenFile(source, "there is no such file or folder.")
    yield from ((_name(match), match) for match in matches if not match.is_dir())


def _cannot_be_read(error: OSError) -> None:
    raise error


def _name(path: Path) -> str:
    return readable(path.as_posix() if not path.is_absolute() else path.name)


def _one_line(sidecar: Path) -> tuple[bytes | None, tuple[Fault, ...]]:
    """The record of a sidecar as one line: line breaks in JSON are white space or an error."""
    try:
        text = sidecar.read_bytes().decode("utf-8-sig")
        json.loads(text)
    except OSError as error:
        return None, (_fault(f"Its record {sidecar.name} cannot be read: {error.strerror}."),)
    except ValueError as error:
        return None, (_fault(f"Its record {sidecar.name} is not JSON: {error}."),)
    except RecursionError:
        return None, (_fault(f"Its record {sidecar.name} is nested too deep."),)
    return text.replace("\n", " ").replace("\r", " ").strip().encode(), ()


def _fault(sentence: str) -> Fault:
    return Fault("no_pair", sentence)
