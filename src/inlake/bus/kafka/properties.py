"""How to reach Kafka and who one is there: what a producer of our own makes of librdkafka's properties."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inlake.bus.kafka.oauth import sources
from inlake.bus.kafka.oauth.tokens import Fetch, Tokens

PORT = 9092
CONNECTION: Mapping[str, Any] = {
    "client.id": "inlake",
    # the default of 10 s between attempts would keep the gateway away long after the broker is back
    "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 1000,
    "socket.keepalive.enable": True,
}
MECHANISMS = frozenset({"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"})
FIXED: Mapping[str, tuple[str, ...]] = {
    "acks": ("all", "-1"),
    "request.required.acks": ("all", "-1"),
    "enable.idempotence": ("true", "1"),
    "partitioner": ("murmur2_random", "murmur2"),
}
"""Properties that the guarantees rest on, with all that they may be; both producers have them so."""
IGNORED = frozenset({"transaction.timeout.ms", "socket.keepalive.enable"})
"""Properties that are about something else, or are done in any case."""
TUNING = frozenset(
    {
        "linger.ms",
        "queue.buffering.max.ms",
        "queue.buffering.max.messages",
        "queue.buffering.max.kbytes",
        "batch.num.messages",
        "batch.size",
    }
)
"""Properties that say how librdkafka makes its batches: they choose no producer, and ours makes no use of them."""
COMPRESSIONS = frozenset({"none", "gzip", "snappy", "lz4", "zstd"})
KNOWN = {
    *FIXED,
    *IGNORED,
    *TUNING,
    *sources.KNOWN,
    "bootstrap.servers",
    "client.id",
    "compression.codec",
    "compression.type",
    "reconnect.backoff.ms",
    "reconnect.backoff.max.ms",
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "enable.ssl.certificate.verification",
    "ssl.endpoint.identification.algorithm",
}


def check_fixed(properties: Mapping[str, str]) -> None:
    """Raises ValueError for one of `FIXED` that is to be something else."""
    for name in FIXED.keys() & properties.keys():
        if properties[name].lower() not in FIXED[name]:
            raise ValueError(f"{name} must be {FIXED[name][0]}: what the gateway guarantees rests on it; leave it out")


@dataclass(frozen=True, slots=True)
class Access:
    """How every connection is made."""

    servers: tuple[tuple[str, int], ...]
    """Host and port of the brokers to begin with."""
    client_id: str
    backoff: tuple[float, float]
    """Seconds between two attempts, at first and at most."""
    tls: ssl.SSLContext | None
    mechanism: str
    """The mechanism of SASL; empty: nobody asks who we are."""
    user: str
    password: str = field(repr=False)
    compression: str = "none"
    """The compression of record batches, one of COMPRESSIONS."""
    tokens: Tokens | None = None
    """The tokens of OAUTHBEARER, which takes no user and password."""


def find_access(properties: Mapping[str, Any]) -> Access | None:
    """None when a property asks for something that only librdkafka does, or for what cannot be had: it says why."""
    if of_librdkafka(properties):
        return None
    protocol, mechanism = _protocol(properties), _mechanism(properties)
    fetch = _token_source(properties)
    first, most = (float(properties[f"reconnect.backoff{which}.ms"]) / 1000 for which in ("", ".max"))
    try:
        return Access(
            servers=tuple(map(_address, filter(str.strip, str(properties["bootstrap.servers"]).split(",")))),
            client_id=str(properties["client.id"]),
            backoff=(first, most),
            tls=_tls(properties) if protocol.endswith("SSL") else None,
            mechanism=(sources.OAUTHBEARER if fetch else mechanism) if protocol.startswith("SASL_") else "",
            user=str(properties.get("sasl.username", "")),
            password=str(properties.get("sasl.password", "")),
            compression=_compression(properties),
            tokens=Tokens(fetch) if fetch else None,
        )
    except (OSError, ValueError):  # a file that is not there, a port that is no number
        return None


def of_librdkafka(properties: Mapping[str, Any]) -> list[str]:
    """The properties that ask for what only librdkafka does."""
    only = sorted(properties.keys() - KNOWN)
    if _protocol(properties).startswith("SASL_") and not (
        _mechanism(properties) in MECHANISMS or _token_source(properties)
    ):
        only.append("sasl.mechanism")
    if _compression(properties) not in COMPRESSIONS:
        only.append("compression.type")
    return only


def for_librdkafka(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The same for librdkafka's clients: those of our names that it does not know are its own."""
    return sources.for_librdkafka(properties, _mechanism(properties), _hosts(properties))


def _token_source(properties: Mapping[str, Any]) -> Fetch | None:
    return sources.find_source(properties, _mechanism(properties), _hosts(properties))


def _hosts(properties: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        server.strip().rpartition(":")[0] for server in str(properties.get("bootstrap.servers", "")).split(",")
    )


def _protocol(properties: Mapping[str, Any]) -> str:
    return str(properties.get("security.protocol", "PLAINTEXT")).upper()


def _compression(properties: Mapping[str, Any]) -> str:
    return str(properties.get("compression.type", properties.get("compression.codec", "none"))).lower()


def _mechanism(properties: Mapping[str, Any]) -> str:
    return str(properties.get("sasl.mechanism", properties.get("sasl.mechanisms", ""))).upper()


def _address(server: str) -> tuple[str, int]:
    """`host`, `host:port`, `[IPv6]:port`, any of them with a protocol in front."""
    host, colon, port = server.rpartition("://")[2].strip().rpartition(":")
    if not colon or port.endswith("]"):
        host, port = host + colon + port, str(PORT)
    if not 0 < int(port) < 1 << 16:
        raise ValueError(port)
    return host.strip("[]"), int(port)


def _tls(properties: Mapping[str, Any]) -> ssl.SSLContext:
    authority = str(properties.get("ssl.ca.location", ""))
    if authority == "probe":
        authority = ""
    folder = bool(authority) and Path(authority).is_dir()
    context = ssl.create_default_context(
        cafile=None if folder else authority or None,
        capath=authority if folder else None,
        cadata=properties.get("ssl.ca.pem"),
    )
    verified = str(properties.get("enable.ssl.certificate.verification", "true")).lower() not in {"false", "f", "0"}
    names = str(properties.get("ssl.endpoint.identification.algorithm", "https")).lower() != "none"
    context.check_hostname = verified and names
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    if certificate := properties.get("ssl.certificate.location"):
        context.load_cert_chain(
            certificate, properties.get("ssl.key.location"), str(properties.get("ssl.key.password", ""))
        )
    return context
