"""Rows of a text whose cells are divided by a sign. Pure.

Python's `csv` reads strictly here, so that a quote that is never closed is an error and not a cell that holds the rest
of the file. Where it is one, that line alone is refused, or read without quotes' meaning if its quotes are even, and
reading goes on with the next line. `csv` itself ends a cell at 131,072 characters.
"""

import csv
from collections.abc import Iterable, Iterator
from itertools import chain

from voice_agent.contacts.reading.model import MAX_CELL, CellRepair, RowProblem
from voice_agent.contacts.reading.rows import SourceRow
from voice_agent.contacts.reading.text_source import TextSource

_NEVER = "\x1f"
"""In place of a delimiter in a file of one column: the unit separator of ASCII, which nobody types."""


def csv_rows(source: TextSource, delimiter: str, quote: str) -> Iterator[SourceRow]:
    """Yield rows of a file, the first one is number 1. Raises FileRefused for a line that has no end."""
    records = csv_records(source.lines(), delimiter, quote)
    for number, (cells, problem) in enumerate(records, start=1):
        repairs: tuple[CellRepair, ...] = ()
        if source.was_mended:
            source.was_mended = False
            repairs = (CellRepair.ENCODING,)
        yield SourceRow(number, cells, problem, repairs)


def csv_records(lines: Iterable[str], delimiter: str, quote: str) -> Iterator[tuple[list[str], RowProblem | None]]:
    """Yield cells, and what is wrong with them. A first line `sep=;`, which Excel writes and reads, is left out."""
    record: list[str] = []
    """The lines of the row that is being read."""
    again: list[str] = []
    """Lines that must be read once more, the next one last."""
    waiting = _without_hint(iter(lines))

    def feed() -> Iterator[str]:
        while True:
            line = again.pop() if again else next(waiting, None)
            if line is None:
                return
            record.append(line)
            yield line

    while True:
        reader = _reader(feed(), delimiter, quote, is_strict=True)
        try:
            for cells in reader:
                is_long = len(record) > 1 or len(record[0]) > MAX_CELL
                yield cells, (_too_long(cells) if is_long else None)
                record.clear()
            return
        except csv.Error:
            again.extend(reversed(record[1:]))
            yield _alone(record[0], delimiter, quote)
            record.clear()


def _alone(line: str, delimiter: str, quote: str) -> tuple[list[str], RowProblem | None]:
    """Read a line that strict reading refuses, by itself."""
    if quote and line.count(quote) % 2:
        return [line.rstrip("\r\n")[:MAX_CELL]], RowProblem.UNTERMINATED_QUOTE
    try:
        cells = next(_reader(iter([line]), delimiter, quote, is_strict=False))
    except csv.Error:
        return [line[:MAX_CELL]], RowProblem.CELL_TOO_LONG
    return cells, _too_long(cells)


def _reader(lines: Iterator[str], delimiter: str, quote: str, *, is_strict: bool) -> Iterator[list[str]]:
    if not quote:
        return csv.reader(lines, delimiter=delimiter or _NEVER, quoting=csv.QUOTE_NONE, strict=is_strict)
    return csv.reader(lines, delimiter=delimiter or _NEVER, quotechar=quote, strict=is_strict)


def _too_long(cells: list[str]) -> RowProblem | None:
    return RowProblem.CELL_TOO_LONG if max(map(len, cells), default=0) > MAX_CELL else None


def _without_hint(lines: Iterator[str]) -> Iterator[str]:
    first = next(lines, None)
    if first is None:
        return lines
    plain = first.strip().strip('"').lower()
    return lines if plain.startswith("sep=") and len(plain) <= 5 else chain([first], lines)
