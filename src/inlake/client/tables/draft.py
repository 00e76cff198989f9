"""A map that a person goes on from: columns by their names, and what is left over on both sides as comments."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from inlake.client.tables.cells import Misfit, converter, is_empty, text_of
from inlake.client.tables.layout import Layout
from inlake.client.tables.mapping import Rules
from inlake.client.tables.places import escape, find_field, segments_of
from inlake.client.tables.row import Column, Row
from inlake.client.tables.shape import Field, Shape

SPLITS = (";", "|", ",", "\n")
"""Characters that may stand between the parts of a list."""

_FILE = re.compile(r"(?!https?:)[^\n]{1,200}\.[A-Za-z][A-Za-z0-9]{1,4}\Z")


def draft_map(columns: Sequence[Column], rows: Iterable[Row], shape: Shape, layout: Layout) -> str:
    """The text of a map file. `rows`: a part of the table, to see how its cells are written."""
    looked_at = [row for row in rows if not row.faults]
    found = {column.name: pointer for column in columns if (pointer := _matching(column.name, shape.root))}
    lines = [f"# From a table to the schema {shape.schema}, version {shape.version}.", f"# {layout.sentence()}.", ""]
    if left := [column.name for column in columns if column.name not in found]:
        lines += ["# Columns without a field of their name. Give them one below; those named here go nowhere."]
        lines += [f"ignore = [{', '.join(map(_quoted, left))}]", ""]
    if file := next((column.name for column in columns if _names_files(column, looked_at)), None):
        lines += ["# The column that names the file of a row, for `inlake upload`.", f"# file = {_quoted(file)}", ""]
    lines += ["[columns]", *_placed(columns, found, looked_at, shape)]
    leaves = [leaf for leaf in _leaves(shape.root) if leaf.pointer != f"/{shape.resource_field}"]
    if empty := [leaf for leaf in leaves if not _is_filled(leaf.pointer, found.values())]:
        lines += ["", "# Fields that no column fills, to be placed above, or said once for all records.", "[constants]"]
        lines += [f"# {_quoted(leaf.pointer)} =   # {_said(leaf.field)}" for leaf in empty]
    return "\n".join(lines) + "\n"


class _Leaf(NamedTuple):
    pointer: str
    field: Field


def _leaves(record: Field, above: str = "") -> Iterable[_Leaf]:
    for field in record.fields:
        pointer = f"{above}/{escape(field.name)}"
        if field.type == "record" and field.fields:
            yield from _leaves(field, pointer)
        else:
            yield _Leaf(pointer, field)


def _placed(columns: Sequence[Column], found: dict[str, str], rows: list[Row], shape: Shape) -> Iterable[str]:
    for column in columns:
        pointer = found.get(column.name)
        if pointer is None:
            continue
        field = find_field(shape.root, segments_of(pointer)) or Field("", "any")
        target, rules = _quoted(pointer), Rules()
        if field.type == "array":
            split = _split(column, rows)
            target, rules = f"{{ to = {target}, split = {_quoted(split)} }}", Rules(split=split)
        yield f"{_quoted(column.name)} = {target}  # {_said(field)}"
        if misfit := _first_misfit(column, field, rows, rules, shape.language):
            yield f"# {misfit}"


def _matching(name: str, root: Field) -> str | None:
    """The field with the name of a column, or with the same letters and digits, if only one has them."""
    wanted = _letters(name)
    leaves = list(_leaves(root))
    exact = [leaf for leaf in leaves if name in (leaf.field.name, leaf.pointer, leaf.pointer[1:].replace("/", "."))]
    alike = [leaf for leaf in leaves if wanted in _names(leaf)] if wanted else []
    last = [leaf for leaf in leaves if wanted == _letters(leaf.field.name)] if wanted else []
    for some in (exact, alike, last):
        if len(some) == 1:
            return some[0].pointer
    return None


def _names(leaf: _Leaf) -> set[str]:
    return {_letters(leaf.pointer)} | {_letters(alias) for alias in leaf.field.aliases}


def _letters(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(char for char in plain if char.isalnum())


def _names_files(column: Column, rows: list[Row]) -> bool:
    cells = [cell for row in rows if (cell := text_of(row.cells[column.index]))]
    return bool(cells) and sum(1 for cell in cells if _FILE.match(cell)) * 2 > len(cells)


def _is_filled(pointer: str, filled: Iterable[str]) -> bool:
    return any(pointer == one or pointer.startswith(f"{one}/") for one in filled)


def _split(column: Column, rows: list[Row]) -> str:
    cells = [text_of(row.cells[column.index]) for row in rows]
    return max(SPLITS, key=lambda split: sum(split in cell for cell in cells))


def _first_misfit(column: Column, field: Field, rows: list[Row], rules: Rules, language: str) -> str:
    convert = converter(field, rules, language)
    for row in rows:
        cell = row.cells[column.index]
        if is_empty(cell, rules, field.type):
            continue
        try:
            convert(cell)
        except Misfit as misfit:
            return f"Row {row.number}: {misfit.detail} {misfit.advice}".rstrip()
    return ""


def _said(field: Field) -> str:
    """The type in a few words."""
    word = field.type
    if field.items:
        word = f"list of {field.items.type}"
    elif field.symbols:
        word = "one of " + ", ".join(field.symbols[:5]) + (", …" if len(field.symbols) > 5 else "")
    may = "required" if field.required and not field.nullable else "may be empty"
    return " ".join(f"{word}, {may}".split())


def _quoted(text: str) -> str:
    """A basic string of TOML, which is JSON's but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
