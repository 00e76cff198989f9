"""Settings: environment variables and `.env` with the prefix `INLAKE_`, one class, each field described once."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails

PREFIX = "INLAKE_"
KAFKA_PREFIX = PREFIX + "KAFKA_"
OTHERS = ("INLAKE_URL", "INLAKE_TOKEN", "INLAKE_DEBUG", "INLAKE_REQUIRE_LIVE", "INLAKE_TEST_")
"""Variables of the client, the commands and the tests."""
_PART = r"(?:[\w.~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_URI_REFERENCE = re.compile(  # RFC 3986, 4.1: a scheme, or no colon in the first segment; authority; path; query; fragment
    r"(?:[A-Za-z][A-Za-z0-9+.-]*:|(?![^/?#]*:))"
    rf"(?://(?:{_PART}|\[[0-9A-Fa-f:.]+\])*(?=[/?#]|$))?(?:{_PART}|/)*(?:\?(?:{_PART}|[/?])*)?(?:#(?:{_PART}|[/?])*)?",
    re.ASCII,
)
UNIX = "unix"
"""Stands in `trusted_proxies` for who connects to the Unix socket."""
SENTENCES = {
    "int_parsing": "{found!r} is no whole number",
    "float_parsing": "{found!r} is no number",
    "bool_parsing": "{found!r} is neither true nor false",
    "literal_error": "{found!r} is not {expected}",
    "greater_than": "{found} is not more than {gt:.12g}",
    "greater_than_equal": "{found} is less than {ge:.12g}",
    "less_than_equal": "{found} is more than {le:.12g}",
}
"""Sentences on a wrong value, by pydantic's name for what is wrong."""
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class SettingsError(Exception):
    """A setting is wrong: the message names the variable and says what it takes."""


