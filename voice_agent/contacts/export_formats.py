"""Contacts as CSV, XLSX and JSON lines: bytes as they are written, a piece at a time. Pure.

A spreadsheet takes a cell that begins with = + - @, a tab or a line's end for a formula, also when it came from a
stranger's name (https://owasp.org/www-community/attacks/CSV_Injection). In CSV such a cell gets an apostrophe before
it; in XLSX every text is a cell of the type text, which is never a formula. A telephone number (+34612345678) and a
plain number cannot do anything, and stay as they are.

The columns are called as an import finds them by itself (`reading.header_words`): what is exported can be imported.
XLSX is written here rather than by openpyxl, which has the whole file ready before its first byte: this way it leaves
while the contacts are read, and its end, which makes a file of it, only when all is done.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeAlias
from xml.sax.saxutils import escape, quoteattr

import msgspec
import orjson

Cell: TypeAlias = str | int | float | bool | datetime | None | list[str]
"""None: nothing is known."""

FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet may take for a formula; the wide signs are read as the usual ones by some."""

HARMLESS = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?")
BOM = "\ufeff"
LIST_SEPARATOR = "; "
SHEET_ROWS = 1_048_576
"""Of one sheet, as in Excel (its specifications and limits); the header is one."""

LONGEST_CELL = 32_767


class Format(StrEnum):
    """What a file is."""

    CSV = "csv"
    XLSX = "xlsx"
    JSONL = "jsonl"


class CsvStyle(msgspec.Struct, frozen=True, kw_only=True):
    """How a CSV is written."""

    delimiter: str = ","
    has_bom: bool = False
    """Excel reads UTF-8 as such only behind a byte order mark."""

    is_escaped: bool = True
    """Whether cells that could be formulas get an apostrophe; programs that read the file do better without."""

    keeps_plus: bool = False
    """Whether numbers are written as ="+34612345678", so that Excel does not make 3.46E+10 of them when it opens it."""


class Writer(Protocol):
    """Makes bytes of rows."""

    def begin(self) -> bytes:
        """Return what stands before the rows."""
        ...

    def rows(self, rows: Iterable[Sequence[Cell]]) -> bytes:
        """Return some rows."""
        ...

    def end(self) -> bytes:
        """Return what stands behind the rows."""
        ...


