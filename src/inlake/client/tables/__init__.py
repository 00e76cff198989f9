"""Tables that people have, to records that the gateway takes: CSV, TSV, XLSX, ODS and NDJSON.

No HTTP and no library of the server here. The way of a table:

    with open_table("objects.csv") as table:            # Layout(): encoding, delimiter and header are detected
        print(table.layout.sentence())                   # what was found, to be said aloud
        shape = read_shape(answer)                       # the gateway's answer to GET /schemas/{name}
        plan = Plan(table.columns, shape, read_map("objects.toml"))
        for row in table:
            converted = plan.convert(row)                # text (one line of NDJSON) or faults, and the file it names
            ...
            plan.fault(row, error)                       # an error of the gateway (by pointer) as one of the table

A table that cannot be read, and a plan that cannot be made, raise `TableError` with all faults; a row that is wrong has
its faults in it, and the next row follows.
"""

from inlake.client.tables.draft import draft_map
from inlake.client.tables.facts import collect_facts
from inlake.client.tables.faults import Fault, TableError
from inlake.client.tables.inference import infer_schema
from inlake.client.tables.json_rows import JsonRows
from inlake.client.tables.layout import Layout
from inlake.client.tables.mapping import Map, read_map
from inlake.client.tables.plan import Converted, Plan
from inlake.client.tables.rejects import Rejects
from inlake.client.tables.row import Cell, Column, Row
from inlake.client.tables.shape import Field, Shape, read_shape
from inlake.client.tables.table import Table, open_table

__all__ = [
    "Cell",
    "Column",
    "Converted",
    "Fault",
    "Field",
    "JsonRows",
    "Layout",
    "Map",
    "Plan",
    "Rejects",
    "Row",
    "Shape",
    "Table",
    "TableError",
    "collect_facts",
    "draft_map",
    "infer_schema",
    "open_table",
    "read_map",
    "read_shape",
]
