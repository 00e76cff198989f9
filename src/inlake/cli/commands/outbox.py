"""`inlake outbox`: events that wait on this disk for Kafka, and those that it refused, to be sent again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.failures import REFUSED, Failure
from inlake.cli.terminal import as_json as to_json
from inlake.cli.terminal import printable

if TYPE_CHECKING:
    from inlake.model import Event
    from inlake.wiring import OutboxTable

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Which = Annotated[list[str] | None, typer.Argument(metavar="EVENT", help="Ids of events; all, if none is given.")]


def list_(as_json: AsJson = False) -> None:
    """List how many events wait for Kafka in the outbox, and each that Kafka refused, with its reason.

    The file of INLAKE_OUTBOX is read on this machine, whether a gateway runs or not.

    Exit code: 0 listed; 2 a setting is wrong; 3 the file cannot be read.
    """
    with _opened() as table:
        waiting, refused = table.state().waiting, table.put_aside()
    if as_json:
        for topic in waiting:
            typer.echo(
                to_json({"state": "waiting", "topic": topic.topic, "events": topic.events, "bytes": topic.bytes})
            )
        for one in refused:
            typer.echo(
                to_json({"state": "refused", **_facts(one.event, one.kept_ms), "code": one.code, "detail": one.detail})
            )
        return
    for topic in waiting:
        typer.echo(printable(f"{topic.topic}: {_waits(topic.events)}, {topic.bytes:,} bytes"))
    for one in refused:
        facts = _facts(one.event, one.kept_ms)
        about = "{topic}: event {event} of {time}, key {key}, {bytes:,} bytes, is refused".format(**facts)
        typer.echo(printable(f"{about}\n  {one.detail}"))
    if not waiting and not refused:
        typer.echo("The outbox is empty.")


def resend(which: Which = None) -> None:
    """Let events that Kafka refused wait for it again: the gateway publishes them, with the ids that they had.

    Mend first what Kafka refused them for; `inlake outbox list` says it. One that is refused again is listed again.

    Exit code: 0 they wait; 1 there is none, or one of these ids is not among them; 2 a setting is wrong; 3 the file
    cannot be written.
    """
    with _opened() as table:
        refused = table.put_aside()
        known = {one.event.id for one in refused}
        if unknown := next((name for name in which or () if name not in known), None):
            raise Failure(f"No event {unknown} is refused: `inlake outbox list` has those that are.", REFUSED)
        if not refused:
            raise Failure("No event is refused.", REFUSED)
        chosen = [one.number for one in refused if not which or one.event.id in which]
        moved = table.put_back(chosen)
    typer.echo(f"{_waits(moved)} for Kafka again.")


@contextmanager
def _opened() -> Iterator[OutboxTable]:
    from inlake.cli.deployment import load_settings
    from inlake.settings import SettingsError
    from inlake.wiring import connect_outbox_table

    settings, _ = load_settings()
    try:
        table = connect_outbox_table(settings)
    except SettingsError as error:
        raise Failure(str(error)) from None
    try:
        yield table
    finally:
        table.close()


def _facts(event: Event, kept_ms: int) -> dict[str, str | int]:
    return {
        "event": event.id,
        "topic": event.topic,
        "key": event.key.decode("utf-8", "replace"),
        "bytes": len(event.value),
        "time": datetime.fromtimestamp(kept_ms / 1000, UTC).isoformat(timespec="seconds"),
    }


def _waits(count: int) -> str:
    return f"{count:,} events wait" if count != 1 else "1 event waits"
