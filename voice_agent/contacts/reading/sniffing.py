"""What a text file is: which kind, which delimiter, whether a header is above it, how its numbers and dates are. Pure.

It is judged by its beginning, 256 kB. Whatever is given beforehand is taken as it is.
"""

import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import msgspec

from voice_agent.contacts.reading.columns import is_known_header
from voice_agent.contacts.reading.csv_rows import csv_records
from voice_agent.contacts.reading.encodings import check_encoding, encoding_of, mended, on_error
from voice_agent.contacts.reading.line_rows import EMAIL, NUMBER
from voice_agent.contacts.reading.model import FileFormat, FileKind, FileProblem, FileRefused
from voice_agent.contacts.reading.rows import check_width
from voice_agent.contacts.reading.signatures import ZIP, refuse_others

DELIMITERS = "\t;|,"
SAMPLE_ROWS = 200

_CONSISTENT = 0.6
"""Share of rows of one width from which a text is a table; below it is lines. A table's ragged rows are few."""

_LONGEST_LINE = 64 * 1024
"""Characters of a line by which its delimiter is found."""

_PURE_WEIGHT = 0.3
"""How much cells that are exactly a number or an address speak for a delimiter, against rows of one width."""

_DAY_AND_MONTH = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-]\d{4}(?:[ T].*)?")
_POINT = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)\.\d{1,2}")
_COMMA = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+),\d{1,2}")
_MONTH_FIRST = frozenset({"US", "PH"})


def sniff(head: bytes, given: FileFormat) -> FileFormat:
    """Return what a file is by its first bytes, as far as bytes tell: of a workbook only that it is one.

    `has_header`, `decimal` and `is_day_first` of what is no CSV are found by its rows (`has_header`, `style_of`).
    Raises FileRefused.
    """
    if given.kind is FileKind.XLSX or (given.kind is None and head.startswith(ZIP)):
        if not head.startswith(ZIP):
            refuse_others(head)
            raise FileRefused(FileProblem.BROKEN, "this is no workbook (.xlsx)")
        return msgspec.structs.replace(given, kind=FileKind.XLSX)
    refuse_others(head)
    if head.startswith(ZIP):
        raise FileRefused(FileProblem.FORMAT, f"this is an archive or a workbook, and no {given.kind}")
    encoding = check_encoding(given.encoding) if given.encoding else encoding_of(head)
    text = text_of(head, encoding)
    if not text.strip("\ufeff \t\r\n\x00"):
        raise FileRefused(FileProblem.EMPTY, "there is nothing in the file but spaces")
    kind = given.kind or _kind(text)
    found = msgspec.structs.replace(given, kind=kind, encoding=encoding)
    return _sniff_table(text, found) if kind in (None, FileKind.CSV) else found


def text_of(head: bytes, encoding: str) -> str:
    """Return the beginning of a text."""
    text = head.decode(encoding, on_error(encoding))
    return (mended(text) or text).removeprefix("\ufeff")


