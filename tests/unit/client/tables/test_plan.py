"""Rows become records by the types of the schema: nothing is guessed, and what does not fit is named by its cell."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka.schema_registry import Schema
from hypothesis import given
from hypothesis import strategies as st

from inlake.client.tables import Converted, Fault, Plan, Shape, TableError, open_table, read_map, read_shape
from inlake.errors import RecordRejected
from inlake.formats import compile_codec
from inlake.ports import Codec
from tests.unit.client.tables.workbooks import xlsx

ROOT = Path(__file__).parents[4]
EXAMPLES = ROOT / "examples"
RESOURCE = "__resource_path__"


def told(codec: Codec, language: str) -> Shape:
    """The shape as it comes out of a gateway's answer."""
    fields = json.loads(msgspec.json.encode(codec.shape().fields))
    resource = RESOURCE if codec.has_resource_field else None
    return read_shape({"name": "s", "version": 1, "type": language, "fields": fields, "resource_field": resource})


def avro(**fields: Any) -> Shape:
    """A record with these fields; a default of null where null comes first."""
    listed = [
        {"name": name, "type": type_} | ({"default": None} if isinstance(type_, list) and type_[0] == "null" else {})
        for name, type_ in fields.items()
    ]
    return told(compile_codec(Schema(json.dumps({"type": "record", "name": "R", "fields": listed}), "AVRO")), "AVRO")


def proto(fields: str) -> Shape:
    text = f'syntax = "proto3"; import "google/protobuf/timestamp.proto"; message M {{ {fields} }}'
    return told(compile_codec(Schema(text, "PROTOBUF")), "PROTOBUF")


def json_schema(**schema: Any) -> Shape:
    return told(compile_codec(Schema(json.dumps({"type": "object", **schema}), "JSON")), "JSON")


@pytest.fixture
def convert(tmp_path: Path) -> Any:
    def convert(table: str | io.BytesIO, shape: Shape, map_: str = "", **more: Any) -> list[Converted]:
        (tmp_path / "map.toml").write_text(map_)
        with open_table(io.BytesIO(table.encode()) if isinstance(table, str) else table) as opened:
            plan = Plan(opened.columns, shape, read_map(tmp_path / "map.toml"), **more)
            return [plan.convert(row) for row in opened]

    return convert


@pytest.fixture
def records(convert: Any) -> Any:
    def records(*args: Any, **more: Any) -> list[Any]:
        converted = convert(*args, **more)
        assert not [fault.sentence for one in converted for fault in one.faults]
        return [json.loads(one.text) for one in converted]

    return records


@pytest.fixture
def faults(convert: Any) -> Any:
    def faults(*args: Any, **more: Any) -> list[Fault]:
        """All faults, of rows or of the whole table."""
        try:
            return [fault for one in convert(*args, **more) for fault in one.faults]
        except TableError as error:
            return list(error.faults)

    return faults


def test_a_number_stays_text_where_the_schema_says_text(records: Any) -> None:
    assert records("a,b\n007,007.50\n", avro(a="string", b=["null", "string"])) == [{"a": "007", "b": "007.50"}]


def test_numbers_are_exact(convert: Any) -> None:
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 2}
    shape = avro(a="long", b="double", c=decimal)
    (row,) = convert("a,b,c\n9223372036854775807,1.0000000596046448,12345678901234567890123456.70\n", shape)
    assert row.text == b'{"a":9223372036854775807,"b":1.0000000596046448,"c":12345678901234567890123456.70}'


@pytest.mark.parametrize(
    "cell", ["1_000", "007", "+5", "1,5", "1 000", "0x10", "NaN", "1e", "5.", ".5", "٣", "c. 1890"]
)
@pytest.mark.parametrize("type_", ["int", "double"])
def test_what_json_calls_no_number_is_no_number(faults: Any, cell: str, type_: str) -> None:
    (fault,) = faults(f'a,b\nx,"{cell}"\n', avro(a="string", b=type_))
    assert (fault.code, fault.row, fault.letter, fault.column, fault.cell) == ("wrong_type", 2, "B", "b", cell)
    assert fault.pointer == "/b"
    assert repr(cell) in fault.sentence


