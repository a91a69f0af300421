"""Values of custom fields, as people write them and as JSON has them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.contacts.fields import (
    LONGEST_TEXT,
    CustomField,
    FieldType,
    Style,
    Value,
    ValueRefused,
    check_value,
    read_value,
)

SPANISH = Style(decimal=",")
AMERICAN = Style(is_day_first=False)


def a_field(type_: FieldType) -> CustomField:
    choices = ("Oro", "Plátano") if type_ is FieldType.CHOICE else ()
    return CustomField(key="x", label="X", type=type_, choices=choices)


@pytest.mark.parametrize(
    ("type_", "raw", "style", "value"),
    [
        (FieldType.TEXT, " a b ", None, "a b"),
        (FieldType.TEXT, "  ", None, None),
        (FieldType.NUMBER, "1,234.50", None, 1234.5),
        (FieldType.NUMBER, "1.234,50", SPANISH, 1234.5),
        (FieldType.NUMBER, "1 234", None, 1234),
        (FieldType.NUMBER, "-7", None, -7),
        (FieldType.NUMBER, "+1'000", None, 1000),
        (FieldType.BOOLEAN, "Sí", None, True),
        (FieldType.BOOLEAN, "NO", None, False),
        (FieldType.BOOLEAN, "x", None, True),
        (FieldType.DATE, "2026-3-4", None, "2026-03-04"),
        (FieldType.DATE, "2026-03-04T10:00:00Z", None, "2026-03-04"),
        (FieldType.DATE, "3/4/2026", None, "2026-04-03"),
        (FieldType.DATE, "3.4.2026", AMERICAN, "2026-03-04"),
        (FieldType.CHOICE, "platano", None, "Plátano"),
    ],
)
def test_what_people_write_is_read(type_: FieldType, raw: str, style: Style | None, value: Value | None) -> None:
    assert read_value(a_field(type_), raw, style) == value


@pytest.mark.parametrize(
    ("type_", "raw"),
    [
        (FieldType.TEXT, "x" * (LONGEST_TEXT + 1)),
        (FieldType.NUMBER, "twelve"),
        (FieldType.NUMBER, "1e400"),
        (FieldType.BOOLEAN, "maybe"),
        (FieldType.DATE, "tomorrow"),
        (FieldType.DATE, "2026-02-30"),
        (FieldType.DATE, "0000-01-01"),
        (FieldType.CHOICE, "Plata"),
    ],
)
def test_what_is_no_value_is_refused(type_: FieldType, raw: str) -> None:
    with pytest.raises(ValueRefused):
        read_value(a_field(type_), raw)


@pytest.mark.parametrize(
    ("type_", "value", "kept"),
    [
        (FieldType.TEXT, " a ", "a"),
        (FieldType.DATE, "2026-3-4", "2026-03-04"),
        (FieldType.CHOICE, "ORO", "Oro"),
        (FieldType.NUMBER, 3, 3),
        (FieldType.NUMBER, 3.5, 3.5),
        (FieldType.BOOLEAN, False, False),
    ],
)
def test_a_value_with_a_type_of_its_own_is_taken(type_: FieldType, value: Value, kept: Value) -> None:
    assert check_value(a_field(type_), value) == kept


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (FieldType.TEXT, 3),
        (FieldType.TEXT, ""),
        (FieldType.NUMBER, "3"),
        (FieldType.NUMBER, True),
        (FieldType.NUMBER, float("nan")),
        (FieldType.NUMBER, 10**400),
        (FieldType.BOOLEAN, "yes"),
        (FieldType.BOOLEAN, 1),
        (FieldType.DATE, 20260304),
    ],
)
def test_a_value_of_another_type_is_refused(type_: FieldType, value: Value) -> None:
    with pytest.raises(ValueRefused):
        check_value(a_field(type_), value)


@given(st.sampled_from(FieldType), st.text(max_size=40))
def test_any_text_is_a_value_of_its_type_or_refused(type_: FieldType, raw: str) -> None:
    types: dict[FieldType, tuple[type[Any], ...]] = {FieldType.NUMBER: (int, float), FieldType.BOOLEAN: (bool,)}
    try:
        value = read_value(a_field(type_), raw)
    except ValueRefused:
        return
    assert value is None or isinstance(value, types.get(type_, (str,)))
