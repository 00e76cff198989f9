"""How a table is written."""

from __future__ import annotations

from dataclasses import dataclass

_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "|", " ": "blank"}
_FORMATS = {"csv": "CSV", "xlsx": "XLSX", "ods": "ODS", "ndjson": "NDJSON"}


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout that is asked for may leave out anything (None: detected); one that was found has all of its format."""

    format: str | None = None
    """`csv` (any delimiter), `xlsx`, `ods` or `ndjson`."""
    encoding: str | None = None
    """As Python names it."""
    delimiter: str | None = None
    quotes: bool = True
    """False: a quote is a character as any other."""
    header: int | None = None
    """Number of the row with the names of the columns, from 1."""
    sheet: str | None = None
    ignore_unnamed: bool = False
    """True: what stands in columns without a name is not read; else it is a fault."""
    notes: tuple[str, ...] = ()
    """Sentences about what was found and a person should know."""

    def sentence(self) -> str:
        """The layout in one line: `CSV, encoding cp1252, delimiter semicolon, names in row 1`."""
        parts = [_FORMATS.get(self.format or "", self.format or "a table")]
        if self.sheet:
            parts.append(f"sheet {self.sheet}")
        if self.encoding:
            parts.append(f"encoding {self.encoding}")
        if self.delimiter:
            parts.append(f"delimiter {_NAMES.get(self.delimiter, self.delimiter)}")
        if self.header:
            parts.append(f"names in row {self.header}")
        return ", ".join(parts)