class Settings(BaseModel):
    """All settings. Sizes are bytes, times are seconds unless the name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    bus: str = Field(
        "sqlite:.inlake/events.db", description="Where events go: `sqlite:PATH` or `kafka://HOST:PORT,...`."
    )
    store: str = Field("file:.inlake/store", description="Where binaries go: `file:FOLDER` or `s3://BUCKET/PREFIX` (endpoint and credentials by the standard `AWS_*` variables).")  # fmt: skip
    in_place: str = Field("", description="Where binaries are already: prefixes such as `s3://BUCKET/PREFIX` or `file:FOLDER`, with commas between. Whoever may send may list what is below them, name it in an event without a copy, and read it; what begins with a dot is left out, and so is the gateway's own store, in which no prefix may lie.")  # fmt: skip
    registry: str = Field("dir:.inlake/schemas", description="Where schemas are: `dir:FOLDER` or the `http(s)://` address of a Confluent-compatible Schema Registry, its path included; several addresses of one registry have commas between.")  # fmt: skip

    host: str = Field("127.0.0.1", description="Address to listen on. Anything beyond loopback needs authentication or `INLAKE_ALLOW_ANONYMOUS=true`.")  # fmt: skip
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one and logs it.")
    unix_socket: Path | None = Field(None, description="Unix socket to listen on, in place of host and port: for a proxy on the same machine. Whoever may open it may connect (mode 0660).")  # fmt: skip
    tls_certificate: Path | None = Field(None, description="File with the certificate of this gateway and those that vouch for it (PEM); with it the gateway speaks TLS, 1.2 or newer, and nothing else. Read again when it changes.")  # fmt: skip
    tls_key: Path | None = Field(None, description="File with the private key of the certificate, where it is not in the same file.")  # fmt: skip
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description="Processes that share the port, one for each core; each has its own connections to the bus and the store.",
    )
    allow_anonymous: bool = Field(
        False, description="Allow clients without authentication on an address beyond loopback."
    )
    api_keys: Path | None = Field(
        None,
        description="File of `name:sha256` lines, the sha256 of each client's key in hexadecimal; clients send `Authorization: Bearer KEY`. Read again when it changes.",
    )
    oidc_issuer: str = Field("", description="Issuer of an OpenID Connect provider whose tokens are taken beside API keys: `Authorization: Bearer TOKEN`, principal `oidc:<sub>`.")  # fmt: skip
    oidc_audience: str = Field("", description="Audience that a token must have been made for (`aud`).")
    oidc_principal_claim: str = Field("sub", min_length=1, description="Claim of a token that names the principal.")
    oidc_groups_claim: str = Field("groups", min_length=1, description="Claim of a token that lists the groups of the principal: names, or a text with blanks between.")  # fmt: skip
    oidc_ca: Path | None = Field(None, description="File with the certificates that the issuer's TLS is checked against.")  # fmt: skip
    oidc_client_id: str = Field("", description="What the issuer calls this gateway: with it people sign in to the console at the issuer (authorization code with PKCE).")  # fmt: skip
    oidc_client_secret: SecretStr | None = Field(None, description="The secret that the issuer gave for it. Sessions of the console are signed with it.")  # fmt: skip
    oidc_scopes: str = Field("profile", description="Scopes that signing in asks for beside `openid`, with blanks between.")  # fmt: skip
    oidc_redirect: str = Field("", description="Address of `/console/sign-in/return` as browsers reach it, if it is not that of the request: behind a proxy that speaks TLS, `https://HOST/console/sign-in/return`. The issuer has to know it.")  # fmt: skip
    principal_header: str = Field("", description="Header in which a proxy says who sends, such as `X-Forwarded-User`: the principal is `proxy:<name>`. Believed only from `INLAKE_TRUSTED_PROXIES`.")  # fmt: skip
    groups_header: str = Field("", description="Header in which a proxy lists the groups of who sends, with commas between.")  # fmt: skip
    trusted_proxies: str = Field("", description="Addresses and networks of proxies whose headers are believed, with commas between: `127.0.0.1, 10.0.0.0/8`; `unix` is who connects to `INLAKE_UNIX_SOCKET`. Theirs are `X-Forwarded-*` or `Forwarded`, and what `INLAKE_PRINCIPAL_HEADER` and `INLAKE_GROUPS_HEADER` name.")  # fmt: skip
    forwarded_header: Literal["x-forwarded", "forwarded"] = Field("x-forwarded", description="Where trusted proxies say what was asked for: `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded` (RFC 7239). The other is not looked at: a proxy lets it through as the client sent it.")  # fmt: skip
    cors_origins: str = Field("", description="Origins whose pages may use the gateway from a browser, with commas between, `https://app.example`, or `*`. They send keys or tokens; cookies are not taken from them.")  # fmt: skip
    rights: Path | None = Field(None, description="TOML file of rules that say who may ingest, read and administer which schemas and destinations; without it everybody may ingest and read what is theirs, and nobody administers. Read again when it changes.")  # fmt: skip
    quota_principal: str = Field("", description="Most that one principal may send a minute: `requests=600, records=100000, bytes=1000000000`, or some of the three; beyond it is 429 `quota_exceeded`. All workers count together; anonymous clients are one principal.")  # fmt: skip
    quota_all: str = Field("", description="Most that all clients together may send a minute, in the same words.")
    log_format: Literal["text", "json"] = Field("text", description="Form of the log lines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    traces: str = Field("", description="Address of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`: requests leave traces there, and their events go on with them. Needs `inlake[otel]`; the rest (sampler, headers of the collector, attributes) is said by the standard `OTEL_*` variables of the process. Empty: no traces.")  # fmt: skip
    root_path: str = Field(
        "",
        description="Path that a proxy puts before the gateway's and takes off again, such as `/gw`: addresses in answers begin with it.",
    )
    stop_delay: float = Field(0, ge=0, le=300, description="How long a gateway that is told to stop still takes requests: `/health/ready` is 503 meanwhile and each answer closes its connection, so that a balancer in front sends the next one elsewhere.")  # fmt: skip
    shutdown_seconds: float = Field(30, gt=0, description="How long a stopping gateway waits for requests in flight.")

    topic: str = Field("inlake.{schema}", description="Topic of an event; `{schema}` is the schema's name.")
    unsecured_routes: bool = Field(
        False,
        description="For debugging only: the routes `/ingress/unsecured/...`, whose data is neither checked nor validated.",
    )
    unsecured_topic: str = Field(
        "inlake-unsecured", min_length=1, description="Topic of what comes in by the unsecured routes."
    )
    partition_by: str = Field("key", description="What chooses the partition of an event: `key` (order per schema and destination; one partition takes all of them), `event` (spread evenly, no order), or a JSON Pointer into the record as sent, `/maker/id` (order per value there; the key where it is absent or null).")  # fmt: skip
    source: str = Field(
        "/inlake", min_length=1, description="CloudEvents `ce_source`, a URI-reference; the same on every replica."
    )
    subject: str = Field("{schema}", description="Subject in the registry; TopicNameStrategy: `inlake.{schema}-value`.")
    resource_field: str = Field("__resource_path__", min_length=1, description="Top-level field of a record that says where its object is.")  # fmt: skip

    bus_timeout: float = Field(20, gt=0, le=300, description="How long the bus may take to confirm an event. Kafka gives a dead broker's partitions to others after 9 s (`broker.session.timeout.ms`): less than 15 s fails events that the next broker would take.")  # fmt: skip
    outbox: str = Field("", description="Where accepted events wait while Kafka is away: `sqlite:PATH`, a file on a disk of this machine that outlives the process. They are answered 202, and go out when Kafka is back. Default: none wait, and records are 503 then.")  # fmt: skip
    outbox_bytes: int = Field(GIB, ge=MIB, description="Most bytes of events in the outbox; beyond it records are 503.")
    outbox_seconds: float = Field(2, gt=0, le=60, description="How long Kafka may take to confirm an event before it goes to the outbox. Kafka may have it all the same: it is then published twice, with one `ce_id`.")  # fmt: skip
    kafka_producer: Literal["own", "librdkafka"] = Field("own", description="Who publishes to Kafka: the gateway's own producer, or librdkafka's, which is slower and knows every property of librdkafka. A property that only librdkafka knows chooses it too; the log says so at the start.")  # fmt: skip
    kafka_create_topics: bool = Field(False, description="Create topics that are not there; otherwise an absent topic is 503 `topic_missing`.")  # fmt: skip
    topic_partitions: int = Field(3, ge=1, description="Partitions of a topic that the gateway creates.")
    topic_replication: int = Field(-1, ge=-1, description="Replication factor of a topic that the gateway creates; -1 is the broker's default.")  # fmt: skip

    registry_auth: SecretStr | None = Field(
        None, description="`user:password` for the registry's basic authentication."
    )
    registry_token: SecretStr | None = Field(None, description="Bearer token for the registry.")
    registry_ca: Path | None = Field(None, description="File with the certificates that the registry's TLS is checked against.")  # fmt: skip
    registry_timeout: float = Field(5, gt=0, le=60, description="How long the registry may take to answer.")
    registry_latest_seconds: float = Field(
        10, ge=0, description="How long a schema is remembered before the registry is asked again."
    )
    store_timeout: float = Field(10, gt=0, le=300, description="How long the store may take for a small object, its retries included; a part of a large one may take six times as long.")  # fmt: skip
    store_public_endpoint: str | None = Field(
        None,
        description="URL of the S3 server as clients see it, for uploads and downloads past the gateway; default: the gateway's own endpoint.",
    )

    max_record_bytes: int = Field(900_000, ge=1, description="Largest record, as sent; keep it well under the broker's `message.max.bytes`, which counts it as encoded.")  # fmt: skip
    max_binary_bytes: int = Field(80 * GIB, ge=1, description="Largest binary; 80 GiB is 10,000 parts of 8 MiB.")
    max_inflated: int = Field(
        4 * GIB,
        ge=1,
        description="Most bytes that a body with `Content-Encoding: gzip` or `zstd` may inflate to; beyond 64 MiB also no more than a hundred times what was sent.",
    )
    max_depth: int = Field(200, ge=1, le=500, description="Deepest nesting of arrays and objects in a record.")
    max_errors: int = Field(100, ge=1, le=10_000, description="Most reasons given for one refused record.")
    max_request_line: int = Field(64 * KIB, ge=KIB, description="Largest request line and headers together.")

    max_requests: int = Field(
        1_000,
        ge=1,
        description="Requests to the ingress routes at once, in each process; one more is 503 `busy`. Streams and uploads reach `INLAKE_MAX_MEMORY` before.",
    )
    shed_ms: float = Field(25, ge=0, description="Milliseconds that the event loop may be late: while it is later for a fifth of a second, fewer requests are taken at once (100 at least), and the others are 503 `busy`; 0 takes as many as `INLAKE_MAX_REQUESTS` always.")  # fmt: skip
    max_memory: int = Field(
        GIB,
        ge=64 * MIB,
        description="Bytes that bodies in flight may take together, counted before they are read, in each process; more is 503 `busy`. The default is room for 95 NDJSON streams, or 20 uploads larger than 16 MB, at once.",
    )

    atomic_records: int = Field(
        10_000, ge=1, le=100_000, description="Most records in a body that is published all or nothing (`mode=atomic`)."
    )
    atomic_bytes: int = Field(
        32 * MIB,
        ge=KIB,
        description="Most bytes, inflated, of a body that is published all or nothing (`mode=atomic`).",
    )
    direct: bool = Field(
        True,
        description="Clients reach the object store, and send the files of a shipment there by signed URLs; false: they come through the gateway, as to a folder.",
    )
    shipment_files: int = Field(1_000, ge=1, le=10_000, description="Most files in a shipment.")
    shipment_bytes: int = Field(16 * MIB, ge=KIB, description="Most bytes, inflated, of what a shipment announces: its records and the names of its files.")  # fmt: skip
    window_records: int = Field(
        1_000,
        ge=1,
        le=100_000,
        description="Records that close a window of an NDJSON stream; they go to the bus 250 at a time.",
    )
    window_bytes: int = Field(
        MIB,
        ge=1,
        description="Bytes that close a window of an NDJSON stream, and about what a stream has on its way to the bus.",
    )
    window_ms: float = Field(500, gt=0, description="Milliseconds after its first line that close a window of an NDJSON stream, whatever comes after.")  # fmt: skip
    receipts_spool: int = Field(GIB, ge=0, description="Receipts that a client does not take at once go to an unlinked temporary file up to this size.")  # fmt: skip
    resource_redirect: bool = Field(
        False,
        description="Answer `GET /resources/{puuid}` with a redirect to a short-lived signed URL, where the store has such; otherwise the gateway sends the bytes.",
    )
    idempotent_bytes: int = Field(8 * MIB, ge=1, description="Largest body, inflated, of a request with an `Idempotency-Key`, files not counted.")  # fmt: skip
    idempotency_ttl: float = Field(
        86_400,
        gt=0,
        description="How long the answer to a request with an `Idempotency-Key` is kept at least; some hours later it is gone.",
    )
    rejects: str | None = Field(
        None,
        description="Where records are kept that were refused for their content: `sqlite:PATH`, on Kafka a topic's name, or `off`. Default: with the embedded bus a file beside its own (`.inlake/events.rejects.db`), with Kafka `off`. What comes by the unsecured routes is never kept.",
    )
    rejects_days: float = Field(30, gt=0, description="How many days a refused record is kept; that of a topic itself is set in Kafka (`retention.ms`).")  # fmt: skip
    rejects_bytes: int = Field(
        GIB,
        ge=MIB,
        description="Most bytes of refused records; beyond it those that were mended go, then the oldest of who has most.",
    )
    drain_bytes: int = Field(64 * MIB, ge=0, description="Most that is read and thrown away of a refused body.")
    drain_seconds: float = Field(10, ge=0, description="Longest time a refused body is read and thrown away.")
    body_idle_seconds: float = Field(
        60,
        gt=0,
        description="Longest pause within a request body or headers, longest time for one record, and longest pause of a client that reads its answer.",
    )

    upload_timeout: float = Field(
        600, gt=0, description="A binary on its way in without progress for so long is given up."
    )
    promise_seconds: float = Field(
        86_400,
        gt=0,
        description="A promise that waits for its binary or its record is kept so long after the last progress.",
    )
    sweep_seconds: float = Field(30, gt=0, description="Pause between two looks for what a crash left; the first is at the start.")  # fmt: skip

    @field_validator("host")
    @classmethod
    def _is_as_in_a_url(cls, value: str) -> str:
        """The address; IPv6 may be in the brackets of a URL."""
        return value[1:-1] if value.startswith("[") and value.endswith("]") else value

    @field_validator("partition_by")
    @classmethod
    def _is_a_rule(cls, value: str) -> str:
        if value not in {"key", "event"} and not re.fullmatch(r"(/([^~/]|~[01])*)+", value):
            raise ValueError(f"{value!r} is neither key nor event nor a JSON Pointer such as /maker/id")
        return value

    @field_validator("source")
    @classmethod
    def _is_a_uri_reference(cls, value: str) -> str:
        if not _URI_REFERENCE.fullmatch(value):
            raise ValueError(
                f"{value!r} is no URI-reference (RFC 3986) such as /inlake or https://museum.example/inlake"
            )
        return value

    @field_validator("topic", "subject")
    @classmethod
    def _names_the_schema(cls, value: str) -> str:
        if "{schema}" not in value or set(value.replace("{schema}", "")) & set("{}"):
            raise ValueError("it must hold {schema} and no other braces")
        return value

    @field_validator("traces")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value and not re.match(r"https?://.", value):
            raise ValueError(f"{value!r} is not http(s)://HOST:PORT")
        return value

    @field_validator("root_path")
    @classmethod
    def _is_a_path(cls, value: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", value):
            raise ValueError(f"{value!r} is no path such as /gw: it begins with a slash, and ends without one")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        _networks(value)
        return value

    @property
    def has_authentication(self) -> bool:
        """Whether clients must say who they are."""
        return bool(self.api_keys or self.oidc_issuer or self.principal_header)

    @property
    def trusted_networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """The networks of `trusted_proxies`."""
        return _networks(self.trusted_proxies)

    @property
    def trusts_unix(self) -> bool:
        """Whether who connects to the Unix socket is a trusted proxy."""
        return UNIX in (part.strip() for part in self.trusted_proxies.split(","))

    def topic_of(self, schema: str) -> str:
        return self.topic.replace("{schema}", schema)

    def is_topic_of_events(self, topic: str) -> bool:
        """Whether the gateway may have published to a topic of this name."""
        pattern = "[A-Za-z0-9._-]+".join(map(re.escape, self.topic.split("{schema}")))
        return topic == self.unsecured_topic or re.fullmatch(pattern, topic) is not None

    def subject_of(self, schema: str) -> str:
        return self.subject.replace("{schema}", schema)


def _networks(text: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Raises `ValueError`."""
    return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip() not in ("", UNIX)]


