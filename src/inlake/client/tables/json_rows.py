"""Lines of JSON that name their files: each is a record already, beside the name of the file that it is about."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from inlake.client.mending import without_member
from inlake.client.tables.faults import Fault
from inlake.client.tables.plan import Converted
from inlake.client.tables.row import Row
from inlake.client.tables.shape import Shape


class JsonRows:
    """The file that a line names, and its record, which stays as it was written; `Plan` does the same for cells."""

    def __init__(self, shape: Shape, members: Collection[str]) -> None:
        """`members`: names, in small letters, that the member may have which names the file. Of several in a line it is
        the first that is no field of the schema."""
        self._shape, self._members = shape, members

    def file_of(self, row: Row) -> str | None:
        """The name of the file; None where the line has none."""
        member, file = self._named(row)
        return file if member and isinstance(file, str) else None

    def convert(self, row: Row) -> Converted:
        """The line without the member that names the file, but where the schema has a field of that name."""
        text = row.record or b""
        member, file = self._named(row)
        if member is None:
            said = f"The line is no JSON object with a member {' or '.join(sorted(self._members))} that names its file."
            return Converted(row, None, None, (Fault("no_file_column", said, "", row.number),))
        if self._shape.root.field(member) is None:
            text = without_member(text.decode(), member).encode()
        return Converted(row, text, file if isinstance(file, str) else None, ())

    def fault(self, row: Row, error: Mapping[str, Any]) -> Fault:
        """An entry of a gateway's `errors` as a fault of the line."""
        pointer, got = str(error.get("pointer", "")), error.get("got") or "nothing"
        detail = str(error.get("detail", "")) + ("" if got == "nothing" else f" Found {got}.")
        return Fault(str(error.get("code", "")), f"{pointer}: {detail}", row=row.number, pointer=pointer)

    def _named(self, row: Row) -> tuple[str | None, object]:
        """The member that names the file, and its value; what is no JSON object has none."""
        try:
            document = json.loads(row.record or b"")
        except (ValueError, RecursionError):
            return None, None
        found = [name for name in document if name.lower() in self._members] if isinstance(document, dict) else []
        member = next((name for name in found if self._shape.root.field(name) is None), found[0] if found else None)
        return member, document[member] if member is not None else None
