"""Two schemas side by side: a table of differences and what they mean, or the lines that differ."""

from __future__ import annotations

import json
import sys
from difflib import unified_diff
from typing import TYPE_CHECKING

from rich.table import Column, Table
from rich.text import Text

from inlake.cli.avro_differences import Difference, avro_differences
from inlake.cli.failures import Failure
from inlake.cli.schema_sources import Source
from inlake.cli.terminal import as_json as to_json
from inlake.cli.terminal import output, printable

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema

QUESTIONS = {
    "accepted": "Records made for A fit B",
    "reads_old": "Readers with B read events written with A",
    "reads_new": "Readers with A read events written with B",
}


def compare_sources(a: Source, b: Source, *, as_json: bool) -> bool:
    """Print what differs; True when nothing does. Both are valid."""
    if a.language != b.language:
        raise Failure(f"{a.label} is {a.language} and {b.label} is {b.language}: there is nothing to compare.")
    if a.language != "AVRO":
        return _print_lines_that_differ(a, b)
    found = avro_differences(_texts(a), _texts(b))
    if as_json:
        _print_json(found)
    elif found:
        _print_table(found)
    else:
        output().print("They mean the same.")
    return not found


def same_text(a: Schema, b: Schema) -> bool:
    """Whether a registry would take both for one schema."""
    references = [[reference.to_dict() for reference in schema.references or []] for schema in (a, b)]
    kinds = [schema.schema_type or "AVRO" for schema in (a, b)]
    return kinds[0] == kinds[1] and references[0] == references[1] and _normalised(a) == _normalised(b)


def _texts(source: Source) -> list[str]:
    return [schema.schema_str or "" for _, schema in source.references] + [source.schema.schema_str or ""]


def _normalised(schema: Schema) -> list[str]:
    """The lines of a schema, without what has no meaning."""
    text = schema.schema_str or ""
    if schema.schema_type != "PROTOBUF":
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return [line.rstrip() + "\n" for line in text.splitlines() if line.strip()]


def _print_lines_that_differ(a: Source, b: Source) -> bool:
    lines = list(unified_diff(_normalised(a.schema), _normalised(b.schema), a.label, b.label))
    sys.stdout.writelines(printable(line) for line in lines)
    if not lines:
        output().print("They mean the same.")
    return not lines


def _print_json(found: list[Difference]) -> None:
    for difference in found:
        sys.stdout.write(to_json(difference._asdict()) + "\n")
    sums = {name: all(getattr(difference, name) for difference in found) for name in QUESTIONS}
    sys.stdout.write(to_json({"summary": {"differences": len(found), **sums}, "complete": True}) + "\n")


def _print_table(found: list[Difference]) -> None:
    console = output()
    table = Table(Column("place", overflow="fold"), Column("what differs", overflow="fold"), box=None, pad_edge=False)
    for heading in "A's records", "B reads A", "A reads B":
        table.add_column(heading)
    for place, change, *answers in found:
        cells = Text(printable(place or "(root)")), Text(printable(change))
        table.add_row(*cells, *map(_yes_or_no, answers))
    console.print(table)
    console.print()
    for name, question in QUESTIONS.items():
        console.print(f"{question}: {_yes_or_no(all(getattr(difference, name) for difference in found))}")


def _yes_or_no(answer: bool) -> str:
    return "yes" if answer else "no"
