"""Files that somebody could send: made here, so that none of them lies in the repository."""

import io
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from openpyxl import Workbook

NAMESPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"

WORKBOOK = (
    f'<workbook {NAMESPACE} xmlns:r="{RELATIONS}">'
    '<sheets><sheet name="One" sheetId="1" r:id="rId1"/></sheets></workbook>'
)
LINKS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    f'<Relationship Id="rId1" Type="{RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>'
)
TYPES = '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
SHEET = "xl/worksheets/sheet1.xml"
STRINGS = "xl/sharedStrings.xml"


def xlsx(rows: Sequence[Sequence[object]], *, title: str = "Sheet") -> bytes:
    """Return a workbook as openpyxl writes it."""
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.title = title
    for row in rows:
        sheet.append(list(row))
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


def raw_xlsx(parts: Mapping[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a workbook of these parts, with all others that it needs."""
    whole: dict[str, bytes | str] = {
        "[Content_Types].xml": TYPES,
        "xl/workbook.xml": WORKBOOK,
        "xl/_rels/workbook.xml.rels": LINKS,
        **parts,
    }
    return archive(whole, compression)


def archive(parts: Mapping[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a ZIP archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    return file.getvalue()


def sheet(content: str) -> str:
    """Return a sheet with these rows of XML."""
    return f"<worksheet {NAMESPACE}><sheetData>{content}</sheetData></worksheet>"


def inline(reference: str, text: str) -> str:
    """Return a cell with its text in it."""
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'


HEADER_ROW = f'<row r="1">{inline("A1", "telefono")}{inline("B1", "nombre")}</row>'
GOOD_ROW = f'<row r="2">{inline("A2", "+34612345678")}{inline("B2", "Ana")}</row>'


def zeros(megabytes: int) -> bytes:
    """Return a part of a workbook that inflates to so much."""
    return (HEADER_ROW + GOOD_ROW).encode() + b" " * (megabytes * 2**20)


def _deflated_bomb() -> bytes:
    return raw_xlsx({SHEET: sheet(HEADER_ROW) + " " * (64 * 2**20)})


def _strings_bomb() -> bytes:
    texts = f"<sst {NAMESPACE}>" + "<si><t>" + "a" * (48 * 2**20) + "</t></si></sst>"
    return raw_xlsx({SHEET: sheet(HEADER_ROW), STRINGS: texts})


def _lying_sizes() -> bytes:
    """Return a bomb whose directory says that it is small."""
    made = bytearray(_deflated_bomb())
    place = made.rfind(SHEET.encode()) - 46
    assert made[place : place + 4] == b"PK\x01\x02"
    struct.pack_into("<L", made, place + 24, 1_000)
    return bytes(made)


def _overlapping() -> bytes:
    """Return an archive with two entries in the directory for the same bytes."""
    made = raw_xlsx({SHEET: sheet(HEADER_ROW + GOOD_ROW), "xl/worksheets/sheet2.xml": sheet(HEADER_ROW)})
    directory = bytearray(made)
    first = directory.rfind(SHEET.encode()) - 46
    second = directory.rfind(b"xl/worksheets/sheet2.xml") - 46
    directory[second + 42 : second + 46] = directory[first + 42 : first + 46]
    return bytes(directory)


def _many_entries() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr("xl/workbook.xml", WORKBOOK)
        for number in range(10_100):
            packed.writestr(f"{number}", b"")
    return file.getvalue()


def _long_directory() -> bytes:
    """Return an end that tells of a directory of a gigabyte."""
    return b"PK\x03\x04" + b"\0" * 100 + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, 2**30, 4, 0)


def _entities(kind: str) -> bytes:
    laughs = {
        "bomb": '<!DOCTYPE x [<!ENTITY a "ha">'
        + "".join(f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 50}">' for n in range(9))
        + "]>",
        "external": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        "quadratic": f'<!DOCTYPE x [<!ENTITY a "{"A" * 100_000}">]>',
    }[kind]
    last = {"bomb": "&j;", "external": "&a;", "quadratic": "&a;" * 10_000}[kind]
    return raw_xlsx({SHEET: laughs + sheet(HEADER_ROW + f"<row>{inline('A2', last)}</row>")})


def _far_cell(reference: str = "XFD1048576") -> bytes:
    far = f'<row r="1048576">{inline(reference, "x")}</row>'
    return raw_xlsx({SHEET: sheet(HEADER_ROW + GOOD_ROW + far)})


def _million_columns() -> bytes:
    # Without references, each cell is one further.
    return raw_xlsx({SHEET: sheet("<row>" + "<c><v>1</v></c>" * 1_000_000 + "</row>")}, zipfile.ZIP_STORED)


def _deep_xml() -> bytes:
    return raw_xlsx({SHEET: sheet("<row>" * 200_000)}, zipfile.ZIP_STORED)


def _endless_tag() -> bytes:
    return raw_xlsx({SHEET: f'<worksheet {NAMESPACE} a="{"x" * (16 * 2**20)}"/>'}, zipfile.ZIP_STORED)


def _encrypted() -> bytes:
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1_000 + "EncryptedPackage".encode("utf-16-le") + b"\0" * 500


NASTY: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "a bomb of one entry": (_deflated_bomb, {"bomb"}),
    "a bomb of shared texts": (_strings_bomb, {"bomb"}),
    "a bomb with lying sizes": (_lying_sizes, {"broken", "bomb"}),
    "a bomb of overlapping entries": (_overlapping, {"bomb"}),
    "a bomb in a bomb": (lambda: archive({"inner.zip": archive({"x": b"\0" * 2**24})}), {"not_contacts"}),
    "ten thousand entries": (_many_entries, {"bomb"}),
    "a directory of a gigabyte": (_long_directory, {"bomb"}),
    "entities that unfold": (lambda: _entities("bomb"), {"entities"}),
    "entities of other files": (lambda: _entities("external"), {"entities"}),
    "one large entity": (lambda: _entities("quadratic"), {"entities"}),
    "a million columns": (_million_columns, {"too_many_columns"}),
    "a header at XFD": (
        lambda: raw_xlsx({SHEET: sheet(f"<row r='1'>{inline('A1', 'tel')}{inline('XFD1', 'x')}</row>")}),
        {"too_many_columns"},
    ),
    "XML as deep as a well": (_deep_xml, {"bomb"}),
    "a tag without an end": (_endless_tag, {"bomb"}),
    "an encrypted workbook": (_encrypted, {"encrypted"}),
    "an old workbook": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 2_000, {"other_spreadsheet"}),
    "half a workbook": (lambda: xlsx([["telefono"], ["+34612345678"]])[:-200], {"broken"}),
    "a PDF": (lambda: b"%PDF-1.7\n" + b"\0" * 100, {"not_contacts"}),
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + b"\0" * 100, {"not_contacts"}),
    "noise": (lambda: Random(1).randbytes(300_000), {"not_contacts"}),
    "an OpenDocument file": (lambda: archive({"mimetype": "x", "content.xml": "<x/>"}), {"other_spreadsheet"}),
    "a Numbers file": (lambda: archive({"Index/Document.iwa": b"x"}), {"other_spreadsheet"}),
    "a binary workbook": (lambda: archive({"xl/workbook.bin": b"x"}), {"other_spreadsheet"}),
    "a text document": (
        lambda: archive({"[Content_Types].xml": TYPES, "word/document.xml": "<x/>"}),
        {"not_contacts"},
    ),
    "a million columns of commas": (lambda: b"," * 999_000 + b"\n1", {"too_many_columns", "empty"}),
    "a million named columns": (
        lambda: ",".join(f"c{n}" for n in range(150_000)).encode() + b"\n1",
        {"too_many_columns", "row_too_long"},
    ),
    "a line without an end": (lambda: b"telefono;nombre\n" + b"a" * (20 * 2**20), {"row_too_long"}),
    "JSON as deep as a well": (lambda: b"[" * 5_000_000, {"broken", "row_too_long", "empty", "not_contacts"}),
    "JSON without an end": (lambda: b'[{"a": "' + b"x" * (20 * 2**20), {"row_too_long"}),
    "objects with thousands of keys": (
        lambda: b"\n".join(b'{"k%d": 1}' % n for n in range(5_000)),
        {"too_many_columns"},
    ),
}
"""What must be refused, and as what."""

HUGE_BYTES = 2 * 1024**3


def huge(path: Path) -> None:
    """Make a file of 2 GB that takes no room."""
    with path.open("wb") as file:
        file.write(b"telefono\n+34612345678\n")
        file.truncate(HUGE_BYTES)
