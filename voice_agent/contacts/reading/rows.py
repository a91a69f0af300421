"""Rows as a file has them, before anybody knows what they mean. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from voice_agent.contacts.reading.model import (
    MAX_CELL,
    MAX_COLUMNS,
    MAX_WIDTH,
    CellRepair,
    FileProblem,
    FileRefused,
    RowProblem,
)

LONGEST_HEADER = 200
"""As the column of a refused row is kept (`storage.tables.contacts.ImportRowErrorRow`)."""


class SourceRow(NamedTuple):
    """A row of a file."""

    number: int
    """From 1. Numbers may be left out: of spreadsheets, rows that are not there."""

    cells: list[str]
    """Without lone surrogates: everything can be encoded."""

    problem: RowProblem | None = None
    """Why it is none; `cells` are what could be read of it."""

    repairs: tuple[CellRepair, ...] = ()


def headers_of(cells: Iterable[str]) -> tuple[str, ...]:
    """Return names of columns, each another one: empty and repeated ones get a number. Raises FileRefused."""
    names = [" ".join(cell.split())[:LONGEST_HEADER] for cell in cells]
    while names and not names[-1]:
        names.pop()
    check_width(len(names))
    used: set[str] = set()
    unique = []
    for position, name in enumerate(names, start=1):
        plain = name or f"column {position}"
        candidate, again = plain, 1
        while candidate in used:
            again += 1
            ending = f" ({again})"
            candidate = plain[: LONGEST_HEADER - len(ending)] + ending
        used.add(candidate)
        unique.append(candidate)
    return tuple(unique)


def check_width(columns: int) -> None:
    """Raise FileRefused where there are more columns than a table may have."""
    if columns > MAX_COLUMNS:
        raise FileRefused(
            FileProblem.TOO_MANY_COLUMNS, f"the table has more than {MAX_COLUMNS} columns: take some out, or all rows"
        )


def fitted(rows: Iterable[SourceRow], width: int, rows_before: int) -> Iterator[SourceRow]:
    """Yield rows of exactly `width` cells, numbered from 1 after the `rows_before` that are header.

    Cells that lack are empty, which is told; empty ones too many are taken away, others make the row a problem.
    """
    for number, cells, problem, repairs in rows:
        missing = width - len(cells)
        if not missing and problem is None:
            yield SourceRow(number - rows_before, cells, None, repairs)
            continue
        if problem is None and missing < 0:
            if any(cells[width:]):
                problem = RowProblem.TOO_MANY_CELLS
            else:
                cells = cells[:width]
        elif missing > 0 and problem is None:
            # A row of one empty cell is a blank line.
            if any(cells):
                repairs = (*repairs, CellRepair.MISSING_CELLS)
            cells = cells + [""] * missing
        if problem is not None:
            cells = [cell[:MAX_CELL] for cell in cells[:MAX_WIDTH]]
        yield SourceRow(number - rows_before, cells, problem, repairs)
