"""What needs brokers of one's own: TLS, tokens from an OAuth server, and a broker that is lost."""

from __future__ import annotations

import asyncio
import base64
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from inlake.bus.kafka.bus import KafkaBus
from inlake.bus.kafka.librdkafka.publish import GRACE
from inlake.bus.kafka.producer import Producer
from inlake.errors import BusUnavailable, InlakeError, OutcomeUnknown
from inlake.model import Event, Position
from inlake.settings import load
from inlake.wiring import connect_bus
from tests.certificates import make_authority
from tests.kafka_cluster import Cluster, some_brokers
from tests.kafka_said import Said
from tests.oauth_server import signed, token_endpoint, write_keys

pytestmark = [pytest.mark.live, pytest.mark.slow]

TIMEOUT = 4
REAUTHENTICATE = "listener.name.oauth.connections.max.reauth.ms=8000\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("kafka")
    with some_brokers(folder, write_keys(folder), properties=REAUTHENTICATE) as cluster:
        yield cluster


@pytest.fixture
def admin(cluster: Cluster) -> AdminClient:
    return AdminClient({"bootstrap.servers": cluster.first.addresses["PLAINTEXT"], "log_level": 0})


@pytest.fixture
def topic(admin: AdminClient) -> str:
    """On both brokers, which both must have an event before it counts."""
    name = f"test-{uuid4().hex}"
    admin.create_topics([NewTopic(name, 1, 2, config={"min.insync.replicas": "2"})])[name].result()
    return name


@asynccontextmanager
async def opened(servers: str, properties: Mapping[str, str], **settings: str) -> AsyncIterator[KafkaBus]:
    """Made from variables, as a deployment makes it."""
    variables = {"INLAKE_KAFKA_" + name.upper().replace(".", "_"): value for name, value in properties.items()}
    variables |= {"INLAKE_BUS": f"kafka://{servers}", "INLAKE_BUS_TIMEOUT": str(TIMEOUT)}
    variables |= {f"INLAKE_{name.upper()}": value for name, value in settings.items()}
    bus = connect_bus(load(variables), variables)
    assert isinstance(bus, KafkaBus)
    try:
        yield bus
    finally:
        await bus.close()


async def publish(bus: KafkaBus, topic: str) -> Position | InlakeError:
    [result] = await bus.publish([Event(str(uuid4()), topic, b"key", b"value", ())])
    return result


# ------------------------------------------------------------------------------------------------------------- TLS
async def test_events_go_over_tls_to_brokers_whose_authority_is_given(cluster: Cluster, topic: str) -> None:
    properties = {"security.protocol": "SSL", "ssl.ca.location": str(cluster.authority.ca)}
    async with opened(cluster.first.addresses["SSL"], properties) as bus:
        assert isinstance(await publish(bus, topic), Position)
        assert [message.value async for message in bus.read([topic])] == [b"value"]


async def test_a_broker_of_another_authority_is_refused_and_the_setting_named(
    cluster: Cluster, topic: str, tmp_path: Path
) -> None:
    properties = {"security.protocol": "SSL", "ssl.ca.location": str(make_authority(tmp_path, "other").ca)}
    async with opened(cluster.first.addresses["SSL"], properties) as bus:
        result = await publish(bus, topic)
        assert isinstance(result, BusUnavailable)
        assert "certificate could not be verified" in result.detail
        assert "ssl.ca.location" in result.detail
        with pytest.raises(BusUnavailable, match="certificate"):
            await bus.check()


# ----------------------------------------------------------------------------------------------------------- OAuth
def oauth(url: str) -> dict[str, str]:
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "gateway",
        "sasl.oauthbearer.client.secret": "hidden",
        "sasl.oauthbearer.scope": "kafka",
        "sasl.oauthbearer.token.endpoint.url": url,
    }


def allow(admin: AdminClient, topic: str, *operations: AclOperation, user: str = "museum") -> None:
    literal, yes = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    acls = [AclBinding(ResourceType.TOPIC, topic, literal, f"User:{user}", "*", each, yes) for each in operations]
    for answer in admin.create_acls(acls).values():
        answer.result()


async def refused_for_want_of(right: str, bus: KafkaBus, topic: str) -> None:
    """Soon; the brokers hear of rights a moment after they are given."""
    async with asyncio.timeout(15):
        while f"lacks the right {right} for topic '{topic}'" not in getattr(await publish(bus, topic), "detail", ""):
            await asyncio.sleep(0.2)


