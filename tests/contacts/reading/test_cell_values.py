"""What a cell of a workbook shows."""

import pytest

from voice_agent.contacts.reading.cell_values import date_text, is_date_format, number_text, unescaped


@pytest.mark.parametrize(
    ("number", "code", "is_date"),
    [
        (14, None, True),
        (22, None, True),
        (0, None, False),
        (49, None, False),
        (164, "dd/mm/yyyy", True),
        (164, "[$-C0A]d mmm yyyy;@", True),
        (164, "[h]:mm", True),
        (164, '0.00" days"', False),
        (164, "[Red]0.00", False),
        (164, r"0\d", False),
        (164, "General", False),
        (164, "# ##0_d", False),
        (14, "0.00", False),
    ],
)
def test_formats_that_show_days(number: int, code: str | None, *, is_date: bool) -> None:
    assert is_date_format(number, code) is is_date


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("34612345678", "34612345678"),
        ("3.4612345678E10", "34612345678"),
        ("7.0", "7"),
        ("-7", "-7"),
        ("0.1", "0.1"),
        ("1E+20", "1E+20"),
        ("nan", "nan"),
        ("1e999", "1e999"),
        ("x", "x"),
    ],
)
def test_numbers_are_as_people_write_them(written: str, text: str) -> None:
    assert number_text(written) == text


@pytest.mark.parametrize(
    ("written", "is_1904", "text"),
    [
        ("46024", False, "2026-01-02"),
        ("46024.5", False, "2026-01-02 12:00:00"),
        ("44562", True, "2026-01-02"),
        ("1", False, "1900-01-01"),
        ("59", False, "1900-02-28"),
        ("61", False, "1900-03-01"),
        ("0.75", False, "18:00:00"),
        ("2958465", False, "9999-12-31"),
        ("2958465.9999999", False, "2958465.9999999"),
        ("2958465", True, "2958465"),
        ("-1", False, "-1"),
        ("99999999", False, "99999999"),
        ("nan", False, "nan"),
        ("soon", False, "soon"),
    ],
)
def test_serial_numbers_are_days(written: str, text: str, *, is_1904: bool) -> None:
    assert date_text(written, is_1904=is_1904) == text


def test_escaped_signs() -> None:
    assert unescaped("a_x000D_b") == "a\rb"
    assert unescaped("_xD800_ _x005F_x0041_") == "_xD800_ _x0041_"
    assert unescaped("plain_text") == "plain_text"
