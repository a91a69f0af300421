"""From a path to a table: column names, and a stream of rows behind them. It reads one local file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import msgspec

from voice_agent.contacts.reading import line_rows, vcard_rows
from voice_agent.contacts.reading.archive import Archive
from voice_agent.contacts.reading.csv_rows import csv_rows
from voice_agent.contacts.reading.json_rows import (
    HEADER_OBJECTS,
    headers_of_objects,
    is_one_a_line,
    json_rows,
    objects,
)
from voice_agent.contacts.reading.model import (
    MAX_FILE_BYTES,
    FileFormat,
    FileKind,
    FileProblem,
    FileRefused,
    RowProblem,
    Sheet,
)
from voice_agent.contacts.reading.rows import SourceRow, check_width, fitted, headers_of
from voice_agent.contacts.reading.shared_strings import MAX_BYTES, SharedStrings
from voice_agent.contacts.reading.sniffing import has_header, has_number, sniff, style_of, text_of
from voice_agent.contacts.reading.text_source import HEAD_BYTES, TextSource
from voice_agent.contacts.reading.workbook import STRINGS, Part, Workbook, read_workbook
from voice_agent.contacts.reading.xlsx_rows import SheetReader, width_of_header

PEEKED = 200
"""Rows by which a header, the width of a table without one, and the style of numbers and dates are found."""


MOST_ABOVE = 20
"""Rows above a table, blank or with its title."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """An open file."""

    format: FileFormat
    """Nothing in it is left to be found out."""

    headers: tuple[str, ...]
    rows: Iterator[SourceRow]
    """From 1 after the header, each as wide as the headers but where it is a problem. To be read once."""

    peeked: tuple[SourceRow, ...]
    """The first of `rows`, which come again."""

    position: Callable[[], int]
    """Bytes read so far, some of them ahead."""

    size: int
    """What that ends at."""

    sheets: tuple[Sheet, ...] = ()


@contextmanager
def open_table(
    path: Path, given: FileFormat, default_country: str = "", max_bytes: int = MAX_FILE_BYTES
) -> Iterator[Table]:
    """Open a file. Raises FileRefused, here and while its rows are read."""
    size = path.stat().st_size
    if size > max_bytes:
        raise FileRefused(
            FileProblem.TOO_LARGE, f"the file has {size // 2**20} MB, of {max_bytes // 2**20} allowed: divide it"
        )
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    found = sniff(head, given)
    with ExitStack() as stack:
        if found.kind is FileKind.XLSX:
            yield _open_workbook(stack, path, found, default_country)
            return
        source = stack.enter_context(TextSource(path, found.encoding or "utf-8"))
        if found.kind is FileKind.JSON:
            yield _open_json(source, text_of(head, found.encoding or "utf-8"), found, default_country, size)
            return
        rows, headers = _text_rows(source, found)
        yield _table(rows, headers, found, default_country, source.position, size)


def _text_rows(source: TextSource, found: FileFormat) -> tuple[Iterator[SourceRow], tuple[str, ...]]:
    """Return rows, and the headers where the kind of file has its own."""
    match found.kind:
        case FileKind.VCARD:
            return vcard_rows.vcard_rows(source), vcard_rows.HEADERS
        case FileKind.LINES:
            return line_rows.line_rows(source), line_rows.HEADERS
        case _:
            return csv_rows(source, found.delimiter or "", '"' if found.quote is None else found.quote), ()


def _open_json(source: TextSource, head: str, found: FileFormat, default_country: str, size: int) -> Table:
    flats = objects(source, is_lines=is_one_a_line(head))
    first = list(islice(flats, HEADER_OBJECTS))
    headers = headers_of_objects(flat for flat, problem, _ in first if problem is None)
    rows = json_rows(chain(first, flats), headers)
    return _table(rows, headers, found, default_country, source.position, size)


def _open_workbook(stack: ExitStack, path: Path, found: FileFormat, default_country: str) -> Table:
    archive = stack.enter_context(Archive(path))
    workbook = read_workbook(archive)
    pieces = archive.pieces(STRINGS, MAX_BYTES) if STRINGS in archive else None
    strings = stack.enter_context(SharedStrings(pieces))
    part, reader = _sheet(archive, workbook, strings, found.sheet)
    table = _table(
        reader.rows(),
        (),
        msgspec.structs.replace(found, sheet=part.sheet.name),
        default_country,
        reader.position,
        archive.packed_bytes(part.name),
    )
    return replace(table, sheets=tuple(part.sheet for part in workbook.parts))


def _sheet(
    archive: Archive, workbook: Workbook, strings: SharedStrings, wanted: str | None
) -> tuple[Part, SheetReader]:
    """Return the sheet that was asked for, else the first one that is not hidden and has a cell. Raises FileRefused."""
    if wanted is not None:
        for part in workbook.parts:
            if part.sheet.name == wanted:
                return part, SheetReader(archive, part.name, workbook, strings)
        names = ", ".join(part.sheet.name for part in workbook.parts[:20])
        raise FileRefused(FileProblem.NO_SUCH_SHEET, f"there is no sheet {wanted!r}; it has {names}"[:500])
    seen = [part for part in workbook.parts if not part.sheet.is_hidden] or list(workbook.parts)
    for part in seen[:20]:
        if any(row.cells for row in islice(SheetReader(archive, part.name, workbook, strings).rows(), PEEKED)):
            return part, SheetReader(archive, part.name, workbook, strings)
    return seen[0], SheetReader(archive, seen[0].name, workbook, strings)


def _table(
    rows: Iterator[SourceRow],
    headers: tuple[str, ...],
    found: FileFormat,
    default_country: str,
    position: Callable[[], int],
    size: int,
) -> Table:
    """Return a table from all rows of a file, after a look at the first ones."""
    if not headers:
        rows = _from_first(rows, may_skip=found.has_header is not False)
    peeked = list(islice(rows, PEEKED))
    if not peeked:
        raise FileRefused(FileProblem.EMPTY, "there are no rows in the file")
    cells = [row.cells for row in peeked if row.problem is None and any(row.cells)]
    is_named = _has_header(found, headers, cells, peeked[0])
    rows_before = 0
    if not headers:
        width_of_header(peeked[0])
        width = max((len(row) for row in cells), default=1)
        if is_named:
            names = headers_of(peeked[0].cells)
        else:
            check_width(width)
            names = headers_of(f"column {place}" for place in range(1, width + 1))
            rows_before = peeked[0].number - 1
        headers = names
    if is_named:
        rows_before = peeked[0].number
        peeked = peeked[1:]
    decimal, is_day_first = style_of(cells[:PEEKED], found.delimiter or "", default_country)
    return Table(
        format=msgspec.structs.replace(
            found,
            has_header=is_named,
            decimal=found.decimal or decimal,
            is_day_first=is_day_first if found.is_day_first is None else found.is_day_first,
        ),
        headers=headers,
        peeked=tuple(fitted(peeked, len(headers), rows_before)),
        rows=fitted(chain(peeked, rows), len(headers), rows_before),
        position=position,
        size=size,
    )


def _from_first(rows: Iterator[SourceRow], *, may_skip: bool) -> Iterator[SourceRow]:
    """Return rows from the first that may be a header: not blank, and no title that somebody wrote above a table."""
    above = list(islice(rows, MOST_ABOVE))
    counts = [sum(1 for cell in row.cells if cell.strip()) for row in above]
    least = max(counts, default=0) / 2 if may_skip else 0
    for place, (row, count) in enumerate(zip(above, counts, strict=True)):
        if row.problem is not None or (count and (count >= least or has_number(row.cells))):
            return chain(above[place:], rows)
    return rows


def _has_header(found: FileFormat, headers: Sequence[str], cells: Sequence[Sequence[str]], first: SourceRow) -> bool:
    if found.kind in (FileKind.JSON, FileKind.VCARD):
        # Their columns have names in every row.
        return False
    if found.has_header is not None:
        return found.has_header
    if first.problem not in (None, RowProblem.TOO_MANY_CELLS):
        return False
    return has_header(cells) and not (headers and len(cells) < 2)
