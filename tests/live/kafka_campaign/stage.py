"""The brokers and the topic of one scenario, and how to do to them what it says."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from tests.kafka_cluster import Cluster, some_brokers
from tests.live.kafka_campaign.link import Address, Link, opened
from tests.live.kafka_campaign.scenarios import Deed, Scenario
from tests.oauth_server import write_keys

PARTITIONS = 6
PROPERTIES = """
unclean.leader.election.enable=false
socket.request.max.bytes=1046528
listener.name.oauth.connections.max.reauth.ms=3000
super.users=User:ANONYMOUS;User:museum
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=4
"""
"""The limit of a request is that of Azure Event Hubs: a broker hangs up on a larger one."""
NAME = "kafka.campaign"
"""Has two addresses, of which the first is silent."""
ALTER_CLIENT_QUOTAS, ALTER_PARTITION_REASSIGNMENTS = 49, 45


@contextlib.contextmanager
def three_brokers(folder: Path) -> Iterator[Cluster]:
    with some_brokers(folder, write_keys(folder), 3, PROPERTIES) as cluster:
        yield cluster


class Stage:
    """Made before a scenario; `heal` ends what it did to the brokers."""

    def __init__(self, cluster: Cluster) -> None:
        self.topic = f"campaign-{uuid4().hex}"
        self.plain = ",".join(broker.addresses["PLAINTEXT"] for broker in cluster.brokers)
        """The brokers, for the independent reader."""
        self.links = [
            Link(address_of(broker.advertised), address_of(broker.addresses["PROXIED"])) for broker in cluster.brokers
        ]
        self._cluster = cluster
        self._admin = AdminClient({"bootstrap.servers": cluster.first.addresses["PLAINTEXT"], "log_level": 0})
        topic = NewTopic(self.topic, PARTITIONS, 3, config={"min.insync.replicas": "2"})
        self._admin.create_topics([topic])[self.topic].result()

    def servers(self, scenario: Scenario, *, by_name: bool) -> str:
        """What publishers are told. `by_name`: they find a dead address behind a name, else before all others."""
        if scenario.way == "PROXIED":
            return ",".join(broker.advertised for broker in self._cluster.brokers)
        servers = [broker.addresses[scenario.way] for broker in self._cluster.brokers]
        if scenario.dead_first and by_name:
            return servers[0].replace("127.0.0.1", NAME)
        return ",".join([servers[0].replace("127.0.0.1", "127.0.0.2")] * scenario.dead_first + servers)

    @contextlib.contextmanager
    def set(self) -> Iterator[None]:
        """With its links, and a silent one at the other address of the first broker."""
        host, port = address_of(self._cluster.first.addresses["PLAINTEXT"])
        with opened([*self.links, Link(("127.0.0.2", port), (host, port), silent=True)]):
            yield

    def do(self, deed: Deed, which: int) -> None:
        broker = self._cluster.brokers[which] if which < len(self._cluster.brokers) else None
        match deed:
            case "stop" if broker:
                broker.process.send_signal(signal.SIGSTOP)
            case "kill" if broker:
                broker.process.kill()
                broker.process.wait()
            case "start" if broker:
                broker.start()
            case "freeze" | "thaw":
                self.links[which].frozen = deed == "freeze"
            case "slow":
                for link in self.links:
                    link.rate = which
            case "move":
                self._move_leaders()
            case "reassign":
                self._reassign(which)
            case "quota":
                self._set_quota(which)
            case "largest":
                entry = ConfigEntry(
                    "max.message.bytes", str(which or 1_048_588), incremental_operation=AlterConfigOpType.SET
                )
                resource = ConfigResource(ResourceType.TOPIC, self.topic, incremental_configs=[entry])
                self._admin.incremental_alter_configs([resource])[resource].result()

    def heal(self) -> None:
        for broker in self._cluster.brokers:
            broker.start()
        for link in self.links:
            link.rate, link.frozen = 0.0, False

    def _move_leaders(self) -> None:
        """Elects whoever is preferred, after another broker was kept from leading for a moment."""
        broker = self._cluster.brokers[random.choice([1, 2])]
        broker.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        broker.process.send_signal(signal.SIGCONT)
        places = [TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        self._admin.elect_leaders(ElectionType.PREFERRED, places).result()

    def _reassign(self, turn: int) -> None:
        """Two of the three brokers have each partition from now on, other ones each time: one drops its copy, another
        makes one anew."""
        replicas = [[(turn + n) % 3 + 1, (turn + n + 1) % 3 + 1] for n in range(PARTITIONS)]
        of_partitions = b"".join(
            struct.pack(">ibii", partition, 3, *pair) + b"\0" for partition, pair in enumerate(replicas)
        )
        topic = self.topic.encode()
        of_topic = bytes([len(topic) + 1]) + topic + bytes([PARTITIONS + 1]) + of_partitions + b"\0"
        body = struct.pack(">ib", 30_000, 2) + of_topic + b"\0"
        answer = self._ask(ALTER_PARTITION_REASSIGNMENTS, body, flexible=True)
        assert struct.unpack_from(">h", answer, 5 + 4) == (0,), answer

    def _set_quota(self, rate: int) -> None:
        """producer_byte_rate of every client id without one of its own."""
        operation = struct.pack(">h18sd?", 18, b"producer_byte_rate", float(rate), rate == 0)
        answer = self._ask(
            ALTER_CLIENT_QUOTAS, struct.pack(">iih9shi", 1, 1, 9, b"client-id", -1, 1) + operation + b"\0"
        )
        assert struct.unpack_from(">h", answer, 4 + 8) == (0,), answer

    def _ask(self, key: int, body: bytes, *, flexible: bool = False) -> bytes:
        """The first bytes of the answer to a request in its version 0, from its number on."""
        request = struct.pack(">hhih", key, 0, 1, -1) + b"\0" * flexible + body
        with socket.create_connection(address_of(self._cluster.first.addresses["PLAINTEXT"]), timeout=10) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            return connection.recv(1000)[4:]


def address_of(text: str) -> Address:
    host, _, port = text.partition(":")
    return host, int(port)
