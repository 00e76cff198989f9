"""Where a schema has the field that names a record's object."""

from __future__ import annotations

from inlake.formats.avro.types import Type
from inlake.formats.binary import zigzag


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


def attribute(root: Type, name: str) -> str:
    """The attribute of the root's struct that holds a field; empty when there is none."""
    return f"f{list(root.fields).index(name)}" if root.kind == "record" and name in root.fields else ""
