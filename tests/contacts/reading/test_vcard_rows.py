"""Cards as telephones and address books write them."""

from pathlib import Path

import pytest
import vobject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contacts.reading.world import text_rows
from voice_agent.contacts.reading.model import MAX_CELL, CellRepair, RowProblem
from voice_agent.contacts.reading.rows import SourceRow
from voice_agent.contacts.reading.vcard_rows import HEADERS, MAX_LINES, MAX_PROPERTIES, vcard_rows


def rows_of(folder: Path, text: str | bytes, encoding: str = "utf-8") -> list[SourceRow]:
    return text_rows(folder, text, lambda source: list(vcard_rows(source)), encoding)


def said(row: SourceRow) -> dict[str, str]:
    return {header: cell for header, cell in zip(HEADERS, row.cells, strict=True) if cell}


def card(*lines: str) -> str:
    return "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", *lines, "END:VCARD", ""])


def test_what_another_program_writes_is_read(tmp_path: Path) -> None:
    made = vobject.vCard()
    made.add("n").value = vobject.vcard.Name(family="Gil; Pérez", given="Ana, María")
    made.add("fn").value = "Ana María Gil " + "muy largo " * 20
    for number, kind in (("+34612345678", "CELL"), ("+34912345678", "WORK"), ("+34912345679", "WORK")):
        telephone = made.add("tel")
        telephone.value, telephone.type_param = number, kind
    made.add("email").value = "ana@x.es"
    made.add("org").value = ["ACME; S.A.", "Ventas"]
    made.add("adr").value = vobject.vcard.Address(street="Mayor 1", city="Madrid", region="Madrid", code="28001")
    made.add("note").value = "una\nnota, con comas; y más"
    made.add("categories").value = ["vip", "oro"]

    (row,) = rows_of(tmp_path, made.serialize())

    assert said(row) == {
        "full name": ("Ana María Gil " + "muy largo " * 20).strip(),
        "given name": "Ana, María",
        "family name": "Gil; Pérez",
        "mobile phone": "+34612345678",
        "work phone": "+34912345678",
        "phone": "+34912345679",
        "e-mail": "ana@x.es",
        "company": "ACME; S.A.",
        "city": "Madrid",
        "region": "Madrid",
        "postal code": "28001",
        "tags": "vip,oro",
        "note": "una\nnota, con comas; y más",
    }


def test_an_old_telephone(tmp_path: Path) -> None:
    text = (
        "BEGIN:VCARD\r\nVERSION:2.1\r\n"
        "N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Mu=C3=B1oz;Jos=C3=A9=\r\n=20Luis\r\n"
        "TEL;CELL;PREF:612345678\r\nTEL;FAX;WORK:912345670\r\nTEL;HOME:912345678\r\n"
        "NOTE;ENCODING=QUOTED-PRINTABLE;CHARSET=ISO-8859-1:a=F1o=0D=0Ados\r\n"
        "ORG;QUOTED-PRINTABLE;CHARSET=nothing:Pe=F1a\r\n"
        "PHOTO;ENCODING=BASE64;JPEG:\r\n /9j/4AAQ\r\n /9j/4AAQ\r\n\r\n"
        "TITLE;ENCODING=B:ZGly\r\nEND:VCARD\r\n"
    )

    (row,) = rows_of(tmp_path, text)

    assert said(row) == {
        "given name": "José Luis",
        "family name": "Muñoz",
        "mobile phone": "612345678",
        "home phone": "912345678",
        "note": "año\r\ndos",
        "company": "Peña",
    }


def test_version_4(tmp_path: Path) -> None:
    text = card(
        'item1.TEL;VALUE=uri;TYPE="cell,voice":tel:+34-612-345-678',
        "TEL:+34912345678", "TEL:+34912345679", "TEL:+34912345670", "TEL:",
        "EMAIL:a@x.es", "EMAIL;TYPE=work:b@x.es", "EMAIL:c@x.es",
        "TZ:Europe/Madrid", "LANG:es", "BDAY:19800102", "UID:urn:uuid:1", "TITLE:Jefa", "X-OTHER:x", "NO COLON",
        "TITLE;NO=COLON",
        'FN;X="a:b;c":Ana\\, María', 'NOTE;X="open:x',
    )  # fmt: skip

    (row,) = rows_of(tmp_path, text)

    assert said(row) == {
        "full name": "Ana, María",
        "mobile phone": "tel:+34-612-345-678",
        "phone": "+34912345678",
        "other phone": "+34912345679",
        "e-mail": "a@x.es",
        "other e-mail": "b@x.es",
        "time zone": "Europe/Madrid",
        "language": "es",
        "birthday": "19800102",
        "uid": "urn:uuid:1",
        "job title": "Jefa",
        "note": "x",
    }


