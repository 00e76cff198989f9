"""The folder of schemas on disk: `<name>/<version>.avsc`, or a loose `<name>.avsc` that is version 1.

`.avsc` is Avro, `.proto` Protobuf, `.json` JSON Schema; `<name>/<version>.references.json` beside it lists what it
refers to: `[{"name": "...", "subject": "...", "version": 1}]`. A loose file has no references.
"""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaReference

from inlake.disk import sync_folder, write_durably
from inlake.errors import BadName, Conflict, InvalidSchema, SchemaNotFound
from inlake.memory import Recent
from inlake.model import SCHEMA_NAME
from inlake.registry.directory.ids import Ids, Signature, locked, signature
from inlake.registry.references import MAX_DEPTH

log = logging.getLogger(__name__)

TYPES = {".avsc": "AVRO", ".proto": "PROTOBUF", ".json": "JSON"}
NAME = re.compile(SCHEMA_NAME, re.ASCII)
VERSION_FILE = re.compile(r"([1-9][0-9]{0,8})\.(avsc|proto|json)", re.ASCII)
IDS_FILE = "ids.json"
Signatures = tuple[Signature | None, Signature | None]


class SchemaFiles:
    """Blocking, for one thread. `OSError` comes through; names are checked by the caller."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ids = Ids(root)
        self._seen: Recent[Path, RegisteredSchema] = Recent()
        self._read_before: Recent[Path, tuple[Signatures, Schema]] = Recent()

    def find(self, subject: str, version: int | None) -> RegisteredSchema:
        """The version, or the highest; read again only when its files have changed. Gives an id at first sight."""
        number, path = self._file(subject, version)
        schema = self._text(path)
        try:
            refers_to = self._ids_of_references(schema, {path: None}, MAX_DEPTH)
        except (SchemaNotFound, InvalidSchema, BadName):
            refers_to = ()  # who asks for the references learns what is wrong with them
        seen, schema_id = self._seen.recall(path), self._ids.give(schema, refers_to)
        if seen is not None and seen.schema is schema and seen.schema_id == schema_id:
            return seen
        if seen is not None and seen.schema_id != schema_id:
            log.warning("%s was changed: it has id %d now, and was %d", path, schema_id, seen.schema_id)
        found = RegisteredSchema(subject, number, schema_id, None, schema)
        self._seen.keep(path, found)
        return found

    def find_by_id(self, schema_id: int) -> tuple[Schema, dict[str, Schema]]:
        """The schema that got the id, and all that it referred to then, each name once, the deepest first."""
        known = self._ids.find(schema_id)
        if known is None:
            raise SchemaNotFound(f"There is no schema with id {schema_id} in {self._root / IDS_FILE}.")
        schema, refers_to = known
        found: dict[str, Schema] = {}
        for reference, referred in zip(schema.references or [], refers_to, strict=False):
            if reference.name and reference.name not in found:
                target, deeper = self.find_by_id(referred)
                found = {**deeper, **found, reference.name: target}
        return schema, found

    def add(self, subject: str, schema: Schema) -> RegisteredSchema:
        """Write the next version, or find the one that is the same."""
        with locked(self._root):
            version = self._same(subject, schema) or self._write(subject, schema)
        return self.find(subject, version)

    def subjects(self) -> list[str]:
        entries = self._entries()
        loose = {e.stem for e in entries if e.suffix in TYPES and e.name != IDS_FILE and e.is_file()}
        folders = {e.name for e in entries if e.is_dir() and any(VERSION_FILE.fullmatch(f.name) for f in e.iterdir())}
        return sorted(name for name in loose | folders if NAME.fullmatch(name))

    def versions(self, subject: str) -> list[int]:
        return sorted(self._files(subject))

    def check(self) -> None:
        """Make the folder when it is not there yet, and see that it can be read."""
        self._root.mkdir(parents=True, exist_ok=True)
        next(self._root.iterdir(), None)
        self._ids.find(0)

    def _file(self, subject: str, version: int | None) -> tuple[int, Path]:
        files = self._files(subject)
        wanted = max(files) if version is None else version
        if wanted not in files:
            raise SchemaNotFound(
                f"The schema {subject!r} has no version {version}: leave the version out to take the latest."
            )
        return wanted, files[wanted]

    def _text(self, path: Path) -> Schema:
        """The schema in a file: the same object until one of its files has changed."""
        signatures = signature(path), signature(_references_file(path))
        read = self._read_before.recall(path)
        if read is None or read[0] != signatures:
            read = signatures, self._read(path)
            self._read_before.keep(path, read)
        return read[1]

    def _ids_of_references(self, schema: Schema, above: dict[Path, int | None], depth: int) -> tuple[int, ...]:
        """`above`: ids of the files seen on the way, None for those that are not through yet; `depth`: levels left."""
        return tuple(self._id_of(reference, above, depth) for reference in schema.references or [])

    def _id_of(self, reference: SchemaReference, above: dict[Path, int | None], depth: int) -> int:
        subject, version = reference.subject or "", reference.version or -1
        _, path = self._file(check_name(subject), version if version > 0 else None)
        schema_id = above.get(path)
        if schema_id is None:
            if path in above or depth == 0:
                raise InvalidSchema("The references of the schema go in a circle, or have no end.")
            above[path] = None
            schema = self._text(path)
            schema_id = above[path] = self._ids.give(schema, self._ids_of_references(schema, above, depth - 1))
        return schema_id

    def _entries(self) -> list[Path]:
        """The paths in the folder, none before it is made. `NotADirectoryError` when a file stands in its place."""
        return list(self._root.iterdir()) if self._root.exists() else []

    def _files(self, subject: str) -> dict[int, Path]:
        """File of each version, at least one. `InvalidSchema` where two files claim one version."""
        folder, found = self._root / subject, dict[int, Path]()
        loose = [self._root / f"{subject}{suffix}" for suffix in TYPES if f"{subject}{suffix}" != IDS_FILE]
        versions = [(1, path) for path in loose if path.is_file()]
        if folder.is_dir():
            if versions:
                raise InvalidSchema(
                    f"{self._say(versions[0][1])} stands beside the folder {subject}/: move it into the folder."
                )
            named = [(VERSION_FILE.fullmatch(path.name), path) for path in folder.iterdir()]
            versions = sorted((int(match[1]), path) for match, path in named if match)
        for version, path in versions:
            if version in found:
                raise InvalidSchema(
                    f"{self._say(found[version])} and {self._say(path)} are both version {version}: keep one."
                )
            found[version] = path
        if not found:
            if self._root.exists():
                os.scandir(self._root).close()  # `OSError` when it cannot be read, and then nothing is known
            add = f"`inlake schemas add {subject} FILE`"
            raise SchemaNotFound(f"There is no schema {subject!r}: add it with {add} in the gateway's folder.")
        return found

    def _same(self, subject: str, schema: Schema) -> int | None:
        try:
            files = self._files(subject)
        except SchemaNotFound:
            return None
        same = [version for version, path in files.items() if self._read(path) == schema]
        if not same and files[max(files)].parent == self._root:
            loose = files[1]
            raise Conflict(
                f"A loose file has room for one version only: move {loose.name} to {subject}/1{loose.suffix} first."
            )
        return max(same, default=None)

    def _write(self, subject: str, schema: Schema) -> int:
        folder = self._root / subject
        folder.mkdir(exist_ok=True)
        sync_folder(self._root)
        version = 1 + max((int(m[1]) for f in folder.iterdir() if (m := VERSION_FILE.fullmatch(f.name))), default=0)
        suffix = next(suffix for suffix, kind in TYPES.items() if kind == schema.schema_type)
        path = folder / f"{version}{suffix}"
        if schema.references:  # first: a version that can be seen has its references
            listed = json.dumps([reference.to_dict() for reference in schema.references], indent=1)
            write_durably(_references_file(path), listed.encode())
        else:
            _references_file(path).unlink(missing_ok=True)
        write_durably(path, str(schema.schema_str).encode())
        return version

    def _read(self, path: Path) -> Schema:
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidSchema(f"{self._say(path)} is not UTF-8: {error.reason} at byte {error.start}.") from None
        kind = TYPES[path.suffix]
        check_text(self._say(path), kind, text)
        return Schema(text, kind, self._read_references(_references_file(path)))

    def _read_references(self, path: Path) -> list[SchemaReference]:
        try:
            entries = json.loads(path.read_bytes()) if path.parent != self._root and path.is_file() else []
            return [_reference(entry) for entry in entries]
        except (ValueError, KeyError, TypeError, RecursionError):
            form = '[{"name": "...", "subject": "...", "version": 1}]'
            raise InvalidSchema(f"{self._say(path)} is not a list of references, such as {form}.") from None

    def _say(self, path: Path) -> str:
        return str(path.relative_to(self._root))


def check_name(subject: str) -> str:
    """The subject itself. `BadName` for one that no file may have."""
    if not NAME.fullmatch(subject):
        raise BadName(
            f"{subject!r} cannot be the name of a schema: it has 1 to 200 of the characters A-Z a-z 0-9 . _ -"
        )
    return subject


def check_text(what: str, kind: str | None, text: str) -> None:
    """`InvalidSchema` when the text is empty, or not JSON where it should be; more is for the codec to say."""
    if not text.strip():
        raise InvalidSchema(f"{what} is empty.")
    if kind == "PROTOBUF":
        return
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidSchema(f"{what} is not JSON: {str(error) or type(error).__name__}.") from None


def _reference(entry: Any) -> SchemaReference:
    name, subject, version = entry["name"], entry["subject"], entry["version"]
    if not (isinstance(name, str) and isinstance(subject, str) and isinstance(version, int)):
        raise TypeError
    return SchemaReference(name, subject, version)


def _references_file(path: Path) -> Path:
    return path.with_suffix(".references.json")
