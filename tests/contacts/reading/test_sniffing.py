"""What a text file is, by its beginning."""

import codecs

import pytest

from tests.contacts.reading.corpus import archive
from voice_agent.contacts.reading.model import FileFormat, FileKind, FileProblem, FileRefused
from voice_agent.contacts.reading.sniffing import has_header, has_number, sniff, style_of, text_of

NONE = FileFormat()


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("nombre,tel\nAna,612345678\nEva,612345679\n", ","),
        ("nombre;tel\nGarcía, Ana;612345678\nGil, Eva;612345679\n", ";"),
        ("nombre\ttel\nAna\t612345678\n", "\t"),
        ("nombre|tel\nAna|612345678\n", "|"),
        ("nombre;saldo;tel\nAna;1,5;612345678\nEva;2,5;612345679\n", ";"),
        ('"a;b",612345678\n"c;d",612345679\n', ","),
        ("Ana,612345678", ","),
        ("sep=;\na,b;612345678\n", ";"),
        ('"sep=|"\na|612345678\n', "|"),
        ("nombre,tel,nota\nAna\nEva,1\nIda,2,a,b,c\nUte\nUma,1\n", ","),
        ("612345678\tAna\n612345679\tEva\n", "\t"),
    ],
)
def test_the_delimiter_is_what_makes_a_table(text: str, delimiter: str) -> None:
    found = sniff(text.encode(), NONE)

    assert (found.kind, found.delimiter, found.quote, found.encoding) == (FileKind.CSV, delimiter, '"', "utf-8")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("612345678\n612345679\n", FileKind.LINES),
        ("Ana 612345678\nEva García 612345679\n", FileKind.LINES),
        ("Ana, de Madrid, 612345678\nEva 612345679\nIda: 612345670, 5\nUte 612345671\nOla\n", FileKind.LINES),
        ("begin:vcard\nVERSION:3.0\n", FileKind.VCARD),
        ('{"tel": 1}\n', FileKind.JSON),
        ('\n[\n {"tel": 1}]', FileKind.JSON),
        ("[]", FileKind.JSON),
        ("[x] Ana 612345678\n[ ] Eva 612345679", FileKind.LINES),
    ],
)
def test_kinds_of_text(text: str, kind: FileKind) -> None:
    assert sniff(text.encode(), NONE).kind is kind


def test_a_workbook_is_one_by_its_signature() -> None:
    assert sniff(archive({"xl/workbook.xml": ""}), NONE).kind is FileKind.XLSX


@pytest.mark.parametrize(
    ("content", "given", "problem"),
    [
        (b"a,b", FileFormat(kind=FileKind.XLSX), FileProblem.BROKEN),
        (b"%PDF-1", FileFormat(kind=FileKind.XLSX), FileProblem.NOT_CONTACTS),
        (b"PK\x03\x04", FileFormat(kind=FileKind.CSV), FileProblem.FORMAT),
        (b" \r\n\t", NONE, FileProblem.EMPTY),
        (codecs.BOM_UTF8, NONE, FileProblem.EMPTY),
        (b"a,b", FileFormat(delimiter=";;"), FileProblem.FORMAT),
        (b"a,b", FileFormat(quote="\n"), FileProblem.FORMAT),
        (b"a,b", FileFormat(kind=FileKind.CSV, delimiter="'", quote="'"), FileProblem.FORMAT),
        (b"a,b", FileFormat(encoding="ebcdic"), FileProblem.FORMAT),
        (b"a," * 2_000, NONE, FileProblem.TOO_MANY_COLUMNS),
    ],
)
def test_what_cannot_be_is_refused(content: bytes, given: FileFormat, problem: FileProblem) -> None:
    with pytest.raises(FileRefused) as refusal:
        sniff(content, given)

    assert refusal.value.problem is problem


def test_what_is_given_is_taken() -> None:
    given = FileFormat(kind=FileKind.CSV, encoding="CP1252", delimiter="|", quote="'")

    assert sniff("a,b|ñ".encode(), given) == FileFormat(kind=FileKind.CSV, encoding="cp1252", delimiter="|", quote="'")
    assert sniff(b"just text", FileFormat(kind=FileKind.CSV)).delimiter == ""
    assert sniff(b"a,b\nc,d", FileFormat(kind=FileKind.LINES)).kind is FileKind.LINES


def test_blank_lines_tell_nothing() -> None:
    assert sniff(b"\n" * 300 + b"a,b", NONE).kind is FileKind.LINES


def test_single_quotes_are_quotes_where_there_are_no_others() -> None:
    assert sniff(b"'Ana','612345678'\n'O','612345679'\n", NONE).quote == "'"
    assert sniff(b"O'Hara,612345678\n", NONE).quote == '"'


def test_the_beginning_of_a_text_is_without_its_mark() -> None:
    assert text_of("\ufefftel".encode("utf-16-le"), "utf-16-le") == "tel"
    assert text_of(b"Mu\xf1oz", "utf-8") == "Muñoz"


@pytest.mark.parametrize(
    ("rows", "is_header"),
    [
        ([], False),
        ([["Ana", "612345678"], ["Eva", "612345679"]], False),
        ([["ana@x.es", "Ana"]], False),
        ([["nombre", "dato"]], True),
        ([["x", "y"], ["Ana", "612345678"]], True),
        ([["x", "y"], ["Ana", "Madrid"]], False),
    ],
)
def test_a_header_has_no_numbers_where_rows_have_them(rows: list[list[str]], *, is_header: bool) -> None:
    assert has_header(rows) is is_header


def test_numbers_and_addresses() -> None:
    assert has_number(["a", " 612 34 56 78 "])
    assert not has_number(["a 612345678", ""])


@pytest.mark.parametrize(
    ("cells", "delimiter", "country", "style"),
    [
        (["1,5", "1.234,50"], ";", "", (",", True)),
        (["1.5", "1,234.50", "2,5"], ",", "", (".", True)),
        ([], ";", "ES", (",", True)),
        ([], ",", "US", (".", False)),
        (["13/02/2026", "03/04/2026"], ",", "US", (".", True)),
        (["02/13/2026 10:00"], ",", "ES", (".", False)),
        (["13/02/2026", "02/13/2026"], ",", "", (".", True)),
    ],
)
def test_numbers_and_dates_tell_their_style(
    cells: list[str], delimiter: str, country: str, style: tuple[str, bool]
) -> None:
    assert style_of([cells], delimiter, country) == style
