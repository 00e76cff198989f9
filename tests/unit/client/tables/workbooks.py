"""Workbooks for tests: XLSX by openpyxl, ODS in the words that LibreOffice writes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any
from xml.sax.saxutils import escape

import openpyxl

_NAMES = " ".join(
    f'xmlns:{short}="{name}"'
    for short, name in {
        "office": "urn:oasis:names:tc:opendocument:xmlns:office:1.0",
        "table": "urn:oasis:names:tc:opendocument:xmlns:table:1.0",
        "text": "urn:oasis:names:tc:opendocument:xmlns:text:1.0",
        "calcext": "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0",
    }.items()
)


def xlsx(*rows: Sequence[Any], change: Callable[[Any], None] | None = None) -> io.BytesIO:
    """A workbook with one sheet; `change` may do more to it."""
    book = openpyxl.Workbook()
    book.active.title = "Objects"
    for row in rows:
        book.active.append(row)
    if change:
        change(book)
    file = io.BytesIO()
    book.save(file)
    file.seek(0)
    return file


def ods(*rows: str) -> io.BytesIO:
    """A workbook whose rows are XML."""
    body = f'<table:table table:name="Objects">{"".join(rows)}</table:table>'
    content = f"<office:body><office:spreadsheet>{body}</office:spreadsheet></office:body>"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr("content.xml", f"<office:document-content {_NAMES}>{content}</office:document-content>")
    file.seek(0)
    return file


def ods_row(*cells: str, repeated: int = 1) -> str:
    return f'<table:table-row table:number-rows-repeated="{repeated}">{"".join(cells)}</table:table-row>'


def ods_text(text: str) -> str:
    return f'<table:table-cell office:value-type="string"><text:p>{escape(text)}</text:p></table:table-cell>'


def ods_typed(kind: str, **attributes: str) -> str:
    given = " ".join(f'office:{name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<table:table-cell office:value-type="{kind}" {given}/>'


def ods_error(text: str) -> str:
    attributes = 'table:formula="of:=1/0" office:value-type="string" office:string-value="" calcext:value-type="error"'
    return f"<table:table-cell {attributes}><text:p>{escape(text)}</text:p></table:table-cell>"
