"""Cells divided by a sign, as people, spreadsheets and broken exports write them."""

from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contacts.reading.world import text_rows
from voice_agent.contacts.reading.csv_rows import csv_records, csv_rows
from voice_agent.contacts.reading.model import MAX_CELL, CellRepair, RowProblem


def records(text: str, delimiter: str = ",", quote: str = '"') -> list[tuple[list[str], RowProblem | None]]:
    return list(csv_records(text.splitlines(keepends=True), delimiter, quote))


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("a,b\nc,d\n", [["a", "b"], ["c", "d"]]),
        ('"a, b",c\n', [["a, b", "c"]]),
        ('"two\nlines",c\n"d","e"\n', [["two\nlines", "c"], ["d", "e"]]),
        ('"he said ""no""",c\n', [['he said "no"', "c"]]),
        ('Juan "El Loco" Gil,c\n', [['Juan "El Loco" Gil', "c"]]),
        ('"Bar" Manolo,c\n', [["Bar Manolo", "c"]]),
        ("a,b\n\nc,d\n", [["a", "b"], [], ["c", "d"]]),
        ("sep=,\na,b\n", [["a", "b"]]),
        ("", []),
        ("a\x00b,c\n", [["a\x00b", "c"]]),
    ],
)
def test_rows_are_read_as_they_were_meant(text: str, cells: list[list[str]]) -> None:
    assert records(text) == [(row, None) for row in cells]


def test_other_delimiters_and_quotes() -> None:
    assert records("a;'b;c'\n", ";", "'") == [(["a", "b;c"], None)]
    assert records('a|"b\n', "|", "") == [(["a", '"b'], None)]
    assert records("a,b\n", "") == [(["a,b"], None)]


def test_a_quote_that_does_not_close_costs_its_own_row_alone() -> None:
    rows = records('a,b\n"open,c\nd,e\n' + "f,g\n" * 3)

    assert rows == [
        (["a", "b"], None),
        (['"open,c'], RowProblem.UNTERMINATED_QUOTE),
        (["d", "e"], None),
        *[(["f", "g"], None)] * 3,
    ]


def test_two_such_quotes_do_not_swallow_the_rows_between() -> None:
    rows = records('1,"open\n2,b\n3,"open\n4,d\n')

    assert [cells[0] for cells, problem in rows if problem is None] == ["2", "4"]
    assert sum(problem is RowProblem.UNTERMINATED_QUOTE for _, problem in rows) == 2


def test_an_open_quote_is_noticed_before_the_rest_of_a_large_file_is_in_memory() -> None:
    fed = 0

    def lines() -> Iterator[str]:
        nonlocal fed
        for line in chain(['"open,c\n'], repeat("d,e\n", 60_000)):
            fed += 1
            yield line

    rows = csv_records(lines(), ",", '"')
    assert next(rows) == (['"open,c'], RowProblem.UNTERMINATED_QUOTE)
    assert fed < 40_000
    assert sum(1 for _ in rows) == 60_000


@pytest.mark.parametrize("text", [f"a,{'x' * (MAX_CELL + 1)}\n", f'"{"x" * 20_000}\n{"x" * 20_000}",b\n'])
def test_long_cells_are_told(text: str) -> None:
    ((cells, problem),) = records(text)

    assert problem is RowProblem.CELL_TOO_LONG
    assert len(cells) == 2


def test_a_cell_that_csv_itself_refuses_is_told() -> None:
    assert [problem for _, problem in records("x" * 200_000 + "\nb\n")] == [RowProblem.CELL_TOO_LONG, None]
    assert [problem for _, problem in records("x" * 200_000 + "\nb\n", ",", "")] == [RowProblem.CELL_TOO_LONG, None]


def test_rows_are_numbered_and_mended_bytes_told(tmp_path: Path) -> None:
    rows = text_rows(tmp_path, b"a,b\nMu\xf1oz,c\n", lambda source: list(csv_rows(source, ",", '"')))

    assert [(row.number, row.cells, row.repairs) for row in rows] == [
        (1, ["a", "b"], ()),
        (2, ["Muñoz", "c"], (CellRepair.ENCODING,)),
    ]


@given(
    st.text(alphabet='ab,;"\n\r\x00', max_size=200), st.sampled_from([",", ";", ""]), st.sampled_from(['"', "'", ""])
)
def test_whatever_is_written_there_are_rows(text: str, delimiter: str, quote: str) -> None:
    rows = records(text, delimiter, quote)

    assert len(rows) <= text.count("\n") + text.count("\r") + 1
