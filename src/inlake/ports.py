"""The needs of the path, as protocols: a registry, a store, a bus, and codecs made from schemas.

Every adapter of a port passes the contract suite of that port in `tests/contract/`. Adapters take plain
arguments, connect lazily (their constructor neither blocks nor fails when the service is away) and raise the errors
of `inlake.errors` only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from inlake.errors import InlakeError
from inlake.model import Blob, Event, Listed, Message, Moment, ObjectFacts, Part, Place, Position, SignedRequest

if TYPE_CHECKING:  # the registry's own classes are the only schema classes there are
    from confluent_kafka.schema_registry import RegisteredSchema, Schema


class Schemas(Protocol):
    """A source of the schemas that codecs are made from. `SchemaNotFound`, `RegistryUnavailable`, `RegistryRefused`."""

    async def find(self, subject: str, version: int | None = None) -> RegisteredSchema:
        """The schema with subject, version and id set; None is the latest version.

        It is remembered for a short time, an unknown name too, and is the same object until it has been looked at
        again; when the registry is down the last known answer stands.
        """
        ...

    async def references(self, schema: Schema) -> list[tuple[str, Schema]]:
        """(name, schema) of all references of `schema`, also indirect ones, each name once, the deepest first."""
        ...


class Registry(Schemas, Protocol):
    """Schemas by subject and version, and by id. `SchemaNotFound`, `RegistryUnavailable`, `RegistryRefused`."""

    async def find_by_id(self, schema_id: int) -> tuple[Schema, list[tuple[str, Schema]]]:
        """The schema with this id, and all that it refers to, as `references` has it."""
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
    """Objects by key, below the deployment's prefix.

    Keys are `/`-separated text without empty, `.` or `..` segments (`store/keys.check_key`), else `BadPlace`. The store
    is read-after-write and list-after-write consistent, and everything is durable when a call returns. Every method
    raises `StoreUnavailable`, those that write `OutOfSpace`; `read` raises `NotFound`, `put` `BadParameter` for
    metadata that is not ASCII.
    """

    @property
    def pieces(self) -> Pieces:
        """The same objects, for those that come in pieces."""
        ...

    @property
    def direct(self) -> Direct | None:
        """The same objects, for clients that send to the store themselves; None where a store takes nothing so."""
        ...

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

    async def put_new(self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str]) -> bool:
        """Put an object of up to `PART` bytes only if there is none. False when there is one: another's, or this very
        one where the answer of the store was lost."""
        ...

    async def get(self, key: str) -> bytes | None:
        """A small object, whole; None when there is none."""
        ...

    async def head(self, key: str) -> int | None:
        """Bytes of the object; None when there is none."""
        ...

    async def sizes(self, keys: Sequence[str]) -> dict[str, int]:
        """Bytes of those of the objects that are there. What the keys have in common at their begin spares requests."""
        ...

    async def facts(self, key: str) -> ObjectFacts | None:
        """The store's facts of the object, its checksum with them; None when there is none."""
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end) of an object in chunks; end None is its end."""
        ...

    def list(self, prefix: str) -> AsyncIterator[str]:
        """Keys below `prefix` (a whole number of segments, ends with `/`), in no set order."""
        ...

    def objects(self, prefix: str) -> AsyncIterator[Listed]:
        """The same with what a listing tells of each."""
        ...

    async def page(self, folder: str, after: str, count: int) -> Sequence[str]:
        """Names of the first `count` objects in a flat folder (ends with `/`) that come behind `after`, sorted."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; none there is no error."""
        ...

    def uri(self, key: str) -> str:
        """The address that goes into records and headers: `s3://bucket/prefix/key` or `file:///...`, a URI (RFC 3986)
        whose path is percent-encoded where it must be."""
        ...

    async def check(self) -> Sequence[str]:
        """Warnings, each a sentence, when the store can be used; raises `StoreUnavailable` or `OutOfSpace` when not."""
        ...

    async def close(self) -> None: ...