def safe_text(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if FORMULA.match(text) and not HARMLESS.fullmatch(text) else text


def text_of(cell: Cell) -> str:
    """Return a cell as a text."""
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case datetime():
            return cell.isoformat()
        case list():
            return LIST_SEPARATOR.join(cell)
        case _:
            return str(cell)


class CsvWriter:
    """CSV as in RFC 4180, in UTF-8."""

    def __init__(self, headers: Sequence[str], style: CsvStyle) -> None:
        self._headers = headers
        self._style = style

    def begin(self) -> bytes:
        """Return the byte order mark, where one is wanted, and the header."""
        return (BOM if self._style.has_bom else "").encode() + self._written([self._headers])

    def rows(self, rows: Iterable[Sequence[Cell]]) -> bytes:
        """Return some rows."""
        return self._written([self._cell(cell) for cell in row] for row in rows)

    def end(self) -> bytes:
        """Return nothing: a CSV has no end of its own."""
        return b""

    def _written(self, rows: Iterable[Sequence[str]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self._style.delimiter, lineterminator="\r\n").writerows(rows)
        return text.getvalue().encode()

    def _cell(self, cell: Cell) -> str:
        text = text_of(cell)
        if self._style.keeps_plus and text.startswith("+") and HARMLESS.fullmatch(text):
            return f'="{text}"'
        return safe_text(text) if self._style.is_escaped else text


class JsonLinesWriter:
    """One object a line, values with their types; the last line says how many there were, and that it is the last."""

    def __init__(self, headers: Sequence[str], *, has_end: bool = True) -> None:
        self._headers = headers
        self._has_end = has_end
        self._count = 0

    def begin(self) -> bytes:
        """Return nothing: each line names its fields."""
        return b""

    def rows(self, rows: Iterable[Sequence[Cell]]) -> bytes:
        """Return some lines."""
        objects = (dict(zip(self._headers, row, strict=True)) for row in rows)
        lines = [orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in objects]
        self._count += len(lines)
        return b"".join(lines)

    def end(self) -> bytes:
        """Return the last line."""
        if not self._has_end:
            return b""
        return orjson.dumps({"end": True, "contacts": self._count}, option=orjson.OPT_APPEND_NEWLINE)


# --- XLSX ------------------------------------------------------------------------------------------------------------
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""What XML 1.0 cannot hold (its section 2.2)."""

_PLAIN = 'fontId="0" fillId="0" borderId="0"'
_STYLES = (
    f'{_XML}<styleSheet xmlns="{_MAIN}">'
    '<fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    f'<cellStyleXfs count="1"><xf numFmtId="0" {_PLAIN}/></cellStyleXfs>'
    # 49 is the built-in format "@": also what people type into the cell later stays a text.
    f'<cellXfs count="2"><xf numFmtId="0" {_PLAIN} xfId="0"/>'
    f'<xf numFmtId="49" {_PLAIN} xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
"""Two formats: of numbers, and of texts."""


class _Outlet(io.RawIOBase):
    """Where the archive is written, and taken from: it cannot go back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        pieces = b"".join(self._pieces)
        self._pieces.clear()
        return pieces


class XlsxWriter:
    """A workbook (ECMA-376), its sheets one after the other as they fill up."""

    def __init__(self, headers: Sequence[str], *, sheet_rows: int = SHEET_ROWS) -> None:
        self._headers = headers
        self._sheet_rows = sheet_rows
        self._outlet = _Outlet()
        self._archive = zipfile.ZipFile(self._outlet, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self._sheet: Any = None
        self._sheets = 0
        self._in_sheet = 0

    def begin(self) -> bytes:
        """Return the beginning of the first sheet."""
        self._begin_sheet()
        return self._outlet.taken()

    def rows(self, rows: Iterable[Sequence[Cell]]) -> bytes:
        """Return some rows, as far as they are packed by now: often nothing."""
        texts: list[str] = []
        for row in rows:
            if self._in_sheet == self._sheet_rows:
                self._sheet.write("".join(texts).encode())
                texts.clear()
                self._end_sheet()
                self._begin_sheet()
            texts.append(f"<row>{''.join(map(_cell_xml, row))}</row>")
            self._in_sheet += 1
        self._sheet.write("".join(texts).encode())
        return self._outlet.taken()

    def end(self) -> bytes:
        """Return the end of the sheet, and what makes a workbook of the sheets."""
        self._end_sheet()
        for name, part in self._parts():
            self._archive.writestr(name, part)
        self._archive.close()
        return self._outlet.taken()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        self._sheet = self._archive.open(f"xl/worksheets/sheet{self._sheets}.xml", "w", force_zip64=True)
        header = "".join(map(_cell_xml, self._headers))
        self._sheet.write(f'{_XML}<worksheet xmlns="{_MAIN}"><sheetData><row>{header}</row>'.encode())
        self._in_sheet = 1

    def _end_sheet(self) -> None:
        self._sheet.write(b"</sheetData></worksheet>")
        self._sheet.close()

    def _parts(self) -> Iterator[tuple[str, str]]:
        numbers = range(1, self._sheets + 1)
        yield "xl/styles.xml", _STYLES
        sheets = "".join(f'<sheet name="Contacts {n}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
        yield (
            "xl/workbook.xml",
            f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>{sheets}</sheets></workbook>',
        )
        targets = [(f"rId{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in numbers]
        targets.append((f"rId{self._sheets + 1}", "styles", "styles.xml"))
        yield "xl/_rels/workbook.xml.rels", _relations(targets)
        yield "_rels/.rels", _relations([("rId1", "officeDocument", "xl/workbook.xml")])
        kinds = {"/xl/workbook.xml": "sheet.main", "/xl/styles.xml": "styles"}
        kinds |= {f"/xl/worksheets/sheet{n}.xml": "worksheet" for n in numbers}
        parts = "".join(
            f'<Override PartName="{part}" ContentType="{_TYPES}.{kind}+xml"/>' for part, kind in kinds.items()
        )
        relations = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        yield "[Content_Types].xml", f'{_XML}<Types xmlns="{_PACKAGE}/content-types">{relations}{parts}</Types>'


def _relations(targets: Iterable[tuple[str, str, str]]) -> str:
    each = "".join(
        f'<Relationship Id="{key}" Type="{_RELATIONS}/{kind}" Target={quoteattr(target)}/>'
        for key, kind, target in targets
    )
    return f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{each}</Relationships>'


def _cell_xml(cell: Cell) -> str:
    match cell:
        case None | "":
            return "<c/>"
        case bool():
            return f'<c t="b"><v>{int(cell)}</v></c>'
        case int() | float():
            return f"<c><v>{cell!r}</v></c>"
        case _:
            text = escape(_NO_XML.sub("", text_of(cell))[:LONGEST_CELL])
            return f'<c t="inlineStr" s="1"><is><t xml:space="preserve">{text}</t></is></c>'
