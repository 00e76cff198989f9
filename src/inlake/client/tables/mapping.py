"""A map file (TOML): which column goes where in the record, and how its cells are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from inlake.client.tables.layout import Layout


@dataclass(frozen=True, slots=True)
class Map:
    """What a person says about a table; an empty one: columns go to the fields of their names."""

    file: str | None = None
    """The column that names the file of a row."""
    layout: Layout = field(default_factory=Layout)
    """What the map says about reading the table."""


def read_map(path: str | Path) -> Map:
    """The map in a TOML file. `TableError` names the key that is wrong."""
    raise NotImplementedError
