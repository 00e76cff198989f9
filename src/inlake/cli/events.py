"""An event as a person or a program reads it in a terminal: decoded, with the headers that matter."""

from __future__ import annotations

import sys

from rich.text import Text

from inlake.cli.terminal import as_json, output, printable
from inlake.formats.events import Decoded
from inlake.model import ANONYMOUS


def print_line(event: Decoded) -> None:
    """One JSON object a line."""
    position = event.message.position
    line = {
        "topic": position.topic,
        "partition": position.partition,
        "offset": position.offset,
        "key": event.key,
        "timestamp": event.time.isoformat(timespec="milliseconds"),
        "headers": event.headers,
        "record": event.record,
    }
    if event.problem:
        line |= {"problem": event.problem, "value": event.message.value}
    sys.stdout.write(as_json(line) + "\n")
    sys.stdout.flush()


def print_event(event: Decoded) -> None:
    """A head line, the record, and the resource where there is one."""
    console = output()
    position, headers = event.message.position, event.headers
    time = event.time.astimezone().isoformat(sep=" ", timespec="seconds")
    console.print(Text(printable(event.key or "(no key)"), style="bold"), Text(time, style="dim"))
    place = f"{position.topic} {position.partition}/{position.offset}"
    schema = "" if event.schema_id is None else f"  schema id {event.schema_id}"
    console.print(
        Text(printable(f"  {place}{schema}  event {headers.get('ce_id', '-')}{_principal(headers)}"), style="dim")
    )
    if event.problem:
        console.print(Text(f"  not decoded: {printable(event.problem)}", style="red"))
    else:
        console.print(Text(_indented(as_json(event.record, indent=2))))
    if "inlake_resource_uri" in headers:
        console.print(Text(printable(_resource(headers)), style="green"))
    console.print()


def _principal(headers: dict[str, str]) -> str:
    principal = headers.get("inlake_principal", ANONYMOUS)
    return "" if principal == ANONYMOUS else f"  by {principal}"


def _resource(headers: dict[str, str]) -> str:
    size, kind = headers.get("inlake_resource_size", "?"), headers.get("inlake_resource_type", "?")
    sha256 = headers.get("inlake_resource_sha256", "?")
    return f"  resource {headers['inlake_resource_uri']}\n           {size} bytes, {kind}, sha256 {sha256}"


def _indented(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
