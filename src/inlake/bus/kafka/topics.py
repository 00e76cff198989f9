"""Topics are asked for before an event is sent: by itself a Kafka client learns of an unknown one by time-out only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from inlake.bus.kafka.errors import FORBIDDEN, UNREACHABLE, NoAnswerError, of_kafka_error, topic_missing, unreachable
from inlake.errors import BusUnavailable, InlakeError, TopicMissing
from inlake.memory import Shared

ADMIN = {"topic.metadata.refresh.interval.ms": 5000, "socket.timeout.ms": 3000}
"""librdkafka asks the broker that it takes for the controller, also when that is dead, until it looks for another: by
default every five minutes; and it waits a minute for one that says nothing, before it hangs up."""
CHECK = 3.0
"""Seconds a broker may take to answer a question about topics or configuration."""
FRESH = 60.0
"""Seconds until a topic is asked for again: it may have got more partitions."""
ENOUGH = 2
"""Replicas in sync; with more of them nobody is asked how many there must be (min.insync.replicas)."""
REFUSED_FOR = 1.0
"""Seconds a negative answer stands, so that a flood of requests does not become a flood of questions."""
Describe = Callable[[str], Awaitable[list[int]]]
"""How many replicas of each partition of a topic are in sync. `TopicMissing`, `BusUnavailable`."""


class Topics:
    """The topics that are known to exist, and the questions about others, one at a time for each."""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        create: NewTopics | None,
        describe: Describe | None = None,
        trouble: Callable[[], str] = str,
        fresh: float = FRESH,
    ) -> None:
        """`describe`: how a producer asks on connections of its own, None to ask with librdkafka's client; `trouble`:
        what was last wrong with the connection, for the sentence of an error; `fresh`: see FRESH."""
        self.known: set[str] = set()
        self.partitions: dict[str, int] = {}
        """How many each topic had when it was asked for; it stays, so whoever found a topic has a count."""
        self.largest: dict[str, int] = {}
        """max.message.bytes of topics, as far as the gateway may read it."""
        self._config = {**ADMIN, **config, "log_level": 0}  # the producer logs the same troubles
        self._admin: AdminClient | None = None
        self._create = create
        self._describe = describe or self._describe_by_admin
        self._reads_settings = describe is None
        """librdkafka does not cut a batch that is too large: it must know before."""
        self._trouble = trouble
        self._fresh = fresh
        self._in_doubt: set[str] = set()
        """Topics that are used while they are asked for again."""
        self._checks: Shared[str, InlakeError | None] = Shared()
        self._refused: dict[str, tuple[float, InlakeError]] = {}

    def open(self) -> None:
        """Makes the client. Raises KafkaException for a property that librdkafka does not take."""
        self._admin = AdminClient(self._config)

    @property
    def admin(self) -> AdminClient:
        if self._admin is None:
            self.open()
        assert self._admin is not None
        return self._admin

    def forget(self) -> None:
        """Waits for an answer before the next event of every topic: no broker can be reached."""
        self.known.clear()
        self._in_doubt.clear()

    def doubt(self, topics: set[str]) -> None:
        """Asks for topics again with which something went wrong. They are used until Kafka says what is wrong: one
        broker that hangs must not keep events from the others."""
        doubted = topics & self.known
        self.known -= doubted
        self._in_doubt |= doubted
        for topic in doubted:
            self._checks.start(topic, partial(self._ask, topic))

    async def find(self, topics: set[str]) -> dict[str, InlakeError]:
        """The error of each of the `topics` that cannot be published to."""
        refused, unknown = dict[str, InlakeError](), []
        for topic in topics - self.known:
            until, error = self._refused.get(topic, (0.0, None))
            if error and time.monotonic() < until:
                refused[topic] = error
            elif topic in self._in_doubt:
                self._checks.start(topic, partial(self._ask, topic))
            else:
                unknown.append(topic)
        if unknown:  # others wait for the same answers when this call is cancelled
            answers = await asyncio.gather(*[self._checks.join(topic, partial(self._ask, topic)) for topic in unknown])
            refused |= {topic: error for topic, error in zip(unknown, answers, strict=True) if error is not None}
        return refused

    async def close(self) -> None:
        await self._checks.settle()

    async def _ask(self, topic: str) -> InlakeError | None:
        used_meanwhile = topic in self._in_doubt
        self._refused.pop(topic, None)
        try:
            in_sync = await self._found(topic) or await self._make(topic)
            await self._check_settings(topic, in_sync)
        except NoAnswerError as e:
            if not used_meanwhile:
                self._refused[topic] = (time.monotonic() + REFUSED_FOR, e.error)
                if topic in self.partitions:
                    self._in_doubt.add(topic)  # the next event shows whether other brokers take it
                return e.error
        except InlakeError as e:
            self._in_doubt.discard(topic)
            self._refused[topic] = (time.monotonic() + REFUSED_FOR, e)
            return e
        self._in_doubt.discard(topic)
        self.known.add(topic)
        asyncio.get_running_loop().call_later(self._fresh, self._refresh, topic)
        return None

    def _refresh(self, topic: str) -> None:
        """Marks the topic to be asked for again at its next event, which does not wait: it may have more partitions."""
        if topic in self.known:
            self.known.discard(topic)
            self._in_doubt.add(topic)

    async def _found(self, topic: str) -> list[int]:
        """How many replicas of each partition are in sync; empty when there is no such topic."""
        try:
            in_sync = await self._describe(topic)
        except TopicMissing:
            return []
        self.partitions[topic] = len(in_sync)
        return in_sync

    async def _describe_by_admin(self, topic: str) -> list[int]:
        try:
            found = await answer(self.admin.describe_topics(TopicCollection([topic]), request_timeout=CHECK)[topic])
        except KafkaException as e:
            error = e.args[0]
            told = of_kafka_error(error, topic, sent=False, right="DESCRIBE", reason=self._trouble())
            raise (NoAnswerError(told) if error.code() in UNREACHABLE else told) from None
        return [len(partition.isr) for partition in found.partitions]

    async def _check_settings(self, topic: str, in_sync: list[int]) -> None:
        """Raises where too few replicas are in sync: a broker refuses to write, and producers repeat that for long."""
        most = max(in_sync)
        if most > ENOUGH and not self._reads_settings:
            return
        [answered] = self.admin.describe_configs(
            [ConfigResource(ResourceType.TOPIC, topic)], request_timeout=CHECK
        ).values()
        settings = await _settings(answered)
        if largest := settings.get("max.message.bytes"):
            self.largest[topic] = int(largest)
        wanted = int(settings.get("min.insync.replicas") or 1)
        if most < wanted:
            raise BusUnavailable(
                f"Topic {topic!r} has not enough replicas in sync: {most}, and min.insync.replicas is {wanted}; "
                "Kafka takes no event until more of its brokers are back."
            )

    async def _make(self, topic: str) -> list[int]:
        if self._create is None:
            raise topic_missing(topic)
        try:
            await answer(self.admin.create_topics([self._create.plan(topic)], request_timeout=CHECK)[topic])
        except KafkaException as e:
            error = e.args[0]
            if error.code() in FORBIDDEN:
                raise of_kafka_error(error, topic, sent=False, right="CREATE") from None
            if error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BusUnavailable(f"Kafka did not create topic {topic!r}: {error.str()}") from None
        deadline = time.monotonic() + CHECK
        while not (in_sync := await self._found(topic)):
            if time.monotonic() > deadline:
                raise TopicMissing(f"Topic {topic!r} was created, but Kafka does not show it yet: try again.")
            await asyncio.sleep(0.05)
        return in_sync


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
    """Sentences about what is unsafe in the set-up of the brokers and of these topics.

    `trouble`: what was last wrong with the connection. Raises `BusUnavailable` when no broker answers.
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
