"""Rows of a sheet of a workbook, as it is inflated: one piece of XML is in memory, and the rows in it.

Not by openpyxl: importing it takes 25 MB and a second, it builds a row with all its cells before they can be counted,
and keeps all shared texts (decision 0021 has the figures). Formulas give
the value that was last computed, errors nothing.

Source: ECMA-376 part 1, 18.3.1.4 (cells) and 18.3.1.73 (rows).
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from voice_agent.contacts.reading.archive import Archive, broken
from voice_agent.contacts.reading.cell_values import date_text, number_text, unescaped
from voice_agent.contacts.reading.model import (
    MAX_CELL,
    MAX_COLUMNS,
    MAX_ROW,
    FileProblem,
    FileRefused,
    RowProblem,
)
from voice_agent.contacts.reading.rows import SourceRow, check_width
from voice_agent.contacts.reading.shared_strings import SharedStrings
from voice_agent.contacts.reading.workbook import Workbook
from voice_agent.contacts.reading.xml_parts import Attributes, parse

LAST_ROW = 1_048_576
LAST_COLUMN = 16_384
"""XFD1048576 is the last cell of a sheet."""

_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})", re.IGNORECASE)


class SheetReader:
    """Rows of one sheet."""

    def __init__(self, archive: Archive, part: str, workbook: Workbook, strings: SharedStrings) -> None:
        self._archive = archive
        self._part = part
        self._workbook = workbook
        self._strings = strings
        self._rows: list[SourceRow] = []
        """Read and not yet given."""
        self._row = 0
        self._cells: list[str] = []
        self._count = 0
        """Cells of the row, empty ones with them."""
        self._characters = 0
        self._problem: RowProblem | None = None
        self._column = 0
        self._kind = ""
        self._style = ""
        self._text: list[str] = []
        self._length = 0
        self._is_value = False
        self._phonetic = 0
        self._parsed = 0

    def position(self) -> int:
        """Return about how many bytes of the packed sheet have been read."""
        packed = self._archive.packed_bytes(self._part)
        return min(packed, packed * self._parsed // self._archive.inflated_bytes(self._part))

    def rows(self) -> Iterator[SourceRow]:
        """Yield the rows that are there, by their numbers in the sheet. Raises FileRefused."""
        pieces = self._archive.pieces(self._part)
        for parsed in parse(pieces, self._start, self._end, self._on_text):
            self._parsed = parsed
            yield from self._rows
            self._rows.clear()

    def _start(self, name: str, attributes: Attributes) -> None:
        if name == "c":
            self._begin_cell(attributes)
        elif name == "v" or (name == "t" and not self._phonetic):
            self._is_value = True
        elif name == "row":
            self._begin_row(attributes)
        elif name == "rPh":
            self._phonetic += 1

    def _end(self, name: str) -> None:
        if name == "c":
            self._end_cell()
        elif name in ("v", "t"):
            self._is_value = False
        elif name == "row":
            self._rows.append(SourceRow(self._row, self._cells, self._problem))
            self._cells = []
        elif name == "rPh":
            self._phonetic -= 1

    def _on_text(self, text: str) -> None:
        if self._is_value and self._length <= MAX_CELL:
            text = text[: MAX_CELL + 1 - self._length]
            self._text.append(text)
            self._length += len(text)

    def _begin_row(self, attributes: Attributes) -> None:
        number = attributes.get("r", "")
        row = int(number) if number.isdecimal() and len(number) < 9 else self._row + 1
        if not self._row < row <= LAST_ROW:
            raise broken("its rows are out of order")
        self._row = row
        self._cells = []
        self._problem = None
        self._column = self._count = self._characters = 0

    def _begin_cell(self, attributes: Attributes) -> None:
        reference = attributes.get("r")
        self._column = _column_of(reference) if reference else self._column + 1
        self._count += 1
        if self._count > LAST_COLUMN or self._column > LAST_COLUMN:
            raise FileRefused(FileProblem.TOO_MANY_COLUMNS, f"row {self._row} has more cells than a sheet has columns")
        self._kind = attributes.get("t", "n")
        self._style = attributes.get("s", "")
        self._text.clear()
        self._length = 0

    def _end_cell(self) -> None:
        if not self._text:
            return
        value = self._value("".join(self._text))
        if not value:
            return
        if self._column > MAX_COLUMNS:
            # Only of the header it makes the file one that cannot be read.
            self._problem = RowProblem.TOO_MANY_CELLS
            return
        if len(value) > MAX_CELL:
            self._problem = RowProblem.CELL_TOO_LONG
            value = value[:MAX_CELL]
        self._characters += len(value)
        if self._characters > MAX_ROW:
            raise FileRefused(FileProblem.ROW_TOO_LONG, f"row {self._row} has more than {MAX_ROW} characters")
        missing = self._column - 1 - len(self._cells)
        if missing < 0:
            raise broken("its cells are out of order")
        if missing:
            self._cells += [""] * missing
        self._cells.append(value)

    def _value(self, written: str) -> str:
        match self._kind:
            case "s":
                return unescaped(self._strings.get(int(written) if written.isdecimal() else -1))
            case "n":
                if self._style in self._workbook.date_styles:
                    return date_text(written, is_1904=self._workbook.is_1904)
                return number_text(written)
            case "b":
                return "true" if written == "1" else "false"
            case "e":
                return ""
            case "d":
                return written.replace("T", " ").removesuffix(" 00:00:00")
            case _:
                return unescaped(written)


def width_of_header(row: SourceRow) -> None:
    """Raise FileRefused where a row that names columns has too many."""
    check_width(MAX_COLUMNS + 1 if row.problem is RowProblem.TOO_MANY_CELLS else len(row.cells))


def _column_of(reference: str) -> int:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise broken("a cell has no place")
    return _letters(match[1].upper())


@lru_cache(maxsize=LAST_COLUMN)
def _letters(letters: str) -> int:
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - ord("A") + 1
    return column
