"""An event is made when its record is accepted: id, time and headers, final from then on, and what places it."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

from inlake.codecs import Compiled
from inlake.formats.json_pointer import steps_of, value_at
from inlake.model import Context, Event, Label, Submission

_LAST_DIGITS = [f"{n:03x}" for n in range(0x1000)]


class Stamp:
    """A stamp for the events that are accepted: the moment, and ids that count up from a random number.

    The ids are UUIDs, version 7 (RFC 9562, 5.7): 48 bits of time, 26 random ones, and a counter of 48 that begins at
    random (6.2, method 1), so that one question to the system's source of randomness is enough. Ids that grow keep the
    unique index of the embedded bus small on disk: random ones wrote 6 to 9 times the bytes.
    """

    def __init__(self) -> None:
        h = os.urandom(10).hex()
        self._random = f"7{h[:3]}-{'89ab'[int(h[3], 16) & 3]}{h[4:7]}-"
        self._count = int(h[8:], 16) >> 1  # half of the range is left to count up
        self._ms = 0
        self._label: Label | None = None
        self._compiled: Compiled | None = None
        self._accepted_ms: int | None = None
        self._key = b""
        self._context: Context = ()
        self.now()

    def now(self) -> Stamp:
        """Set to this moment."""
        return self.at(time.time_ns() // 1_000_000)

    def at(self, ms: int) -> Stamp:
        """Set to a moment, in milliseconds since 1970."""
        if ms != self._ms:
            self._ms, digits = ms, f"{ms:012x}"
            self._start = f"{digits[:8]}-{digits[8:]}-{self._random}"
            self.ce_time = _time(ms)
            self._label = None
            self._begin()
        return self

    def next_id(self) -> str:
        """Returns a new `ce_id`: a UUIDv7 (RFC 9562) of the moment that `now` has set."""
        self._count = count = self._count + 1
        if count & 0xFFF == 0:
            self._begin()
        return self._beginning + _LAST_DIGITS[count & 0xFFF]

    def _begin(self) -> None:
        """All but the last three digits, which are the same for up to 4,096 ids."""
        self._beginning = f"{self._start}{self._count >> 12:09x}"

    def key_and_headers(self, label: Label, compiled: Compiled, ms: int | None = None) -> tuple[bytes, Context]:
        """Kafka key and headers, kept while label, schema and millisecond stay the same. `ms`: another millisecond."""
        if label != self._label or compiled is not self._compiled or ms != self._accepted_ms:
            self._label, self._compiled, self._accepted_ms = label, compiled, ms
            ce_time = self.ce_time if ms is None else _time(ms)
            self._key, self._context = label.key, _context(label, compiled, ce_time)
        return self._key, self._context


def make_event(s: Submission, compiled: Compiled, payload: bytes, stamp: Stamp | None = None) -> Event:
    """The event of a record, accepted now: Confluent wire format, CloudEvents 1.0 headers in binary mode."""
    stamp = stamp or Stamp()
    event_id = s.event_id or stamp.next_id()
    key, context = stamp.key_and_headers(s.label, compiled, s.accepted_ms)
    rule = compiled.partition_by
    chosen_by = None if rule == "key" else partition_bytes(rule, s.record, event_id)  # a call less for most
    return Event(event_id, compiled.topic, key, compiled.prefix + payload, context, chosen_by)


def _context(label: Label, compiled: Compiled, ce_time: bytes) -> Context:
    trace = label.trace.headers if label.trace else ()
    return (*compiled.headers, ("ce_time", ce_time), _principal_header(label.principal), *trace)


def _time(ms: int) -> bytes:
    """Milliseconds since 1970 as RFC 3339."""
    seconds, ms = divmod(ms, 1000)
    return b"%b.%03dZ" % (_second(seconds), ms)


@lru_cache(2)
def _second(seconds: int) -> bytes:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


@lru_cache(1000)
def _principal_header(principal: str) -> tuple[str, bytes]:
    return "inlake_principal", quote(principal, safe="").encode()


def partition_bytes(rule: str, record: bytes, event_id: str) -> bytes | None:
    """The bytes that choose an event's partition; None: its key does.

    `rule`: `INLAKE_PARTITION_BY`, checked already; `record`: valid JSON. `event` gives the event's id: events are
    spread evenly, and a repeat goes where the first went. A JSON Pointer (RFC 6901) gives the value there as sent:
    text as UTF-8, a number or boolean as its JSON text, an object or array as JSON without white space. An absent
    value and null leave the choice to the key.
    """
    if rule == "key":
        return None
    return event_id.encode() if rule == "event" else value_at(record, steps_of(rule))
