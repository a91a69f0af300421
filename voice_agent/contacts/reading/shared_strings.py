"""The texts that cells of a workbook refer to by number: there may be millions, so they are in a file of their own."""

import tempfile
from array import array
from collections.abc import Iterable
from contextlib import ExitStack
from functools import lru_cache
from typing import Self

from voice_agent.contacts.reading.archive import broken
from voice_agent.contacts.reading.model import MAX_CELL
from voice_agent.contacts.reading.xml_parts import Attributes, parse

MAX_BYTES = 1024 * 1024 * 1024
"""Of XML, inflated."""

_BLOCK = 64 * 1024
_BLOCKS = 32
_TEXTS = 8_192
"""Texts that are remembered. Cells mostly refer to the next new text, or to one of a few that come again."""


class SharedStrings:
    """Texts by number. Use as a context."""

    def __init__(self, pieces: Iterable[bytes] | None) -> None:
        """Read the part `sharedStrings.xml`, None where there is none. Raises FileRefused."""
        self._ends = array("Q", [0])
        self._text: list[str] = []
        self._length = 0
        self._is_text = False
        self._phonetic = 0
        self._waiting: list[bytes] = []
        with ExitStack() as stack:
            self._file = stack.enter_context(tempfile.TemporaryFile())
            if pieces is not None:
                for _ in parse(pieces, self._start, self._end, self._characters):
                    self._flush()
            stack.pop_all()
        self._block = lru_cache(maxsize=_BLOCKS)(self._read_block)
        self.get = lru_cache(maxsize=_TEXTS)(self._get)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.get.cache_clear()
        self._block.cache_clear()
        self._file.close()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _get(self, number: int) -> str:
        """Return a text. Raises FileRefused for a number that there is none of."""
        if not 0 <= number < len(self):
            raise broken("a cell refers to a text that is not there")
        start, end = self._ends[number], self._ends[number + 1]
        first = start // _BLOCK
        found = b"".join(self._block(place) for place in range(first, end // _BLOCK + 1))
        return found[start - first * _BLOCK : end - first * _BLOCK].decode("utf-8")

    def _read_block(self, place: int) -> bytes:
        self._file.seek(place * _BLOCK)
        return self._file.read(_BLOCK)

    def _start(self, name: str, _: Attributes) -> None:
        if name == "si":
            self._text.clear()
            self._length = 0
        elif name == "rPh":
            self._phonetic += 1
        self._is_text = name == "t" and not self._phonetic

    def _end(self, name: str) -> None:
        self._is_text = False
        if name == "rPh":
            self._phonetic -= 1
        elif name == "si":
            octets = "".join(self._text).encode("utf-8")
            self._waiting.append(octets)
            self._ends.append(self._ends[-1] + len(octets))

    def _characters(self, text: str) -> None:
        # One sign too many is kept, so that the cell is known to be too long.
        if self._is_text and self._length <= MAX_CELL:
            text = text[: MAX_CELL + 1 - self._length]
            self._text.append(text)
            self._length += len(text)

    def _flush(self) -> None:
        self._file.write(b"".join(self._waiting))
        self._waiting.clear()
