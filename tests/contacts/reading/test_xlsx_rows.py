"""Rows of a sheet."""

from datetime import date, datetime, time
from pathlib import Path
from zipfile import ZIP_STORED

import pytest

from tests.contacts.reading.corpus import SHEET, STRINGS, inline, raw_xlsx, sheet, xlsx
from tests.contacts.reading.world import written
from voice_agent.contacts.reading.archive import Archive
from voice_agent.contacts.reading.model import MAX_CELL, MAX_COLUMNS, FileProblem, FileRefused, RowProblem
from voice_agent.contacts.reading.rows import SourceRow
from voice_agent.contacts.reading.shared_strings import SharedStrings
from voice_agent.contacts.reading.workbook import read_workbook
from voice_agent.contacts.reading.xlsx_rows import SheetReader, width_of_header


def rows_of(folder: Path, content: bytes) -> list[SourceRow]:
    with Archive(written(folder, content)) as archive:
        workbook = read_workbook(archive)
        pieces = archive.pieces(STRINGS) if STRINGS in archive else None
        with SharedStrings(pieces) as strings:
            part = workbook.parts[0].name
            reader = SheetReader(archive, part, workbook, strings)
            rows = list(reader.rows())
            assert reader.position() == archive.packed_bytes(part)
            return rows


def raw_rows(folder: Path, content: str) -> list[SourceRow]:
    return rows_of(folder, raw_xlsx({SHEET: sheet(content)}))


def test_what_a_library_writes_is_read_as_people_see_it(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001
    content = xlsx(
        [
            ["tel", "nombre", 34612345678, 7.0, 0.1, True, False, None, "año"],
            [date(2026, 1, 2), moment, time(6, 7), "=1+1", "#N/A", "a\nb", "", 1e20, "año"],
        ]
    )

    assert [row.cells for row in rows_of(tmp_path, content)] == [
        ["tel", "nombre", "34612345678", "7", "0.1", "true", "false", "", "año"],
        ["2026-01-02", "2026-01-02 03:04:05", "06:07:00", "", "", "a\nb", "", "1e+20", "año"],
    ]


def test_cells_of_other_writers(tmp_path: Path) -> None:
    content = (
        '<row r="2"><c r="B2"><f>1+1</f><v>2</v></c><c r="C2" t="str"><f>A1</f><v>x_x000D_y</v></c>'
        '<c r="D2" t="d"><v>2026-01-02T00:00:00</v></c><c r="E2" t="e"><v>#N/A</v></c><c t="b"><v>1</v></c></row>'
        "<row><c><v>1</v></c><c/><c><v>3</v></c></row>"
        f'<row r="9">{inline("A9", "漢</t><rPh><t>kan</t></rPh><t>字")}</row>'
    )

    assert raw_rows(tmp_path, content) == [
        SourceRow(2, ["", "2", "x\ry", "2026-01-02", "", "true"]),
        SourceRow(3, ["1", "", "3"]),
        SourceRow(9, ["漢字"]),
    ]


def test_a_cell_at_the_end_of_the_sheet_is_a_row_and_no_million(tmp_path: Path) -> None:
    rows = raw_rows(tmp_path, f'<row r="1">{inline("A1", "a")}</row><row r="1048576">{inline("XFD1048576", "x")}</row>')

    assert rows == [SourceRow(1, ["a"]), SourceRow(1_048_576, [], RowProblem.TOO_MANY_CELLS)]


def test_long_cells_are_told(tmp_path: Path) -> None:
    (row,) = raw_rows(tmp_path, f"<row>{inline('A1', 'x' * (MAX_CELL + 100))}</row>")

    assert (row.problem, len(row.cells[0])) == (RowProblem.CELL_TOO_LONG, MAX_CELL)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('<row r="2"/><row r="2"/>', FileProblem.BROKEN),
        ('<row r="1048577"/>', FileProblem.BROKEN),
        (f"<row>{inline('B1', 'a')}{inline('A1', 'b')}</row>", FileProblem.BROKEN),
        (f"<row>{inline('1A', 'a')}</row>", FileProblem.BROKEN),
        ('<row><c t="s"><v>0</v></c></row>', FileProblem.BROKEN),
        ('<row><c t="s"><v>x</v></c></row>', FileProblem.BROKEN),
        (f"<row>{inline('ZZZ1', 'a')}</row>", FileProblem.TOO_MANY_COLUMNS),
        ("<row>" + "<c/>" * 20_000 + "</row>", FileProblem.TOO_MANY_COLUMNS),
    ],
)
def test_sheets_that_cannot_be_read(tmp_path: Path, content: str, problem: FileProblem) -> None:
    with pytest.raises(FileRefused) as refusal:
        raw_rows(tmp_path, content)

    assert refusal.value.problem is problem


def test_rows_are_not_longer_than_allowed(tmp_path: Path) -> None:
    cell = inline("", "x" * 32_000).replace(' r=""', "")
    with pytest.raises(FileRefused) as refusal:
        rows_of(tmp_path, raw_xlsx({SHEET: sheet(f"<row>{cell * 40}</row>")}, ZIP_STORED))

    assert refusal.value.problem is FileProblem.ROW_TOO_LONG


def test_a_header_has_no_more_columns_than_allowed() -> None:
    width_of_header(SourceRow(1, ["x"] * MAX_COLUMNS))
    for row in (SourceRow(1, ["x"] * (MAX_COLUMNS + 1)), SourceRow(1, ["x"], RowProblem.TOO_MANY_CELLS)):
        with pytest.raises(FileRefused):
            width_of_header(row)
