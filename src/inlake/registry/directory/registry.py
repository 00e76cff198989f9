"""Schemas from a folder of files: the registry of a laptop or a small museum, no service needed."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from pathlib import Path
from time import monotonic
from typing import ParamSpec, TypeVar

from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaReference

from inlake.errors import InvalidSchema, OutOfSpace, RegistryUnavailable, SchemaNotFound
from inlake.memory import Recent, Shared
from inlake.registry.directory.files import TYPES, SchemaFiles, check_name, check_text
from inlake.registry.references import find_references

P = ParamSpec("P")
T = TypeVar("T")
Key = tuple[str, int | None]


class DirectoryRegistry:
    """The Registry port over a folder (layout in `files`, ids in `ids`); several processes may share it.

    Files that a person adds or changes are seen within `ttl` seconds, and get their id then. A changed file
    gets a new id; the old id is still found. Versions are not checked for compatibility with each other.
    """

    def __init__(self, root: Path, *, ttl: float = 1) -> None:
        """`root`: made when it is first needed; `ttl`: seconds before the files are looked at again."""
        self._files = SchemaFiles(root)
        self._root, self._ttl = root, ttl
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="schemas")  # one: nothing in there needs a lock
        self._seen: Recent[Key, tuple[float, RegisteredSchema]] = Recent()
        self._absent: Recent[Key | int, tuple[float, SchemaNotFound]] = Recent()
        self._ids: Recent[int, tuple[Schema, list[tuple[str, Schema]]]] = Recent()
        self._looking: Shared[Key, RegisteredSchema] = Shared()

    async def find(self, subject: str, version: int | None = None) -> RegisteredSchema:
        seen = self._seen.get((subject, version))
        if seen is not None and monotonic() < seen[0]:
            return seen[1]
        key = (check_name(subject), version)
        self._refuse_absent(key)
        return await self._looking.join(key, partial(self._find, key))

    async def find_by_id(self, schema_id: int) -> tuple[Schema, list[tuple[str, Schema]]]:
        known = self._ids.recall(schema_id)
        if known is not None:
            return known
        self._refuse_absent(schema_id)
        try:
            schema, references = await self._run(self._files.find_by_id, schema_id)
        except SchemaNotFound as error:
            self._absent.keep(schema_id, (monotonic() + self._ttl, copy(error)))
            raise
        if schema.references and not references:  # an id of before the file held what a schema refers to
            return schema, await self.references(schema)
        self._ids.keep(schema_id, (schema, list(references.items())))
        return schema, list(references.items())

    async def references(self, schema: Schema) -> list[tuple[str, Schema]]:
        return await find_references(schema, self.find)

    async def register(self, subject: str, schema: Schema) -> RegisteredSchema:
        check_name(subject)
        text = (schema.schema_str or "").removeprefix("\ufeff")
        kind = schema.schema_type or "AVRO"
        if kind not in TYPES.values():
            raise InvalidSchema(f"{kind!r} is not a type of schema: it is one of {', '.join(TYPES.values())}")
        check_text("The schema", kind, text)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidSchema("The text of the schema is not Unicode: it holds half a surrogate pair.") from None
        await self.references(schema)
        added = await self._run(self._files.add, subject, Schema(text, kind, await self._pin(schema.references or [])))
        for version in (None, added.version):
            self._seen.pop((subject, version), None)
        self._absent.clear()
        return added

    async def subjects(self) -> list[str]:
        return await self._run(self._files.subjects)

    async def versions(self, subject: str) -> list[int]:
        return await self._run(self._files.versions, check_name(subject))

    async def check(self) -> None:
        await self._run(self._files.check)

    async def close(self) -> None:
        await self._looking.close()
        self._thread.shutdown(wait=False)  # what it still writes it writes to the end

    async def _find(self, key: Key) -> RegisteredSchema:
        try:
            found = await self._run(self._files.find, *key)
        except SchemaNotFound as error:
            self._absent.keep(key, (monotonic() + self._ttl, copy(error)))
            raise
        except RegistryUnavailable:
            if key not in self._seen:
                raise
            found = self._seen[key][1]  # the last known answer stands
        self._seen.keep(key, (monotonic() + self._ttl, found))
        return found

    async def _pin(self, references: list[SchemaReference]) -> list[SchemaReference]:
        """The same with the version that is the latest now, where none is given."""
        versions = [
            r.version if (r.version or -1) > 0 else (await self.find(str(r.subject))).version for r in references
        ]
        return [SchemaReference(r.name, r.subject, version) for r, version in zip(references, versions, strict=True)]

    def _refuse_absent(self, key: Key | int) -> None:
        until, absence = self._absent.get(key, (0.0, None))
        if absence is not None and monotonic() < until:
            raise copy(absence)

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Blocking work in the thread of this registry, with the errors of the disk in our words."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args, **kwargs))
        except OSError as error:
            sentence = f"The folder of schemas {self._root} cannot be used: {error.strerror} ({error.filename})."
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise OutOfSpace(sentence) if full else RegistryUnavailable(sentence) from error
