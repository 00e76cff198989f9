"""A table dropped on the console: which rows become records, what is wrong with the others, and where."""

from __future__ import annotations

import asyncio
import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tests.api.test_console import signed_in, with_keys
from tests.gateways import Answer, Gateway, embedded

PATH = "/console/send/note/table"


async def check(gateway: Gateway, body: bytes, query: str = "?file=t.csv", **headers: str) -> Answer:
    return await gateway.post(PATH + query, body, "application/octet-stream", headers=headers)


async def test_rows_become_records_and_what_is_wrong_stands_at_its_cell(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        told = (await check(gateway, b"title;year\nfirst;1889\nsecond;next year\n007;\n")).json()
        assert told["said"] == "CSV, encoding utf-8, delimiter semicolon, names in row 1"
        assert (told["columns"], told["wrong"]) == (["title", "year"], [])
        first, second, third = told["rows"]
        assert json.loads(first["record"]) == {"title": "first", "year": 1889}
        assert (second["number"], second["cells"], second["record"]) == (3, ["second", "next year"], None)
        assert [wrong["column"] for wrong in second["wrong"]] == [1]
        assert json.loads(third["record"])["title"] == "007"
        assert await gateway.events() == []  # but that of the schema


async def test_what_the_gateway_refuses_stands_at_its_cell_too(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        (row,) = (await check(gateway, b"title,year\nx,99999999999\n")).json()["rows"]
        assert [wrong["column"] for wrong in row["wrong"]] == [1]


async def test_rows_that_were_mended_come_again_as_the_page_writes_them(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        body = b'"title","year"\r\n"a; ""b""\nc","1889"'
        (row,) = (await check(gateway, body, "?again=true")).json()["rows"]
        assert json.loads(row["record"]) == {"title": 'a; "b"\nc', "year": 1889}


async def test_each_row_counts_as_a_record_that_is_checked(tmp_path: Path) -> None:
    async with embedded(tmp_path, INLAKE_QUOTA_PRINCIPAL="records=3") as gateway:
        assert (await check(gateway, b"title,year\na,1\nb,wrong\nc,2\n")).status == 200
        assert (await check(gateway, b"title,year\na,1\n")).status == 200
        refused = await check(gateway, b"title,year\na,1\n")
        assert (refused.status, refused.json()["code"]) == (429, "quota_exceeded")


async def test_other_requests_go_on_while_rows_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked, turns = 0, set[int]()

    async def slow(*_: Any) -> None:
        nonlocal checked
        checked += 1
        time.sleep(0.001)  # as a large record takes

    async with embedded(tmp_path) as gateway:
        monkeypatch.setattr(gateway.deployment.gateway, "validate", slow)
        checking = asyncio.create_task(check(gateway, b"title,year\n" + b"x,1\n" * 100))
        while not checking.done():
            turns.add(checked)
            await asyncio.sleep(0)
        assert (await checking).status == 200
    assert checked == 100
    assert len(turns) > 50


async def test_a_workbook_is_read(tmp_path: Path) -> None:
    book, buffer = openpyxl.Workbook(), io.BytesIO()
    assert book.active is not None
    for cells in (["title", "year"], ["first", 1889]):
        book.active.append(cells)
    book.save(buffer)
    async with embedded(tmp_path) as gateway:
        (row,) = (await check(gateway, buffer.getvalue(), "?file=t.xlsx")).json()["rows"]
        assert json.loads(row["record"]) == {"title": "first", "year": 1889}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"title,nothing,no\nx,y,z\n", "The schema has no field that is called `nothing`, `no`: rename such columns"),
        (b"titel\nx\n", "Is title meant?"),
        (b"year\n1889\n", "The schema wants `title` too, and no column is called so."),
    ],
)
async def test_a_table_that_cannot_be_records_says_why(tmp_path: Path, body: bytes, said: str) -> None:
    async with embedded(tmp_path) as gateway:
        answer = await check(gateway, body)
        assert answer.status == 200, answer.body
        assert said in " ".join(answer.json()["wrong"])


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(100 << 20))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"title\n" + b"x\n" * 1001, 400, "1,000 rows"),
        (b"x" * (5 << 20), 413, ""),
        (bomb(), 400, "over 64 MiB"),
        (b"PK\x03\x04 nothing", 400, "damaged"),
    ],
    ids=["rows", "bytes", "bomb", "damaged"],
)
async def test_a_table_that_is_too_large_is_refused(tmp_path: Path, body: bytes, status: int, said: str) -> None:
    async with embedded(tmp_path) as gateway:
        answer = await check(gateway, body)
        assert (answer.status, said in answer.json()["detail"]) == (status, True)


async def test_a_table_of_another_site_or_of_nobody_is_refused(tmp_path: Path) -> None:
    async with with_keys(tmp_path, "ann") as gateway:
        body = b"title\nx\n"
        assert (await check(gateway, body)).status == 401
        browser = await signed_in(gateway, "ann")
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        assert (await check(gateway, body, cookie=cookie)).status == 403
        good = {"cookie": cookie, "x-csrf-token": browser.token}
        assert (await check(gateway, body, **good)).status == 200
        assert (await check(gateway, body, **good, origin="https://elsewhere.example")).status == 403
    async with embedded(tmp_path) as gateway:
        assert (await check(gateway, body, origin="https://elsewhere.example", host="127.0.0.1")).status == 403
