"""From a row to a record: where each cell goes, and what it becomes there."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from json.encoder import encode_basestring as quoted
from typing import Any, NamedTuple

from inlake.client.tables.cells import Misfit, converter, is_empty, text_of
from inlake.client.tables.faults import Fault, TableError
from inlake.client.tables.mapping import Map, Target
from inlake.client.tables.places import Place, escape, find_field, leaf_names, segments_of
from inlake.client.tables.row import ERROR, Cell, Column, Row, plain_name
from inlake.client.tables.shape import Shape


class Converted(NamedTuple):
    """A row as a record."""

    row: Row
    text: bytes | None
    """The record as one line of JSON, without the newline; None when there are faults."""
    file: str | None
    """The text in the file column; None when it is empty or there is none."""
    faults: tuple[Fault, ...]
    former: bytes | None = None
    """The text as `Plan.former` makes it, where somebody asked for it."""


class Plan:
    """Columns, schema and map put together once; then `convert` takes row after row."""

    def __init__(
        self,
        columns: Sequence[Column],
        shape: Shape,
        map_: Map | None = None,
        *,
        file_column: str | None = None,
    ) -> None:
        """`file_column` comes before the map's. `TableError` with every column that has no place, and every required
        field that nothing fills but the resource field, which the gateway fills. Without columns (NDJSON) rows go as
        they are."""
        self._map = map_ or Map()
        self._shape = shape
        self._root = Place(shape.root, "")
        self._faults: list[Fault] = []
        self._as_it_is = not columns
        self._file: Column | None = None
        if columns:
            self._file = self._find_file(columns, plain_name(file_column) if file_column else self._map.file)
            self._place_columns(columns)
            self._place_constants()
            self._require(self._root)
        if self._faults:
            raise TableError(self._faults)
        self._former, self._root = self._root, self._root.by_schema()
        """In the order of the columns, and in that of the schema: a column that is moved changes no record."""
        self._is_moved = [*map(_pointer, self._former.leaves())] != [*map(_pointer, self._root.leaves())]
        self._by_pointer = {place.pointer: place for place in self._former.leaves() if place.column}

    def convert(self, row: Row) -> Converted:
        """The row as a record, or all that is wrong in it."""
        if self._as_it_is or row.faults:
            return Converted(row, None if row.faults else row.record, None, row.faults)
        faults: list[Fault] = []
        text = _Conversion(row, faults).record(self._root)
        if faults:
            faults.sort(key=lambda fault: (len(fault.letter or ""), fault.letter or ""))
            return Converted(row, None, self.file_of(row), tuple(faults))
        return Converted(row, (text or "{}").encode(), self.file_of(row), ())

    def former(self, row: Row) -> bytes | None:
        """The record of a row with its fields in the order of the columns, as earlier versions of Inlake wrote it and
        journals know it; None where that is the same, or the row makes none."""
        if not self._is_moved or row.faults:
            return None
        faults: list[Fault] = []
        text = _Conversion(row, faults).record(self._former)
        return None if faults else (text or "{}").encode()

    def file_of(self, row: Row) -> str | None:
        """The text in the file column; None when it is empty, there is none, or the row is no row."""
        return text_of(row.cells[self._file.index]) or None if self._file and not row.faults else None

    def fault(self, row: Row, error: Mapping[str, Any]) -> Fault:
        """An entry of a gateway's `errors` (pointer, code, detail) as a fault of the cell that it comes from."""
        pointer = str(error.get("pointer", ""))
        place = self._nearest(pointer)
        code, detail = str(error.get("code", "")), str(error.get("detail", ""))
        if place is None or place.column is None:
            return Fault(code, detail, row=row.number, pointer=pointer)
        column = place.column
        cell = text_of(row.cells[column.index]) if column.index < len(row.cells) else None
        return Fault(code, detail, "", row.number, column.name, column.letter, cell, pointer)

    def _nearest(self, pointer: str) -> Place | None:
        """The place of a pointer, of what it is in, or of the first column inside of it."""
        above = pointer
        while above:
            if above in self._by_pointer:
                return self._by_pointer[above]
            above = above.rpartition("/")[0]
        inside = (place for at, place in self._by_pointer.items() if pointer and at.startswith(f"{pointer}/"))
        return next(inside, None)

    def _find_file(self, columns: Sequence[Column], name: str | None) -> Column | None:
        found = next((column for column in columns if column.name == name), None)
        if name and found is None:
            self._faults.append(_missing(name, columns, "The column of files"))
        return found

    def _place_columns(self, columns: Sequence[Column]) -> None:
        known = {column.name for column in columns}
        self._faults += [_missing(name, columns, "The map") for name in self._map.columns if name not in known]
        for column in columns:
            if column.name in self._map.ignore:
                continue
            target = self._map.columns.get(column.name) or self._by_name(column)
            if target is None:
                if column is not self._file:
                    self._faults.append(self._homeless(column))
                continue
            for pointer in target.pointers:
                self._place(column, pointer, target)

    def _by_name(self, column: Column) -> Target | None:
        """A column goes to the field of its name: one of the record, or deeper with dots or as a JSON Pointer."""
        name = column.name
        paths = [segments_of(name)] if name.startswith("/") else [[name], name.split(".")]
        for path in paths:
            if find_field(self._shape.root, path) is not None:
                pointer = "".join(f"/{escape(part)}" for part in path)
                return Target((pointer,), self._map.rules)
        return None

    def _place(self, column: Column, pointer: str, target: Target) -> None:
        place = self._enter(pointer)
        if place is None:
            detail = f"The schema {self._shape.schema} has no field {pointer}."
            self._faults.append(Fault("no_field", detail, self._meant(pointer[1:]), None, column.name, column.letter))
        elif place.is_filled:
            other = place.column.name if place.column else "a constant or a field inside of it"
            detail = f"{pointer} is filled by {other} already."
            self._faults.append(Fault("filled_twice", detail, "", None, column.name, column.letter, None, pointer))
        else:
            place.column, place.rules = column, target.rules
            place.convert = converter(place.field, target.rules, self._shape.language)

    def _place_constants(self) -> None:
        for pointer, value in self._map.constants.items():
            place = self._enter(pointer)
            if place is None or place.is_filled:
                why = "has no such field" if place is None else "has a column for it"
                self._faults.append(Fault("no_field", f"The constant {pointer} has no place: the record {why}."))
                continue
            place.constant = json.dumps(value, ensure_ascii=False, default=str)

    def _enter(self, pointer: str) -> Place | None:
        place: Place | None = self._root
        for segment in segments_of(pointer):
            if place is None or place.column is not None or place.constant is not None:
                return place
            place = place.enter(segment)
        return place

    def _require(self, record: Place) -> None:
        """Null for the required fields of a record that nothing fills, or a fault where they cannot be null."""
        if record.column or record.constant is not None:
            return
        for place in list(record.inside.values()):
            self._require(place)
        wanted = record.field.fields if record.field.type == "record" else ()
        for field in wanted:
            if not field.required or field.name in record.inside:
                continue
            pointer = f"{record.pointer}/{escape(field.name)}"
            if field.nullable:
                record.inside[field.name] = Place(field, pointer, constant="null")
            elif record is not self._root or field.name != self._shape.resource_field:
                detail = f"The schema wants {pointer}, and no column fills it."
                advice = "Name a column so, or let a map place one or say a constant."
                self._faults.append(Fault("no_column", detail, advice, pointer=pointer))

    def _homeless(self, column: Column) -> Fault:
        detail = f"The schema {self._shape.schema} has no field {column.name!r}."
        return Fault("no_field", detail, self._meant(column.name), None, column.name, column.letter)

    def _meant(self, name: str) -> str:
        near = difflib.get_close_matches(name.replace("/", "."), list(leaf_names(self._shape.root)), 2, 0.6)
        meant = f"Is {' or '.join(near)} meant? " if near else ""
        return f"{meant}A map places the column or ignores it."


