"""From a path to a table, whatever the file is."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contacts.reading.corpus import SHEET, inline, raw_xlsx, sheet, xlsx
from tests.contacts.reading.world import table_of, written
from voice_agent.contacts.fields import Style
from voice_agent.contacts.reading.cleaning import Cleaner
from voice_agent.contacts.reading.encodings import ENCODINGS
from voice_agent.contacts.reading.model import (
    CellRepair,
    FileFormat,
    FileKind,
    FileProblem,
    FileRefused,
    MappedColumn,
    ReadOptions,
    RowProblem,
    RowRefusal,
    Sheet,
    TakenRow,
)
from voice_agent.contacts.reading.opening import open_table

ROWS = [["tel", "nombre"], ["+34612345678", "Ana"], ["+34612345679", "Eva Muñoz"]]
CSV = "".join(";".join(row) + "\r\n" for row in ROWS)
OBJECTS = [dict(zip(ROWS[0], row, strict=True)) for row in ROWS[1:]]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (CSV.encode(), FileKind.CSV),
        (CSV.encode("utf-16"), FileKind.CSV),
        (CSV.encode("cp1252"), FileKind.CSV),
        (CSV.replace(";", "\t").encode("utf-8-sig"), FileKind.CSV),
        (CSV.replace("\r\n", "\r").encode(), FileKind.CSV),
        (xlsx(ROWS), FileKind.XLSX),
        (json.dumps(OBJECTS).encode(), FileKind.JSON),
        ("\n".join(map(json.dumps, OBJECTS)).encode(), FileKind.JSON),
    ],
)
def test_the_same_rows_come_out_of_every_kind_of_file(tmp_path: Path, content: bytes, kind: FileKind) -> None:
    found, headers, rows = table_of(tmp_path, content)

    assert (found.kind, headers) == (kind, ("tel", "nombre"))
    assert [(row.number, row.cells) for row in rows] == [(1, ROWS[1]), (2, ROWS[2])]


def test_cards_and_lines_have_columns_of_their_own(tmp_path: Path) -> None:
    found, headers, rows = table_of(tmp_path, "BEGIN:VCARD\nFN:Ana\nTEL:612345678\nEND:VCARD\n")
    assert (found.kind, found.has_header, len(rows), headers[0]) == (FileKind.VCARD, False, 1, "full name")

    found, headers, rows = table_of(tmp_path, "teléfonos:\n612345678\n612345679 Ana\n")
    assert (found.kind, found.has_header, headers) == (FileKind.LINES, True, ("phone", "name", "e-mail"))
    assert [(row.number, row.cells[0]) for row in rows] == [(1, "612345678"), (2, "612345679")]


def test_nothing_is_left_to_be_found_out(tmp_path: Path) -> None:
    found, _, _ = table_of(tmp_path, CSV)

    assert found == FileFormat(
        kind=FileKind.CSV,
        encoding="utf-8",
        delimiter=";",
        quote='"',
        has_header=True,
        decimal=",",
        is_day_first=True,
    )


def test_what_is_given_is_taken(tmp_path: Path) -> None:
    given = FileFormat(has_header=False, decimal=".", is_day_first=False)

    found, headers, rows = table_of(tmp_path, CSV, given)

    assert (found.has_header, found.decimal, found.is_day_first) == (False, ".", False)
    assert (headers, rows[0].cells) == (("column 1", "column 2"), ["tel", "nombre"])


def test_without_a_header_the_widest_of_the_first_rows_counts(tmp_path: Path) -> None:
    _, headers, rows = table_of(tmp_path, "\n612345678,Ana\n612345679,Eva,Madrid\n612345670,Ida\n")

    assert headers == ("column 1", "column 2", "column 3")
    assert [(row.number, row.cells, row.repairs) for row in rows] == [
        (1, ["612345678", "Ana", ""], (CellRepair.MISSING_CELLS,)),
        (2, ["612345679", "Eva", "Madrid"], ()),
        (3, ["612345670", "Ida", ""], (CellRepair.MISSING_CELLS,)),
    ]


def test_titles_above_a_table_are_passed_over(tmp_path: Path) -> None:
    title = [["Clientes 2026"], [], ["", ""]]

    _, headers, rows = table_of(
        tmp_path, xlsx([*title, ["tel", "nombre", "ciudad"], ["+34612345678", "Ana", "Madrid"]])
    )
    assert (headers, [row.number for row in rows]) == (("tel", "nombre", "ciudad"), [1])

    _, headers, _ = table_of(tmp_path, "Clientes\n\ntel;nombre;ciudad\n+34612345678;Ana;Madrid\n")
    assert headers == ("tel", "nombre", "ciudad")


def test_a_first_row_with_a_number_is_no_title(tmp_path: Path) -> None:
    _, _, rows = table_of(tmp_path, "612345678,,\n612345679,Ana,Madrid\n")

    assert len(rows) == 2


def test_ragged_rows_are_told(tmp_path: Path) -> None:
    _, _, rows = table_of(tmp_path, "tel,nombre\n1\n\n2,Ana,x\n3,Eva,\n")

    assert [(row.number, row.problem, row.repairs) for row in rows] == [
        (1, None, (CellRepair.MISSING_CELLS,)),
        (2, None, ()),
        (3, RowProblem.TOO_MANY_CELLS, ()),
        (4, None, ()),
    ]


def test_sheets(tmp_path: Path) -> None:
    rows = f"<row>{inline('A1', 'tel')}</row><row>{inline('A2', '612345678')}</row>"
    listed = "".join(
        f'<sheet name="{name}" state="{state}" r:id="rId{number}"/>'
        for number, (name, state) in enumerate([("Lists", "hidden"), ("Empty", "visible"), ("People", "visible")])
    )
    workbook = f'<workbook xmlns:r="x"><sheets>{listed}</sheets></workbook>'
    links = "".join(f'<Relationship Id="rId{number}" Target="{number}.xml"/>' for number in range(3))
    content = raw_xlsx(
        {
            "xl/workbook.xml": workbook,
            "xl/_rels/workbook.xml.rels": f"<Relationships>{links}</Relationships>",
            "xl/0.xml": sheet(rows.replace("tel", "móvil")),
            "xl/1.xml": sheet(""),
            "xl/2.xml": sheet(rows),
        }
    )
    path = written(tmp_path, content)

    with open_table(path, FileFormat()) as table:
        assert (table.format.sheet, table.headers) == ("People", ("tel",))
        assert [each.name for each in table.sheets if each.is_hidden] == ["Lists"]
    with open_table(path, FileFormat(sheet="Lists")) as table:
        assert table.headers == ("móvil",)
        assert Sheet(name="Empty") in table.sheets
    for name, problem in (("Nobody", FileProblem.NO_SUCH_SHEET), ("Empty", FileProblem.EMPTY)):
        with pytest.raises(FileRefused) as refusal, open_table(path, FileFormat(sheet=name)):
            pass
        assert refusal.value.problem is problem


def test_a_workbook_without_a_cell_is_empty(tmp_path: Path) -> None:
    with pytest.raises(FileRefused) as refusal:
        table_of(tmp_path, raw_xlsx({SHEET: sheet("")}))

    assert refusal.value.problem is FileProblem.EMPTY


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    _, headers, rows = table_of(tmp_path, "teléfono,nombre\n")

    assert (headers, rows) == (("teléfono", "nombre"), [])


def test_a_header_with_an_open_quote_is_none(tmp_path: Path) -> None:
    _, headers, rows = table_of(tmp_path, '"tel,nombre\n612345678,Ana\n', FileFormat(kind=FileKind.CSV))

    assert headers == ("column 1", "column 2")
    assert [row.problem for row in rows] == [RowProblem.UNTERMINATED_QUOTE, None]


def test_files_are_no_larger_than_allowed(tmp_path: Path) -> None:
    with pytest.raises(FileRefused) as refusal, open_table(written(tmp_path, CSV), FileFormat(), max_bytes=9):
        pass

    assert refusal.value.problem is FileProblem.TOO_LARGE


def test_the_first_rows_come_again(tmp_path: Path) -> None:
    with open_table(written(tmp_path, CSV), FileFormat()) as table:
        assert list(table.peeked) == list(table.rows)
        assert (table.position(), table.size) == (len(CSV.encode()), len(CSV.encode()))


FORMATS = st.builds(
    FileFormat,
    kind=st.none() | st.sampled_from(FileKind),
    encoding=st.none() | st.sampled_from(ENCODINGS),
    delimiter=st.none() | st.sampled_from([",", ";", "", "\t", '"', "\x00", "ñ"]),
    quote=st.none() | st.sampled_from(['"', "'", "", ","]),
    has_header=st.none() | st.booleans(),
)
WRITTEN = st.sampled_from(
    [
        CSV.encode(),
        CSV.encode("utf-16"),
        xlsx(ROWS),
        raw_xlsx({SHEET: sheet(f"<row>{inline('A1', '612345678')}</row>")}, 0),
        json.dumps(OBJECTS).encode(),
        b"BEGIN:VCARD\nTEL;CELL:612345678\nEND:VCARD\n",
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a good file in which some bytes are others, and whose end may lack."""
    content = bytearray(draw(WRITTEN))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(content) - 1))
        content[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
        content = content or bytearray(b"x")
    return bytes(content[: draw(st.integers(0, len(content)) | st.just(len(content)))])


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150, deadline=None
)
@given(content=st.binary(max_size=400) | damaged() | st.text(max_size=200).map(str.encode), given_format=FORMATS)
def test_any_bytes_are_rows_or_a_refusal(tmp_path: Path, content: bytes, given_format: FileFormat) -> None:
    try:
        with open_table(written(tmp_path, content), given_format, "ES") as table:
            columns = [
                MappedColumn(header=header, target="ignore" if place else "phone")
                for place, header in enumerate(table.headers)
            ]
            cleaner = Cleaner(columns, ReadOptions(default_country="ES"), Style()) if columns else None
            last = 0
            for row in table.rows:
                assert row.number > last
                last = row.number
                assert row.problem or len(row.cells) == len(table.headers)
                assert all(cell.encode() or True for cell in row.cells)
                if cleaner is not None:
                    assert isinstance(cleaner.clean(row), TakenRow | RowRefusal | None)
    except FileRefused:
        return
