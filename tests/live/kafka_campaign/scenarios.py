"""What happens to three brokers while events are published, as data: a moment, what is done, to whom or how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Deed = Literal["stop", "kill", "start", "move", "reassign", "quota", "largest", "slow", "freeze", "thaw"]
"""Stop a broker (SIGSTOP), kill it, start it again; give every partition another leader, or other replicas; set a quota
in bytes a second, or max.message.bytes (0: as by default); let every way to the brokers take so many bytes a second (0:
all); let a broker's answers about leaders be those of before, and no more."""
Way = Literal["PLAINTEXT", "PROXIED", "OAUTH"]
"""How publishers come to the brokers: straight, through links that may be slow or frozen, with a token."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run against three brokers, whose replication factor is 3 and whose min.insync.replicas is 2."""

    name: str
    seconds: float
    """Of publishing."""
    deeds: tuple[tuple[float, Deed, int], ...] = ()
    """Second, what, and which broker (from 0; 0 is the controller too) or how much."""
    silence: float = 5.0
    """Most seconds between two confirmed events of a publisher, of our own producer."""
    size: int = 200
    """Most bytes of an event's value."""
    way: Way = "PLAINTEXT"
    dead_first: bool = False
    """The first address that publishers are given, of a name and of all, is silent."""
    atomic: bool = False
    """Each call is a transaction."""
    short: bool = False
    """Part of `make test`."""


FAILOVER = 3.0 + 2.0
"""Seconds until the cluster gives a dead broker's partitions to others (broker.session.timeout.ms), and some to notice."""
SCENARIOS = (
    Scenario("nothing", 5),
    Scenario("a broker stops for a while", 12, ((2, "stop", 1), (9, "start", 1)), FAILOVER + 4, short=True),
    Scenario("a broker stops for a minute", 75, ((2, "stop", 1), (62, "start", 1)), FAILOVER + 4),
    Scenario("a broker is killed and comes back", 30, ((2, "kill", 2), (12, "start", 2)), FAILOVER + 4),
    Scenario(
        "a broker stops for less than a failover",
        15,
        ((2, "stop", 1), (4, "start", 1), (7, "stop", 2), (9, "start", 2)),
    ),
    Scenario("leaders move", 15, tuple((n, "move", 0) for n in range(2, 14, 2))),
    Scenario("partitions get other replicas", 20, tuple((n, "reassign", n) for n in range(2, 18, 3)), short=True),
    Scenario("a quota", 25, ((2, "quota", 100_000), (14, "quota", 0)), silence=20, size=2_000),
    Scenario("the topic takes small batches for a while", 20, ((2, "largest", 5_000), (10, "largest", 0))),
    Scenario("large events below the limit of a request", 10, size=900_000),
    Scenario("a slow way", 30, ((2, "slow", 300_000), (22, "slow", 0)), silence=20, size=800_000, way="PROXIED"),
    Scenario(
        "a broker tells of old leaders",
        15,
        ((2, "freeze", 1), (2.5, "stop", 2), (13, "start", 2), (13, "thaw", 1)),
        FAILOVER + 4,
        way="PROXIED",
    ),
    Scenario("the first address is dead", 8, dead_first=True, short=True),
    Scenario("brokers want proof of identity again and again", 15, way="OAUTH"),
    Scenario("transactions while a broker stops", 40, ((2, "stop", 1), (30, "start", 1)), 20, atomic=True),
)
