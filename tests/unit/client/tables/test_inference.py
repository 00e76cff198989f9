"""Schemas drafted from tables: valid in each language, and every row of the table fits."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema
from hypothesis import example, given
from hypothesis import strategies as st

from inlake.client.tables import Plan, collect_facts, infer_schema, open_table
from inlake.client.tables.facts import Facts
from inlake.formats import compile_codec
from tests.unit.client.tables.test_plan import told
from tests.unit.client.tables.workbooks import xlsx

TABLES = Path(__file__).parents[3] / "data" / "tables"
LANGUAGES = {"avro": "AVRO", "protobuf": "PROTOBUF", "jsonschema": "JSON"}
AWKWARD = '''id,Main Title,main-title,2nd "name",Größe,flag,day,at,007,__resource_path__
1,x,y,"say ""a\\b""","1,5",true,1999-12-31,2020-01-01T00:00:00Z,007,
2,,z,w,"2,25",FALSE,2000-01-01,2020-01-01T00:00:00.5+01:00,008,
9223372036854775808,,z,w,c.,false,2000-01-01,2020-01-01T00:00:00Z,9,
'''


def facts_of(table: str | io.BytesIO) -> list[Facts]:
    with open_table(io.BytesIO(table.encode()) if isinstance(table, str) else table) as opened:
        return collect_facts(opened.columns, opened)


def drafted(data: bytes, language: str) -> list[bytes]:
    """Each row in the wire form of the schema that is drafted from all rows."""
    with open_table(io.BytesIO(data)) as table:
        text = infer_schema(collect_facts(table.columns, table), language, "museum.object-list")
    codec = compile_codec(Schema(text, LANGUAGES[language]))
    with open_table(io.BytesIO(data)) as table:
        shape = told(codec, LANGUAGES[language])
        fields = {one.name for one in shape.root.fields}
        columns = [column for column in table.columns if column.name in fields or language != "avro"]
        plan = Plan(columns, shape)
        made = [plan.convert(row) for row in table if not row.faults]
    assert not [fault.sentence for one in made for fault in one.faults]
    return [codec.encode(codec.read(one.text)) for one in made if one.text is not None]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "name", ["moma_heads.csv", "cmoa_objects_semicolon_bom.csv", "linked_art_links.tsv", "cmoa_teenie_macroman.csv"]
)
def test_every_row_of_a_real_table_fits_the_schema_drafted_from_it(name: str, language: str) -> None:
    data = (TABLES / name).read_bytes()
    if language == "avro" and name == "linked_art_links.tsv":
        data = data.replace(b"Docs Link", b"Docs_Link")
    assert len(drafted(data, language)) > 1


@pytest.mark.parametrize("language", ["protobuf", "jsonschema"])
def test_names_that_no_schema_takes_as_they_are_make_a_valid_schema(language: str) -> None:
    assert len(drafted(AWKWARD.encode(), language)) == 3


def test_names_that_avro_does_not_take_become_words_each_once() -> None:
    schema = json.loads(infer_schema(facts_of(AWKWARD), "avro", "tate.artwork"))
    compile_codec(Schema(json.dumps(schema), "AVRO"))
    assert (schema["namespace"], schema["name"]) == ("tate", "artwork")
    assert [field["name"] for field in schema["fields"]] == [
        *("id", "Main_Title", "main_title", "c_2nd_name", "Gr_e", "flag", "day", "at", "c_007", "__resource_path__")
    ]


def test_a_column_has_the_narrowest_type_that_all_its_cells_fit() -> None:
    assert [one.type for one in facts_of(AWKWARD)] == [
        *("text", "text", "text", "text", "text", "boolean", "date", "timestamp", "text", "text")
    ]
    assert [one.type for one in facts_of("a,b,c,d\n1,1.5,007,\n-2,3,1,\n")] == ["integer", "number", "text", "text"]


def test_cells_of_a_workbook_count_as_what_they_are() -> None:
    assert [one.type for one in facts_of(xlsx(["a", "b", "c"], [1.0, "1", True], [2, "2", False]))] == [
        *("integer", "integer", "boolean")
    ]


def test_only_a_column_with_an_empty_cell_may_be_null() -> None:
    schema = json.loads(infer_schema(facts_of("a,b\n1,x\n,y\n"), "jsonschema", "s"))
    assert schema["required"] == ["b"]
    assert schema["properties"]["a"]["type"] == ["integer", "null"]
    assert schema["properties"]["b"]["type"] == "string"


def test_the_doc_says_what_was_seen_and_what_stands_in_the_way_of_a_narrower_type() -> None:
    rows = "".join(f"{year},x\n" for year in range(1900, 1930))
    (year, other) = facts_of(f"year,other\n{rows}c. 1876,x\n,x\n")
    assert year.sentence == (
        "Column A (year): 32 cells, 1 of them empty; up to 7 characters; for example 1900, 1901, 1902. "
        "All but 1 would be integer; the first that is not is in row 32: c. 1876."
    )
    assert "All but" not in other.sentence
    assert "decimal_comma" in facts_of('a;b\n"1,5";x\n"2,5";y\n')[0].sentence


def test_names_in_square_brackets_are_no_json_names_of_protobuf() -> None:
    text = infer_schema(facts_of("[];[x];x;[[x]];y\n1;2;3;4;5\n"), "protobuf", "a.b")
    names = re.findall(r'json_name = "([^"]*)"', text)
    assert names == ["column", "x_", "x", "x__", "y", "__resource_path__"]
    compile_codec(Schema(text, LANGUAGES["protobuf"]))


@example(["[]"])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=4, unique=True
    )
)
def test_any_names_of_columns_make_a_valid_schema(names: list[str]) -> None:
    names = [name for name in dict.fromkeys(" ".join(name.split()) for name in names) if name] + ["z1", "z2"]
    text = ";".join('"' + name.replace('"', '""') + '"' for name in dict.fromkeys(names))
    facts = facts_of(f"{text}\n{';'.join('x' for _ in dict.fromkeys(names))}\n")
    for language, registered in LANGUAGES.items():
        compile_codec(Schema(infer_schema(facts, language, "a.b"), registered))
