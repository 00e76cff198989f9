"""Who may do what on Kafka, and what clients hear when Kafka refuses: users, rights, sizes, warnings, partitions."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import murmur2
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.cimpl import NewPartitions, NewTopic

from inlake.bus.kafka.topics import Topics
from tests.gateways import Answer, Gateway, embedded, form
from tests.live_servers import KAFKA_BOOTSTRAP, KAFKA_SASL_BOOTSTRAP, require

pytestmark = pytest.mark.live

USER, PASSWORD = "gateway", "gateway-secret"


@pytest.fixture
def admin() -> AdminClient:
    require("Kafka", KAFKA_BOOTSTRAP)
    require("Kafka with SASL", KAFKA_SASL_BOOTSTRAP)
    return AdminClient({"bootstrap.servers": KAFKA_BOOTSTRAP, "log_level": 0})


@pytest.fixture
def prefix(admin: AdminClient) -> Iterator[str]:
    """Before the name of every topic of the test; topics and rights go at the end."""
    name = f"test-{uuid4().hex}"
    yield name
    literal, every = ResourcePatternType.LITERAL, (AclOperation.ANY, AclPermissionType.ANY)
    rights = AclBindingFilter(ResourceType.TOPIC, topic_of(name), literal, None, None, *every)  # type: ignore[arg-type]
    admin.delete_acls([rights])[rights].result()
    admin.delete_topics([topic_of(name)])[topic_of(name)].exception()


def topic_of(prefix: str) -> str:
    return f"{prefix}.note"


def create(admin: AdminClient, prefix: str, partitions: int = 1, **config: str) -> str:
    topic = topic_of(prefix)
    config = {name.replace("_", "."): value for name, value in config.items()}
    admin.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result()
    return topic


def allow(admin: AdminClient, topic: str, user: str, operation: AclOperation) -> None:
    literal, yes = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    right = AclBinding(ResourceType.TOPIC, topic, literal, f"User:{user}", "*", operation, yes)
    admin.create_acls([right])[right].result()


def gateway(folder: Path, prefix: str, **settings: object) -> AbstractAsyncContextManager[Gateway]:
    """Kafka with our user, the rest embedded."""
    sasl = {
        "bus": f"kafka://{KAFKA_SASL_BOOTSTRAP}",
        "topic": f"{prefix}.{{schema}}",
        "bus_timeout": 4,
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_sasl_mechanism": "SCRAM-SHA-512",
        "kafka_sasl_username": USER,
        "kafka_sasl_password": PASSWORD,
    }
    return embedded(folder, **(sasl | settings))


async def send(gateway: Gateway, record: object = {"title": "a"}) -> Answer:
    return await gateway.post("/ingress/record-json?schema=note", json.dumps(record).encode())


async def ready(gateway: Gateway) -> Any:
    return (await gateway.post("/health/ready", method="GET")).json()["checks"]["bus"]


# ----------------------------------------------------------------------------------------------------- who we are
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_user_with_a_password_gets_in(mechanism: str, admin: AdminClient, prefix: str, tmp_path: Path) -> None:
    topic = create(admin, prefix)
    async with gateway(tmp_path, prefix, kafka_sasl_mechanism=mechanism) as g:
        assert (await send(g)).status == 201
        assert (await ready(g))["ok"]
        assert [m.position.topic async for m in g.deployment.bus.read([topic])] == [topic]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_said_in_every_answer_and_is_in_none(
    mechanism: str, admin: AdminClient, prefix: str, tmp_path: Path
) -> None:
    create(admin, prefix)
    wrong = {"kafka_sasl_mechanism": mechanism, "kafka_sasl_password": "not-this-one"}
    async with gateway(tmp_path, prefix, **wrong) as g:
        answer, check = await asyncio.gather(send(g), ready(g))
    assert (answer.status, answer.json()["code"]) == (503, "bus_unavailable")
    assert check["code"] == "bus_unavailable"
    for detail in (answer.json()["detail"], check["detail"]):
        assert "uthentication failed" in detail
        assert "not-this-one" not in detail


async def test_a_token_endpoint_that_is_away_is_named_by_what_is_wrong(
    admin: AdminClient, prefix: str, tmp_path: Path
) -> None:
    oauth = {
        "kafka_producer": "librdkafka",  # which asks for its token before it asks a broker
        "kafka_sasl_mechanism": "OAUTHBEARER",
        "kafka_sasl_oauthbearer_method": "oidc",
        "kafka_sasl_oauthbearer_client_id": "gateway",
        "kafka_sasl_oauthbearer_client_secret": "hidden",
        "kafka_sasl_oauthbearer_token_endpoint_url": "http://127.0.0.1:1/token",
    }
    async with gateway(tmp_path, prefix, **oauth) as g:
        answer = await send(g)
    assert (answer.status, answer.json()["code"]) == (503, "bus_unavailable")
    assert "Failed to acquire SASL OAUTHBEARER token: Failed to connect to 127.0.0.1:1" in answer.json()["detail"]
    assert "hidden" not in answer.json()["detail"]


async def test_a_listener_without_tls_is_recognised(admin: AdminClient, prefix: str, tmp_path: Path) -> None:
    async with gateway(tmp_path, prefix, kafka_security_protocol="SASL_SSL") as g:
        answer = await send(g)
    assert (answer.status, answer.json()["code"]) == (503, "bus_unavailable")
    assert "connecting to a PLAINTEXT broker listener?" in answer.json()["detail"]


# -------------------------------------------------------------------------------------------------- what we may do
async def test_a_topic_one_may_not_write_to_is_unavailable_and_the_missing_right_named(
    admin: AdminClient, prefix: str, tmp_path: Path
) -> None:
    topic = create(admin, prefix)
    allow(admin, topic, "reader", AclOperation.READ)  # from here on the topic is open to nobody else
    async with gateway(tmp_path, prefix) as g:
        hidden = await refused_for_want_of("DESCRIBE", g)
        allow(admin, topic, USER, AclOperation.DESCRIBE)
        seen = await refused_for_want_of("WRITE", g)
        allow(admin, topic, USER, AclOperation.WRITE)
        async with asyncio.timeout(15):  # a right given later works without a restart
            while (await send(g)).status != 201:
                await asyncio.sleep(0.2)
    for answer in (hidden, seen):
        assert (answer.status, answer.json()["code"]) == (503, "bus_unavailable")
        assert answer.headers["retry-after"] == "5"
        assert f"for topic '{topic}'" in answer.json()["detail"]


async def refused_for_want_of(right: str, gateway: Gateway) -> Answer:
    """Soon; the broker hears of rights a moment after they are given."""
    async with asyncio.timeout(15):
        while f"user lacks the right {right}" not in (answer := await send(gateway)).body.decode():
            await asyncio.sleep(0.2)
    return answer


async def test_a_binary_whose_event_may_not_be_written_is_kept_and_the_missing_right_named(
    admin: AdminClient, prefix: str, tmp_path: Path
) -> None:
    topic = create(admin, prefix)
    allow(admin, topic, USER, AclOperation.DESCRIBE)
    body, kind = form(("record", b'{"title": "a"}', None, None), ("file", b"bytes", "a.txt", "text/plain"))
    async with gateway(tmp_path, prefix) as g:
        await refused_for_want_of("WRITE", g)
        answer = await g.post("/ingress/record-json-and-binary?schema=note", body, kind)
        assert (answer.status, answer.json()["code"]) == (503, "outcome_unknown")
        assert "WRITE" in answer.json()["detail"]
        assert len(await g.open_promises()) == 1, "sweep publishes it when the right is there"


# ---------------------------------------------------------------------------------------- what the topic does not take
async def test_a_record_larger_than_the_topic_takes_is_413_and_the_next_goes_through(
    admin: AdminClient, prefix: str, tmp_path: Path
) -> None:
    topic = create(admin, prefix, max_message_bytes="10000")
    async with gateway(tmp_path, prefix) as g:
        answer = await send(g, {"title": os.urandom(15_000).hex()})
        assert (answer.status, answer.json()["code"]) == (413, "record_too_large")
        assert topic in answer.json()["detail"]
        assert (await send(g)).status == 201


async def test_a_binary_with_a_record_too_large_for_the_topic_leaves_no_object(
    admin: AdminClient, prefix: str, tmp_path: Path
) -> None:
    create(admin, prefix, max_message_bytes="10000")
    record = json.dumps({"title": "x" * 15_000}).encode()
    body, kind = form(("record", record, None, None), ("file", b"bytes", "a.txt", "text/plain"))
    async with gateway(tmp_path, prefix) as g:
        answer = await g.post("/ingress/record-json-and-binary?schema=note", body, kind)
        assert (answer.status, answer.json()["code"]) == (413, "record_too_large")
        assert await g.objects() == []


async def test_health_ready_warns_of_a_compacted_topic_and_of_a_single_replica(
    admin: AdminClient, prefix: str, tmp_path: Path
) -> None:
    topic = create(admin, prefix, cleanup_policy="compact", min_insync_replicas="1")
    async with gateway(tmp_path, prefix) as g:
        assert (await send(g)).status == 201
        answer = await g.post("/health/ready", method="GET")
    assert answer.status == 200
    bus = answer.json()["checks"]["bus"]
    assert bus["ok"]
    assert any(f"Topic '{topic}' is compacted" in warning for warning in bus["warnings"])
    assert any(f"Topic '{topic}' has min.insync.replicas 1" in warning for warning in bus["warnings"])


# ------------------------------------------------------------------------------------------------------- partitions
async def sent(folder: Path, admin: AdminClient, prefix: str, rule: str, records: list[Any]) -> list[Any]:
    """The messages of these records as aiokafka reads them, in order of the receipts."""
    topic = create(admin, prefix, partitions=7)
    async with gateway(folder, prefix, partition_by=rule) as g:
        body = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        answer = await g.post("/ingress/record-json?schema=note&destination=a/b", body, "application/x-ndjson")
        assert answer.status == 201, answer.body
        receipts = answer.lines()[: len(records)]
    consumer = AIOKafkaConsumer(bootstrap_servers=KAFKA_BOOTSTRAP, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in range(7)])
        read = [await consumer.getone() for _ in records]
    finally:
        await consumer.stop()
    found = {(message.partition, message.offset): message for message in read}
    messages = [found[receipt["partition"], receipt["offset"]] for receipt in receipts]
    assert {message.key for message in messages} == {b"note/a/b"}
    return messages


async def test_by_key_all_events_of_a_key_are_in_one_partition(admin: AdminClient, prefix: str, tmp_path: Path) -> None:
    messages = await sent(tmp_path, admin, prefix, "key", [{"title": str(i)} for i in range(50)])
    assert {message.partition for message in messages} == {(murmur2(b"note/a/b") & 0x7FFFFFFF) % 7}


async def test_by_event_they_are_spread_over_all(admin: AdminClient, prefix: str, tmp_path: Path) -> None:
    messages = await sent(tmp_path, admin, prefix, "event", [{"title": str(i)} for i in range(200)])
    counts = [sum(message.partition == partition for message in messages) for partition in range(7)]
    assert min(counts) > 5  # 29 are expected in each


async def test_by_a_pointer_they_are_where_java_would_put_a_key_of_that_value(
    admin: AdminClient, prefix: str, tmp_path: Path
) -> None:
    records: list[dict[str, Any]] = [{"title": f"maker {i % 10} é"} for i in range(50)]
    messages = await sent(tmp_path, admin, prefix, "/title", records)
    for record, message in zip(records, messages, strict=True):
        assert message.partition == (murmur2(record["title"].encode()) & 0x7FFFFFFF) % 7
    for title in {record["title"] for record in records}:
        offsets = [m.offset for r, m in zip(records, messages, strict=True) if r["title"] == title]
        assert offsets == sorted(offsets), "order per value"


async def test_records_without_the_value_are_placed_by_their_key(
    admin: AdminClient, prefix: str, tmp_path: Path
) -> None:
    messages = await sent(tmp_path, admin, prefix, "/year", [{"title": "a"}, {"title": "b", "year": None}])
    assert {message.partition for message in messages} == {(murmur2(b"note/a/b") & 0x7FFFFFFF) % 7}


async def test_a_binary_is_placed_by_the_value_too(admin: AdminClient, prefix: str, tmp_path: Path) -> None:
    create(admin, prefix, partitions=7)
    body, kind = form(("record", b'{"title": "a", "year": 1842}', None, None), ("file", b"x", "a.txt", "text/plain"))
    async with gateway(tmp_path, prefix, partition_by="/year") as g:
        answer = await g.post("/ingress/record-json-and-binary?schema=note", body, kind)
    assert answer.status == 201, answer.body
    assert answer.json()["partition"] == (murmur2(b"1842") & 0x7FFFFFFF) % 7


async def test_a_topic_that_grew_is_noticed_after_a_while(admin: AdminClient, prefix: str) -> None:
    topic = create(admin, prefix, partitions=1)
    topics = Topics({"bootstrap.servers": KAFKA_BOOTSTRAP}, create=None, fresh=0.3)

    async def has_partitions(count: int) -> None:
        end = time.monotonic() + 20
        while await topics.find({topic}) != {} or topics.partitions.get(topic) != count:
            assert time.monotonic() < end
            await asyncio.sleep(0.4)  # the broker tells in its own time

    await has_partitions(1)
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result()
    await asyncio.sleep(0.5)
    assert topic not in topics.known
    await has_partitions(4)


async def test_a_topic_that_shrank_is_asked_for_again(admin: AdminClient, prefix: str, tmp_path: Path) -> None:
    topic = create(admin, prefix, partitions=7)
    async with gateway(tmp_path, prefix, partition_by="/title") as g:
        assert (await send(g, {"title": "7"})).status == 201
        admin.delete_topics([topic])[topic].result()
        time.sleep(0.5)
        create(admin, prefix, partitions=1)
        end = time.monotonic() + 20
        statuses: set[int] = set()
        # for a moment the broker may still take it for the topic of before
        while (answer := await send(g, {"title": "7"})).status != 201 or answer.json()["partition"] != 0:
            statuses.add(answer.status)
            assert time.monotonic() < end
            time.sleep(0.2)
        assert statuses <= {201, 503}
