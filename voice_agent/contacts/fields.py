"""Custom fields: the types that an organisation may give them, and their values as people write them. Pure."""

import re
from datetime import date
from enum import StrEnum
from typing import assert_never

import msgspec

from voice_agent.contacts.words import folded
from voice_agent.errors import InvalidRequest

KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""A field's name: it is also a variable of an agent's prompt."""

LONGEST_TEXT = 2_000
LARGEST_NUMBER = 10**30
"""Numbers are below it: as many digits as are read."""


Value = str | int | float | bool

_YES = frozenset({"yes", "y", "true", "1", "x", "si", "s", "verdadero", "on"})
_NO = frozenset({"no", "n", "false", "0", "falso", "off"})
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?")
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})([T ].*)?")
_LOCAL = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})")


class FieldType(StrEnum):
    """What a custom field holds."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    """Kept as YYYY-MM-DD."""

    CHOICE = "choice"


class CustomField(msgspec.Struct, frozen=True, kw_only=True):
    """A field that an organisation gives its contacts."""

    key: str
    label: str
    type: FieldType = FieldType.TEXT
    choices: tuple[str, ...] = ()


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How the people who wrote a file write numbers and dates."""

    decimal: str = "."
    """The decimal sign, `.` or `,`; the other one divides thousands."""

    is_day_first: bool = True
    """Whether 03/04/2026 is in April."""


class ValueRefused(InvalidRequest):
    """A value is none of its field's type."""


def read_value(field: CustomField, raw: str, style: Style | None = None) -> Value | None:
    """Return what somebody wrote as a value of the field, None for nothing. Raises ValueRefused."""
    text = raw.strip()
    if not text:
        return None
    style = style or Style()
    match field.type:
        case FieldType.TEXT:
            return _text(text)
        case FieldType.NUMBER:
            return _number(text, style)
        case FieldType.BOOLEAN:
            return _boolean(text)
        case FieldType.DATE:
            return _date(text, style)
        case FieldType.CHOICE:
            return _choice(text, field.choices)
        case _ as never:
            assert_never(never)


def check_value(field: CustomField, value: Value) -> Value:
    """Return a value that came with a type of its own, as JSON has it. Raises ValueRefused."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str):
        read = read_value(CustomField(key=field.key, label=field.label, type=field.type, choices=field.choices), value)
        if read is not None and field.type in (FieldType.TEXT, FieldType.DATE, FieldType.CHOICE):
            return read
    elif (field.type is FieldType.NUMBER and is_number and -LARGEST_NUMBER < value < LARGEST_NUMBER) or (
        field.type is FieldType.BOOLEAN and isinstance(value, bool)
    ):
        return value
    raise ValueRefused(f"this is no {field.type}")


def _text(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise ValueRefused(f"this is longer than {LONGEST_TEXT} characters")
    return text


def _number(text: str, style: Style) -> int | float:
    thousands = "," if style.decimal == "." else "."
    plain = re.sub(r"[\s'\u2019]", "", text).replace(thousands, "").replace(style.decimal, ".")
    if not _NUMBER.fullmatch(plain):
        raise ValueRefused("this is no number")
    return float(plain) if "." in plain else int(plain)


def _boolean(text: str) -> bool:
    word = folded(text)
    if word not in _YES | _NO:
        raise ValueRefused("this is neither yes nor no")
    return word in _YES


def _date(text: str, style: Style) -> str:
    if match := _ISO.fullmatch(text):
        year, month, day = int(match[1]), int(match[2]), int(match[3])
    elif match := _LOCAL.fullmatch(text):
        first, second, year = int(match[1]), int(match[2]), int(match[3])
        day, month = (first, second) if style.is_day_first else (second, first)
    else:
        raise ValueRefused("this is no date")
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        raise ValueRefused("there is no such day") from None


def _choice(text: str, choices: tuple[str, ...]) -> str:
    for choice in choices:
        if folded(choice) == folded(text):
            return choice
    raise ValueRefused("this is none of the field's choices")