def test_cards_are_numbered_and_what_is_between_them_is_passed_over(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "noise\n" + card("FN:Ana") + "\n\nTEL:1\n" + card("FN:Eva"))

    assert [(row.number, said(row)) for row in rows] == [(1, {"full name": "Ana"}), (2, {"full name": "Eva"})]


def test_a_card_in_a_card_is_passed_over(tmp_path: Path) -> None:
    inner = "BEGIN:VCARD\nFN:Inner\nBEGIN:VCARD\nFN:Innermost\nEND:VCARD\nEND:VCARD\n"
    rows = rows_of(tmp_path, f"BEGIN:VCARD\nFN:Ana\nAGENT:\n{inner}AGENT:{inner}TEL:612345678\nEND:VCARD\n")

    assert [(said(row), row.problem) for row in rows] == [({"full name": "Ana", "phone": "612345678"}, None)]


def test_a_card_without_an_end_is_a_problem_of_its_own(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "BEGIN:VCARD\nFN:Ana\n" + card("FN:Eva") + "BEGIN:VCARD\nFN:Ida\n")

    assert [(said(row)["full name"], row.problem) for row in rows] == [
        ("Ana", RowProblem.BROKEN),
        ("Eva", None),
        ("Ida", RowProblem.BROKEN),
    ]


def test_endless_cards_are_bounded(tmp_path: Path) -> None:
    lines = rows_of(tmp_path, "BEGIN:VCARD\n" + "X:1\n" * (MAX_LINES + 2) + "BEGIN:VCARD\nEND:VCARD\n")
    deep = rows_of(tmp_path, "BEGIN:VCARD\n" + "AGENT:BEGIN:VCARD\n" * 1_000)
    many = rows_of(tmp_path, card(*["TEL:1"] * (MAX_PROPERTIES + 1)))
    long = rows_of(tmp_path, card("NOTE:" + "x" * MAX_CELL, *[" " + "y" * 60_000] * 9, "FN:Ana"))

    assert [row.problem for row in lines] == [RowProblem.BROKEN, None]
    assert [row.problem for row in deep] == [RowProblem.BROKEN]
    assert [row.problem for row in many] == [RowProblem.BROKEN]
    assert [(row.problem, max(map(len, row.cells))) for row in long] == [(RowProblem.CELL_TOO_LONG, MAX_CELL)]


def test_foreign_bytes_are_told(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, card("FN:Mu\xf1oz").encode("latin-1"))

    assert (said(row), row.repairs) == ({"full name": "Muñoz"}, (CellRepair.ENCODING,))


@pytest.mark.parametrize("charset", ["utf-7", "idna", "punycode", "rot13", "undefined", "unicode_escape", "a\x00b"])
def test_charsets_that_are_no_encodings_of_text_are_not_used(tmp_path: Path, charset: str) -> None:
    (row,) = rows_of(tmp_path, card(f"FN;ENCODING=QUOTED-PRINTABLE;CHARSET={charset}:+2AA- \\u0041 =C3=B1"))

    assert said(row) == {"full name": "+2AA- u0041 ñ"}


LINE = st.sampled_from(
    [
        "BEGIN:VCARD",
        "END:VCARD",
        "AGENT:",
        "TEL;CELL:612",
        "N:a;b\\;c",
        "FN;ENCODING=QUOTED-PRINTABLE:a=C3=",
        "=B1",
        " x",
        "",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(lines=st.lists(LINE | st.text(alphabet='ATEL;:="\\,=\x00 ', max_size=20), max_size=30))
def test_whatever_is_written_there_are_rows(tmp_path: Path, lines: list[str]) -> None:
    rows = rows_of(tmp_path, "\n".join(lines))

    assert all(len(row.cells) == len(HEADERS) for row in rows)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