@pytest.mark.parametrize("cell", ["1.5", "1897.0", "1e3"])
def test_a_fraction_is_no_integer(faults: Any, cell: str) -> None:
    (fault,) = faults(f"a,b\nx,{cell}\n", avro(a="string", b="int"))
    assert fault.code == "wrong_type"


def test_blanks_around_a_number_do_no_harm(records: Any) -> None:
    assert records("a;b\n 7 ; true \n", avro(a="int", b="boolean")) == [{"a": 7, "b": True}]


def test_blanks_alone_are_text_and_nothing_else(records: Any) -> None:
    assert records("a;b;c\n ; ;1\n", avro(a="string", b=["null", "int"], c="int")) == [{"a": " ", "b": None, "c": 1}]


def test_a_map_says_how_numbers_are_written(records: Any, faults: Any) -> None:
    shape = avro(a="double", b=["null", "double"])
    assert records("a;b\n1.234,50;-0,5\n", shape, 'decimal_comma = true\nthousands = "."') == [{"a": 1234.5, "b": -0.5}]
    assert records("a;b\n1'234.5;2\n", shape, 'thousands = "\'"') == [{"a": 1234.5, "b": 2}]
    assert [fault.cell for fault in faults("a;b\n1.5;1,5\n", shape, "decimal_comma = true")] == ["1.5"]
    assert [fault.cell for fault in faults("a;b\n1.23,5;2\n", shape, 'decimal_comma = true\nthousands = "."')] == [
        "1.23,5"
    ]


def test_true_and_false_are_words_and_a_map_names_others(records: Any, faults: Any) -> None:
    shape = avro(a="boolean", b="boolean")
    assert records("a,b\nTRUE,false\n", shape) == [{"a": True, "b": False}]
    assert [fault.cell for fault in faults("a,b\n1,ja\n", shape)] == ["1", "ja"]
    assert records("a,b\n1,nein\n", shape, 'true = ["1"]\nfalse = ["nein"]') == [{"a": True, "b": False}]


def test_an_empty_cell_is_null_or_nothing_or_empty_text_as_the_schema_has_it(records: Any, faults: Any) -> None:
    shape = json_schema(
        properties={
            "nullable": {"type": ["string", "null"]},
            "optional": {"type": "string"},
            "required": {"type": "string"},
            "list": {"type": "array"},
        },
        required=["required", "nullable", "list"],
    )
    table = "nullable,optional,required,list,\n,,,,\n,,x,,\n"
    assert records(table, shape) == [{"nullable": None, "required": "x", "list": []}]
    (fault,) = faults("a,b\nx,\n", avro(a="string", b="int"))
    assert (fault.code, fault.letter, fault.pointer) == ("empty_cell", "B", "/b")
    assert records("a,b\nx,\n", avro(a="string", b=["null", "int"])) == [{"a": "x", "b": None}]


def test_a_map_says_what_is_empty_and_what_that_becomes(records: Any) -> None:
    shape = avro(a="string", b=["null", "string"], c=["null", "string"])
    map_ = 'null = ["n/a"]\n[columns]\nc = {to = "/c", empty = "text"}'
    assert records("a,b,c\nx,n/a,n/a\n", shape, map_) == [{"a": "x", "b": None, "c": ""}]
    map_ = '[columns]\nb = {to = "/b", empty = "absent"}'
    assert records("a,b,c\nx,,\n", shape, map_) == [{"a": "x", "c": None}]


