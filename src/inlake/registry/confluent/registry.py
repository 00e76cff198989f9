"""Schemas from a registry that speaks Confluent's HTTP API (its own, Apicurio's ccompat, Karapace), remembered.

Of Confluent's client only the classes are used. Its AsyncSchemaRegistryClient retries for many seconds and limits each
step but not a whole request, wants a Confluent Cloud cluster beside a bearer token, asks once for each of many callers,
never forgets an id, remembers no absence, and has no answer when the registry is away. Our own requests are in `http`.
"""

from __future__ import annotations

import asyncio
import logging
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from confluent_kafka.schema_registry import RegisteredSchema, Schema

from inlake.errors import InvalidSchema, RegistryUnavailable, SchemaNotFound, Unavailable
from inlake.memory import Recent, Shared
from inlake.registry.confluent.http import (
    BACK_OFF,
    HIGHEST,
    Http,
    quote_subject,
    read_list,
    read_registered,
    read_schema,
)
from inlake.registry.references import find_references

log = logging.getLogger(__name__)

NEWER_TIMEOUT = 1.0
"""Seconds a look-up waits for a newer answer when it has an older one."""
WARN_EVERY = 30.0

Key = tuple[str, int | None]
"""Subject and version; None is the latest."""


@dataclass(slots=True)
class _Known:
    schema: RegisteredSchema
    until: float
    failing: bool = False
    """The last try for a newer answer failed, or takes longer than anyone should wait."""


class ConfluentRegistry:
    """The Registry port over HTTP. What is known is looked at again after a time; an outage is bridged by memory."""

    def __init__(
        self,
        url: str,
        *,
        basic_auth: str | None = None,
        token: str | None = None,
        ca: Path | None = None,
        timeout: float = 5,
        ttl: float = 10,
    ) -> None:
        """`url`: with its path, `http://host:8081/apis/ccompat/v7`, or several with commas between, of one registry;
        `basic_auth`: `user:password`; `ca`: a PEM file.

        `timeout`: seconds for a whole request; `ttl`: seconds until a schema is looked at again; the absence of one is
        remembered for a fifth of that. `ValueError` for a URL or certificates that cannot be used.
        """
        self._http = Http(url, basic_auth=basic_auth, token=token, ca=ca, timeout=timeout)
        self._ttl = ttl
        self._known: Recent[Key, _Known] = Recent()
        self._ids: Recent[int, Schema] = Recent()
        self._absent: Recent[str, tuple[float, SchemaNotFound]] = Recent()
        self._asking: Shared[str, Any] = Shared()
        self._warned = -WARN_EVERY

    async def find(self, subject: str, version: int | None = None) -> RegisteredSchema:
        known = self._known.get((subject, version))
        if known is not None and monotonic() < known.until:
            return known.schema
        return await self._look((subject, version), known)

    async def find_by_id(self, schema_id: int) -> tuple[Schema, list[tuple[str, Schema]]]:
        schema = self._ids.recall(schema_id)
        if schema is None:
            missing = f"There is no schema with id {schema_id} in the registry at {self._http.url}."
            if not 0 <= schema_id <= HIGHEST:
                raise SchemaNotFound(missing)
            path = f"schemas/ids/{schema_id}"
            schema = read_schema(await self._asking.join(path, partial(self._ask, path, missing)))
            self._ids.keep(schema_id, schema)
        return schema, await self.references(schema)

    async def references(self, schema: Schema) -> list[tuple[str, Schema]]:
        return await find_references(schema, self.find)

    async def register(self, subject: str, schema: Schema) -> RegisteredSchema:
        if not (schema.schema_str or "").strip():
            raise InvalidSchema("The schema is empty.")
        place = f"subjects/{quote_subject(subject)}"
        missing = f"The registry at {self._http.url} misses something that {subject!r} refers to: add that first."
        body = {name: value for name, value in schema.to_dict().items() if value}
        await self._http.post(f"{place}/versions", body, missing)  # may answer the id alone: ask for the version
        version = read_registered(await self._http.post(place, body, missing)).version
        for key in ((subject, None), (subject, version)):
            self._known.pop(key, None)
        self._absent.clear()
        return await self.find(subject, version)  # with the text as the registry keeps it

    async def subjects(self) -> list[str]:
        missing = f"The registry at {self._http.url} lists no subjects."
        return read_list(await self._http.get("subjects", missing), str)

    async def versions(self, subject: str) -> list[int]:
        return read_list(await self._http.get(f"subjects/{quote_subject(subject)}/versions", _absence(subject)), int)

    async def check(self) -> None:
        missing = f"There is no schema registry at {self._http.url}."
        read_list(await self._http.get("schemas/types", missing), str)

    async def close(self) -> None:
        await self._asking.close()
        await self._http.close()

    async def _look(self, key: Key, known: _Known | None) -> RegisteredSchema:
        subject, version = key
        path = f"subjects/{quote_subject(subject)}/versions/{'latest' if version is None else version}"
        asking = self._asking.start(path, partial(self._refresh, key, path, known))
        if known is not None:
            if known.failing or self._http.down_until:
                return known.schema  # an outage: the old answer at once, the next try goes on behind it
            await asyncio.wait({asking}, timeout=NEWER_TIMEOUT)
            if not asking.done():
                known.failing = True
                return known.schema
        found: RegisteredSchema = await asyncio.shield(asking)
        return found

    async def _refresh(self, key: Key, path: str, known: _Known | None) -> RegisteredSchema:
        subject, version = key
        missing = absence = _absence(subject)
        if version is not None:
            missing = f"The schema {subject!r} has no version {version}: leave the version out to take the latest."
            if not 1 <= version <= HIGHEST:
                raise SchemaNotFound(missing)
        try:
            found = read_registered(await self._ask(path, missing, absence))
        except SchemaNotFound:
            self._known.pop(key, None)
            raise
        except Unavailable as error:
            if known is None:
                raise
            self._warn(subject, error)
            self._known.keep(key, _Known(known.schema, monotonic() + BACK_OFF, failing=True))
            return known.schema
        if known is not None and known.schema == found:
            found = known.schema  # the same object: nobody needs to compare it again
        self._keep(key, found)
        return found

    def _keep(self, key: Key, found: RegisteredSchema) -> None:
        """A schema that was found one way is known the other ways too."""
        assert found.schema_id is not None
        known = _Known(found, monotonic() + self._ttl)
        self._known.keep(key, known)
        self._known.keep((key[0], found.version), known)
        self._ids.keep(found.schema_id, found.schema)

    def _warn(self, subject: str, error: Unavailable) -> None:
        if monotonic() - self._warned >= WARN_EVERY:
            self._warned = monotonic()
            log.warning("the last known versions of %s and other schemas stand: %s", subject, error.detail)

    async def _ask(self, path: str, missing: str, no_subject: str = "") -> Any:
        """GET, but not what was absent a moment ago, nor from a registry that was away a moment ago."""
        now = monotonic()
        until, absence = self._absent.get(path, (0.0, None))
        if absence is not None and now < until:
            raise copy(absence)
        if now < self._http.down_until:
            raise RegistryUnavailable(f"The schema registry at {self._http.url} was away a moment ago: try again.")
        try:
            return await self._http.get(path, missing, no_subject=no_subject)
        except SchemaNotFound as error:
            self._absent.keep(path, (monotonic() + self._ttl / 5, copy(error)))
            raise


def _absence(subject: str) -> str:
    return f"There is no schema {subject!r} in the registry: add it with `inlake schemas add {subject} FILE`."
