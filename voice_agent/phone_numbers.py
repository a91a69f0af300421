"""Telephone numbers as people and spreadsheets write them: what each one is, or why it is none. Pure.

Numbering plans, line types and time zones are those of `phonenumbers` (Google's libphonenumber). What that library does
not know of is what spreadsheets do to numbers: they take the plus away, write `3.4612345678E+10`, add `.0`; and that
Mexico dropped the 1 behind its code (`+52 1 55 …`) in 2019. Such a number is repaired, and the repair is told; one that
lost digits on its way (`4.41E+11`) is refused, because what is left is somebody else's number.
"""

import re
from enum import StrEnum

import msgspec
import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType
from phonenumbers.phonenumberutil import is_number_type_geographical
from phonenumbers.timezone import time_zones_for_geographical_number
from phonenumbers.tzdata import TIMEZONE_DATA

from voice_agent.errors import InvalidRequest

LONGEST = 60
"""Characters of a number with everything that people write around it."""

_SCIENTIFIC = re.compile(r"\+?(\d)(?:[.,](\d+))?[eE]\+?(\d{1,2})")
_DECIMAL = re.compile(r"(\+?\d{6,17})[.,]0+")
_MEXICO = re.compile(r"521(\d{10})")
_DIGIT = re.compile(r"\d")
_PLUS = ("+", "\uff0b")
_LONGEST_WITHOUT_CODE = 10
"""Digits: longer ones that begin with the default country's code have it, and lost their plus."""

_UNKNOWN_ZONE = "Etc/Unknown"
_NO_COUNTRY = "001"
"""The library's word for codes that are no country's, such as +800."""


class LineType(StrEnum):
    """What a number reaches."""

    MOBILE = "mobile"
    FIXED = "fixed"
    FIXED_OR_MOBILE = "fixed_or_mobile"
    """Where the plan does not tell them apart, as in the US."""

    TOLL_FREE = "toll_free"
    PREMIUM_RATE = "premium_rate"
    SHARED_COST = "shared_cost"
    VOIP = "voip"
    PERSONAL = "personal"
    PAGER = "pager"
    COMPANY = "company"
    VOICEMAIL = "voicemail"


_LINE_TYPES = {
    PhoneNumberType.MOBILE: LineType.MOBILE,
    PhoneNumberType.FIXED_LINE: LineType.FIXED,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: LineType.FIXED_OR_MOBILE,
    PhoneNumberType.TOLL_FREE: LineType.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE: LineType.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST: LineType.SHARED_COST,
    PhoneNumberType.VOIP: LineType.VOIP,
    PhoneNumberType.PERSONAL_NUMBER: LineType.PERSONAL,
    PhoneNumberType.PAGER: LineType.PAGER,
    PhoneNumberType.UAN: LineType.COMPANY,
    PhoneNumberType.VOICEMAIL: LineType.VOICEMAIL,
}


class Repair(StrEnum):
    """What was done to what was written."""

    PLUS = "plus"
    """It had its country's code, but no plus."""

    COUNTRY = "country"
    """The default country's code was put before it."""

    SCIENTIFIC = "scientific"
    """It was written as 3.4612345678E+10, with every digit."""

    DECIMAL = "decimal"
    """It was written as 34612345678.0."""

    MEXICO = "mexico"
    """The 1 behind +52 was dropped."""

    TRUNK = "trunk"
    """The (0) between code and number was dropped."""

    EXTENSION = "extension"
    """An extension was left out: it cannot be dialled directly."""


class NumberProblem(StrEnum):
    """Why something is no number that can be called."""

    MISSING = "missing"
    NOT_A_NUMBER = "not_a_number"
    NO_COUNTRY = "no_country"
    LOST_DIGITS = "lost_digits"
    NOT_VALID = "not_valid"


_WORDS = {
    NumberProblem.MISSING: "there is no number",
    NumberProblem.NOT_A_NUMBER: "this is no telephone number",
    NumberProblem.NO_COUNTRY: "the country is not known: write + and its code, or name a default country",
    NumberProblem.LOST_DIGITS: "a spreadsheet has rounded this number, its last digits are lost",
    NumberProblem.NOT_VALID: "no such number can exist in its country",
}


class NumberRefused(InvalidRequest):
    """What was given is no telephone number that can be called; `problem` says why."""

    def __init__(self, problem: NumberProblem) -> None:
        super().__init__(_WORDS[problem])
        self.problem = problem


