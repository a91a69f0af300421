"""Cells that become a contact's own fields."""

import pytest

from voice_agent.contacts.fields import Style
from voice_agent.contacts.model import MAX_TAGS
from voice_agent.contacts.reading.values import date_of, email_of, is_yes, locale_of, tags_of, zone_of


@pytest.mark.parametrize(
    ("cell", "address"),
    [
        ("ana@x.es", "ana@x.es"),
        ("ANA@X.ES", "ana@x.es"),
        ("Ana.B@x.co.uk", "Ana.B@x.co.uk"),
        ("Ana <ana@x.es>", "ana@x.es"),
        ("mailto:ana@x.es", "ana@x.es"),
        ("ana@x.es;", "ana@x.es"),
        ("ana@ñandú.es", "ana@ñandú.es"),
        ("ana", None),
        ("ana@x", None),
        ("ana@@x.es", None),
        ("a b@x.es", None),
        ("ana@" + "x" * 320 + ".es", None),
    ],
)
def test_addresses(cell: str, address: str | None) -> None:
    assert email_of(cell) == address


@pytest.mark.parametrize(
    ("cell", "locale"),
    [("es", "es"), ("ES_mx", "es-MX"), ("en-US", "en-US"), ("Español", "es"), ("es-419", "es-419"), ("klingon!", None)],
)
def test_locales(cell: str, locale: str | None) -> None:
    assert locale_of(cell) == locale


@pytest.mark.parametrize(
    ("cell", "zone"),
    [
        ("Europe/Madrid", "Europe/Madrid"),
        ("america/new york", "America/New_York"),
        ("US/Eastern", "America/New_York"),
        ("UTC", "Etc/UTC"),
        ("Europe/Springfield", None),
        ("CET", None),
    ],
)
def test_zones(cell: str, zone: str | None) -> None:
    assert zone_of(cell) == zone


def test_dates() -> None:
    assert date_of("03/04/2026", Style()) == "2026-04-03"
    assert date_of("03/04/2026", Style(is_day_first=False)) == "2026-03-04"
    assert date_of("soon", Style()) is None


def test_tags_are_divided_and_each_is_once() -> None:
    assert tags_of(["VIP, oro;  gran   cliente ", "vip||", "nuevo\nhoy"]) == (
        "VIP",
        "oro",
        "gran cliente",
        "nuevo",
        "hoy",
    )
    assert len(tags_of([",".join(map(str, range(99)))])) == MAX_TAGS
    assert tags_of([]) == ()


@pytest.mark.parametrize(
    ("cell", "is_set"), [("sí", True), ("x", True), ("2026-01-02", True), ("No", False), ("", False)]
)
def test_marks_are_set_by_anything_but_a_no(cell: str, *, is_set: bool) -> None:
    assert is_yes(cell) is is_set