def has_number(cells: Sequence[str]) -> bool:
    """Tell whether a cell is a number or an address, and nothing else."""
    return any(NUMBER.fullmatch(cell.strip()) or EMAIL.fullmatch(cell.strip()) for cell in cells)


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first of some rows names the columns of the others."""
    if not rows:
        return False
    first, others = rows[0], rows[1:]
    if has_number(first):
        return False
    if any(is_known_header(cell) for cell in first):
        return True
    return any(has_number(row) for row in others)


def style_of(rows: Sequence[Sequence[str]], delimiter: str, default_country: str) -> tuple[str, bool]:
    """Return the decimal sign of some rows, and whether their dates have the day first."""
    cells = [cell.strip() for row in rows for cell in row]
    points = sum(bool(_POINT.fullmatch(cell)) for cell in cells)
    commas = sum(bool(_COMMA.fullmatch(cell)) for cell in cells)
    # Where nothing tells: a semicolon divides cells where the comma is taken.
    decimal = "," if commas > points or (commas == points and delimiter == ";") else "."
    dates = [match for cell in cells if (match := _DAY_AND_MONTH.fullmatch(cell))]
    day_first = sum(int(match[1]) > 12 for match in dates)
    month_first = sum(int(match[2]) > 12 for match in dates)
    if day_first == month_first:
        return decimal, default_country not in _MONTH_FIRST
    return decimal, day_first > month_first


def _kind(text: str) -> FileKind | None:
    beginning = text.lstrip()
    if beginning[:11].upper() == "BEGIN:VCARD":
        return FileKind.VCARD
    if re.match(r"\{\s*[\"}]|\[\s*[{\]]", beginning):
        return FileKind.JSON
    return None


def _sniff_table(text: str, found: FileFormat) -> FileFormat:
    """Find out the rest of a table, or that it is lines."""
    for name, sign in (("delimiter", found.delimiter), ("quote", found.quote)):
        if sign and (len(sign) != 1 or sign in "\r\n\ufeff"):
            raise FileRefused(FileProblem.FORMAT, f"the {name} must be one sign")
    lines = [line[:_LONGEST_LINE] for line in islice(io.StringIO(text, newline=""), SAMPLE_ROWS)]
    quote = _quote(lines) if found.quote is None else found.quote
    hint = re.match(r'"?sep=(.)"?\s*$', lines[0], re.IGNORECASE)
    delimiter = found.delimiter
    if delimiter is None:
        delimiter = hint[1] if hint else _delimiter(lines, quote, is_table=found.kind is FileKind.CSV)
    if delimiter is None:
        return msgspec.structs.replace(found, kind=FileKind.LINES)
    if delimiter and delimiter == quote:
        raise FileRefused(FileProblem.FORMAT, "the delimiter and the quote must differ")
    return msgspec.structs.replace(found, kind=FileKind.CSV, delimiter=delimiter, quote=quote)


def _quote(lines: Sequence[str]) -> str:
    """Return the sign that cells are wrapped in: the double quote, but where only single ones are used in its place."""
    text = "".join(lines)
    singles = len(re.findall(r"(?:^|[\t;|,])'[^'\r\n]*'(?=[\t;|,\r\n]|$)", text, re.MULTILINE))
    return "'" if '"' not in text and singles >= len(lines) else '"'


def _delimiter(lines: Sequence[str], quote: str, *, is_table: bool) -> str | None:
    """Return the likeliest delimiter; empty for a table of one column, None where the text is none at all."""
    best, best_score, best_width = "", 0.0, 0
    for delimiter in DELIMITERS:
        rows = _rows(lines, delimiter, quote)
        width, share = _commonest_width(rows)
        if width < 2:
            continue
        score = share + _PURE_WEIGHT * _pureness(rows)
        if score > best_score + 0.05 or (score > best_score - 0.05 and width > best_width):
            best, best_score, best_width = delimiter, max(score, best_score), width
    check_width(best_width)
    if is_table:
        return best
    if not best:
        return None
    rows = _rows(lines, best, quote)
    _, share = _commonest_width(rows)
    is_header = len(rows[0]) >= 2 and sum(is_known_header(cell) for cell in rows[0]) >= 2
    return best if share >= _CONSISTENT or is_header else None


def _rows(lines: Sequence[str], delimiter: str, quote: str) -> list[list[str]]:
    records = csv_records(lines, delimiter, quote)
    return [cells for cells, _ in islice(records, SAMPLE_ROWS) if cells]


def _commonest_width(rows: Sequence[Sequence[str]]) -> tuple[int, float]:
    widths = Counter(map(len, rows))
    if not widths:
        return 0, 0.0
    width, times = max(widths.items(), key=lambda item: (item[1], item[0]))
    return width, times / len(rows)


def _pureness(rows: Sequence[Sequence[str]]) -> float:
    """Return the share of rows in which a cell is a number or an address, and nothing else."""
    return sum(any(_is_pure(cell) for cell in cells) for cells in rows) / len(rows)


def _is_pure(cell: str) -> bool:
    # A space before a cell speaks for a delimiter inside a sentence.
    return bool(NUMBER.fullmatch(cell) or EMAIL.fullmatch(cell))
