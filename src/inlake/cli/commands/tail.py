"""`inlake tail`: events read back from the bus, decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.failures import Failure

if TYPE_CHECKING:
    from inlake.model import Message
    from inlake.ports import Bus
    from inlake.settings import Settings

LAST = 10
"""Events shown when nothing else is asked for."""


def tail(
    topics: Annotated[
        list[str] | None, typer.Argument(metavar="TOPIC", help="All that hold events, if not given.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for new events; Ctrl-C ends it.")] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start/--latest", help="Begin with the first event there is.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an event.")] = False,
    number: Annotated[
        int | None, typer.Option("-n", min=1, help="How many events: the last, or with -f or --from-start the first.")
    ] = None,
) -> None:
    """Print events, decoded.

    The last 10; with --from-start all there are; with --follow new ones as they come. The last ones are found by
    reading the topics through: on a large Kafka topic --follow is what you want.
    """
    import asyncio

    from inlake.cli.deployment import load_settings

    settings, environment = load_settings()
    asyncio.run(_tail(settings, environment, _Wish(topics or None, follow, from_start, number), as_json))


@dataclass(frozen=True, slots=True)
class _Wish:
    """The events that a person wants to see."""

    topics: list[str] | None
    follow: bool
    from_start: bool
    number: int | None


async def _tail(settings: Settings, environment: Mapping[str, str], wish: _Wish, as_json: bool) -> None:
    from inlake.cli.deployment import open_bus, open_registry
    from inlake.cli.events import print_event, print_line
    from inlake.cli.terminal import messages
    from inlake.formats.events import Decoder

    _require_log(settings.bus)  # after the imports: a library that is missing is said first
    show = print_line if as_json else print_event
    shown = 0
    async with open_registry(settings) as registry, open_bus(settings, environment) as bus:
        decoder = Decoder(registry, settings)
        async for message in _chosen(bus, wish):
            show(await decoder.decode(message))
            shown += 1
    if not shown:
        messages().print(f"No event in {', '.join(wish.topics) if wish.topics else 'any topic'} of {settings.bus}.")


def _require_log(bus: str) -> None:
    """`Failure` for an embedded event log that is not there."""
    path = Path(bus.removeprefix("sqlite:"))
    if bus.startswith("sqlite:") and not path.exists():
        raise Failure(
            f"There is no event log {path} in {Path.cwd()}: be in the folder of the gateway, or set INLAKE_BUS."
        )


async def _chosen(bus: Bus, wish: _Wish) -> AsyncIterator[Message]:
    if not wish.follow and not wish.from_start:
        for message in await _last(bus, wish.topics, wish.number or LAST):
            yield message
        return
    seen = 0
    async for message in bus.read(wish.topics, start="earliest" if wish.from_start else "latest", follow=wish.follow):
        yield message
        seen += 1
        if seen == wish.number:
            return


async def _last(bus: Bus, topics: list[str] | None, number: int) -> list[Message]:
    """Each partition comes in its own order, partitions in any: the last of each, merged by time."""
    partitions: dict[tuple[str, int], deque[Message]] = {}
    async for message in bus.read(topics):
        place = message.position.topic, message.position.partition
        partitions.setdefault(place, deque(maxlen=number)).append(message)
    found = sorted((m for last in partitions.values() for m in last), key=lambda m: m.timestamp_ms)
    return found[-number:]
