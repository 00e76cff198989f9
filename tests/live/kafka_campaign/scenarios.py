"""What happens to three brokers while events are published, as data: a moment, what is done, to whom or how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Deed = Literal["stop", "kill", "start", "move", "quota", "largest"]
"""Stop a broker (SIGSTOP), kill it, start it again; give every partition another leader; set a quota in bytes a second,
or max.message.bytes (0: as by default)."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run against three brokers, whose replication factor is 3 and whose min.insync.replicas is 2."""

    name: str
    seconds: float
    """Of publishing."""
    deeds: tuple[tuple[float, Deed, int], ...]
    """Second, what, and which broker (from 0; 0 is the controller too) or how much."""
    silence: float = 5.0
    """Most seconds between two confirmed events of a publisher, of our own producer."""
    size: int = 200
    """Most bytes of an event's value."""
    short: bool = False
    """Part of `make test`."""


FAILOVER = 3.0 + 2.0
"""Seconds until the cluster gives a dead broker's partitions to others (broker.session.timeout.ms), and some to notice."""
SCENARIOS = (
    Scenario("nothing", 5, ()),
    Scenario("a broker stops for a while", 12, ((2, "stop", 1), (9, "start", 1)), FAILOVER + 4, short=True),
    Scenario("a broker stops for a minute", 75, ((2, "stop", 1), (62, "start", 1)), FAILOVER + 4),
    Scenario("a broker is killed and comes back", 30, ((2, "kill", 2), (12, "start", 2)), FAILOVER + 4),
    Scenario(
        "a broker stops for less than a failover",
        15,
        ((2, "stop", 1), (4, "start", 1), (7, "stop", 2), (9, "start", 2)),
    ),
    Scenario("leaders move", 15, tuple((n, "move", 0) for n in range(2, 14, 2))),
    Scenario("a quota", 25, ((2, "quota", 100_000), (14, "quota", 0)), silence=20, size=2_000),
    Scenario("the topic takes small batches for a while", 20, ((2, "largest", 5_000), (10, "largest", 0))),
    Scenario("large events below the limit of a request", 10, (), size=900_000),
)
