"""`inlake sweep`: finish or remove what a crash or a lost connection left, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.failures import UNAVAILABLE, Failure
from inlake.cli.terminal import as_json as to_json
from inlake.cli.terminal import printable

if TYPE_CHECKING:
    from inlake.settings import Settings


def sweep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what there is to do, and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Finish or remove what a crash or a lost connection left.

    A line is printed for each. Answers to requests with an Idempotency-Key that are older than
    INLAKE_IDEMPOTENCY_TTL are removed too. A gateway does the same every INLAKE_SWEEP_SECONDS, and any number of
    processes may do it at once. It works on the store and the bus of the settings, not over HTTP.

    Exit code: 0 done; 2 a setting is wrong; 3 the store cannot be reached, or some of it could not be done now.
    """
    from inlake.cli.deployment import load_settings

    settings, environment = load_settings()
    import asyncio

    done = asyncio.run(_sweep(settings, environment, dry_run, as_json))
    if not as_json:
        counts = ", ".join(f"{count} {what}" for what, count in sorted(done.items()))
        typer.echo(("to do: " if dry_run and counts else "") + (counts or "nothing to do"))
    if done["waiting"] or done["unreadable"]:
        raise typer.Exit(UNAVAILABLE)


async def _sweep(settings: Settings, environment: Mapping[str, str], dry_run: bool, as_json: bool) -> Counter[str]:
    from inlake.settings import SettingsError
    from inlake.wiring import connect

    try:
        deployment = connect(settings, environment)
    except SettingsError as error:
        raise Failure(str(error)) from None
    done: Counter[str] = Counter()
    try:
        async for finding in deployment.sweep.findings(dry_run=dry_run):
            done[finding.what] += 1
            line = {"what": finding.what, "puuid": finding.puuid, "why": finding.why}
            typer.echo(to_json(line) if as_json else printable(str(finding)))
        if answers := await deployment.answers.remove(dry_run=dry_run):
            done["removed"] += answers
            why = f"{answers:,} kept answers, older than INLAKE_IDEMPOTENCY_TTL"
            typer.echo(to_json({"what": "removed", "puuid": None, "why": why}) if as_json else f"removed {why}")
    finally:
        await deployment.close()
    return done