class _Conversion:
    """One row on its way to a record."""

    def __init__(self, row: Row, faults: list[Fault]) -> None:
        self._row = row
        self._faults = faults

    def record(self, place: Place) -> str | None:
        """The fields of a record as JSON text; None when it has none and may be left out."""
        parts = []
        for name, inner in place.inside.items():
            text = self._value(inner)
            if text is not None:
                parts.append(f"{quoted(name)}:{text}")
        return f"{{{','.join(parts)}}}"

    def _value(self, place: Place) -> str | None:
        """JSON text; None where the field is left out."""
        if place.constant is not None:
            return place.constant
        if place.column is not None:
            return self._cell(place, place.column)
        if not self._has_content(place):
            field = place.field
            if field.nullable or not field.required:
                return "null" if field.nullable else None
            if field.type == "array":
                return "[]"
        return self._list(place) if place.field.type == "array" else self.record(place)

    def _list(self, place: Place) -> str:
        """The parts that have something in them, in order."""
        parts = [inner for _, inner in sorted(place.inside.items(), key=lambda item: int(item[0]))]
        texts = (self._value(inner) for inner in parts if self._has_content(inner))
        return f"[{','.join(text for text in texts if text is not None)}]"

    def _has_content(self, place: Place) -> bool:
        if place.column is not None and place.rules is not None:
            return not is_empty(self._row.cells[place.column.index], place.rules, place.field.type)
        return place.constant not in {None, "null"} or any(map(self._has_content, place.inside.values()))

    def _cell(self, place: Place, column: Column) -> str | None:
        assert place.rules is not None
        assert place.convert is not None
        cell = self._row.cells[column.index]
        if is_empty(cell, place.rules, place.field.type):
            return self._empty(place, column, place.rules.empty)
        try:
            if isinstance(cell, str):
                cell = _as_meant(cell, place.rules.replace)
            return place.convert(cell)
        except Misfit as misfit:
            self._wrong(place, column, misfit)
            return None

    def _empty(self, place: Place, column: Column, wanted: str | None) -> str | None:
        """The JSON of an empty cell: as the map says, else null, or nothing, or an empty text or list."""
        field = place.field
        if wanted is not None:
            return {"null": "null", "text": '""'}.get(wanted)
        if field.nullable:
            return "null"
        if not field.required:
            return None
        if field.type in {"text", "bytes"}:
            return '""'
        if field.type == "array":
            return "[]"
        self._wrong(place, column, Misfit("empty_cell", f"The cell is empty, and the schema wants {field.type}."))
        return None

    def _wrong(self, place: Place, column: Column, misfit: Misfit) -> None:
        cell = text_of(self._row.cells[column.index])
        place_of = (self._row.number, column.name, column.letter, cell, place.pointer)
        self._faults.append(Fault(misfit.code, misfit.detail, misfit.advice, *place_of))


def _pointer(place: Place) -> str:
    return place.pointer


def _as_meant(cell: str, replace: Mapping[str, str]) -> Cell:
    """The cell as it is meant. `Misfit` for an error that a spreadsheet wrote into a text file."""
    if replace and cell in replace:
        return replace[cell]
    if cell.startswith(("#", "Err:")) and ERROR.match(cell):
        raise Misfit(
            "error_cell", f"The cell holds the error {cell}.", "Mend its formula in the spreadsheet, or empty it."
        )
    return cell


def _missing(name: str, columns: Iterable[Column], who: str) -> Fault:
    names = [column.name for column in columns]
    near = difflib.get_close_matches(name, names, 1, 0.6)
    meant = f"Is {near[0]} meant?" if near else f"The table has {', '.join(names[:20])}."
    return Fault("no_such_column", f"{who} names a column that the table does not have: {name}.", meant, column=name)