async def test_a_token_of_an_oauth_server_lets_the_gateway_in(cluster: Cluster, admin: AdminClient, topic: str) -> None:
    allow(admin, topic, AclOperation.DESCRIBE, AclOperation.WRITE)
    async with (
        token_endpoint(signed) as (url, asked),
        opened(cluster.first.addresses["OAUTH"], oauth(url)) as bus,
    ):
        async with asyncio.timeout(10):  # the brokers hear of the rights a moment later
            while not isinstance(await publish(bus, topic), Position):
                await asyncio.sleep(0.2)
    assert asked[0].startswith(b"POST /token")
    assert base64.b64encode(b"gateway:hidden") in asked[0]
    assert asked[0].endswith(b"grant_type=client_credentials&scope=kafka")


async def test_a_user_without_any_right_hears_which_one_is_missing(cluster: Cluster, topic: str) -> None:
    async with (
        token_endpoint(lambda: signed(sub="visitor")) as (url, _),
        opened(cluster.first.addresses["OAUTH"], oauth(url)) as bus,
    ):
        await refused_for_want_of("DESCRIBE", bus, topic)


async def test_a_user_who_may_write_nowhere_hears_so_and_is_let_in_later_without_a_restart(
    cluster: Cluster, admin: AdminClient, topic: str
) -> None:
    user = f"user-{uuid4().hex}"
    allow(admin, topic, AclOperation.DESCRIBE, user=user)
    async with (
        token_endpoint(lambda: signed(sub=user)) as (url, _),
        opened(cluster.first.addresses["OAUTH"], oauth(url)) as bus,
    ):
        await refused_for_want_of("WRITE", bus, topic)
        for _ in range(2):  # the brokers give such a user no producer id, which ends a producer for good
            result = await publish(bus, topic)
            assert isinstance(result, BusUnavailable), result
            assert f"lacks the right WRITE for topic '{topic}'" in result.detail
        allow(admin, topic, AclOperation.WRITE, user=user)
        async with asyncio.timeout(15):
            while not isinstance(await publish(bus, topic), Position):
                await asyncio.sleep(0.2)


async def test_a_topic_one_may_not_create_says_so(cluster: Cluster, admin: AdminClient) -> None:
    topic = f"test-{uuid4().hex}"
    allow(admin, topic, AclOperation.DESCRIBE)
    async with (
        token_endpoint(signed) as (url, _),
        opened(cluster.first.addresses["OAUTH"], oauth(url), kafka_create_topics="true") as bus,
    ):
        await refused_for_want_of("CREATE", bus, topic)


async def test_a_token_that_the_brokers_refuse_is_told_without_the_token(cluster: Cluster, topic: str) -> None:
    token = signed(aud="another")
    async with token_endpoint(lambda: token) as (url, _), opened(cluster.first.addresses["OAUTH"], oauth(url)) as bus:
        result = await publish(bus, topic)
    assert isinstance(result, BusUnavailable)
    assert "SASL authentication failed" in result.detail
    assert token not in result.detail


@pytest.mark.parametrize("producer", ["own", "librdkafka"])
async def test_tokens_and_connections_are_renewed_while_events_go_on(
    producer: str, cluster: Cluster, admin: AdminClient, topic: str
) -> None:
    """The brokers hang up on who does not prove itself again within 8 s (KIP-368), or before its token ends.

    A token is good for 24 s: also a connection that begins with an old one has a second to spare on a busy machine.
    """
    allow(admin, topic, AclOperation.DESCRIBE, AclOperation.WRITE)
    said = Said()
    async with (
        token_endpoint(lambda: signed(24), seconds=24) as (url, asked),
        opened(cluster.first.addresses["OAUTH"], oauth(url), kafka_producer=producer, bus_timeout="10") as bus,
    ):
        async with asyncio.timeout(15):
            while not isinstance(await publish(bus, topic), Position):
                await asyncio.sleep(0.2)
        assert isinstance(bus._producer, Producer) == (producer == "own")
        end = time.monotonic() + 22
        while time.monotonic() < end:
            await said.publish(bus, Event(str(uuid4()), topic, b"key", b"value", ()))
            assert producer != "own" or not bus._producer.last_error, "no broker hung up"
            await asyncio.sleep(0.02)
    assert len(asked) >= 2
    assert {type(result) for _, result in said.told} == {Position}
    await said.check(cluster.first.addresses["PLAINTEXT"])


