"""Rows of a text that is no table: a number a line, and what people write around it. Pure."""

import re
from collections.abc import Iterator

from voice_agent.contacts.reading.model import CellRepair
from voice_agent.contacts.reading.rows import SourceRow
from voice_agent.contacts.reading.text_source import TextSource

HEADERS = ("phone", "name", "e-mail")

NUMBER = re.compile(r"(?:tel:)?[+(]{0,2}\d[\d\s().+/-]{4,40}\d(?!\w)|[+(]{0,2}\d{6,20}")
"""What may be a telephone number in a line: digits with what people put between them."""

EMAIL = re.compile(r"[\w.%+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_AROUND = " \t\r\n,;:|<>()[]\"'=-\u2013\u2014\u00b7\u2022*"
_LONGEST = 2_000
"""Characters of a line in which a number is looked for."""


def line_rows(source: TextSource) -> Iterator[SourceRow]:
    """Yield rows of `HEADERS`. Raises FileRefused for a line that has no end."""
    for number, line in enumerate(source.lines(), start=1):
        repairs: tuple[CellRepair, ...] = ()
        if source.was_mended:
            source.was_mended = False
            repairs = (CellRepair.ENCODING,)
        yield SourceRow(number, cells_of(line), repairs=repairs)


def cells_of(line: str) -> list[str]:
    """Return the number, the name and the e-mail address in a line; where there is no number, the line as one."""
    text = line.strip()
    if not text:
        return []
    looked_at = text[:_LONGEST]
    email = EMAIL.search(looked_at)
    if email:
        looked_at = looked_at.replace(email[0], " ", 1)
    number = NUMBER.search(looked_at)
    if number is None:
        return [text, "", ""]
    name = f"{looked_at[: number.start()].strip(_AROUND)} {looked_at[number.end() :].strip(_AROUND)}"
    return [number[0].strip(), name.strip(), email[0] if email else ""]
