"""Quotas: how many requests, records and bytes a principal, and all together, may send a minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from inlake.access.usage import Row, Usage
from inlake.settings import Settings, SettingsError

MINUTE = 60.0
UNITS = ("requests", "records", "bytes")


class Amount(NamedTuple):
    """An amount of what is sent."""

    requests: int = 0
    records: int = 0
    bytes: int = 0


class Limit(NamedTuple):
    """Most of one unit that may be sent a minute."""

    unit: int
    most: int

    @property
    def name(self) -> str:
        return UNITS[self.unit]


class Left(NamedTuple):
    """The rest of a limit, and when all of it is there again."""

    limit: Limit
    is_of_all: bool
    left: int
    seconds: int


class Exceeded(NamedTuple):
    """A limit that an amount does not fit into, and when it does."""

    limit: Limit
    is_of_all: bool
    seconds: int


def parse(text: str) -> tuple[Limit, ...]:
    """The limits of `requests=600, records=100000, bytes=1000000000`. Raises `ValueError`."""
    limits = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, most = (piece.strip() for piece in part.partition("="))
        if name not in UNITS or not (most.isdecimal() and most.isascii()) or not 0 < int(most) <= 10**15:
            raise ValueError(f"{part!r} is none of requests=N, records=N and bytes=N, with N from 1")
        limits.append(Limit(UNITS.index(name), int(most)))
    if len({limit.unit for limit in limits}) < len(limits):
        raise ValueError("a unit stands there twice")
    return tuple(limits)


class Quotas:
    """Counts what is sent. A minute begins with the first request after the last one is over.

    What is larger than a quota altogether may go when nothing is used, and so may bytes whose number is not told before
    they come. What is then used too much is taken off the minutes that follow. Bytes that are only announced count for
    nothing: one header could use up a quota that all share.
    """

    def __init__(
        self,
        principal: Sequence[Limit],
        in_all: Sequence[Limit],
        usage: Usage,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.principal = tuple(principal)
        self.in_all = tuple(in_all)
        self._usage, self._clock = usage, clock
        self.count_bytes = any(UNITS[limit.unit] == "bytes" for limit in (*principal, *in_all))

    def take(self, principal: str, amount: Amount, *, coming: int = 0) -> Exceeded | None:
        """Count an amount, if it fits whatever limits there are, together with so many bytes that are to come; else it
        is not counted. The bytes are counted as they come (`add`)."""
        whole = amount._replace(bytes=amount.bytes + coming)
        with self._usage.locked():
            rows = self._rows(principal)
            now = self._clock()
            for row, limits in rows:
                for limit in limits:
                    used, wanted = row.used[limit.unit], whole[limit.unit]
                    if wanted and used and used + wanted > limit.most:
                        return Exceeded(limit, limits is self.in_all, _seconds(row, limit, wanted, now))
            self._add(rows, amount)
        return None

    def take_some(self, principal: str, records: int) -> tuple[int, Exceeded | None]:
        """Count as many of so many records as fit; how many, and what the next one does not fit into."""
        with self._usage.locked():
            rows = self._rows(principal)
            now, fit, exceeded = self._clock(), records, None
            for row, limits in rows:
                for limit in limits:
                    if UNITS[limit.unit] == "records" and limit.most - row.used[limit.unit] < fit:
                        fit = max(0, int(limit.most - row.used[limit.unit]))
                        exceeded = Exceeded(limit, limits is self.in_all, _seconds(row, limit, 1, now))
            self._add(rows, Amount(records=fit))
        return fit, exceeded

    def add(self, principal: str, amount: Amount) -> None:
        """Count what came already."""
        with self._usage.locked():
            self._add(self._rows(principal), amount)

    def left(self, principal: str, *, coming: int = 0) -> list[Left]:
        """The rests of the principal's limits once so many bytes have come; without limits of its own, what all may."""
        with self._usage.locked():
            rows = self._rows(principal)
        now, (row, limits) = self._clock(), rows[0]
        row = row._replace(used=(*row.used[:2], row.used[2] + coming))
        return [
            Left(limit, limits is self.in_all, max(0, int(limit.most - row.used[limit.unit])), _until(row, limit, now))
            for limit in limits
        ]

    def _rows(self, principal: str) -> list[tuple[Row, tuple[Limit, ...]]]:
        """The rows that count, as they stand now, with their limits."""
        now, rows = self._clock(), []
        if self.principal:
            rows.append((_now(self._usage.of(principal), self.principal, now), self.principal))
        if self.in_all:
            rows.append((_now(self._usage.of_all(), self.in_all, now), self.in_all))
        return rows

    def _add(self, rows: list[tuple[Row, tuple[Limit, ...]]], amount: Amount) -> None:
        for row, _ in rows:
            requests, records, octets = row.used
            used = requests + amount.requests, records + amount.records, octets + amount.bytes
            self._usage.write(row._replace(used=used))


def make_quotas(settings: Settings, usage: Usage | None) -> Quotas | None:
    """The quotas of the settings; None where there are none. Raises `SettingsError`."""
    limits = []
    for field in ("quota_principal", "quota_all"):
        try:
            limits.append(parse(getattr(settings, field)))
        except ValueError as error:
            raise SettingsError(f"INLAKE_{field.upper()}: {error}") from None
    return Quotas(limits[0], limits[1], usage or Usage()) if any(limits) else None


def _now(row: Row, limits: tuple[Limit, ...], now: float) -> Row:
    """A row without the minutes that are over: each takes off as much as its limit is."""
    minutes = (now - row.since) // MINUTE
    if minutes < 1:
        return row
    owed = [0.0, 0.0, 0.0]
    for unit, most in limits:
        owed[unit] = max(0.0, row.used[unit] - minutes * most)
    since = row.since + minutes * MINUTE if any(owed) else now
    return row._replace(since=since, used=(owed[0], owed[1], owed[2]))


def _seconds(row: Row, limit: Limit, wanted: int, now: float) -> int:
    """How long it takes until so much fits."""
    used = row.used[limit.unit]
    over = used if wanted > limit.most else used + wanted - limit.most
    return _from(row, math.ceil(over / limit.most), now)


def _until(row: Row, limit: Limit, now: float) -> int:
    """How long it takes until nothing is used."""
    return _from(row, max(1, math.ceil(row.used[limit.unit] / limit.most)), now)


def _from(row: Row, minutes: int, now: float) -> int:
    return max(1, math.ceil(row.since + minutes * MINUTE - now))