class Pieces(Protocol):
    """Objects of a store that come in pieces: any process may take the next one. `StoreUnavailable`, `OutOfSpace`."""

    async def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str], size: int | None = None) -> str:
        """Begin an object that comes in pieces; the upload's id, which means something to this store only.

        `size`: of the whole if it is known, in bytes; the more it is, the larger the parts that the store keeps.
        """
        ...

    async def received(self, key: str, upload: str) -> int | None:
        """Bytes held safely; None when there is no such upload (completed, aborted)."""
        ...

    async def append(
        self, key: str, upload: str, offset: int, chunks: AsyncIterator[bytes], *, size: int | None = None
    ) -> int:
        """Add bytes behind `offset`; the new length. `chunks`: of any size.

        What arrived before `chunks` raised is kept, then the exception goes on. Memory: six times `PART` at most,
        for an upload of up to 70 GiB. `size`: of the whole if it is known; then its end needs no keeping aside, and a
        small object may be visible with its last byte already.
        `OffsetConflict` when `offset` is not what is held, `NotFound` when there is no such upload. Callers see to it
        that one at a time appends.
        """
        ...

    async def complete(self, key: str, upload: str) -> bool:
        """Make the object visible; again after it succeeded is no error. False when one stood there already, of this
        upload or of a request that brought all bytes at once, or when another process has written over what this one
        has put: who needs its checksum reads it. `NotFound` when it is neither there nor to be had."""
        ...

    async def abort(self, key: str) -> int:
        """Abort all unfinished uploads to the key, also those of a killed `put`; how many."""
        ...


class Direct(Protocol):
    """Objects that clients send to a store themselves, by requests that are signed for them.

    A signed request is good until `expires` (seconds since 1970) and no longer; `PromiseExpired` when that is past,
    `DirectUploadNotAvailable` when there are no credentials to sign with.
    """

    async def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str], sha256: bool) -> str:
        """Begin an object that comes in parts; the store's own id of the upload (S3's UploadId).

        `sha256`: each part comes with its own, and one without is refused.
        """
        ...

    async def parts(self, key: str, upload: str) -> Sequence[Part]:
        """The parts that the store holds, by number. `NotFound` when there is no such upload."""
        ...

    async def complete(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Make the object out of these parts. `NotFound` when there is no such upload, `PartsRefused` with the
        store's reason."""
        ...

    async def sign_put(
        self, key: str, blob: Blob, *, content_type: str, metadata: Mapping[str, str], expires: float
    ) -> SignedRequest:
        """A PUT of the whole object: of this length and checksum, and only while there is no object."""
        ...

    async def sign_part(self, key: str, upload: str, number: int, blob: Blob, *, expires: float) -> SignedRequest:
        """A PUT of one part; sent again it takes the place of the first, until the parts are put together."""
        ...

    async def sign_get(self, key: str, *, content_type: str, disposition: str, expires: float) -> SignedRequest:
        """A GET, answered with this `Content-Type` and `Content-Disposition`."""
        ...


class Bus(Protocol):
    """The log of events."""

    async def publish(self, events: Sequence[Event]) -> Sequence[Place | InlakeError]:
        """Publish all; returns when each is confirmed by all in-sync replicas or has failed, in bounded time.

        The result at an index belongs to the event at that index; one that fails does not sink the others. Failures
        are `TopicMissing`, `RecordTooLarge`, `BusUnavailable` (certainly not published) and `OutcomeUnknown`.
        Events with one key keep their order, also those of calls that are made one after the other without waiting.
        """
        ...

    async def publish_all_or_none(self, events: Sequence[Event]) -> Sequence[Place]:
        """Publish all in one transaction, or none: where each of them is, in bounded time.

        One error speaks for all: `TopicMissing`, `RecordTooLarge` (its member `event` is the index of one that is),
        `BusUnavailable` and `Busy` (certainly none was published), `OutcomeUnknown` (all were, or none).
        """
        ...

    def read(
        self,
        topics: Sequence[str] | None = None,
        *,
        start: Literal["earliest", "latest"] = "earliest",
        follow: bool = False,
        after: Iterable[Position] = (),
    ) -> AsyncIterator[Message]:
        """Messages of the topics (None: all that hold events), from the start or from now; `follow`: without end;
        `after`: partitions of which something was read before are read from behind these positions on."""
        ...

    async def recent(
        self, limit: int, topics: Sequence[str] | None = None, *, before: Moment | None = None
    ) -> list[Message]:
        """The newest messages of the topics (None: all that hold events), the newest first, at most `limit`; fewer
        where they are large. `before`: those that come after this message in that order."""
        ...

    async def find(self, at: Position) -> Message | None:
        """The message at a position; None when there is none, or none any more."""
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
    """The media type of the event's value: `application/vnd.confluent.avro`, `.protobuf` or `.json`."""
    has_resource_field: bool
    """True when the top level of the schema has the resource field and text fits in it."""

    def encode_plain(self, record: bytes) -> bytes | None:
        """`read` and `encode` in one go for most records: those that fit, and name no resource. None: take both steps.

        `RecordRejected` when nested too deeply.
        """
        ...

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

    def shape(self) -> Any:
        """The fields of a record, as an `inlake.formats.shape.Shape`."""
        ...