def read_environment(env_file: Path | None = Path(".env"), environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables of `.env` and of the process; the process wins, empty ones count as absent."""
    from_file = dotenv_values(env_file) if env_file and env_file.is_file() else {}
    merged = {**from_file, **(os.environ if environ is None else environ)}
    return {name: value for name, value in merged.items() if value}


def load(environment: Mapping[str, str]) -> Settings:
    """Settings from variables; `SettingsError` names every variable that is wrong."""
    fields = {name[len(PREFIX) :].lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    try:
        return Settings.model_validate(fields)
    except ValidationError as error:
        wrong = [f"{PREFIX}{str(e['loc'][0]).upper()}: {_sentence(e)}" for e in error.errors()]
        raise SettingsError("\n".join(wrong)) from None


def kafka_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """librdkafka properties from `INLAKE_KAFKA_*`: `INLAKE_KAFKA_SASL_MECHANISM` is `sasl.mechanism`."""
    return {
        name[len(KAFKA_PREFIX) :].lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith(KAFKA_PREFIX) and name[len(PREFIX) :].lower() not in Settings.model_fields
    }


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each `INLAKE_*` variable that is no setting: most are typing errors."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    elsewhere = (KAFKA_PREFIX, *OTHERS)
    unknown = [n for n in environment if n.startswith(PREFIX) and n not in known and not n.startswith(elsewhere)]
    sentences = []
    for name in sorted(unknown):
        near = difflib.get_close_matches(name, known, n=1)
        sentences.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "."))
    return sentences


def _sentence(error: ErrorDetails) -> str:
    """A sentence on what is wrong with a value; pydantic's own words where no setting is known to bring them about."""
    sentence = SENTENCES.get(error["type"])
    if sentence is None:
        return error["msg"].removeprefix("Value error, ")
    return sentence.format(found=error["input"], **error.get("ctx", {}))
