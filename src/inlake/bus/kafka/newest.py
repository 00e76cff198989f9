"""Events of Kafka that are asked for: the newest, though Kafka reads forward only, and the one at a position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inlake.bus.kafka.consumers import Consumers
from inlake.bus.kafka.reader import Place, Reading, Topics
from inlake.errors import TopicMissing
from inlake.model import Message, Moment, Position, moment_of

MOST_BYTES = 8 << 20
"""Bytes of values that are read for the newest messages, over all partitions."""
NEVER = 1 << 63
"""Later than any time of Kafka."""
GROWTH = 16
"""A window has at most so many times the messages of the one before: the sizes seen so far tell those to come."""


@dataclass(slots=True)
class _Tail:
    """The end of a partition, as far back as it was read."""

    first: int
    """The first offset of the partition."""
    start: int
    """All from this offset on was read."""
    oldest: int = NEVER
    """The time of the oldest message that was read; `NEVER` where none was."""

    def newest_unread(self, place: Place) -> Moment:
        """The first moment at which a message may stand that was not read: times grow with offsets, nearly."""
        return Moment(self.oldest, *place, self.start - 1)


def newest(reading: Reading, limit: int, before: Moment | None = None) -> list[Message]:
    """The newest messages by their time, the newest first; with `before` those that come after this one. Blocks.

    Kafka reads forward only: one message of each partition is read first, then windows before those, which the
    partitions share that may have newer ones than were found. No message is left out between two that are given,
    unless one of each partition is too much already.
    """
    spans = reading.spans() if before is None else reading.spans_until(before.timestamp_ms + 1)
    tails = {place: _Tail(span.start, span.stop) for place, span in spans.items() if span}
    found, count, size, share = list[Message](), 0, 0, 1
    while wanted := _with_newer(tails, found, limit):
        windows = {place: range(max(tail.first, tail.start - share), tail.start) for place, tail in wanted.items()}
        messages, came = _take(reading, windows, MOST_BYTES - size)
        size += came
        count += len(messages)
        for place in windows.keys() - reading.unfinished:
            tails[place].start = windows[place].start
        for message in messages:
            tail = tails[message.position.topic, message.position.partition]
            tail.oldest = min(tail.oldest, message.timestamp_ms)
        older = [message for message in messages if before is None or moment_of(message) < before]
        found = sorted([*found, *older], key=moment_of, reverse=True)
        if size > MOST_BYTES // 2:
            break
        room = min(limit, (MOST_BYTES - size) * max(count, 1) // (2 * size + 1))
        share = max(1, min(share * GROWTH, room // len(wanted)))
    unread = [tail.newest_unread(place) for place, tail in tails.items() if tail.first < tail.start]
    cut_at = max((moment for moment in unread if moment.timestamp_ms < NEVER), default=None)
    return [message for message in found if cut_at is None or moment_of(message) > cut_at][:limit]


def _with_newer(tails: Mapping[Place, _Tail], found: Sequence[Message], limit: int) -> dict[Place, _Tail]:
    """The partitions that may have messages among the newest which were not read."""
    unread = {place: tail for place, tail in tails.items() if tail.first < tail.start}
    if len(found) < limit:
        return unread
    last = moment_of(found[limit - 1])
    return {place: tail for place, tail in unread.items() if tail.newest_unread(place) > last}


def _take(reading: Reading, windows: Mapping[Place, range], most: int) -> tuple[list[Message], int]:
    """The messages of the windows, and the bytes that came; beyond `most` those of whole windows alone, since what
    is missing of the others is what is newest."""
    reading.begin_between(windows)
    taken, size = list[Message](), 0
    while size <= most and (messages := reading.take()) is not None:
        taken += messages
        size += sum(len(message.value or b"") for message in messages)
    cut = reading.unfinished
    return [one for one in taken if (one.position.topic, one.position.partition) not in cut], size


async def recent(consumers: Consumers, topics: Topics, limit: int, *, before: Moment | None) -> list[Message]:
    """The newest messages of the topics by their time, the newest first. `BusUnavailable`, `TopicMissing`."""
    return await consumers.ask(topics, lambda reading: newest(reading, limit, before))


async def find(consumers: Consumers, at: Position) -> Message | None:
    """The message at a position. `BusUnavailable`."""
    if at.partition >= 1 << 31 or at.offset >= 1 << 63:  # Kafka has no such numbers, librdkafka no room for them
        return None
    place = (at.topic, at.partition)

    def one(reading: Reading) -> list[Message]:
        if at.offset not in reading.span(place):
            return []
        reading.begin_between({place: range(at.offset, at.offset + 1)})
        return [message for messages in iter(reading.take, None) for message in messages]

    try:
        found = await consumers.ask([at.topic], one)
    except TopicMissing:
        return None
    return next((message for message in found if message.position == at), None)
