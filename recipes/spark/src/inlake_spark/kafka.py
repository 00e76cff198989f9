"""Spark's Kafka source with the gateway's settings: librdkafka's names of properties as the Java client's."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from inlake.settings import SettingsError, kafka_properties, load

SAME = ("security.protocol", "sasl.mechanism", "client.id", "ssl.endpoint.identification.algorithm")
"""Properties that both clients call the same."""
LOGINS = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def reader_options(environment: Mapping[str, str]) -> dict[str, str]:
    """Options of `spark.read.format("kafka")`, but for the topic. Raises `SettingsError`."""
    url = urlsplit(load(environment).bus)
    if url.scheme != "kafka" or not url.netloc:
        raise SettingsError(f"INLAKE_BUS: Spark reads from kafka://HOST:PORT,..., not from {url.geturl()!r}")
    given = kafka_properties(environment)
    client = {name: given[name] for name in SAME if name in given}
    mechanism = given.get("sasl.mechanism", given.get("sasl.mechanisms", ""))
    if mechanism:
        if mechanism not in LOGINS:
            raise SettingsError(f"INLAKE_KAFKA_SASL_MECHANISM: {mechanism} is none of {', '.join(LOGINS)}")
        user, password = (_quoted(given.get(f"sasl.{name}", "")) for name in ("username", "password"))
        client["sasl.mechanism"] = mechanism
        client["sasl.jaas.config"] = f"{LOGINS[mechanism]} required username={user} password={password};"
    if authority := given.get("ssl.ca.location"):
        client |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": authority}
    client = {f"kafka.{name}": value for name, value in client.items()}
    # what a transaction took back is no event; Java's client reads it unless it is told not to
    return {"kafka.bootstrap.servers": url.netloc, "kafka.isolation.level": "read_committed", **client}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
