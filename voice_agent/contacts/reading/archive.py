"""A ZIP archive that may be hostile: nothing of it is believed before it is counted.

Refused before anything is inflated: directories of too many entries, entries that overlap (one core inflated many
times: D. Fifield, "A better zip bomb", USENIX WOOT 2019), sizes that no spreadsheet has, methods other than deflate.
While it is inflated the bytes are counted. An archive in an archive is never opened.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from voice_agent.contacts.reading.model import FileProblem, FileRefused
from voice_agent.contacts.reading.signatures import other_archive

MAX_ENTRIES = 10_000
"""A workbook has three for a sheet, and one for a picture."""

MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
MAX_PART_BYTES = 2 * 1024 * 1024 * 1024
"""Inflated: a million rows of twenty columns are 1 GB of XML."""

MAX_RATIO = 150
"""Inflated to packed, above the first megabyte. Measured on workbooks of openpyxl: 8 where all cells differ, 45 where
all rows are the same; deflate's own end is 1,032."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, struct.error, OSError)
"""What `zipfile` raises of bytes that are no archive; an OSError is a place before the beginning."""

_FREE_BYTES = 1024 * 1024
_PIECE = 64 * 1024

_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LONGEST_COMMENT = 65_535


class Archive:
    """An open archive. Use as a context."""

    def __init__(self, path: Path) -> None:
        """Raises FileRefused where it is none, or none that holds a workbook."""
        with ExitStack() as stack:
            self._file = stack.enter_context(path.open("rb"))
            _check_directory(self._file)
            try:
                self._zip = stack.enter_context(zipfile.ZipFile(self._file))
            except _DAMAGE:
                raise broken("the archive is damaged") from None
            self._entries = _checked(self._zip)
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def packed_bytes(self, name: str) -> int:
        """Return how large an entry is in the file."""
        return self._entries[name].compress_size

    def inflated_bytes(self, name: str) -> int:
        """Return how large an entry says that it is; at least 1."""
        return max(self._entries[name].file_size, 1)

    def pieces(self, name: str, limit: int = MAX_PART_BYTES) -> Iterator[bytes]:
        """Yield an entry's bytes as they are inflated. Raises FileRefused: a bomb, or damaged."""
        info = self._entries.get(name)
        if info is None:
            raise broken(f"it has no {name}")
        if info.flag_bits & 1:
            raise FileRefused(FileProblem.ENCRYPTED, "the archive is protected by a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise broken("it is packed in a way that workbooks are not")
        _check_size(name, info.file_size, info.compress_size, limit)
        count = 0
        try:
            with self._zip.open(info) as entry:
                while piece := entry.read(_PIECE):
                    count += len(piece)
                    _check_size(name, count, info.compress_size, limit)
                    yield piece
        except _DAMAGE:
            raise broken(f"{name} is damaged") from None


def broken(why: str) -> FileRefused:
    """Return the refusal of a workbook that breaks its own format."""
    return FileRefused(FileProblem.BROKEN, f"the workbook cannot be read: {why}")


def _check_size(name: str, inflated: int, packed: int, limit: int) -> None:
    if inflated > limit or inflated > _FREE_BYTES + MAX_RATIO * packed:
        raise FileRefused(FileProblem.BOMB, f"{name} unfolds to far more than a spreadsheet has")


def _check_directory(file: io.BufferedReader) -> None:
    """Look at the size of the directory before anything loads it. Raises FileRefused."""
    size = file.seek(0, io.SEEK_END)
    start = max(0, size - _LONGEST_COMMENT - _END.size)
    file.seek(start)
    tail = file.read()
    place = tail.rfind(_END_SIGNATURE)
    if place < 0 or len(tail) - place < _END.size:
        raise broken("its end is missing")
    _, _, _, _, entries, directory, _, _ = _END.unpack_from(tail, place)
    if place >= _END64_LOCATOR.size:
        signature, _, offset, _ = _END64_LOCATOR.unpack_from(tail, place - _END64_LOCATOR.size)
        if signature == b"PK\x06\x07":
            file.seek(min(offset, size))
            record = file.read(_END64.size)
            if len(record) < _END64.size:
                raise broken("its end is missing")
            entries, directory = _END64.unpack(record)[7:9]
    if entries > MAX_ENTRIES or directory > MAX_DIRECTORY_BYTES:
        raise FileRefused(FileProblem.BOMB, f"the archive has more than {MAX_ENTRIES} entries")
    file.seek(0)


def _checked(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by name. Raises FileRefused."""
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise FileRefused(FileProblem.BOMB, f"the archive has more than {MAX_ENTRIES} entries")
    if (other := other_archive({info.filename for info in infos})) is not None:
        raise other
    end = 0
    for info in sorted(infos, key=lambda each: each.header_offset):
        if info.header_offset < end:
            raise FileRefused(FileProblem.BOMB, "entries of the archive overlap")
        end = info.header_offset + info.compress_size
    return {info.filename: info for info in infos}
