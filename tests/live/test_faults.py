"""Every fault of the network on Kafka, registry and S3 under load: bounded answers, recovery, nothing lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests import live_servers as live
from tests.command import Served, serving
from tests.load import MIB, Load
from tests.toxiproxy import Proxy, kafka_proxy, proxy_to
from tests.witness import Deployment, check, on_servers

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(180)]
FAULTS: dict[str, Callable[[Proxy], None]] = {
    "latency": lambda proxy: proxy.poison("latency", latency=400, jitter=200),
    "bandwidth": lambda proxy: proxy.poison("bandwidth", "upstream", rate=50),
    "cut": lambda proxy: proxy.poison("limit_data", "upstream", bytes=3_000),
    "black hole": lambda proxy: proxy.poison("timeout", timeout=0),
    "reset": lambda proxy: proxy.poison("reset_peer", timeout=30),
    "slicer": lambda proxy: proxy.poison("slicer", "upstream", average_size=64, size_variation=32, delay=20),
    "down": Proxy.down,
}
"""Each on one proxy; rates in KB/s, times in ms, the slicer's delay in µs."""
FAULT_SECONDS = {"black hole": 8.0}
"""Longer than the time-outs of bus and store; the others last 1.5 s."""
RECOVERY = 30.0
"""Seconds until a request of each kind is accepted again."""
SETTINGS = {
    "INLAKE_BUS_TIMEOUT": "3",
    "INLAKE_STORE_TIMEOUT": "2",
    "INLAKE_REGISTRY_TIMEOUT": "2",
    "INLAKE_REGISTRY_LATEST_SECONDS": "0.5",
    "INLAKE_SWEEP_SECONDS": "1",
    "INLAKE_LOG_LEVEL": "warning",
}
BOUND = 30.0
"""Seconds for the slowest answer: a part may take six times the store's time-out, a lookup and an event 9 and 5."""
CLIENTS = 32
MOST_MEMORY = 150 * MIB
"""Beyond what the gateway had when it was idle."""


@dataclass(frozen=True)
class World:
    deployment: Deployment
    served: Served
    proxies: dict[str, Proxy]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    live.require("Toxiproxy", live.TOXIPROXY_URL)
    registry, s3 = urlsplit(live.SCHEMA_REGISTRY_URL), urlsplit(live.S3_ENDPOINT)
    with kafka_proxy() as kafka, proxy_to(registry.netloc) as registry_proxy, proxy_to(s3.netloc) as s3_proxy:
        proxied = {
            "INLAKE_BUS": f"kafka://{kafka.address}",
            "INLAKE_REGISTRY": f"http://{registry_proxy.address}{registry.path}",
            "AWS_ENDPOINT_URL_S3": f"http://{s3_proxy.address}",
        }
        proxies = {"kafka": kafka, "registry": registry_proxy, "s3": s3_proxy}
        with contextlib.ExitStack() as end:
            d = end.enter_context(on_servers(tmp_path, **SETTINGS, **proxied))
            served = end.enter_context(serving(tmp_path, **d.variables))
            end.callback(kafka.heal)
            yield World(d, served, proxies)


def suffer(world: World, names: list[str]) -> None:
    """Load, each fault on all the named dependencies at once, healed and recovered from one after the other."""
    gateway = psutil.Process(world.served.process.pid)
    with Load(world.served.url, clients=CLIENTS, largest=MIB) as load:
        for kind in "record", "stream", "binary":
            load.wait_for(1, kind)
        idle = most = gateway.memory_info().rss
        for fault, strike in FAULTS.items():
            for name in names:
                strike(world.proxies[name])
            end = time.monotonic() + FAULT_SECONDS.get(fault, 1.5)
            while time.monotonic() < end:
                most = max(most, gateway.memory_info().rss)
                time.sleep(0.1)
            for name in names:
                world.proxies[name].heal()
            began = time.monotonic()
            for kind in "record", "binary":
                load.wait_for(1, kind, RECOVERY)
            print(f"{fault}: recovered after {time.monotonic() - began:.1f} s;", end=" ")
    slow = f"slowest {load.slowest():.1f} s, memory +{(most - idle) >> 20} MiB"
    print(slow, dict(load.statuses()), check(load.accepted, world.deployment.witness, settled=False))
    assert load.statuses().keys() <= {201, 207, 503}, load.statuses()
    assert load.slowest() < BOUND
    assert most - idle < MOST_MEMORY


@pytest.mark.parametrize("name", ["kafka", "registry", "s3"])
def test_one_dependency_suffers_every_fault_and_nothing_is_lost(world: World, name: str) -> None:
    suffer(world, [name])


def test_all_dependencies_suffer_every_fault_together_and_nothing_is_lost(world: World) -> None:
    suffer(world, ["kafka", "registry", "s3"])
