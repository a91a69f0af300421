"""What a file is by its first bytes, where it is none that holds contacts: what it is, and what to do. Pure.

Source: the signatures that the formats' own specifications name; those of OLE files are in [MS-CFB] section 2.2, and
the stream of encrypted workbooks in [MS-OFFCRYPTO] section 2.3.4.4.
"""

from voice_agent.contacts.reading.model import FileProblem, FileRefused

ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_AS_XLSX = "open it and save it as XLSX or CSV"
_PACKED = "unpack it, and send the file that is in it"

_OTHERS = (
    (b"%PDF", "a PDF: export the table as XLSX or CSV from where it was made"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"II*\x00", "a picture"),
    (b"MM\x00*", "a picture"),
    (b"RIFF", "a picture or a recording"),
    (b"ID3", "a recording"),
    (b"OggS", "a recording"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"{\\rtf", f"a text document: {_AS_XLSX}"),
    (b"SQLite format 3\x00", "a database: export the table as CSV"),
    (b"PAR1", "a Parquet file: export it as CSV"),
    (b"\x1f\x8b", f"packed with gzip: {_PACKED}"),
    (b"BZh", f"packed with bzip2: {_PACKED}"),
    (b"\xfd7zXZ", f"packed with xz: {_PACKED}"),
    (b"7z\xbc\xaf\x27\x1c", f"packed with 7-Zip: {_PACKED}"),
    (b"Rar!", f"packed with RAR: {_PACKED}"),
    (b"\x28\xb5\x2f\xfd", f"packed with Zstandard: {_PACKED}"),
)
_MARKUP = (
    (b"<html", "a web page, as some programs write in place of a spreadsheet"),
    (b"<!doctype", "a web page, as some programs write in place of a spreadsheet"),
    (b"<table", "a web page, as some programs write in place of a spreadsheet"),
    (b"<?xml", "XML"),
    (b"<workbook", "XML"),
)


def refuse_others(head: bytes) -> None:
    """Raise FileRefused where the first bytes of a file are those of something that is no table of contacts."""
    if not head:
        raise FileRefused(FileProblem.EMPTY, "the file is empty")
    if head.startswith(_OLE):
        raise _old_office(head)
    if head.startswith(_EMPTY_ZIP):
        raise FileRefused(FileProblem.EMPTY, "this is an archive with nothing in it")
    for signature, what in _OTHERS:
        if head.startswith(signature):
            raise FileRefused(FileProblem.NOT_CONTACTS, f"this is {what}")
    beginning = head[:200].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for signature, what in _MARKUP:
        if beginning.startswith(signature):
            raise FileRefused(FileProblem.OTHER_SPREADSHEET, f"this is {what}: {_AS_XLSX}")


def _old_office(head: bytes) -> FileRefused:
    if "EncryptedPackage".encode("utf-16-le") in head:
        return FileRefused(
            FileProblem.ENCRYPTED, "this workbook is protected by a password: open it and save it without one"
        )
    return FileRefused(FileProblem.OTHER_SPREADSHEET, f"this is a file of an old Office, such as .xls: {_AS_XLSX}")


def other_archive(names: set[str]) -> FileRefused | None:
    """Return what to say of a ZIP archive with these entries, None where it is a workbook that can be read."""
    if "xl/workbook.xml" in names or "[Content_Types].xml" in names and not names & {"xl/workbook.bin"}:
        folders = {name.partition("/")[0] for name in names}
        if folders & {"word", "ppt"} and "xl" not in folders:
            return FileRefused(FileProblem.NOT_CONTACTS, f"this is a document or a presentation: {_AS_XLSX}")
        return None
    if "xl/workbook.bin" in names:
        return FileRefused(FileProblem.OTHER_SPREADSHEET, f"this is a binary workbook (.xlsb): {_AS_XLSX}")
    if any(name.endswith(".iwa") for name in names) or "Index.zip" in names:
        return FileRefused(FileProblem.OTHER_SPREADSHEET, f"this is of Apple's Numbers: {_AS_XLSX}")
    if "content.xml" in names:
        return FileRefused(FileProblem.OTHER_SPREADSHEET, f"this is an OpenDocument file (.ods): {_AS_XLSX}")
    return FileRefused(FileProblem.NOT_CONTACTS, f"this is a ZIP archive: {_PACKED}")
