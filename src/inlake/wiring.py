"""The only module that knows the adapters: three URLs in, a registry, a store and a bus out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from inlake.codecs import Codecs, Unchecked
from inlake.gateway import Gateway
from inlake.logbook.answers import KeptAnswers
from inlake.logbook.lease import Leases
from inlake.ports import Bus, Registry, Store
from inlake.previews.keeper import Previews
from inlake.promises.direct import DirectUploads
from inlake.promises.shipments.due import Timeouts
from inlake.promises.shipments.in_place import InPlace
from inlake.promises.shipments.steps import Shipments
from inlake.promises.steps import Promises
from inlake.promises.sweep import Sweep
from inlake.promises.uploads import Uploads
from inlake.rejects.keeper import Keeper
from inlake.settings import KAFKA_PREFIX, Settings, SettingsError, kafka_properties

if TYPE_CHECKING:
    from inlake.bus.outbox.bus import OutboxBus
    from inlake.bus.outbox.table import Table
    from inlake.tracing.spans import Spans

    OutboxTable: TypeAlias = Table

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Deployment:
    """A gateway and what it stands on."""

    settings: Settings
    gateway: Gateway
    unsecured: Gateway
    """The same path with nothing checked; its routes exist only with `INLAKE_UNSECURED_ROUTES`."""
    uploads: Uploads
    """Uploads that come in several requests."""
    direct: DirectUploads
    """Uploads past the gateway."""
    shipments: Shipments
    """Many binaries with their records at once."""
    answers: KeptAnswers
    """The answers of requests with an `Idempotency-Key`."""
    sweep: Sweep
    registry: Registry
    store: Store
    bus: Bus
    previews: Previews
    """Pictures of binaries, for pages."""
    rejects: Keeper | None = None
    """Refused records that are kept; None: none is."""
    spans: Spans | None = None
    """Traces of requests; None: none leaves one."""
    outbox: OutboxBus | None = None
    """`bus`, where events wait on the disk while it is away; None: they are refused then."""

    async def close(self) -> None:
        """Flush the bus, then let go of all three."""
        await self.uploads.close()
        await self.previews.close()
        if self.rejects is not None:
            await self.rejects.close()
        await self.bus.close()
        await self.store.close()
        await self.shipments.in_place.close()
        await self.registry.close()
        if self.spans is not None:
            await self.spans.close()


def connect(settings: Settings, environment: Mapping[str, str], *, worker: int = 0) -> Deployment:
    """Make the gateway with its adapters. Nothing is connected yet: a dependency that is down does not stop the start.

    `worker`: its number among those of this server, from 0. Raises `SettingsError`.
    """
    kafka = connect_bus(settings, environment)
    outbox = connect_outbox(settings, kafka)
    bus: Bus = outbox or kafka
    store = connect_store(settings, environment)
    registry = connect_registry(settings)
    spans = connect_traces(settings, environment)
    if spans is not None:
        from inlake.tracing.calls import traced

        bus = traced(bus, "bus", spans)
        store = traced(store, "store", spans)
        registry = traced(registry, "registry", spans)
    promises = Promises(store, bus, upload_timeout=settings.upload_timeout, promise_seconds=settings.promise_seconds)
    uploads = Uploads(store, promises, Leases(store))
    answers = KeptAnswers(store, ttl=settings.idempotency_ttl)
    timeouts = Timeouts(settings.promise_seconds, 2 * settings.bus_timeout, 2 * settings.upload_timeout)
    in_place = connect_in_place(settings, environment, store)
    shipments = Shipments(store, bus, timeouts, in_place=in_place, direct=settings.direct)
    bus_timeout, upload_timeout = settings.bus_timeout, settings.upload_timeout
    sweep = Sweep(store, promises, uploads, shipments, bus_timeout=bus_timeout, upload_timeout=upload_timeout)
    sweep.share = (worker, settings.workers)
    gateway = Gateway(Codecs(registry, settings), promises, bus)
    unsecured = Gateway(Unchecked(settings), promises, bus)
    direct = DirectUploads(store, promises)
    rejects = connect_rejects(settings, kafka)
    return Deployment(
        settings, gateway, unsecured, uploads, direct, shipments, answers, sweep, registry, store, bus,
        Previews(store), rejects, spans, outbox,
    )  # fmt: skip


def connect_traces(settings: Settings, environment: Mapping[str, str]) -> Spans | None:
    """`INLAKE_TRACES`. Raises `SettingsError`."""
    if not settings.traces:
        return None
    try:
        from inlake.tracing.spans import Spans
    except ModuleNotFoundError as missing:
        raise SettingsError(
            f"INLAKE_TRACES: {missing.name} is not installed: "
            "pip install '.[server,otel]' in a clone of Inlake, or 'FILE.whl[server,otel]' with a wheel of it."
        ) from None
    return Spans(settings.traces, environment.get("OTEL_SERVICE_NAME", "inlake"))


def connect_bus(settings: Settings, environment: Mapping[str, str]) -> Bus:
    """`INLAKE_BUS`. Raises `SettingsError`."""
    url = _split("INLAKE_BUS", settings.bus)
    match url.scheme:
        case "kafka" if url.netloc:
            from inlake.bus.kafka.bus import KafkaBus
            from inlake.bus.kafka.topics import NewTopics

            new_topics = NewTopics(settings.topic_partitions, settings.topic_replication)
            try:
                return KafkaBus(
                    url.netloc,
                    properties=kafka_properties(environment),
                    new_topics=new_topics if settings.kafka_create_topics else None,
                    timeout=settings.bus_timeout,
                    holds_events=settings.is_topic_of_events,
                    producer=settings.kafka_producer,
                )
            except ValueError as error:
                raise SettingsError(f"{_kafka_variables(environment, str(error))}: {error}") from None
        case "sqlite" if url.path:
            from inlake.bus.sqlite.bus import SqliteBus

            return SqliteBus(Path(url.path), timeout=settings.bus_timeout)
    raise SettingsError(f"INLAKE_BUS: {settings.bus!r} is neither sqlite:PATH nor kafka://HOST:PORT,...")


def connect_outbox(settings: Settings, bus: Bus) -> OutboxBus | None:
    """`INLAKE_OUTBOX`. Raises `SettingsError`."""
    if not settings.outbox:
        return None
    path = _outbox_file(settings)
    if not settings.bus.startswith("kafka:"):
        raise SettingsError("INLAKE_OUTBOX goes with INLAKE_BUS=kafka://...: an embedded bus is on this disk already")
    from inlake.bus.outbox.bus import OutboxBus

    try:
        return OutboxBus(bus, path, most_bytes=settings.outbox_bytes, seconds=settings.outbox_seconds)
    except ValueError as error:
        raise SettingsError(f"INLAKE_OUTBOX: {error}") from None


def connect_outbox_table(settings: Settings) -> OutboxTable:
    """The file of `INLAKE_OUTBOX` for who looks into it, beside a gateway or without one. Raises `SettingsError`."""
    if not settings.outbox:
        raise SettingsError("INLAKE_OUTBOX is not set: no events wait on this disk")
    if not (path := _outbox_file(settings)).exists():
        raise SettingsError(f"INLAKE_OUTBOX: {path} is not there yet: a gateway makes it when it starts")
    from inlake.bus.outbox.table import Table

    table = Table(path)
    try:
        table.check()
    except ValueError as error:
        raise SettingsError(f"INLAKE_OUTBOX: {error}") from None
    return table


def _outbox_file(settings: Settings) -> Path:
    url = _split("INLAKE_OUTBOX", settings.outbox)
    if url.scheme != "sqlite" or not url.path:
        raise SettingsError(f"INLAKE_OUTBOX: {settings.outbox!r} is not sqlite:PATH")
    return Path(url.path)


def connect_rejects(settings: Settings, bus: Bus) -> Keeper | None:
    """`INLAKE_REJECTS`. Raises `SettingsError`."""
    seconds, most_bytes = settings.rejects_days * DAY, settings.rejects_bytes
    where, of_kafka = _place_of_rejects(settings), settings.bus.startswith("kafka:")
    if where is None:
        return None
    if where.startswith("sqlite:") and len(where) > len("sqlite:"):
        from inlake.rejects.sqlite.log import SqliteRejects

        path = Path(_split("INLAKE_REJECTS", where).path)
        return Keeper(SqliteRejects(path, seconds=seconds, most_bytes=most_bytes))
    if not of_kafka or not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", where):
        raise SettingsError(
            f"INLAKE_REJECTS: {where!r} is neither off nor sqlite:PATH nor, with INLAKE_BUS=kafka://..., a topic's name"
        )
    if settings.is_topic_of_events(where):
        raise SettingsError(
            f"INLAKE_REJECTS: {where!r} may be a topic of events ({settings.topic}): take another name, such as "
            "inlake-rejects"
        )
    from inlake.rejects.kafka.log import TopicRejects

    return Keeper(TopicRejects(bus, where, seconds=seconds, most_bytes=most_bytes))


def _sqlite_path(url: str | None) -> Path | None:
    """The file of `sqlite:PATH`; None for what is another."""
    return Path(urlsplit(url).path) if url and url.startswith("sqlite:") else None


def _place_of_rejects(settings: Settings) -> str | None:
    """`INLAKE_REJECTS`, with the SQLite bus by default beside it; None where none are kept."""
    if settings.rejects is None and settings.bus.startswith("sqlite:"):
        return "sqlite:" + str(Path(settings.bus.removeprefix("sqlite:")).with_suffix(".rejects.db"))
    return None if settings.rejects == "off" else settings.rejects


def _kafka_variables(environment: Mapping[str, str], reason: str) -> str:
    """The variables that a sentence of librdkafka is about: those whose property it names, else all that are set."""
    properties = kafka_properties(environment)
    named = [name for name in properties if name in reason] or properties
    return ", ".join(KAFKA_PREFIX + name.upper().replace(".", "_") for name in named) or "INLAKE_BUS"


def connect_store(settings: Settings, environment: Mapping[str, str]) -> Store:
    """`INLAKE_STORE`. Raises `SettingsError`."""
    url = _split("INLAKE_STORE", settings.store)
    match url.scheme:
        case "s3" if url.netloc:
            from inlake.store.s3.store import S3Store

            try:
                return S3Store(
                    url.netloc,
                    url.path.strip("/"),
                    environment=environment,
                    timeout=settings.store_timeout,
                    public_endpoint=settings.store_public_endpoint,
                )
            except ValueError as error:
                raise SettingsError(f"INLAKE_STORE: {error}") from None
        case "file" if url.path:
            from inlake.store.folder.store import FolderStore

            return FolderStore(Path(url.path))
    raise SettingsError(f"INLAKE_STORE: {settings.store!r} is neither file:FOLDER nor s3://BUCKET/PREFIX")


def connect_in_place(settings: Settings, environment: Mapping[str, str], store: Store) -> InPlace:
    """`INLAKE_IN_PLACE`. Raises `SettingsError`."""
    stores: list[Store] = []
    for prefix in filter(None, (part.strip() for part in settings.in_place.split(","))):
        url = _split("INLAKE_IN_PLACE", prefix)
        match url.scheme:
            case "s3" if url.netloc:
                stores.append(connect_store(settings.model_copy(update={"store": prefix}), environment))
            case "file" if url.path:
                from inlake.store.folder.store import FolderStore

                _refuse_to_show(Path(url.path), settings)
                stores.append(FolderStore(Path(url.path), foreign=True))
            case _:
                raise SettingsError(f"INLAKE_IN_PLACE: {prefix!r} is neither file:FOLDER nor s3://BUCKET/PREFIX")
    own = [store.uri("-").removesuffix("-")]
    if own[0].startswith("file:"):  # a prefix is a folder without links on the way to it
        own.append(f"{Path(urlsplit(settings.store).path).resolve().as_uri()}/")
    try:
        return InPlace(stores, own)
    except ValueError as error:
        raise SettingsError(f"INLAKE_IN_PLACE: {error} (INLAKE_STORE).") from None


def _refuse_to_show(folder: Path, settings: Settings) -> None:
    """`SettingsError` where a folder that clients may read has a file of the gateway itself in it.

    What begins with a dot, or is in a folder that does, is shown to nobody.
    """
    files = {
        "INLAKE_BUS": _sqlite_path(settings.bus),
        "INLAKE_OUTBOX": _sqlite_path(settings.outbox),
        "INLAKE_REJECTS": _sqlite_path(_place_of_rejects(settings)),
        "INLAKE_API_KEYS": settings.api_keys,
        "INLAKE_RIGHTS": settings.rights,
    }
    root = folder.resolve()
    for variable, file in files.items():
        if file is None:
            continue
        path = file.resolve()
        if path.is_relative_to(root) and not any(part.startswith(".") for part in path.relative_to(root).parts):
            raise SettingsError(
                f"INLAKE_IN_PLACE: {root} holds {path} ({variable}), which clients could read. Name a prefix beside "
                "it, or put the file somewhere else"
            )


def connect_registry(settings: Settings) -> Registry:
    """`INLAKE_REGISTRY`. Raises `SettingsError`."""
    url = _split("INLAKE_REGISTRY", settings.registry)
    match url.scheme:
        case "http" | "https" if url.netloc:
            from inlake.registry.confluent.registry import ConfluentRegistry

            try:
                return ConfluentRegistry(
                    settings.registry,
                    basic_auth=_revealed(settings.registry_auth),
                    token=_revealed(settings.registry_token),
                    ca=settings.registry_ca,
                    timeout=settings.registry_timeout,
                    ttl=settings.registry_latest_seconds,
                )
            except ValueError as error:
                raise SettingsError(f"INLAKE_REGISTRY: {error}") from None
        case "dir" if url.path:
            from inlake.registry.directory.registry import DirectoryRegistry

            if Path(url.path).is_file():
                raise SettingsError(f"INLAKE_REGISTRY: {url.path} is a file: name the folder that holds the schemas")
            return DirectoryRegistry(Path(url.path))
    raise SettingsError(f"INLAKE_REGISTRY: {settings.registry!r} is neither dir:FOLDER nor http(s)://HOST:PORT/...")


def _split(variable: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise SettingsError(f"{variable}: {url!r} is not a URL: {error}") from None
    if parts.scheme in {"sqlite", "file", "dir"} and (parts.netloc or parts.query or parts.fragment):
        scheme = parts.scheme
        raise SettingsError(
            f"{variable}: {url!r}: write {scheme}:PATH, or {scheme}:///PATH for one from the root; no # or ?"
        )
    return parts


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