def test_dates_are_iso_or_as_the_map_says(records: Any, faults: Any) -> None:
    date, moment = {"type": "int", "logicalType": "date"}, {"type": "long", "logicalType": "timestamp-millis"}
    shape = avro(a=date, b=moment)
    assert records("a,b\n1897-07-21,1897-07-21T13:45:00Z\n", shape) == [
        {"a": "1897-07-21", "b": "1897-07-21T13:45:00Z"}
    ]
    map_ = 'date = "D.M.YYYY"\ntimestamp = "DD.MM.YYYY hh:mm"\nzone = "+01:00"'
    found = records("a,b\n3.12.1897,21.07.1897 13:45\n", shape, map_)
    assert found == [{"a": "1897-12-03", "b": "1897-07-21T13:45:00+01:00"}]
    assert [fault.cell for fault in faults("a,b\n31.2.1897,x\n", shape, map_)] == ["31.2.1897", "x"]
    assert [fault.code for fault in faults("a,b\n1897,1897-07-21T13:45:00\n", shape)] == ["wrong_type", "no_zone"]


def test_years_of_two_digits_need_a_century(records: Any, faults: Any) -> None:
    shape = avro(a={"type": "int", "logicalType": "date"}, b="string")
    assert records("a,b\n5/1/53,x\n", shape, 'date = "M/D/YY"\ncentury = 1900') == [{"a": "1953-05-01", "b": "x"}]
    assert faults("a,b\n5/1/53,x\n", shape, 'date = "M/D/YY"')[0].code == "bad_map"


def test_an_enum_takes_its_symbols_and_a_map_translates(records: Any, faults: Any) -> None:
    shape = avro(a={"type": "enum", "name": "E", "symbols": ["PAINTING", "PRINT"]}, b="string")
    assert records("a,b\nPRINT,x\n", shape) == [{"a": "PRINT", "b": "x"}]
    (fault,) = faults("a,b\nPRINTS,x\n", shape)
    assert "PRINT meant" in fault.advice
    map_ = '[columns]\na = {to = "/a", replace = {"Gemälde" = "PAINTING"}}'
    assert records("a,b\nGemälde,x\n", shape, map_) == [{"a": "PAINTING", "b": "x"}]


def test_the_first_type_of_a_choice_that_fits_is_taken_unless_the_map_says_which(records: Any) -> None:
    shape = avro(a=["int", "string"], b=["null", "int", "string"])
    assert records("a,b\n7,007\n", shape) == [{"a": 7, "b": "007"}]
    assert records("a,b\n7,7\n", shape, '[columns]\na = {to = "/a", type = "text"}') == [{"a": "7", "b": 7}]


def test_a_list_is_split_where_the_map_says_or_written_as_json(records: Any, faults: Any) -> None:
    shape = avro(a={"type": "array", "items": "int"}, b="string")
    map_ = '[columns]\na = {to = "/a", split = "|"}'
    assert records("a,b\n1| 2 |,x\n", shape, map_) == [{"a": [1, 2], "b": "x"}]
    assert records('a,b\n"[1, 2]",x\n', shape) == [{"a": [1, 2], "b": "x"}]
    (fault,) = faults("a,b\n1; 2,x\n", shape)
    assert "split" in fault.advice
    (fault,) = faults("a,b\n1|x,y\n", shape, map_)
    assert "'x' is no number" in fault.detail


def nested() -> Shape:
    span = {
        "type": "record",
        "name": "Span",
        "fields": [{"name": "start", "type": "int"}, {"name": "end", "type": ["null", "int"], "default": None}],
    }
    image = {"type": "record", "name": "Image", "fields": [{"name": "url", "type": "string"}]}
    return avro(
        title="string",
        span=["null", span],
        images={"type": "array", "items": image},
        names={"type": "map", "values": "string"},
    )


def test_nested_records_lists_and_maps_come_from_dotted_headers_or_pointers(records: Any) -> None:
    table = "title,span.start,/span/end,images.0.url,images.1.url,names.de\nx,1,2,u,v,Bild\ny,,,,w,\n"
    assert records(table, nested()) == [
        {"title": "x", "span": {"start": 1, "end": 2}, "images": [{"url": "u"}, {"url": "v"}], "names": {"de": "Bild"}},
        {"title": "y", "span": None, "images": [{"url": "w"}], "names": {}},
    ]