async def test_a_token_may_come_from_a_file_for_publishing_and_for_reading(
    cluster: Cluster, admin: AdminClient, topic: str, tmp_path: Path
) -> None:
    allow(admin, topic, AclOperation.DESCRIBE, AclOperation.WRITE, AclOperation.READ)
    (tmp_path / "token").write_text(signed())
    properties = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.token.endpoint.url": (tmp_path / "token").as_uri(),
    }
    async with opened(cluster.first.addresses["OAUTH"], properties) as bus:
        async with asyncio.timeout(15):
            while not isinstance(await publish(bus, topic), Position):
                await asyncio.sleep(0.2)
        assert b"value" in [message.value async for message in bus.read([topic])]
        await bus.check()


async def test_without_a_token_the_reason_is_told(cluster: Cluster, topic: str) -> None:
    async with (
        token_endpoint(str, status="401 Unauthorized", body=b'{"error": "invalid_client"}') as (url, _),
        opened(cluster.first.addresses["OAUTH"], oauth(url)) as bus,
    ):
        result = await publish(bus, topic)
    assert isinstance(result, BusUnavailable)
    assert "gives no token: it answers 401 invalid_client" in result.detail
    assert "hidden" not in result.detail


# -------------------------------------------------------------------------------- a broker lost: the last tests here
async def test_when_a_leader_falls_silent_the_other_broker_confirms_and_nothing_is_lost_when_it_is_back(
    cluster: Cluster, admin: AdminClient
) -> None:
    topic, address = f"test-{uuid4().hex}", cluster.first.addresses["PLAINTEXT"]
    admin.create_topics([NewTopic(topic, 4, 2, config={"min.insync.replicas": "1"})])[topic].result()
    said = [Said() for _ in range(3)]
    async with opened(address, {}, bus_timeout="10") as bus:
        async with asyncio.timeout(20):
            while not all(isinstance(result, Position) for result in await bus.publish(spread(topic, b"first", 20))):
                await asyncio.sleep(0.2)
        publishers = [asyncio.create_task(publish_on(bus, topic, b"%d" % i, each)) for i, each in enumerate(said)]
        await asyncio.sleep(0.5)
        cluster.second.process.send_signal(signal.SIGSTOP)
        try:
            stopped = sum(len(each.told) for each in said)
            async with asyncio.timeout(20):  # all that is under way has to be confirmed, and more
                while sum(len(each.told) for each in said) < stopped + 1000:
                    await asyncio.sleep(0.1)
        finally:
            cluster.second.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(1)  # it does now what it was asked to do before
        for publisher in publishers:
            publisher.cancel()
        await asyncio.wait(publishers)
    everything = Said([pair for each in said for pair in each.told])
    assert all(isinstance(result, Position) for _, result in everything.told)
    await everything.check(address)


async def publish_on(bus: KafkaBus, topic: str, name: bytes, said: Said) -> None:
    while True:
        await said.publish(bus, *spread(topic, name, 20))
        await asyncio.sleep(0.01)


def spread(topic: str, name: bytes, count: int) -> list[Event]:
    """Over all partitions."""
    return [Event(str(uuid4()), topic, b"%b-%d" % (name, i), b"value", ()) for i in range(count)]


async def test_too_few_replicas_are_told_in_bounded_time_and_then_at_once(cluster: Cluster, topic: str) -> None:
    address = cluster.first.addresses["PLAINTEXT"]
    async with AsyncExitStack() as gateways:  # several: each asks a broker of its own choice about topics
        buses = [await gateways.enter_async_context(opened(address, {})) for _ in range(6)]
        for bus in buses:
            async with asyncio.timeout(20):
                while not isinstance(await publish(bus, topic), Position):
                    await asyncio.sleep(0.2)
        cluster.second.process.kill()
        cluster.second.process.wait()
        began = time.monotonic()
        for result in await asyncio.gather(*[publish(bus, topic) for bus in buses]):
            assert isinstance(result, OutcomeUnknown | BusUnavailable), result
        assert time.monotonic() - began < TIMEOUT + GRACE + 1
        await asyncio.gather(*[hear_of_replicas(bus, topic) for bus in buses])
        began = time.monotonic()
        for result in await asyncio.gather(*[publish(bus, topic) for bus in buses]):
            assert isinstance(result, BusUnavailable)
            assert f"Topic '{topic}' has not enough replicas in sync: 1, and min.insync.replicas is 2" in result.detail
        assert time.monotonic() - began < 1


async def hear_of_replicas(bus: KafkaBus, topic: str) -> None:
    """Until the controller has noticed, and librdkafka knows of another broker to ask."""
    async with asyncio.timeout(40):
        while "not enough replicas" not in getattr(await publish(bus, topic), "detail", ""):
            await asyncio.sleep(0.1)
