"""Which topics there are: a Kafka client that sends to an unknown one learns of it by time-out only, so ask first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from inlake.bus.kafka.errors import FORBIDDEN, MISSING, missing, refusal, unreachable
from inlake.errors import BusUnavailable, InlakeError, TopicMissing

ADMIN = {"topic.metadata.refresh.interval.ms": 5000}
"""librdkafka asks the broker that it takes for the controller, also when that is dead, until it looks for another: by
default every five minutes."""
CHECK = 3.0
"""Seconds a broker may take to answer a question about topics or configuration."""
FRESH = 300.0
"""Seconds until a topic is asked for again: it may have got more partitions. librdkafka's own default."""
REFUSED_FOR = 1.0
"""Seconds a negative answer stands, so that a flood of requests does not become a flood of questions."""


class Topics:
    """The topics that are known to exist, and the questions about others, one at a time for each."""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        create: NewTopics | None,
        trouble: Callable[[], str] = str,
        fresh: float = FRESH,
    ) -> None:
        """`trouble`: what was last wrong with the connection, for the sentence of an error; `fresh`: see FRESH."""
        self.known: set[str] = set()
        self.partitions: dict[str, int] = {}
        """How many each topic had when it was asked for; `forget` leaves them, so whoever found a topic has a count."""
        self._config = {**ADMIN, **config, "log_level": 0}  # the producer logs the same troubles
        self._admin: AdminClient | None = None
        self._in_sync: dict[str, list[int]] = {}
        """Replicas in sync, for each partition of a topic when it was asked for."""
        self._create = create
        self._trouble = trouble
        self._fresh = fresh
        self._checks: dict[str, asyncio.Task[InlakeError | None]] = {}
        self._refused: dict[str, tuple[float, InlakeError]] = {}

    def open(self) -> None:
        """Make the client. Raises KafkaException for a property that librdkafka does not take."""
        self._admin = AdminClient(self._config)

    @property
    def admin(self) -> AdminClient:
        if self._admin is None:
            self.open()
        assert self._admin is not None
        return self._admin

    def forget(self) -> None:
        """Ask again for every topic: Kafka went away, or a topic did."""
        self.known.clear()

    async def find(self, topics: set[str]) -> dict[str, InlakeError]:
        """What stands against publishing, for those of `topics` that cannot be used."""
        unknown = [topic for topic in topics if topic not in self.known]
        answers = await asyncio.gather(*map(self._ask_once, unknown))
        return {topic: error for topic, error in zip(unknown, answers, strict=True) if error is not None}

    async def reasons(self, topics: set[str], deadline: float) -> dict[str, str]:
        """What stands against topics that did not confirm, if Kafka says so before `deadline` (event loop's time)."""
        try:
            async with asyncio.timeout_at(deadline):
                return {topic: error.detail for topic, error in (await self.find(topics)).items()}
        except TimeoutError:
            return {}

    async def close(self) -> None:
        await asyncio.gather(*self._checks.values(), return_exceptions=True)

    async def _ask_once(self, topic: str) -> InlakeError | None:
        until, error = self._refused.get(topic, (0.0, None))
        if time.monotonic() < until:
            return error
        task = self._checks.get(topic)
        if task is None:
            task = self._checks[topic] = asyncio.create_task(self._ask(topic))
            task.add_done_callback(lambda _: self._checks.pop(topic, None))
        return await asyncio.shield(task)  # others wait for the same answer when this one is cancelled

    async def _ask(self, topic: str) -> InlakeError | None:
        try:
            if not await self._exists(topic):
                await self._make(topic)
            await self._check_replicas(topic)
        except InlakeError as e:
            self._refused[topic] = (time.monotonic() + REFUSED_FOR, e)
            return e
        self._refused.pop(topic, None)
        self.known.add(topic)
        asyncio.get_running_loop().call_later(self._fresh, self.known.discard, topic)
        return None

    async def _exists(self, topic: str) -> bool:
        try:
            found = await answer(self.admin.describe_topics(TopicCollection([topic]), request_timeout=CHECK)[topic])
        except KafkaException as e:
            error = e.args[0]
            if error.code() in MISSING:
                return False
            raise refusal(error, topic, sent=False, right="DESCRIBE", reason=self._trouble()) from None
        self.partitions[topic] = len(found.partitions)
        self._in_sync[topic] = [len(partition.isr) for partition in found.partitions]
        return True

    async def _check_replicas(self, topic: str) -> None:
        """A broker refuses to write with too few replicas in sync, and librdkafka repeats that until the time-out."""
        [settings] = self.admin.describe_configs(
            [ConfigResource(ResourceType.TOPIC, topic)], request_timeout=CHECK
        ).values()
        wanted = int((await _settings(settings)).get("min.insync.replicas") or 1)
        most = max(self._in_sync.pop(topic), default=0)
        if most < wanted:
            raise BusUnavailable(
                f"Topic {topic!r} has not enough replicas in sync: {most}, and min.insync.replicas is {wanted}; "
                "Kafka takes no event until more of its brokers are back."
            )

    async def _make(self, topic: str) -> None:
        if self._create is None:
            raise missing(topic)
        try:
            await answer(self.admin.create_topics([self._create.plan(topic)], request_timeout=CHECK)[topic])
        except KafkaException as e:
            error = e.args[0]
            if error.code() in FORBIDDEN:
                raise refusal(error, topic, sent=False, right="CREATE") from None
            if error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BusUnavailable(f"Kafka did not create topic {topic!r}: {error.str()}") from None
        deadline = time.monotonic() + CHECK
        while not await self._exists(topic):
            if time.monotonic() > deadline:
                raise TopicMissing(f"Topic {topic!r} was created, but Kafka does not show it yet: try again.")
            await asyncio.sleep(0.05)


