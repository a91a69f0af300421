"""In which encoding a text is, and what becomes of bytes that are not in it."""

import codecs

import pytest

from voice_agent.contacts.reading.encodings import check_encoding, encoding_of, mended, on_error, without_surrogates
from voice_agent.contacts.reading.model import FileProblem, FileRefused

TEXT = "nombre;teléfono\r\nÁngela Muñoz;612345678\r\nJosé Peña;612345679\r\n"


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (TEXT.encode("utf-8"), "utf-8"),
        (TEXT.encode("utf-8-sig"), "utf-8-sig"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "utf-16-le"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16-be"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16-be"),
        (TEXT.encode("utf-16-le")[:-1], "utf-16-le"),
        (TEXT.encode("cp1252"), "cp1252"),
        (b"tel\n612345678\n", "utf-8"),
        (TEXT.encode("utf-8")[:9], "utf-8"),
        ("ñ".encode("cp1252") + TEXT.encode("utf-8"), "utf-8"),
        (b"a\x00b,600111222" + b",x" * 20, "utf-8"),
        (b"a", "utf-8"),
        ("电话,姓名\n".encode(), "utf-8"),
    ],
)
def test_encodings_are_found(head: bytes, encoding: str) -> None:
    assert encoding_of(head) == encoding


@pytest.mark.parametrize("head", [bytes(range(256)) * 4, b"\x00" * 100, b"\x01\x02\x03\x04", b"a\x00b,600111222"])
def test_what_is_no_text_is_refused(head: bytes) -> None:
    with pytest.raises(FileRefused) as refusal:
        encoding_of(head)

    assert refusal.value.problem is FileProblem.NOT_CONTACTS


def test_utf_32_is_refused_by_its_name() -> None:
    with pytest.raises(FileRefused, match="UTF-32"):
        encoding_of("tel".encode("utf-32"))


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("UTF8", "utf-8"), ("utf-16", "utf-16-le"), ("ISO-8859-1", "latin-1"), ("windows-1252", "cp1252")],
)
def test_encodings_have_other_names(name: str, encoding: str) -> None:
    assert check_encoding(name) == encoding


@pytest.mark.parametrize("name", ["nothing", "utf-7", "idna", "base64", "unicode_escape", ""])
def test_other_encodings_are_refused(name: str) -> None:
    with pytest.raises(FileRefused) as refusal:
        check_encoding(name)

    assert refusal.value.problem is FileProblem.FORMAT


@pytest.mark.parametrize(
    ("octets", "text"),
    [(b"Mu\xf1oz", "Muñoz"), (b"\x80 5", "€ 5"), (b"\x81", "\x81"), ("Muñoz".encode(), None)],
)
def test_foreign_bytes_are_read_as_cp1252(octets: bytes, text: str | None) -> None:
    assert mended(octets.decode("utf-8", on_error("utf-8"))) == text


def test_half_pairs_are_replaced() -> None:
    assert b"\x00\xd8a\x00".decode("utf-16-le", on_error("utf-16-le")) == "\ufffda"
    assert without_surrogates("a\ud83d b") == "a\ufffd b"
    assert without_surrogates("\ud83d\ude00 ñ") == "😀 ñ"
    assert without_surrogates("plain") == "plain"