def test_a_nested_record_without_anything_in_it_is_null_whatever_it_must_hold(records: Any) -> None:
    span = {
        "type": "record",
        "name": "S",
        "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": ["int", "null"]}],
    }
    assert records("title,span.a\nx,\ny,1\n", avro(title="string", span=["null", span])) == [
        {"title": "x", "span": None},
        {"title": "y", "span": {"a": 1, "b": None}},
    ]


def test_a_nested_record_with_something_in_it_is_whole_or_refused(faults: Any) -> None:
    table = "title,span.start,span.end,images,names\nx,,2,[],{}\n"
    assert [(fault.code, fault.pointer) for fault in faults(table, nested())] == [("empty_cell", "/span/start")]


def test_a_map_places_columns_and_says_constants(records: Any) -> None:
    map_ = """
        ignore = ["Notes"]
        [columns]
        "Main Title" = "/title"
        From = "/span/start"
        Pictures = {to = "/images", split = ";"}
        [constants]
        "/names" = {de = "Bild"}
        "/images" = []
    """
    map_ = map_.replace('Pictures = {to = "/images", split = ";"}', "")
    table = "Main Title,From,Notes\nx,1,secret\n"
    assert records(table, nested(), map_) == [
        {"title": "x", "span": {"start": 1}, "images": [], "names": {"de": "Bild"}}
    ]


def test_one_column_may_go_to_two_fields(records: Any) -> None:
    map_ = '[columns]\na = {to = ["/a", "/b"]}'
    assert records("a,\n7,\n", avro(a="string", b="int"), map_) == [{"a": "7", "b": 7}]


def test_every_column_without_a_place_and_every_field_without_a_column_is_named_at_once(faults: Any) -> None:
    found = faults("titel,date\nx,y\n", avro(title="string", year="int", note=["null", "string"]))
    assert [(f.code, f.column, f.pointer) for f in found] == [
        ("no_field", "titel", None),
        ("no_field", "date", None),
        ("no_column", None, "/title"),
        ("no_column", None, "/year"),
    ]
    assert "title meant" in found[0].advice


def test_two_columns_for_one_field_are_refused(faults: Any) -> None:
    assert [f.code for f in faults("a,b\nx,y\n", avro(a="string"), '[columns]\nb = "/a"')] == ["filled_twice"]


def test_a_map_that_names_a_column_or_a_field_that_is_not_there_is_refused(faults: Any) -> None:
    shape = avro(a="string")
    assert [f.code for f in faults("a,\nx,\n", shape, '[columns]\nAA = "/a"')] == ["no_such_column"]
    assert [f.code for f in faults("a,b\nx,y\n", shape, '[columns]\nb = "/c/d"')] == ["no_field"]
    assert [f.code for f in faults("a,\nx,\n", shape, '[constants]\n"/c" = 1')] == ["no_field"]
    assert [f.code for f in faults("a,\nx,\n", shape, 'file = "scan"')] == ["no_such_column"]


def test_a_field_that_must_be_there_and_may_be_null_is_null_without_a_column(convert: Any) -> None:
    shape = json_schema(properties={"a": {"type": "string"}, "b": {"type": ["integer", "null"]}}, required=["a", "b"])
    assert [one.text for one in convert("a,\nx,\n", shape)] == [b'{"a":"x","b":null}']


def test_the_field_of_the_binary_needs_no_column_and_the_file_column_no_field(convert: Any) -> None:
    shape = avro(a="string", **{RESOURCE: "string"})
    converted = convert("a,scan\nx,x.jpg\ny,\n", shape, file_column="scan")
    assert [(one.text, one.file) for one in converted] == [(b'{"a":"x"}', "x.jpg"), (b'{"a":"y"}', None)]