class NewTopics:
    """How the gateway creates a topic: kept for ever, never compacted."""

    def __init__(self, partitions: int, replication: int) -> None:
        """`replication`: copies of each partition; -1 is the broker's default."""
        self.partitions = partitions
        self.replication = replication

    def plan(self, topic: str) -> NewTopic:
        config = {"cleanup.policy": "delete", "retention.ms": "-1"}
        return NewTopic(topic, self.partitions, self.replication, config=config)


async def answer(future: Future[Any]) -> Any:
    """Await an answer of librdkafka; shielded, because it completes the future in any case and cancels none."""
    return await asyncio.shield(asyncio.wrap_future(future))


async def warnings(admin: AdminClient, topics: set[str], trouble: Callable[[], str] = str) -> list[str]:
    """What is unsafe about the set-up of the brokers and of these topics; `BusUnavailable` when none answers.

    `trouble`: what was last wrong with the connection.
    """
    try:
        cluster = await answer(admin.describe_cluster(request_timeout=CHECK))
    except KafkaException as e:
        raise unreachable(e.args[0], trouble()) from None
    node = cluster.controller or cluster.nodes[0]
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in sorted(topics)]
    resources.append(ConfigResource(ResourceType.BROKER, str(node.id)))
    *of_topics, of_broker = await asyncio.gather(
        *map(_settings, admin.describe_configs(resources, request_timeout=CHECK).values())
    )
    found = []
    if of_broker.get("min.insync.replicas") == "1":
        found.append("Kafka's min.insync.replicas is 1: an event may be lost with the one broker that has it; set 2")
    for topic, settings in zip(sorted(topics), of_topics, strict=True):
        if "compact" in settings.get("cleanup.policy", ""):
            found.append(f"Topic {topic!r} is compacted: Kafka drops older events of a key; set cleanup.policy=delete")
        if settings.get("min.insync.replicas") == "1":
            found.append(f"Topic {topic!r} has min.insync.replicas 1: an event may be lost with one broker; set 2")
    return found


async def _settings(future: Future[Any]) -> dict[str, str]:
    """Effective settings of a broker or topic; empty when the gateway may not read them."""
    try:
        return {entry.name: entry.value or "" for entry in (await answer(future)).values()}
    except KafkaException:
        return {}
