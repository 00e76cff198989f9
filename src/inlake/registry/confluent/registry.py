"""Schemas from a registry that speaks Confluent's HTTP API (its own, Apicurio's ccompat, Karapace), remembered.

Of Confluent's client only the classes are used. Its AsyncSchemaRegistryClient retries for many seconds and limits each
step but not a whole request, wants a Confluent Cloud cluster beside a bearer token, asks once for each of many callers,
never forgets an id, remembers no absence, and has no answer when the registry is away. Our own requests are in `rest`.
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
from inlake.registry.confluent.rest import BACK_OFF, Rest, quote_subject, read_list, read_registered, read_schema
from inlake.registry.references import find_references

log = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds a look-up waits for a newer answer when it has an older one."""
WARN_EVERY = 30.0
HIGHEST = 2**31 - 1
"""Versions and ids are Java integers in the registry."""


@dataclass(slots=True)
class _Latest:
    schema: RegisteredSchema
    until: float
    failing: bool = False
    """The last try for a newer answer failed, or takes longer than anyone should wait."""


class ConfluentRegistry:
    """The Registry port over HTTP. A version or id asked for once is known for ever; an outage is bridged by memory."""

    def __init__(
        self,
        url: str,
        *,
        basic_auth: str | None = None,
        token: str | None = None,
        ca: Path | None = None,
        timeout: float = 5,
        latest_ttl: float = 10,
        absent_ttl: float = 2,
    ) -> None:
        """`url`: with its path, `http://host:8081/apis/ccompat/v7`; `basic_auth`: `user:password`; `ca`: a PEM file.

        `timeout`: seconds for a whole request; `latest_ttl`, `absent_ttl`: seconds that the latest version of a
        schema, and the absence of one, are remembered. `ValueError` for a URL or certificates that cannot be used.
        """
        self._rest = Rest(url, basic_auth=basic_auth, token=token, ca=ca, timeout=timeout)
        self._latest_ttl, self._absent_ttl = latest_ttl, absent_ttl
        self._latest: Recent[str, _Latest] = Recent()
        self._versions: Recent[tuple[str, int], RegisteredSchema] = Recent()
        self._ids: Recent[int, Schema] = Recent()
        self._absent: Recent[str, tuple[float, SchemaNotFound]] = Recent()
        self._asking: Shared[str, Any] = Shared()
        self._warned = -WARN_EVERY

    async def find(self, subject: str, version: int | None = None) -> RegisteredSchema:
        if version is not None:
            return self._versions.recall((subject, version)) or await self._find_version(subject, version)
        latest = self._latest.get(subject)
        if latest is not None and monotonic() < latest.until:
            return latest.schema
        return await self._find_latest(subject, latest)

    async def find_by_id(self, schema_id: int) -> Schema:
        known = self._ids.recall(schema_id)
        if known is not None:
            return known
        missing = f"There is no schema with id {schema_id} in the registry at {self._rest.url}."
        if not 0 <= schema_id <= HIGHEST:
            raise SchemaNotFound(missing)
        schema = read_schema(await self._ask_once(f"schemas/ids/{schema_id}", missing))
        self._ids.keep(schema_id, schema)
        return schema

    async def references(self, schema: Schema) -> list[tuple[str, Schema]]:
        return await find_references(schema, self.find)

    async def register(self, subject: str, schema: Schema) -> RegisteredSchema:
        if not (schema.schema_str or "").strip():
            raise InvalidSchema("The schema is empty.")
        place = f"subjects/{quote_subject(subject)}"
        missing = f"The registry at {self._rest.url} misses something that {subject!r} refers to: add that first."
        body = {name: value for name, value in schema.to_dict().items() if value}
        await self._rest.post(f"{place}/versions", body, missing)  # may answer the id alone: ask for the version
        version = read_registered(await self._rest.post(place, body, missing)).version
        self._latest.pop(subject, None)
        self._absent.clear()
        return await self.find(subject, version)  # with the text as the registry keeps it

    async def subjects(self) -> list[str]:
        missing = f"The registry at {self._rest.url} lists no subjects."
        return read_list(await self._rest.get("subjects", missing), str)

    async def versions(self, subject: str) -> list[int]:
        return read_list(await self._rest.get(f"subjects/{quote_subject(subject)}/versions", _absence(subject)), int)

    async def check(self) -> None:
        missing = f"There is no schema registry at {self._rest.url}."
        read_list(await self._rest.get("schemas/types", missing), str)

    async def close(self) -> None:
        await self._asking.close()
        await self._rest.close()

    async def _find_version(self, subject: str, version: int) -> RegisteredSchema:
        missing = f"The schema {subject!r} has no version {version}: leave the version out to take the latest."
        if not 1 <= version <= HIGHEST:
            raise SchemaNotFound(missing)
        path = f"subjects/{quote_subject(subject)}/versions/{version}"
        return self._keep(subject, read_registered(await self._ask_once(path, missing, _absence(subject))))

    async def _find_latest(self, subject: str, known: _Latest | None) -> RegisteredSchema:
        path = f"subjects/{quote_subject(subject)}/versions/latest"
        asking = self._asking.start(path, partial(self._refresh, subject, path, known))
        if known is not None:
            if known.failing or self._rest.down_until:
                return known.schema  # an outage: the old answer at once, the next try goes on behind it
            await asyncio.wait({asking}, timeout=PATIENCE)
            if not asking.done():
                known.failing = True
                return known.schema
        latest: RegisteredSchema = await asyncio.shield(asking)
        return latest

    async def _refresh(self, subject: str, path: str, known: _Latest | None) -> RegisteredSchema:
        try:
            latest = self._keep(subject, read_registered(await self._ask(path, _absence(subject))))
        except SchemaNotFound:
            self._latest.pop(subject, None)
            raise
        except Unavailable as error:
            if known is None:
                raise
            self._warn(subject, error)
            self._latest.keep(subject, _Latest(known.schema, monotonic() + BACK_OFF, failing=True))
            return known.schema
        self._latest.keep(subject, _Latest(latest, monotonic() + self._latest_ttl))
        return latest

    def _keep(self, subject: str, found: RegisteredSchema) -> RegisteredSchema:
        """A schema that was found one way is known the other ways too."""
        assert found.version is not None
        assert found.schema_id is not None
        self._versions.keep((subject, found.version), found)
        self._ids.keep(found.schema_id, found.schema)
        return found

    def _warn(self, subject: str, error: Unavailable) -> None:
        if monotonic() - self._warned >= WARN_EVERY:
            self._warned = monotonic()
            log.warning("the last known versions of %s and other schemas stand: %s", subject, error.detail)

    async def _ask_once(self, path: str, missing: str, no_subject: str = "") -> Any:
        return await self._asking.join(path, partial(self._ask, path, missing, no_subject))

    async def _ask(self, path: str, missing: str, no_subject: str = "") -> Any:
        """GET, but not what was absent a moment ago, nor from a registry that was away a moment ago."""
        now = monotonic()
        until, absence = self._absent.get(path, (0.0, None))
        if absence is not None and now < until:
            raise copy(absence)
        if now < self._rest.down_until:
            raise RegistryUnavailable(f"The schema registry at {self._rest.url} was away a moment ago: try again.")
        try:
            return await self._rest.get(path, missing, no_subject=no_subject)
        except SchemaNotFound as error:
            self._absent.keep(path, (monotonic() + self._absent_ttl, copy(error)))
            raise


def _absence(subject: str) -> str:
    return f"There is no schema {subject!r} in the registry: add it with `inlake schemas add {subject} FILE`."
