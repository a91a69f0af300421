"""The file of bad rows: it reads back as it was written, and calculates nothing."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.contacts.rejected import BYTE_ORDER_MARK, MARKS, BadRow, RejectedFile, harmless

HEADERS = ["Teléfono", "Nombre"]


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix(BYTE_ORDER_MARK), newline="")))


def test_it_has_the_original_columns_and_what_is_wrong() -> None:
    file = RejectedFile(HEADERS)
    text = file.beginning() + file.rows([BadRow(7, "Teléfono", "this is no telephone number", ["12", "Ana"])])
    assert text.startswith(BYTE_ORDER_MARK)
    assert read(text) == [
        [*HEADERS, "import_row", "import_column", "import_reason"],
        ["12", "Ana", "7", "Teléfono", "this is no telephone number"],
    ]


def test_rows_that_are_too_long_or_too_short_fit_below_the_header() -> None:
    text = RejectedFile(HEADERS).rows([BadRow(1, "", "wrong", ["1", "Ana", "x", "y"]), BadRow(2, "", "wrong", ["2"])])
    assert read(text) == [["1", "Ana", "1", "", "wrong (beyond the last column: x | y)"], ["2", "", "2", "", "wrong"]]


def test_what_an_earlier_file_of_bad_rows_has_added_is_written_anew() -> None:
    file = RejectedFile(["phone", *MARKS, "name"])
    assert read(file.beginning()) == [["phone", "name", *MARKS]]
    assert read(file.rows([BadRow(1, "phone", "new", ["1", "9", "phone", "old", "Ana"])])) == [
        ["1", "Ana", "1", "phone", "new"]
    ]


@pytest.mark.parametrize("cell", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3+cmd", "\t=1", "\r=1", "\n=1", "+A1"])
def test_what_a_spreadsheet_would_calculate_is_a_text(cell: str) -> None:
    assert harmless(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["", "Ana", "+34 612 34 56 78", "+34612345678", "-5", "+34 (0) 91-555/66.7", "a=b"])
def test_what_does_no_harm_stays(cell: str) -> None:
    assert harmless(cell) == cell


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=2)
    )
)
def test_every_row_reads_back(rows: list[list[str]]) -> None:
    text = RejectedFile(HEADERS).rows([BadRow(number, "", "r", cells) for number, cells in enumerate(rows, 1)])
    assert read(text) == [[*map(harmless, cells), str(number), "", "r"] for number, cells in enumerate(rows, 1)]
