"""Archives that lie."""

import struct
import zipfile
from pathlib import Path

import pytest

from tests.contacts.reading.corpus import NASTY, SHEET, archive, raw_xlsx, sheet
from tests.contacts.reading.world import written
from voice_agent.contacts.reading.archive import Archive
from voice_agent.contacts.reading.model import FileProblem, FileRefused

PLAIN = raw_xlsx({SHEET: sheet("<row/>"), "big": b"x" * 300_000})


def problem_of(folder: Path, content: bytes, entry: str = SHEET, limit: int = 10**9) -> FileProblem:
    with pytest.raises(FileRefused) as refusal, Archive(written(folder, content)) as packed:
        list(packed.pieces(entry, limit))
    return refusal.value.problem


def test_entries_are_inflated_in_pieces(tmp_path: Path) -> None:
    with Archive(written(tmp_path, PLAIN)) as packed:
        assert b"".join(packed.pieces("big")) == b"x" * 300_000
        assert len(list(packed.pieces("big"))) > 4
        assert SHEET in packed
        assert "nothing" not in packed
        assert packed.packed_bytes("big") < 1_000
        assert packed.inflated_bytes("big") == 300_000


def test_an_entry_that_is_not_there(tmp_path: Path) -> None:
    assert problem_of(tmp_path, PLAIN, "nothing") is FileProblem.BROKEN


def test_more_than_the_limit_is_a_bomb(tmp_path: Path) -> None:
    assert problem_of(tmp_path, PLAIN, "big", 200_000) is FileProblem.BOMB


@pytest.mark.parametrize(
    "name",
    [
        "a bomb of one entry",
        "a bomb with lying sizes",
        "a bomb of overlapping entries",
        "ten thousand entries",
        "a directory of a gigabyte",
        "a bomb in a bomb",
        "a binary workbook",
        "half a workbook",
    ],
)
def test_nasty_archives_are_refused(tmp_path: Path, name: str) -> None:
    make, problems = NASTY[name]

    assert problem_of(tmp_path, make()) in problems


def test_a_size_that_lies_upwards_does_not_help(tmp_path: Path) -> None:
    made = bytearray(PLAIN)
    place = made.rfind(b"big") - 46
    struct.pack_into("<L", made, place + 24, 2**31)

    assert problem_of(tmp_path, bytes(made), "big") is FileProblem.BOMB


def test_a_protected_entry(tmp_path: Path) -> None:
    made = bytearray(PLAIN)
    place = made.rfind(SHEET.encode()) - 46
    struct.pack_into("<H", made, place + 8, 1)

    assert problem_of(tmp_path, bytes(made)) is FileProblem.ENCRYPTED


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_inflate_without_bounds_are_refused(tmp_path: Path, method: int) -> None:
    assert problem_of(tmp_path, raw_xlsx({SHEET: "x"}, method)) is FileProblem.BROKEN


def test_damage_is_told(tmp_path: Path) -> None:
    made = bytearray(raw_xlsx({SHEET: sheet("<row/>" * 100)}))
    place = made.find(SHEET.encode()) + len(SHEET) + 2
    made[place : place + 8] = b"\xff" * 8

    assert problem_of(tmp_path, bytes(made)) is FileProblem.BROKEN


@pytest.mark.parametrize("cut", [4, 30, 100, 500])
def test_half_an_archive(tmp_path: Path, cut: int) -> None:
    assert problem_of(tmp_path, PLAIN[:-cut]) is FileProblem.BROKEN


def test_an_end_of_64_bits_is_counted_too(tmp_path: Path) -> None:
    entries = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2**40, 2**40, 2**40, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 8, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, 99, 4, 0)

    assert problem_of(tmp_path, b"PK\x03\x04" + b"\0" * 4 + entries + locator + end) is FileProblem.BOMB
    assert problem_of(tmp_path, b"PK\x03\x04" + locator.replace(b"\x08", b"\xff") + end) is FileProblem.BROKEN


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    assert problem_of(tmp_path, archive({"a.csv": "x"})) is FileProblem.NOT_CONTACTS
