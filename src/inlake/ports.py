"""What the path needs from the world: a registry, a store, a bus, and codecs made from schemas.

Every adapter of a port passes the one contract suite of that port in `tests/contract/`. Adapters take plain
arguments, connect lazily (their constructor neither blocks nor fails when the service is away) and raise the errors
of `inlake.errors` only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from inlake.errors import InlakeError
from inlake.model import Event, Message, Position

if TYPE_CHECKING:  # the registry's own classes are the only schema classes there are
    from confluent_kafka.schema_registry import RegisteredSchema, Schema


class Registry(Protocol):
    """Schemas by subject and version, and by id. `SchemaNotFound`, `RegistryUnavailable`, `RegistryRefused`."""

    async def find(self, subject: str, version: int | None = None) -> RegisteredSchema:
        """The schema with subject, version and id set; None is the latest version.

        A version is cached for ever, the latest for a short time, an unknown name for a short time too; when the
        registry is down the last known answer stands.
        """
        ...

    async def find_by_id(self, schema_id: int) -> Schema:
        """The schema with this id, its references in it; cached for ever."""
        ...

    async def references(self, schema: Schema) -> list[tuple[str, Schema]]:
        """(name, schema) of all references of `schema`, also indirect ones, each name once, the deepest first."""
        ...

    async def register(self, subject: str, schema: Schema) -> RegisteredSchema:
        """Add a version; the same schema again is the same version. `InvalidSchema` with the registry's reason;
        `Conflict` when it is incompatible with what is there."""
        ...

    async def subjects(self) -> list[str]:
        """All subjects, sorted."""
        ...

    async def versions(self, subject: str) -> list[int]:
        """Versions of a subject, ascending. `SchemaNotFound`."""
        ...

    async def check(self) -> None:
        """Return when the registry answers, raise `RegistryUnavailable` or `RegistryRefused` when not."""
        ...

    async def close(self) -> None: ...


class Store(Protocol):
    """Objects by key, below the deployment's prefix. `StoreUnavailable`, `OutOfSpace`.

    Keys are `/`-separated text without empty, `.` or `..` segments. The store is read-after-write and
    list-after-write consistent, and everything is durable when a call returns.
    """

    async def create(self, key: str, data: bytes) -> bool:
        """Put a small object only if there is none: True for exactly one of any number of callers at once."""
        ...

    async def put(
        self, key: str, chunks: AsyncIterator[bytes | bytearray], *, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Stream an object of any size, over what is there, with flat memory; it is visible only when complete.

        `chunks`: buffers of exactly `PART` bytes, the last one shorter (never empty); an empty object has none.
        The consumer keeps no more than a few in flight, so not being asked for the next one is the back-pressure.
        An exception from `chunks` leaves no object and comes through unchanged.
        `metadata`: ASCII names and values, kept with the object where the store can.
        """
        ...

    async def get(self, key: str) -> bytes | None:
        """A small object, whole; None when there is none."""
        ...

    async def head(self, key: str) -> int | None:
        """Bytes of the object; None when there is none."""
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end) of an object in chunks; end None is its end."""
        ...

    def list(self, prefix: str) -> AsyncIterator[str]:
        """Keys below `prefix` (a whole number of segments, ends with `/`), in no set order."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; none there is no error."""
        ...

    def uri(self, key: str) -> str:
        """The address that goes into records and headers: `s3://bucket/prefix/key` or `file:///...`."""
        ...

    async def check(self) -> None:
        """Return when the store can be used, raise `StoreUnavailable` when not."""
        ...

    async def close(self) -> None: ...


class Bus(Protocol):
    """The log of events."""

    async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
        """Publish all; returns when each is confirmed by all in-sync replicas or has failed, in bounded time.

        The result at an index belongs to the event at that index; one that fails does not sink the others. Failures
        are `TopicMissing`, `RecordTooLarge`, `BusUnavailable` (certainly not published) and `OutcomeUnknown`.
        Events with one key keep their order.
        """
        ...

    def read(
        self,
        topics: Sequence[str] | None = None,
        *,
        start: Literal["earliest", "latest"] = "earliest",
        follow: bool = False,
    ) -> AsyncIterator[Message]:
        """Messages of the topics (None: all that hold events), from the start or from now; `follow`: without end."""
        ...

    async def check(self) -> list[str]:
        """Warnings about the set-up, each a sentence; raises `BusUnavailable` when the bus cannot be reached."""
        ...

    async def close(self) -> None:
        """Flush what is in flight, then let go."""
        ...


class Draft(Protocol):
    """A record parsed and not yet validated. Belongs to the codec that made it."""

    @property
    def resource(self) -> Any:
        """Value of the resource field as sent (a tagged union already opened); None when null or absent."""
        ...


class Codec(Protocol):
    """One compiled schema: JSON text in, wire bytes out. Stateless, for one event loop, blocking but quick."""

    content_type: str
    """Of the event's value: `application/vnd.confluent.avro`, `.protobuf` or `.json`."""
    has_resource_field: bool
    """True when the top level of the schema has the resource field and text fits in it."""

    def read(self, record: bytes, *, tagged: bool = False) -> Any:
        """Parse JSON to a Draft. `MalformedJson` with `line` and `column`; `RecordRejected` when nested too deeply."""
        ...

    def encode(self, draft: Any, resource: str | None = None) -> bytes:
        """Validate and encode: the payload after the five bytes of the wire format (for Protobuf with its indexes).

        With `resource` the resource field is set to it first, whatever it was. `RecordRejected` with all errors.
        """
        ...

    def decode(self, payload: bytes) -> Any:
        """Payload to plain Python values for a person to read. `InlakeError` when it does not fit."""
        ...

    def example(self) -> Any:
        """A JSON value that fits the schema."""
        ...
