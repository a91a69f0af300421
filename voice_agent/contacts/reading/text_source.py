"""A file as lines or pieces of text, in constant memory. It reads one local file, and nothing else."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from voice_agent.contacts.reading.encodings import mended, on_error
from voice_agent.contacts.reading.model import MAX_ROW, FileProblem, FileRefused

HEAD_BYTES = 256 * 1024
"""By which a file is judged."""

PIECE = 64 * 1024
"""Characters."""


class TextSource:
    """The text of a file. Use as a context; `was_mended` and `position` are of what has been read so far."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._raw = io.FileIO(path)
        self._text = io.TextIOWrapper(
            io.BufferedReader(self._raw, PIECE), encoding=encoding, errors=on_error(encoding), newline=""
        )
        self.was_mended = False
        """Set where bytes were in another encoding; whoever tells of it sets it back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._text.close()

    def position(self) -> int:
        """Return how many bytes have been read, some of them ahead."""
        return self._raw.tell()

    def lines(self) -> Iterator[str]:
        r"""Yield lines with their ends: \n, \r\n or \r. Raises FileRefused for one without an end."""
        readline = self._text.readline
        while line := readline(MAX_ROW + 1):
            if len(line) > MAX_ROW:
                raise FileRefused(FileProblem.ROW_TOO_LONG, f"a line has more than {MAX_ROW} characters")
            yield line if line.isascii() else self._mended(line)

    def pieces(self) -> Iterator[str]:
        """Yield the text as it comes, whatever is in it."""
        while piece := self._text.read(PIECE):
            yield piece if piece.isascii() else self._mended(piece)

    def _mended(self, text: str) -> str:
        # A byte order mark that the encoding does not take away itself.
        text = text.removeprefix("\ufeff")
        better = mended(text)
        if better is None:
            return text
        self.was_mended = True
        return better
