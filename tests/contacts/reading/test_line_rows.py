"""A number a line, and what people write around it."""

from pathlib import Path

import pytest

from tests.contacts.reading.world import text_rows
from voice_agent.contacts.reading.line_rows import cells_of, line_rows
from voice_agent.contacts.reading.model import CellRepair


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        ("612345678", ["612345678", "", ""]),
        ("Ana García 612 34 56 78", ["612 34 56 78", "Ana García", ""]),
        ("- Ana García: +34 612-345-678 <ana@x.es>", ["+34 612-345-678", "Ana García", "ana@x.es"]),
        ("(650) 253-0000 Bob", ["(650) 253-0000", "Bob", ""]),
        ("+1 650 253 0000, Bob (Sales)", ["+1 650 253 0000", "Bob (Sales", ""]),
        ("Ana García", ["Ana García", "", ""]),
        ("   ", []),
        ("tel:+34612345678", ["tel:+34612345678", "", ""]),
    ],
)
def test_the_number_the_name_and_the_address_are_found(line: str, cells: list[str]) -> None:
    assert cells_of(line) == cells


def test_lines_are_rows(tmp_path: Path) -> None:
    rows = text_rows(tmp_path, b"612345678\n\nMu\xf1oz 612345679", lambda source: list(line_rows(source)))

    assert [(row.number, row.cells) for row in rows] == [
        (1, ["612345678", "", ""]),
        (2, []),
        (3, ["612345679", "Muñoz", ""]),
    ]
    assert rows[2].repairs == (CellRepair.ENCODING,)
