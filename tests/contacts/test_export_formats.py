import csv
import io
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import openpyxl
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.contacts.export_formats import (
    FORMULA,
    HARMLESS,
    Cell,
    CsvStyle,
    CsvWriter,
    JsonLinesWriter,
    Writer,
    XlsxWriter,
    safe_text,
    text_of,
)

HEADERS = ["phone", "name", "balance", "is_new", "tags", "created_at"]
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
ROWS: list[list[Cell]] = [
    ["+34612345678", 'Ana "la" García, S.L.\nVigo', -12.5, True, ["vip", "new"], AT],
    ["+447400123456", "=1+1", 3, False, [], AT],
    ["", None, None, None, None, None],
]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


def written(writer: Writer, *pages: Iterable[Sequence[Cell]]) -> bytes:
    return b"".join([writer.begin(), *(writer.rows(page) for page in pages), writer.end()])


def csv_rows(content: bytes, **style: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), **style))


def test_csv_has_a_header_and_cells_as_texts() -> None:
    content = written(CsvWriter(HEADERS, CsvStyle()), ROWS[:1], ROWS[1:])

    assert csv_rows(content) == [
        HEADERS,
        ["+34612345678", 'Ana "la" García, S.L.\nVigo', "-12.5", "true", "vip; new", "2026-11-25T12:00:00+00:00"],
        ["+447400123456", "'=1+1", "3", "false", "", "2026-11-25T12:00:00+00:00"],
        ["", "", "", "", "", ""],
    ]


def test_csv_for_excel_has_a_mark_other_delimiters_and_numbers_that_stay() -> None:
    style = CsvStyle(delimiter=";", has_bom=True, keeps_plus=True)
    content = written(CsvWriter(HEADERS, style), ROWS)

    assert content.startswith(b"\xef\xbb\xbfphone;name;")
    assert [row[0] for row in csv_rows(content, delimiter=";")][1:3] == ['="+34612345678"', '="+447400123456"']


def test_csv_for_programs_has_cells_as_they_are() -> None:
    content = written(CsvWriter(["name"], CsvStyle(is_escaped=False)), [["=1+1"], ["@home"]])

    assert csv_rows(content) == [["name"], ["=1+1"], ["@home"]]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("-2+3+cmd", "'-2+3+cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("＝1", "'＝1"),
        ("+34 612", "'+34 612"),
        ("+34612345678", "+34612345678"),
        ("-12.5", "-12.5"),
        ("Ana", "Ana"),
        ("", ""),
    ],
)
def test_what_could_be_a_formula_is_none(text: str, safe: str) -> None:
    assert safe_text(text) == safe


@given(TEXTS)
def test_no_text_is_left_a_formula(text: str) -> None:
    (_, (cell,)) = csv_rows(written(CsvWriter(["name"], CsvStyle()), [[f"x{text}"[1:] or "x"]]))

    assert not FORMULA.match(cell) or HARMLESS.fullmatch(cell)


def test_texts_of_cells() -> None:
    assert [text_of(cell) for cell in (None, True, 0, 1.5, "x", ["a", "b"], AT)] == [
        "", "true", "0", "1.5", "x", "a; b", "2026-11-25T12:00:00+00:00",
    ]  # fmt: skip


def test_json_lines_have_types_and_an_end() -> None:
    lines = [orjson.loads(line) for line in written(JsonLinesWriter(HEADERS), ROWS[:1], ROWS[1:]).splitlines()]

    assert lines[0] == {
        "phone": "+34612345678", "name": 'Ana "la" García, S.L.\nVigo', "balance": -12.5, "is_new": True,
        "tags": ["vip", "new"], "created_at": "2026-11-25T12:00:00+00:00",
    }  # fmt: skip
    assert lines[1]["name"] == "=1+1"
    assert lines[-1] == {"end": True, "contacts": 3}
    assert len(written(JsonLinesWriter(HEADERS, has_end=False), ROWS).splitlines()) == 3


def test_a_workbook_has_texts_that_are_texts_and_numbers_that_are_numbers() -> None:
    content = written(XlsxWriter(HEADERS), ROWS[:1], ROWS[1:])

    workbook = openpyxl.load_workbook(io.BytesIO(content))
    (sheet,) = workbook.worksheets
    assert [cell.value for cell in sheet[1]] == HEADERS
    first, second = list(sheet[2]), list(sheet[3])
    assert [cell.value for cell in first] == [
        "+34612345678", 'Ana "la" García, S.L.\nVigo', -12.5, True, "vip; new", "2026-11-25T12:00:00+00:00",
    ]  # fmt: skip
    assert (second[1].value, second[1].data_type, second[0].number_format) == ("=1+1", "s", "@")
    assert [cell.value for cell in sheet[4]] == [None] * 6


def test_a_sheet_that_is_full_is_followed_by_another() -> None:
    rows: list[list[Cell]] = [[str(number)] for number in range(5)]
    content = written(XlsxWriter(["n"], sheet_rows=3), rows[:1], rows[1:])

    workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True)
    assert workbook.sheetnames == ["Contacts 1", "Contacts 2", "Contacts 3"]
    found = [[row[0] for row in sheet.iter_rows(values_only=True)] for sheet in workbook.worksheets]
    assert found == [["n", "0", "1"], ["n", "2", "3"], ["n", "4"]]


def test_a_workbook_without_its_end_is_no_file() -> None:
    writer = XlsxWriter(HEADERS)
    content = writer.begin() + writer.rows(ROWS)

    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(content))


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_any_texts_make_a_workbook(texts: list[str]) -> None:
    content = written(XlsxWriter(["name"]), [[text] for text in texts])

    sheet = openpyxl.load_workbook(io.BytesIO(content), read_only=True).worksheets[0]
    found = [str(row[0] or "") for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert [_seen(text) for text in found] == [_seen(text) for text in texts]


def _seen(text: str) -> str:
    """Return a text without what XML drops, and with line ends as XML has them."""
    kept = "".join(sign for sign in text if sign >= " " or sign in "\t\n\r")
    return kept.replace("\ufffe", "").replace("\uffff", "").replace("\r\n", "\n").replace("\r", "\n")
