"""A file as lines and pieces."""

from pathlib import Path

import pytest

from tests.contacts.reading.world import written
from voice_agent.contacts.reading.model import MAX_ROW, FileProblem, FileRefused
from voice_agent.contacts.reading.text_source import TextSource


def test_lines_end_in_three_ways(tmp_path: Path) -> None:
    with TextSource(written(tmp_path, "a\nb\r\nc\rd"), "utf-8") as source:
        assert list(source.lines()) == ["a\n", "b\r\n", "c\r", "d"]
        assert source.position() == 8


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, encoding: str) -> None:
    with TextSource(written(tmp_path, "\ufefftel\n".encode(encoding)), encoding) as source:
        assert list(source.lines()) == ["tel\n"]


def test_foreign_bytes_are_mended_and_told(tmp_path: Path) -> None:
    with TextSource(written(tmp_path, b"a\nMu\xf1oz\nb\n"), "utf-8") as source:
        lines = source.lines()
        assert (next(lines), source.was_mended) == ("a\n", False)
        assert (next(lines), source.was_mended) == ("Muñoz\n", True)


def test_a_line_without_an_end_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, b"x" * (MAX_ROW + 1))
    with TextSource(path, "utf-8") as source, pytest.raises(FileRefused) as refusal:
        list(source.lines())

    assert refusal.value.problem is FileProblem.ROW_TOO_LONG


def test_pieces_are_the_whole_text(tmp_path: Path) -> None:
    text = "ñ1234567" * 50_000
    with TextSource(written(tmp_path, text), "utf-8") as source:
        pieces = list(source.pieces())

    assert "".join(pieces) == text
    assert len(pieces) > 1
