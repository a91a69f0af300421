"""The file of an import's bad rows: the original columns, and what is wrong with each row. Pure.

It can be corrected and uploaded as it is: the columns that are added (`MARKS`) are known to be ours and are ignored. It
is UTF-8 with a byte order mark, which spreadsheets need to read it so, and has commas.

A cell that a spreadsheet would calculate is written behind an apostrophe, which shows it as a text (OWASP, CSV
injection): somebody else's file may have been made to be opened by whoever looks for its mistakes. Telephone numbers
begin with a plus and are left as they are: a plus or minus with nothing but digits behind it does no harm.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

ROW, COLUMN, REASON = "import_row", "import_column", "import_reason"
MARKS = (ROW, COLUMN, REASON)
"""Headers of the columns that are added."""

BYTE_ORDER_MARK = "\ufeff"

_CALCULATED = re.compile(r"[=@\t\r\n]|[+-](?![\d\s().\-/]*\Z)")


class BadRow(NamedTuple):
    """A row that could not be taken."""

    number: int
    """Counted from 1 after the header."""

    column: str
    """The header of the cell that is wrong; empty where it is the row itself."""

    reason: str
    cells: Sequence[str]
    """As they stand in the file: too many or too few of them may be what is wrong."""


class RejectedFile:
    """Gives the file's text, piece by piece."""

    def __init__(self, headers: Sequence[str]) -> None:
        self._width = len(headers)
        # Columns that an earlier file of bad rows has added are written anew.
        self._kept = [place for place, header in enumerate(headers) if header.strip().casefold() not in MARKS]
        self._headers = [headers[place] for place in self._kept]

    def beginning(self) -> str:
        """Return the header."""
        return BYTE_ORDER_MARK + _lines([[*map(harmless, self._headers), *MARKS]])

    def rows(self, rows: Iterable[BadRow]) -> str:
        """Return rows as lines."""
        return _lines([self._row(row) for row in rows])

    def _row(self, row: BadRow) -> list[str]:
        cells = [*row.cells, *[""] * (self._width - len(row.cells))]
        beyond = " | ".join(cells[self._width :])
        reason = f"{row.reason} (beyond the last column: {beyond})" if beyond else row.reason
        said = (*(cells[place] for place in self._kept), str(row.number), row.column, reason)
        return [harmless(cell) for cell in said]


def harmless(cell: str) -> str:
    """Return a cell that no spreadsheet calculates."""
    return "'" + cell if _CALCULATED.match(cell) else cell


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
