"""Processes that live and die on one deployment: each sees the same store and bus, and may die between any two steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from inlake.errors import InlakeError
from inlake.gateway import Gateway as DataPath
from inlake.logbook import process as owner
from inlake.logbook.answers import KeptAnswers
from inlake.logbook.lease import Leases
from inlake.model import Event, Position
from inlake.promises.direct import DirectUploads
from inlake.promises.shipments.due import Timeouts
from inlake.promises.shipments.steps import Shipments
from inlake.promises.steps import Promises
from inlake.promises.sweep import Sweep
from inlake.promises.uploads import Uploads
from inlake.web.app import create_app
from inlake.wiring import Deployment
from tests.gateways import Answer, Gateway

DEAD = owner.me().rpartition(":")[0] + ":0"
"""A process of this machine that is gone for certain."""
OVERDUE = -1e6
"""Seconds: a time-out that is over whenever somebody looks."""


class Crash(BaseException):
    """The process dies."""


class Steps:
    """Counts the steps that change something outside of the process, and dies before one of them."""

    def __init__(self, last: int) -> None:
        self.left = last

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:  # and no later step is taken either
            raise Crash

    @property
    def are_over(self) -> bool:
        """Whether the process has died."""
        return self.left < 0


class MortalStore:
    """The store as a process sees it that dies."""

    def __init__(self, store: Any, steps: Steps) -> None:
        self._store, self._steps = store, steps

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name == "pieces":
            return MortalStore(method, self._steps)
        if name not in {"create", "put", "put_new", "delete", "begin", "append", "complete", "abort"}:
            return method

        async def step(*args: Any, **options: Any) -> Any:
            self._steps.take()
            return await method(*args, **options)

        return step


class WatchedBus:
    """Remembers every event that was published, repeats too: the embedded log drops them."""

    def __init__(self, bus: Any, seen: list[Event], steps: Steps | None = None) -> None:
        self._bus, self.seen, self._steps = bus, seen, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
        if self._steps:
            self._steps.take()
        self.seen.extend(events)
        positions: list[Position | InlakeError] = await self._bus.publish(events)
        return positions


class Process(Gateway):
    """A gateway that may die."""

    def __init__(self, deployment: Deployment, steps: Steps | None) -> None:
        super().__init__(create_app(deployment), deployment)
        self._steps = steps

    async def post(self, *args: Any, **given: Any) -> Answer:
        """One request. Raises `Crash` where the process dies: a gateway answers every fault, also this one."""
        answer = await super().post(*args, **given)
        if self._steps and self._steps.are_over:
            raise Crash
        return answer


class World:
    """One deployment, and the processes on it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.seen: list[Event] = []
        """Every event that was published, in order, repeats too."""

    def process(
        self, steps: Steps | None = None, *, patience: float = 60, elsewhere: bool = False, overdue: bool = False
    ) -> Gateway:
        """A process, which dies after so many `steps`.

        `patience`: seconds that its promises wait; `elsewhere`: on another machine, so that nobody knows that it is
        dead; `overdue`: it sweeps as if all time-outs were over.
        """
        d = self.gateway.deployment
        store: Any = MortalStore(d.store, steps) if steps else d.store
        bus: Any = WatchedBus(d.bus, self.seen, steps)
        me = f"elsewhere:{uuid4().hex}:1" if elsewhere else DEAD if steps else None
        promises = Promises(store, bus, upload_timeout=60, promise_seconds=patience, me=me)
        uploads = Uploads(store, promises, Leases(store, me=me))
        answers = KeptAnswers(store, ttl=60, me=me)
        late = OVERDUE if overdue else 60
        shipments = Shipments(store, bus, Timeouts(patience, 120 if late > 0 else late, late), me=me)
        sweep = Sweep(store, promises, uploads, shipments, bus_timeout=late, upload_timeout=late)
        deployment = replace(
            d,
            store=store,
            bus=bus,
            gateway=DataPath(d.gateway.codecs, promises, bus),
            uploads=uploads,
            direct=DirectUploads(store, promises),
            shipments=shipments,
            answers=answers,
            sweep=sweep,
        )
        return Process(deployment, steps)

    async def settle(self) -> None:
        """Sweep until nothing is left to do that nobody waits for."""
        sweep = self.process(overdue=True).deployment.sweep
        for _ in range(20):
            if not await sweep.run():
                return
        raise AssertionError("the sweeps find no end")
