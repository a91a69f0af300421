"""Numbers as people and spreadsheets write them."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers.timezone import time_zones_for_number

from voice_agent.phone_numbers import LineType, NumberProblem, NumberRefused, Repair, read_number

SPAIN = "+34612345678"
MEXICO = "+525512345678"


@pytest.mark.parametrize(
    ("raw", "country", "e164", "repairs"),
    [
        (SPAIN, "", SPAIN, []),
        ("  +34 612-34.56/78 ", "US", SPAIN, []),
        ("\uff0b34612345678", "", SPAIN, []),
        ("\u0666\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", "ES", SPAIN, [Repair.COUNTRY]),
        ("612 34 56 78", "ES", SPAIN, [Repair.COUNTRY]),
        ("0034 612345678", "", SPAIN, []),
        ("011 34 612345678", "US", SPAIN, [Repair.COUNTRY]),
        ("tel:+34-612-345-678", "", SPAIN, []),
        ("34612345678", "ES", SPAIN, [Repair.PLUS]),
        ("34612345678", "MX", SPAIN, [Repair.PLUS]),
        ("34612345678", "", SPAIN, [Repair.PLUS]),
        ("3.4612345678E+10", "ES", SPAIN, [Repair.SCIENTIFIC, Repair.PLUS]),
        ("6,12345678e8", "ES", SPAIN, [Repair.SCIENTIFIC, Repair.COUNTRY]),
        ("612345678.0", "ES", SPAIN, [Repair.DECIMAL, Repair.COUNTRY]),
        ("+34 (0)612345678", "", SPAIN, [Repair.TRUNK]),
        ("+52 1 55 1234 5678", "", MEXICO, [Repair.MEXICO]),
        ("5215512345678", "MX", MEXICO, [Repair.MEXICO]),
        ("521 55 1234 5678", "ES", MEXICO, [Repair.MEXICO]),
        ("(212) 555-2368 ext. 5", "US", "+12125552368", [Repair.COUNTRY, Repair.EXTENSION]),
        ("1-800-FLOWERS", "US", "+18003569377", [Repair.COUNTRY]),
    ],
)
def test_what_people_and_spreadsheets_write(raw: str, country: str, e164: str, repairs: list[Repair]) -> None:
    number = read_number(raw, country)

    assert number.e164 == e164
    assert list(number.repairs) == repairs


@pytest.mark.parametrize(
    ("raw", "country", "problem"),
    [
        ("", "ES", NumberProblem.MISSING),
        (" \t", "", NumberProblem.MISSING),
        ("n/a", "ES", NumberProblem.NOT_A_NUMBER),
        ("+", "", NumberProblem.NOT_A_NUMBER),
        ("hello", "", NumberProblem.NOT_A_NUMBER),
        ("+34612345678" * 6, "", NumberProblem.NOT_A_NUMBER),
        ("1e99", "ES", NumberProblem.LOST_DIGITS),
        ("4.41E+11", "GB", NumberProblem.LOST_DIGITS),
        ("3.46E+10", "ES", NumberProblem.LOST_DIGITS),
        ("12345", "ES", NumberProblem.NOT_VALID),
        ("+34 112", "", NumberProblem.NOT_VALID),
        ("612345678 / 912345678", "ES", NumberProblem.NOT_VALID),
        ("+999 12345678", "", NumberProblem.NOT_VALID),
        ("612345678", "", NumberProblem.NO_COUNTRY),
    ],
)
def test_what_is_no_number_is_refused_with_the_reason(raw: str, country: str, problem: NumberProblem) -> None:
    with pytest.raises(NumberRefused) as refused:
        read_number(raw, country)

    assert refused.value.problem is problem


def test_all_zones_that_a_number_may_be_in_are_told() -> None:
    assert read_number(SPAIN).zones == ("Atlantic/Canary", "Europe/Madrid")
    assert read_number("+34928123456").zones == ("Atlantic/Canary",)
    assert read_number("+12125552368").zones == ("America/New_York",)
    assert "Pacific/Honolulu" in read_number("+18003569377").zones
    assert read_number("+80012345678").zones == ()


@pytest.mark.parametrize("country", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_zones_and_kinds_are_the_librarys(country: str) -> None:
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
        example = phonenumbers.example_number_for_type(country, kind)
        if example is None:
            continue
        number = read_number(phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164))

        zones = () if time_zones_for_number(example) == ("Etc/Unknown",) else tuple(time_zones_for_number(example))
        assert number.zones == zones
        assert number.country == phonenumbers.region_code_for_number(example)


@pytest.mark.parametrize(
    ("e164", "country", "line_type"),
    [
        (SPAIN, "ES", LineType.MOBILE),
        ("+34912345678", "ES", LineType.FIXED),
        ("+34803123456", "ES", LineType.PREMIUM_RATE),
        ("+12125552368", "US", LineType.FIXED_OR_MOBILE),
        ("+18095552368", "DO", LineType.FIXED_OR_MOBILE),
        ("+80012345678", "", LineType.TOLL_FREE),
    ],
)
def test_country_and_line_type(e164: str, country: str, line_type: LineType) -> None:
    number = read_number(e164)

    assert (number.country, number.line_type) == (country, line_type)


@given(
    st.text(max_size=70) | st.from_regex(r"[+0-9() .eE-]{0,20}", fullmatch=True),
    st.sampled_from(["", "ES", "US", "MX"]),
)
def test_whatever_is_written_is_a_number_or_refused(raw: str, country: str) -> None:
    try:
        number = read_number(raw, country)
    except NumberRefused:
        return

    assert read_number(number.e164) == type(number)(
        e164=number.e164, country=number.country, line_type=number.line_type, zones=number.zones
    )