def test_protobuf_takes_both_names_and_leaves_empty_cells_out(records: Any) -> None:
    shape = proto("string main_title = 1; int64 year = 2; repeated string tags = 3; google.protobuf.Timestamp at = 4;")
    map_ = '[columns]\ntags = {to = "/tags", split = ";"}'
    table = "main_title,year,tags,at\nx,,,\ny,7,a;b,2020-01-01T00:00:00Z\n"
    assert records(table.replace(",a;b", ',"a;b"'), shape, map_) == [
        {"mainTitle": "x"},
        {"mainTitle": "y", "year": 7, "tags": ["a", "b"], "at": "2020-01-01T00:00:00Z"},
    ]


def test_typed_cells_of_a_workbook_become_what_the_schema_wants(records: Any, faults: Any) -> None:
    import datetime as dt

    shape = avro(
        text="string",
        number="int",
        flag="boolean",
        day={"type": "int", "logicalType": "date"},
        share="double",
        day_text="string",
    )
    day = dt.date(1999, 12, 31)
    book = xlsx(["text", "number", "flag", "day", "share", "day_text"], [1897, 7.0, True, day, 0.1, day])
    assert records(book, shape) == [
        {"text": "1897", "number": 7, "flag": True, "day": "1999-12-31", "share": 0.1, "day_text": "1999-12-31"}
    ]
    book = xlsx(["text", "number", "flag", "day", "share", "day_text"], ["x", 7.5, 1, 36525, day, True])
    assert [fault.letter for fault in faults(book, shape)] == ["B", "C", "D", "E"]


def test_the_error_of_a_spreadsheet_is_none_of_its_values(faults: Any) -> None:
    assert [f.code for f in faults("a,b\n#REF!,#1\n", avro(a="string", b="string"))] == ["error_cell"]


def test_an_error_of_the_gateway_is_led_back_to_its_cell(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('[columns]\npics = {to = "/images", split = ";"}')
    with open_table(io.BytesIO(b"title,span.start,span.end,pics,names\nx,1,2,[],{}\n")) as table:
        plan = Plan(table.columns, nested(), read_map(tmp_path / "m.toml"))
        (row,) = table

    def place(pointer: str) -> tuple[Any, ...]:
        fault = plan.fault(row, {"pointer": pointer, "code": "c", "detail": "No."})
        return fault.row, fault.column, fault.letter, fault.cell, fault.pointer

    assert place("/span/start") == (2, "span.start", "B", "1", "/span/start")
    assert place("/images/3/url") == (2, "pics", "D", "[]", "/images/3/url")
    assert place("/span") == (2, "span.start", "B", "1", "/span")
    assert place("/elsewhere") == (2, None, None, None, "/elsewhere")
    assert place("") == (2, None, None, None, "")


@pytest.mark.parametrize("name", ["nga.constituent", "nga.constituent.json", "nga.constituent.protobuf"])
def test_real_rows_become_the_records_that_were_made_of_them_by_hand(name: str, tmp_path: Path) -> None:
    from tests.unit.formats.test_shape import example

    codec = example(name)
    language = {"json": "JSON", "protobuf": "PROTOBUF"}.get(name.rpartition(".")[2], "AVRO")
    (tmp_path / "m.toml").write_text('true = ["1"]\nfalse = ["0"]')
    by_hand = [
        json.loads(line)
        for line in gzip.decompress((EXAMPLES / "nga/constituents.ndjson.gz").read_bytes()).splitlines()[:1000]
    ]
    text = ",".join(by_hand[0]) + "\n"
    for record in by_hand:
        cells = (
            "" if cell is None else str(int(cell)) if isinstance(cell, bool) else str(cell) for cell in record.values()
        )
        text += ",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\n"
    with open_table(io.BytesIO(text.encode())) as table:
        plan = Plan(table.columns, told(codec, language), read_map(tmp_path / "m.toml"))
        converted = [plan.convert(row) for row in table]
    for one, record in zip(converted, by_hand, strict=True):
        assert one.text is not None, one.faults
        if language == "PROTOBUF":
            codec.encode(codec.read(one.text))
        else:
            assert json.loads(one.text) == record


def test_a_real_table_of_500_rows_has_its_14_bad_cells_named(tmp_path: Path) -> None:
    shape = avro(
        accession_number="string", title="string", date="string", year_from=["null", "int"], medium="string",
        width_cm=["null", "double"], credit_line="string",
    )  # fmt: skip
    with open_table(ROOT / "tests/data/tables/cmoa_objects_semicolon_bom.csv") as table:
        plan = Plan(table.columns, shape, file_column="image")
        faults = [fault for row in table for fault in plan.convert(row).faults]
    assert len(faults) == 14
    assert {fault.column for fault in faults} == {"year_from", "width_cm"}
    assert (faults[0].row, faults[0].letter, faults[0].cell) == (5, "F", "48,375")
    assert "decimal_comma" in faults[0].advice


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")), min_size=1, max_size=3))
def test_any_text_comes_through_as_it_is(cells: list[str]) -> None:
    text = "\n".join(f'"{cell.replace(chr(34), chr(34) * 2)}",x' for cell in ("a", *cells))
    text = text.replace('"a",x', "a,b")
    with open_table(io.BytesIO(text.encode())) as table:
        plan = Plan(table.columns, avro(a="string", b="string"))
        rows = [plan.convert(row) for row in table]
    expected = [cell for cell in cells if not cell.startswith("#")]
    found = [json.loads(row.text)["a"] for row in rows if row.text]
    assert [one for one in found if not one.startswith("#")] == expected


def test_lines_of_json_go_as_they_are() -> None:
    with open_table(io.BytesIO(b'{"a": 1.50}\n')) as table:
        plan = Plan(table.columns, avro(a="double"))
        assert [plan.convert(row).text for row in table] == [b'{"a": 1.50}']


def test_what_a_plan_makes_is_what_the_codec_takes() -> None:
    codec = compile_codec(
        Schema(json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}), "AVRO")
    )
    with open_table(io.BytesIO(b"a,\n99999999999,\n")) as table:
        plan = Plan(table.columns, told(codec, "AVRO"))
        (one,) = [plan.convert(row) for row in table]
    assert one.text
    with pytest.raises(RecordRejected) as refused:
        codec.encode(codec.read(one.text))
    fault = plan.fault(one.row, refused.value.errors[0]._asdict())
    assert (fault.code, fault.row, fault.letter, fault.cell) == ("out_of_range", 2, "A", "99999999999")


