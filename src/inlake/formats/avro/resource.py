"""Where a schema has the field that names a record's object."""

from __future__ import annotations

from inlake.formats.avro.types import Type
from inlake.formats.binary import zigzag

NO_TEXT = frozenset({"null", "boolean", "int", "long", "array", "map", "record"})
"""Kinds that JSON text is never a value of."""


def text_tag(root: Type, name: str) -> bytes | None:
    """The bytes in front of the text of a field: the branch of its union; None where no text fits."""
    field = root.fields.get(name) if root.kind == "record" else None
    if field is None:
        return None
    branches = field.type.inner if field.type.kind == "union" else [field.type]
    for index, branch in enumerate(branches):
        if branch.kind == "string" and not branch.logical:
            return zigzag(index) if field.type.kind == "union" else b""
    return None


def takes_text_once(root: Type, name: str) -> bool:
    """Whether text in a field can be of one branch only, the one that `text_tag` is of."""
    field = root.fields.get(name) if root.kind == "record" else None
    if field is None:
        return False
    branches = field.type.inner if field.type.kind == "union" else [field.type]
    others = [branch for branch in branches if branch.kind != "string" or branch.logical]
    return len(branches) - len(others) == 1 and all(branch.kind in NO_TEXT and not branch.logical for branch in others)


def attribute(root: Type, name: str) -> str:
    """The attribute of the root's struct that holds a field; empty when there is none."""
    return f"f{list(root.fields).index(name)}" if root.kind == "record" and name in root.fields else ""
