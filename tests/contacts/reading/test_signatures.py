"""What is no table of contacts is called by its name."""

import pytest

from voice_agent.contacts.reading.model import FileProblem, FileRefused
from voice_agent.contacts.reading.signatures import other_archive, refuse_others


@pytest.mark.parametrize(
    ("head", "problem", "word"),
    [
        (b"", FileProblem.EMPTY, "empty"),
        (b"PK\x05\x06" + b"\0" * 18, FileProblem.EMPTY, "nothing in it"),
        (b"%PDF-1.4", FileProblem.NOT_CONTACTS, "PDF"),
        (b"\x89PNG\r\n", FileProblem.NOT_CONTACTS, "picture"),
        (b"SQLite format 3\x00", FileProblem.NOT_CONTACTS, "database"),
        (b"\x1f\x8b\x08", FileProblem.NOT_CONTACTS, "gzip"),
        (b"\n <!DOCTYPE html>", FileProblem.OTHER_SPREADSHEET, "web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", FileProblem.OTHER_SPREADSHEET, "XML"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 50, FileProblem.OTHER_SPREADSHEET, ".xls"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            FileProblem.ENCRYPTED,
            "password",
        ),
    ],
)
def test_other_files_are_refused_with_what_they_are(head: bytes, problem: FileProblem, word: str) -> None:
    with pytest.raises(FileRefused, match=word) as refusal:
        refuse_others(head)

    assert refusal.value.problem is problem


@pytest.mark.parametrize("head", [b"tel\n612345678", b"PK\x03\x04", b"{}", b"<3 you"])
def test_what_may_hold_contacts_is_not_refused(head: bytes) -> None:
    refuse_others(head)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ({"xl/workbook.xml", "[Content_Types].xml"}, None),
        ({"[Content_Types].xml"}, None),
        ({"xl/workbook.bin", "[Content_Types].xml"}, FileProblem.OTHER_SPREADSHEET),
        ({"[Content_Types].xml", "word/document.xml"}, FileProblem.NOT_CONTACTS),
        ({"Index/Tables/Tile.iwa"}, FileProblem.OTHER_SPREADSHEET),
        ({"Index.zip"}, FileProblem.OTHER_SPREADSHEET),
        ({"content.xml", "mimetype"}, FileProblem.OTHER_SPREADSHEET),
        ({"contacts.csv"}, FileProblem.NOT_CONTACTS),
    ],
)
def test_archives_are_told_apart_by_what_is_in_them(names: set[str], problem: FileProblem | None) -> None:
    refusal = other_archive(names)

    assert (refusal.problem if refusal else None) is problem