def test_a_gateway_that_does_not_tell_fields_is_said_to_be_older() -> None:
    for answer in (
        {"name": "s", "version": 1, "type": "AVRO"},
        {"name": "s", "version": 1, "type": "AVRO", "fields": []},
    ):
        with pytest.raises(TableError) as refused:
            read_shape(answer)
        assert refused.value.faults[0].code == "no_fields"


def test_a_column_that_is_moved_changes_no_record(convert: Any, tmp_path: Path) -> None:
    inner = {
        "type": "record",
        "name": "Maker",
        "fields": [{"name": "name", "type": "string"}, {"name": "born", "type": "int"}],
    }
    shape = avro(title="string", maker=inner, tags={"type": "map", "values": "string"})
    tables = (
        "title,maker.name,maker.born,tags.a,tags.b\nT,N,1890,1,2\n",
        "tags.b,maker.born,title,tags.a,maker.name\n2,1890,T,1,N\n",
    )
    texts = [one.text for table in tables for one in convert(table, shape)]
    assert texts == [b'{"title":"T","maker":{"name":"N","born":1890},"tags":{"a":"1","b":"2"}}'] * 2
    formers = []
    for number, text in enumerate(tables):
        (tmp_path / f"{number}.csv").write_text(text)
        with open_table(tmp_path / f"{number}.csv") as table:
            plan = Plan(table.columns, shape)
            formers += [plan.former(row) for row in table]
    assert formers == [None, b'{"tags":{"b":"2","a":"1"},"maker":{"born":1890,"name":"N"},"title":"T"}']


def test_faults_of_a_row_come_in_the_order_of_the_columns(faults: Any) -> None:
    assert [one.letter for one in faults("b,a\nx,y\n", avro(a="int", b="int"))] == ["A", "B"]