class PhoneNumber(msgspec.Struct, frozen=True, kw_only=True):
    """A number that can exist."""

    e164: str
    country: str
    """ISO 3166; empty where its code is no country's."""

    line_type: LineType
    zones: tuple[str, ...]
    """Every IANA time zone in which it may be; empty where nothing is known."""

    repairs: tuple[Repair, ...] = ()


def read_number(raw: str, default_country: str = "") -> PhoneNumber:
    """Return the number that somebody wrote.

    `default_country` (ISO 3166) is where numbers without a country's code are. Raises NumberRefused.
    """
    text = raw.strip()
    if not text:
        raise NumberRefused(NumberProblem.MISSING)
    if len(text) > LONGEST:
        raise NumberRefused(NumberProblem.NOT_A_NUMBER)
    text, repairs = _written_out(text)
    problem = NumberProblem.NOT_A_NUMBER
    for candidate, country, repair in _readings(text, default_country):
        try:
            parsed = phonenumbers.parse(candidate, country, _check_region=False)
        except NumberParseException as error:
            if error.error_type != NumberParseException.NOT_A_NUMBER:
                problem = NumberProblem.NOT_VALID
            continue
        line_type = phonenumbers.number_type(parsed)
        if line_type != PhoneNumberType.UNKNOWN:
            return _described(parsed, line_type, (*repairs, *repair))
        problem = NumberProblem.NOT_VALID
    if problem is NumberProblem.NOT_VALID and not default_country and not _has_code(text):
        problem = NumberProblem.NO_COUNTRY
    raise NumberRefused(problem)


def _written_out(text: str) -> tuple[str, tuple[Repair, ...]]:
    """Undo what spreadsheets and letterheads do to numbers."""
    if match := _SCIENTIFIC.fullmatch(text):
        digits, exponent = match[1] + (match[2] or ""), int(match[3])
        if len(digits) != exponent + 1:
            raise NumberRefused(NumberProblem.LOST_DIGITS)
        return digits, (Repair.SCIENTIFIC,)
    if match := _DECIMAL.fullmatch(text):
        return match[1], (Repair.DECIMAL,)
    text = text.removeprefix("tel:")
    if text.startswith("00"):
        text = "+" + text[2:]
    if _has_code(text) and "(0)" in text:
        return text.replace("(0)", "", 1), (Repair.TRUNK,)
    return text, ()


def _has_code(text: str) -> bool:
    return text.startswith(_PLUS)


def _readings(text: str, default_country: str) -> list[tuple[str, str | None, tuple[Repair, ...]]]:
    """Return what a text may mean, the likeliest first."""
    readings: list[tuple[str, str | None, tuple[Repair, ...]]] = []
    digits = "".join(_DIGIT.findall(text))
    if _has_code(text):
        readings.append((text, None, ()))
    else:
        code = str(phonenumbers.country_code_for_region(default_country)) if default_country else ""
        if code and not (digits.startswith(code) and len(digits) > _LONGEST_WITHOUT_CODE):
            readings.append((text, default_country, (Repair.COUNTRY,)))
        readings.append(("+" + text, None, (Repair.PLUS,)))
        if default_country:
            readings.append((text, default_country, (Repair.COUNTRY,)))
    if match := _MEXICO.fullmatch(digits):
        readings.append(("+52" + match[1], None, (Repair.MEXICO,)))
    return readings


def _described(parsed: phonenumbers.PhoneNumber, line_type: int, repairs: tuple[Repair, ...]) -> PhoneNumber:
    country = phonenumbers.region_code_for_number(parsed) or ""
    if parsed.extension:
        repairs = (*repairs, Repair.EXTENSION)
    return PhoneNumber(
        e164=phonenumbers.format_number(parsed, PhoneNumberFormat.E164),
        country="" if country == _NO_COUNTRY else country,
        line_type=_LINE_TYPES[line_type],
        zones=_zones(parsed, line_type),
        repairs=repairs,
    )


def _zones(parsed: phonenumbers.PhoneNumber, line_type: int) -> tuple[str, ...]:
    """Do as `time_zones_for_number`, which would find the line's type a second time: a third of all work here."""
    code = parsed.country_code or 0
    if is_number_type_geographical(line_type, code):
        return _known(time_zones_for_geographical_number(parsed))
    # Of a whole country, or of all countries that share a code.
    return _known(TIMEZONE_DATA.get(str(code), ()))


def _known(zones: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(zone for zone in zones if zone != _UNKNOWN_ZONE)
