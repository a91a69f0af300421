"""What a workbook says of itself: its sheets, which styles are dates, where its texts are.

Source: ECMA-376 part 1, 12 (parts and relationships), 18.2 (workbook), 18.8 (styles).
"""

from typing import NamedTuple

from voice_agent.contacts.reading.archive import Archive, broken
from voice_agent.contacts.reading.cell_values import is_date_format
from voice_agent.contacts.reading.model import Sheet
from voice_agent.contacts.reading.xml_parts import Attributes, OnStart, parse

MAX_BYTES = 32 * 1024 * 1024
"""Of each of these parts. Styles that years of copying have bred have been seen at 10 MB."""

MAX_SHEETS = 1_000
MAX_STYLES = 65_536
"""Excel's own limit of cell formats (its specifications and limits)."""

WORKBOOK = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_STYLES = "xl/styles.xml"
STRINGS = "xl/sharedStrings.xml"


class Part(NamedTuple):
    """A sheet, and where it is in the archive."""

    sheet: Sheet
    name: str


class Workbook(NamedTuple):
    """What a workbook says of itself."""

    parts: tuple[Part, ...]
    date_styles: frozenset[str]
    """Numbers of cell formats that show a day or an hour, as cells write them."""

    is_1904: bool
    """Whether days are counted from 1904."""


def read_workbook(archive: Archive) -> Workbook:
    """Return what a workbook says of itself. Raises FileRefused."""
    listed: list[tuple[str, str, bool]] = []
    properties: Attributes = {}

    def start(name: str, attributes: Attributes) -> None:
        if name == "sheet":
            relation = next((value for key, value in attributes.items() if key.endswith(":id")), "")
            listed.append((attributes.get("name", "")[:200], relation, attributes.get("state", "visible") != "visible"))
            if len(listed) > MAX_SHEETS:
                raise broken(f"it has more than {MAX_SHEETS} sheets")
        elif name == "workbookPr":
            properties.update(attributes)

    _read(archive, WORKBOOK, start)
    targets = _targets(archive)
    parts = tuple(
        Part(Sheet(name=name, is_hidden=is_hidden), targets[relation])
        for name, relation, is_hidden in listed
        if targets.get(relation, "") in archive and "chartsheet" not in targets[relation]
    )
    if not parts:
        raise broken("it has no sheet")
    return Workbook(parts, _date_styles(archive), properties.get("date1904", "") in ("1", "true"))


def _targets(archive: Archive) -> dict[str, str]:
    targets: dict[str, str] = {}

    def start(name: str, attributes: Attributes) -> None:
        if name == "Relationship" and len(targets) <= 10 * MAX_SHEETS:
            target = attributes.get("Target", "")
            targets[attributes.get("Id", "")] = target[1:] if target.startswith("/") else f"xl/{target}"

    _read(archive, _RELATIONS, start)
    return targets


def _date_styles(archive: Archive) -> frozenset[str]:
    if _STYLES not in archive:
        return frozenset()
    codes: dict[int, str] = {}
    formats: list[int] = []
    is_cell_format = False

    def start(name: str, attributes: Attributes) -> None:
        nonlocal is_cell_format
        if name == "numFmt" and len(codes) < MAX_STYLES:
            codes[_whole(attributes.get("numFmtId", ""))] = attributes.get("formatCode", "")[:500]
        elif name == "cellXfs":
            is_cell_format = True
        elif name == "xf" and is_cell_format and len(formats) < MAX_STYLES:
            formats.append(_whole(attributes.get("numFmtId", "")))

    def end(name: str) -> None:
        nonlocal is_cell_format
        if name == "cellXfs":
            is_cell_format = False

    for _ in parse(archive.pieces(_STYLES, MAX_BYTES), start, end, _no_text):
        pass
    return frozenset(str(place) for place, number in enumerate(formats) if is_date_format(number, codes.get(number)))


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _read(archive: Archive, name: str, start: OnStart) -> None:
    for _ in parse(archive.pieces(name, MAX_BYTES), start, _no_end, _no_text):
        pass


def _no_end(_: str) -> None:
    pass


def _no_text(_: str) -> None:
    pass
