"""Rows before anybody knows what they mean: names of columns, and rows as wide as they."""

import pytest

from voice_agent.contacts.reading.model import MAX_CELL, MAX_COLUMNS, CellRepair, FileProblem, FileRefused, RowProblem
from voice_agent.contacts.reading.rows import LONGEST_HEADER, SourceRow, fitted, headers_of


@pytest.mark.parametrize(
    ("cells", "headers"),
    [
        (["a", "b"], ("a", "b")),
        (["  two   words ", ""], ("two words",)),
        (["a", "", "c"], ("a", "column 2", "c")),
        (["a", "a", "a", "a (2)"], ("a", "a (2)", "a (3)", "a (2) (2)")),
        ([], ()),
    ],
)
def test_columns_have_names_of_their_own(cells: list[str], headers: tuple[str, ...]) -> None:
    assert headers_of(cells) == headers


def test_long_names_stay_distinct() -> None:
    headers = headers_of(["x" * 500, "x" * 500])

    assert headers == ("x" * LONGEST_HEADER, "x" * (LONGEST_HEADER - 4) + " (2)")


def test_a_table_has_no_more_columns_than_allowed() -> None:
    assert len(headers_of(["x"] * MAX_COLUMNS + [""] * 100)) == MAX_COLUMNS
    with pytest.raises(FileRefused) as refusal:
        headers_of(["x"] * (MAX_COLUMNS + 1))
    assert refusal.value.problem is FileProblem.TOO_MANY_COLUMNS


@pytest.mark.parametrize(
    ("cells", "fitting", "problem", "repairs"),
    [
        (["a", "b"], ["a", "b"], None, ()),
        (["a"], ["a", ""], None, (CellRepair.MISSING_CELLS,)),
        ([], ["", ""], None, ()),
        (["", ""], ["", ""], None, ()),
        (["a", "b", "", ""], ["a", "b"], None, ()),
        (["a", "b", "", "c"], ["a", "b", "", "c"], RowProblem.TOO_MANY_CELLS, ()),
    ],
)
def test_rows_are_as_wide_as_the_table(
    cells: list[str], fitting: list[str], problem: RowProblem | None, repairs: tuple[CellRepair, ...]
) -> None:
    assert list(fitted([SourceRow(5, cells)], 2, 1)) == [SourceRow(4, fitting, problem, repairs)]


def test_what_is_shown_of_a_bad_row_is_bounded() -> None:
    (row,) = fitted([SourceRow(1, ["x" * (MAX_CELL + 9)] * 2_000, RowProblem.CELL_TOO_LONG)], 3, 0)

    assert (len(row.cells), len(row.cells[0]), row.problem) == (1_000, MAX_CELL, RowProblem.CELL_TOO_LONG)
