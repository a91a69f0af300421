"""Rows of JSON: one object a line, or all in one array, or one after another. Pure.

Objects in objects are flattened by dots (`address.city`), lists of values joined by commas. Numbers stay as they are
written: a telephone number that is a JSON number keeps all its digits. Depth, size and keys are bounded.
"""

import json
from collections.abc import Iterable, Iterator

from voice_agent.contacts.reading.encodings import without_surrogates
from voice_agent.contacts.reading.model import (
    MAX_CELL,
    MAX_COLUMNS,
    MAX_ROW,
    CellRepair,
    FileProblem,
    FileRefused,
    RowProblem,
)
from voice_agent.contacts.reading.rows import SourceRow
from voice_agent.contacts.reading.text_source import TextSource

MAX_DEPTH = 10
HEADER_OBJECTS = 1_000
"""From so many objects the columns are taken."""

_BETWEEN = " \t\r\n,[]\ufeff"
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)

Flat = dict[str, str]


class _TooDeep(Exception):
    pass


def objects(source: TextSource, *, is_lines: bool) -> Iterator[tuple[Flat, RowProblem | None, bool]]:
    """Yield flattened objects, what is wrong with them, and whether bytes of them were mended.

    Of lines a bad one is a problem of its own; in an array nothing can be read behind it. Raises FileRefused.
    """
    texts = _lines(source.lines()) if is_lines else _values(source.pieces())
    for value, problem in texts:
        was_mended, source.was_mended = source.was_mended, False
        if problem is not None:
            yield {"": str(value)[:MAX_CELL]}, problem, was_mended
            continue
        if not isinstance(value, dict):
            yield {"": _text(value)[:MAX_CELL]}, RowProblem.NOT_AN_OBJECT, was_mended
            continue
        flat: Flat = {}
        try:
            _flatten(value, "", flat, 0)
        except _TooDeep:
            problem = RowProblem.BROKEN
        if any(len(cell) > MAX_CELL for cell in flat.values()):
            problem = RowProblem.CELL_TOO_LONG
        yield flat, problem, was_mended


def headers_of_objects(flats: Iterable[Flat]) -> tuple[str, ...]:
    """Return the keys of objects, in the order in which they come. Raises FileRefused for too many."""
    headers: dict[str, None] = {}
    for flat in flats:
        headers.update(dict.fromkeys(key for key in flat if key))
        if len(headers) > MAX_COLUMNS:
            raise FileRefused(FileProblem.TOO_MANY_COLUMNS, f"the objects have more than {MAX_COLUMNS} keys")
    return tuple(headers)


def json_rows(flats: Iterable[tuple[Flat, RowProblem | None, bool]], headers: tuple[str, ...]) -> Iterator[SourceRow]:
    """Yield rows of the keys that are columns; others are told of. The first one is number 1."""
    known = frozenset(headers)
    for number, (flat, problem, was_mended) in enumerate(flats, start=1):
        if problem is not None:
            yield SourceRow(number, [cell[:MAX_CELL] for cell in flat.values()][:MAX_COLUMNS], problem)
            continue
        repairs = (CellRepair.ENCODING,) if was_mended else ()
        if not known.issuperset(flat):
            repairs = (*repairs, CellRepair.UNKNOWN_KEYS)
        yield SourceRow(number, [flat.get(header, "") for header in headers], None, repairs)


def is_one_a_line(head: str) -> bool:
    """Tell by a file's beginning whether each line is an object of its own."""
    first = head.lstrip().split("\n", 1)[0].strip()
    if first.startswith("["):
        return False
    try:
        _DECODER.decode(first)
    except (ValueError, RecursionError):
        # A cut line, or one that is bad: what follows begins anew or goes on.
        rest = head.lstrip()[len(first) :].lstrip()
        return rest.startswith("{") or not rest and len(first) > 1
    return True


def _lines(lines: Iterable[str]) -> Iterator[tuple[object, RowProblem | None]]:
    for line in lines:
        text = line.strip("\ufeff \t\r\n")
        if not text:
            continue
        try:
            yield _DECODER.decode(text), None
        except (ValueError, RecursionError):
            yield without_surrogates(text), RowProblem.NOT_AN_OBJECT


def _values(pieces: Iterator[str]) -> Iterator[tuple[object, RowProblem | None]]:
    """Yield the values of an array, or of several one after another, holding one of them and a piece."""
    waiting, count = "", 0
    is_over = False
    while True:
        waiting = waiting.lstrip(_BETWEEN)
        if waiting:
            try:
                value, end = _DECODER.raw_decode(waiting)
            except RecursionError:
                raise _broken(count, "it is nested too deep") from None
            except ValueError:
                if is_over:
                    raise _broken(count, "it is no JSON") from None
            else:
                # A number at the end of a piece may go on in the next one.
                if end < len(waiting) or is_over:
                    count += 1
                    yield value, None
                    waiting = waiting[end:]
                    continue
        elif is_over:
            return
        if len(waiting) > MAX_ROW:
            raise FileRefused(
                FileProblem.ROW_TOO_LONG, f"object {count + 1} has more than {MAX_ROW} characters, or is no JSON"
            )
        piece = next(pieces, "")
        is_over = not piece
        waiting += piece


def _broken(count: int, why: str) -> FileRefused:
    return FileRefused(FileProblem.BROKEN, f"object {count + 1} cannot be read: {why}")


def _flatten(value: object, path: str, flat: Flat, depth: int) -> None:
    """Put the values in an object under their paths. Raises _TooDeep."""
    if depth > MAX_DEPTH or len(flat) > MAX_COLUMNS:
        raise _TooDeep
    if isinstance(value, dict):
        for key, inner in value.items():
            name = " ".join(without_surrogates(key).split())[:100]
            _flatten(inner, f"{path}.{name}" if path else name, flat, depth + 1)
    elif isinstance(value, list):
        if any(isinstance(inner, dict | list) for inner in value):
            for position, inner in enumerate(value, start=1):
                _flatten(inner, f"{path}.{position}", flat, depth + 1)
        else:
            flat[path] = ", ".join(_text(inner) for inner in value if inner is not None)
    else:
        flat[path] = _text(value)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return without_surrogates(value)
        case _:
            return "[...]" if isinstance(value, list) else "{...}"
