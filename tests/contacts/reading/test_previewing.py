"""Which rows people are shown."""

from tests.contacts.reading.world import SPAIN
from voice_agent.contacts.fields import Style
from voice_agent.contacts.reading.cleaning import Cleaner
from voice_agent.contacts.reading.model import MappedColumn, Preview, RowProblem
from voice_agent.contacts.reading.previewing import FIRST, LONGEST_CELL, WORST, preview_of
from voice_agent.contacts.reading.rows import SourceRow

GOOD = "+34612345678"


def preview(*cells: str, most: int = 1_000, problem: RowProblem | None = None) -> Preview:
    cleaner = Cleaner([MappedColumn(header="tel", target="phone")], SPAIN, Style())
    rows = (SourceRow(number, [cell], problem) for number, cell in enumerate(cells, start=1))
    return preview_of(rows, cleaner, most)


def test_everything_is_counted() -> None:
    found = preview(GOOD, "612345678", "", "none", "4.41E+11", "912345678")

    assert (found.rows, found.taken, found.refused, found.blank, found.duplicates) == (6, 3, 2, 1, 1)
    assert found.codes == {"country": 2, "not_a_number": 1, "lost_digits": 1}
    assert [shown.row for shown in found.first] == [1, 2, 4, 5, 6]
    assert found.is_whole


def test_refused_rows_come_before_repaired_ones() -> None:
    found = preview(GOOD, "612345678", "none")

    assert [(shown.row, shown.refused is not None) for shown in found.worst] == [(3, True), (2, False)]


def test_a_rare_problem_is_not_drowned_in_a_frequent_one() -> None:
    found = preview(*["none"] * 200, "3.4612345678E+10", *["none"] * 200)

    assert (len(found.first), len(found.worst)) == (FIRST, WORST)
    assert 201 in [shown.row for shown in found.worst]
    assert found.refused == 400


def test_many_problems_do_not_make_it_longer() -> None:
    found = preview(*[raw for _ in range(100) for raw in ("none", "612345678", "612", "4.41E+11", "34612345678")])

    assert len(found.worst) == WORST
    assert {shown.refused.code if shown.refused else "taken" for shown in found.worst} == {
        "not_a_number", "not_valid", "lost_digits", "taken",
    }  # fmt: skip


def test_no_more_rows_are_looked_at_than_said() -> None:
    found = preview(*[GOOD] * 30, most=20)

    assert (found.rows, found.is_whole) == (20, False)


def test_long_cells_are_cut() -> None:
    found = preview("x" * 40_000, problem=RowProblem.CELL_TOO_LONG)

    (shown,) = found.worst
    assert shown.refused is not None
    assert (len(shown.cells[0]), len(shown.refused.cells[0])) == (LONGEST_CELL, LONGEST_CELL)
