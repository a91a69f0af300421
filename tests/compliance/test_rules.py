"""`may_call`: every reason, and that no call is ever allowed outside of the hours, in whatever zone, on 400 days."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compliance.people import FLORIDIAN, LONG_AGO, NOON, SPANIARD, checked, granted, revoked
from tests.compliance.zones import ZONES
from voice_agent.compliance.model import Basis, Callee, Purpose, ReasonCode, SuppressionFact
from voice_agent.compliance.packs import built_in
from voice_agent.compliance.rule_pack import RulePack, RulePacks
from voice_agent.compliance.rules import HORIZON, duties_of, expiry, may_call, months_later, next_legal, open_until

PACKS = built_in()
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
P, C = Purpose, ReasonCode


def changed(callee: Callee, **facts: object) -> Callee:
    return msgspec.structs.replace(callee, **facts)


def codes(callee: Callee, purpose: Purpose = P.MARKETING, at: datetime = NOON, packs: RulePacks = PACKS) -> list[str]:
    return [reason.code.value for reason in may_call(callee, purpose, at, packs).reasons]


def local(zone: str, *when: int) -> datetime:
    return datetime(*when, tzinfo=ZoneInfo(zone)).astimezone(UTC)  # type: ignore[arg-type, misc]


# --- never outside of the hours -----------------------------------------------------------------------------------
def is_legal_hour(purpose: Purpose, country: str, zone: str, at: datetime) -> bool:
    """Say again in other words what the packs have of a country without regions, and of Spain's islands."""
    there = at.astimezone(ZoneInfo(zone))
    clock, weekday = there.hour * 60 + there.minute, there.weekday()
    if purpose in (P.SERVICE, P.REMINDER):
        return 8 * 60 <= clock < 21 * 60 or (country == "ES" and purpose is P.SERVICE)
    if country == "ES" and purpose is P.MARKETING:
        return weekday < 5 and 9 * 60 <= clock < 21 * 60 and there.date() not in HOLIDAYS
    if weekday == 5:
        return 10 * 60 <= clock < 18 * 60
    return weekday < 5 and 9 * 60 <= clock < 20 * 60


HOLIDAYS = {
    date(2026, 1, 1), date(2026, 1, 6), date(2026, 4, 2), date(2026, 4, 3), date(2026, 5, 1), date(2026, 8, 15),
    date(2026, 10, 12), date(2026, 11, 2), date(2026, 12, 8), date(2026, 12, 25), date(2027, 1, 1), date(2027, 1, 6),
}  # fmt: skip
"""Those of the Canaries on weekdays, as the package has them."""


def person(country: str, zones: list[str]) -> Callee:
    consents = tuple(granted(purpose, at=datetime(2025, 6, 1, tzinfo=UTC)) for purpose in Purpose)
    regions = ("ES-CN",) if country == "ES" else ()
    return Callee(e164="+34600000000", country=country, zones=tuple(zones), regions=regions, consents=consents)


CALLED = st.builds(person, st.sampled_from(["ES", "AQ"]), st.lists(st.sampled_from(ZONES), min_size=1, max_size=3))
PURPOSES = st.sampled_from([P.MARKETING, P.SERVICE, P.REMINDER, P.SURVEY, P.COLLECTION])
MOMENTS = st.integers(0, 400 * 24 * 60).map(lambda minutes: START + minutes * MINUTE)


@pytest.mark.parametrize("zone", ZONES)
def test_on_400_days_no_call_is_allowed_before_or_after_the_hours_nor_on_a_closed_day(zone: str) -> None:
    callee = person("ES", [zone])
    for day in (START.date() + n * DAY for n in range(400)):
        midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
        too_early, noon, too_late = (
            midnight.replace(hour=8, minute=59),
            midnight.replace(hour=12),
            midnight.replace(hour=21),
        )

        assert not may_call(callee, P.MARKETING, too_early.astimezone(UTC), PACKS).is_allowed
        assert not may_call(callee, P.MARKETING, too_late.astimezone(UTC), PACKS).is_allowed
        is_closed = day.weekday() > 4 or day in HOLIDAYS
        assert may_call(callee, P.MARKETING, noon.astimezone(UTC), PACKS).is_allowed is not is_closed


@given(CALLED, PURPOSES, MOMENTS)
@settings(max_examples=200, deadline=None)
def test_what_is_allowed_is_a_legal_hour_in_every_zone(callee: Callee, purpose: Purpose, at: datetime) -> None:
    if may_call(callee, purpose, at, PACKS).is_allowed:
        assert all(is_legal_hour(purpose, callee.country, zone, at) for zone in callee.zones)


@given(CALLED, PURPOSES, MOMENTS)
@settings(max_examples=40, deadline=None)
def test_the_next_legal_moment_is_allowed_and_none_before_it_is(
    callee: Callee, purpose: Purpose, after: datetime
) -> None:
    found = next_legal(callee, purpose, after, PACKS)
    last = min(found or after + HORIZON, after + 6 * DAY)

    if found is not None:
        assert may_call(callee, purpose, found, PACKS).is_allowed
        assert found == after or not may_call(callee, purpose, found - timedelta(microseconds=1), PACKS).is_allowed
    at = after
    while at < last:
        assert not may_call(callee, purpose, at, PACKS).is_allowed
        at += 15 * MINUTE
    closes = open_until(callee, purpose, after, PACKS)
    assert (closes is not None) == may_call(callee, purpose, after, PACKS).is_allowed
    if closes is not None and closes < after + HORIZON:
        assert may_call(callee, purpose, closes - timedelta(microseconds=1), PACKS).is_allowed
        assert not may_call(callee, purpose, closes, PACKS).is_allowed


# --- hours --------------------------------------------------------------------------------------------------------
def test_a_spaniard_who_agreed_may_be_called_at_noon_and_the_packs_that_were_asked_are_told() -> None:
    verdict = may_call(SPANIARD, P.MARKETING, NOON, PACKS)

    assert verdict.is_allowed
    assert [pack.jurisdiction for pack in verdict.packs] == ["ES", "EU", "default"]
    assert verdict.packs[0].as_of == "2026-11-25"


@pytest.mark.parametrize(
    ("when", "code"),
    [
        ((2026, 11, 25, 8, 59), "outside_window"),
        ((2026, 11, 25, 9, 0), None),
        ((2026, 11, 25, 20, 59), None),
        ((2026, 11, 25, 21, 0), "outside_window"),
        ((2026, 11, 28, 12, 0), "outside_window"),  # a Saturday
        ((2026, 12, 8, 12, 0), "holiday"),
        ((2027, 5, 3, 12, 0), "holiday"),  # of Madrid alone
        ((2026, 11, 9, 12, 0), None),  # nowhere
    ],
)
def test_hours_and_holidays_of_madrid(when: tuple[int, ...], code: str | None) -> None:
    assert codes(SPANIARD, at=local("Europe/Madrid", *when)) == ([code] if code else [])


def test_where_the_region_is_not_known_the_holidays_of_all_of_them_count() -> None:
    day_of_galicia = local("Europe/Madrid", 2027, 5, 17, 12)

    assert codes(SPANIARD, at=day_of_galicia) == []
    for unknown in (changed(SPANIARD, regions=()), changed(SPANIARD, regions=("ES-MD", "ES-XX"))):
        assert codes(unknown, at=day_of_galicia) == ["holiday"]


def test_a_number_tells_the_region_where_no_address_does() -> None:
    day_of_galicia = local("Europe/Madrid", 2027, 5, 17, 12)

    assert codes(changed(SPANIARD, e164="+34981000000", regions=()), at=day_of_galicia) == ["holiday"]
    assert codes(changed(SPANIARD, e164="+34910000000", regions=()), at=day_of_galicia) == []


def test_a_call_must_be_legal_in_every_zone_that_somebody_may_be_in() -> None:
    eight_in_the_canaries = local("Europe/Madrid", 2026, 11, 25, 9, 30)

    assert codes(changed(SPANIARD, zones=("Europe/Madrid",)), at=eight_in_the_canaries) == []
    both = changed(SPANIARD, zones=("Europe/Madrid", "Atlantic/Canary"))
    (reason,) = may_call(both, P.MARKETING, eight_in_the_canaries, PACKS).reasons
    assert "in Atlantic/Canary it is Wednesday 2026-11-25, 08:30" in reason.detail
    assert "09:00-21:00" in reason.detail
    assert reason.source.startswith("TRLGDCU")
    assert reason.pack == "ES 20261125"


@pytest.mark.parametrize(
    ("region", "zone", "when", "is_legal"),
    [
        ("US-NY", "America/New_York", (2026, 11, 25, 20, 30), True),
        ("US-NY", "America/New_York", (2026, 11, 25, 21, 0), False),
        ("US-FL", "America/New_York", (2026, 11, 25, 19, 59), True),
        ("US-FL", "America/New_York", (2026, 11, 25, 20, 0), False),
        ("US-TX", "America/Chicago", (2026, 11, 29, 11, 59), False),
        ("US-TX", "America/Chicago", (2026, 11, 29, 12, 0), True),
        ("US-KY", "America/New_York", (2026, 11, 25, 9, 59), False),
        ("US-ME", "America/New_York", (2026, 11, 25, 17, 0), False),
        ("US-ME", "America/New_York", (2026, 11, 28, 12, 0), False),
        ("US-PA", "America/New_York", (2026, 10, 11, 12, 0), True),
        ("US-PA", "America/New_York", (2026, 10, 18, 12, 0), False),
        ("US-PA", "America/New_York", (2026, 10, 19, 12, 0), True),
    ],
)
def test_states_are_stricter_than_the_federation(region: str, zone: str, when: tuple[int, ...], is_legal: bool) -> None:
    callee = changed(FLORIDIAN, regions=(region,), zones=(zone,))

    assert (codes(callee, at=local(zone, *when)) == []) is is_legal


def test_an_area_code_tells_the_state_and_a_number_of_no_state_has_the_rules_of_all() -> None:
    at_half_past_eight = local("America/New_York", 2026, 11, 25, 20, 30)

    assert codes(changed(FLORIDIAN, regions=()), at=at_half_past_eight) == ["outside_window"]
    assert codes(changed(FLORIDIAN, regions=(), e164="+12125550100"), at=at_half_past_eight) == []
    toll_free = changed(FLORIDIAN, regions=(), e164="+18005550100")
    assert set(codes(toll_free, at=at_half_past_eight)) == {"outside_window"}
    assert codes(toll_free, at=local("America/New_York", 2026, 11, 25, 12)) == []


def test_where_no_zone_is_known_those_of_the_whole_country_count_or_no_hour_is_legal() -> None:
    nowhere = changed(FLORIDIAN, e164="+18005550100", regions=(), zones=())
    assert "outside_window" in codes(nowhere, at=local("America/New_York", 2026, 11, 25, 12))

    stranger = changed(person("AQ", []), zones=())
    assert codes(stranger) == ["zone_unknown"]
    assert next_legal(stranger, P.MARKETING, NOON, PACKS) is None
    assert open_until(stranger, P.MARKETING, NOON, PACKS) is None


def test_a_zone_that_there_is_not_makes_no_hour_legal() -> None:
    callee = changed(SPANIARD, zones=("Europe/Madrid", "Mars/Olympus"))

    assert codes(callee) == ["zone_unknown"]
    assert next_legal(callee, P.MARKETING, NOON, PACKS) is None


def test_a_call_about_what_somebody_bought_is_legal_at_any_hour_in_spain_and_the_us_and_not_elsewhere() -> None:
    night = local("Europe/Madrid", 2026, 11, 25, 3)
    nobody = changed(SPANIARD, consents=(), zones=("Europe/Madrid",))

    assert codes(nobody, P.SERVICE, night) == []
    assert codes(changed(FLORIDIAN, consents=()), P.SERVICE, local("America/New_York", 2026, 11, 25, 3)) == []
    assert codes(changed(nobody, country="FR", regions=()), P.SERVICE, night) == ["outside_window"]
    assert next_legal(nobody, P.SERVICE, night, PACKS) == night
    assert open_until(nobody, P.SERVICE, night, PACKS) == night + HORIZON


def test_what_holds_for_consumers_alone_leaves_companies_the_cautious_default() -> None:
    company = changed(SPANIARD, is_consumer=False)

    assert codes(company, at=local("Europe/Madrid", 2026, 11, 28, 12)) == []  # a Saturday
    assert codes(company, at=local("Europe/Madrid", 2026, 11, 25, 20, 30)) == ["outside_window"]


def test_a_day_without_hours_says_so() -> None:
    (reason,) = may_call(SPANIARD, P.MARKETING, local("Europe/Madrid", 2026, 11, 29, 12), PACKS).reasons

    assert reason.detail.endswith("at no hour of this day")


# --- consent ------------------------------------------------------------------------------------------------------
NOON_IN_NEW_YORK = local("America/New_York", 2026, 11, 25, 12)


@pytest.mark.parametrize(
    ("consents", "code"),
    [
        ((), "consent_missing"),
        ((granted(P.SURVEY),), "consent_missing"),
        ((granted(basis=Basis.NUMBER_GIVEN),), "consent_insufficient"),
        ((granted(basis=Basis.EXPRESS),), "consent_insufficient"),
        ((granted(),), None),
        ((granted(), granted(basis=Basis.CUSTOMER, at=LONG_AGO + DAY)), None),
        ((granted(at=NOON + DAY),), "consent_missing"),
        ((granted(expires_at=NOON_IN_NEW_YORK),), "consent_expired"),
        ((granted(expires_at=NOON_IN_NEW_YORK + MINUTE),), None),
        ((granted(), revoked(at=LONG_AGO + DAY)), "consent_revoked"),
        ((granted(), revoked()), "consent_revoked"),  # at the same moment
        ((revoked(), granted(at=LONG_AGO + DAY)), None),
        ((granted(), revoked(at=LONG_AGO + DAY), granted(at=LONG_AGO + 2 * DAY, basis=Basis.EXPRESS)),
         "consent_insufficient"),
        ((granted(), revoked(P.SURVEY)), None),
        ((granted(), revoked(at=NOON + DAY)), None),
    ],
)  # fmt: skip
def test_the_last_word_on_marketing_in_the_us_counts(consents: tuple[object, ...], code: str | None) -> None:
    check = checked("us_national_dnc", NOON, NOON + 31 * DAY)
    callee = changed(FLORIDIAN, consents=consents, registry_checks=(check,))

    assert codes(callee, at=NOON_IN_NEW_YORK) == ([code] if code else [])


def test_consent_in_spain_is_renewed_every_two_years() -> None:
    given_at = local("Europe/Madrid", 2026, 11, 24, 12)
    callee = changed(SPANIARD, consents=(granted(basis=Basis.EXPRESS, at=given_at),))

    assert codes(callee, at=months_later(given_at, 24) - MINUTE) == []
    assert codes(callee, at=months_later(given_at, 24)) == ["consent_expired"]
    assert expiry(callee, P.MARKETING, given_at, PACKS) == months_later(given_at, 24)
    assert expiry(callee, P.SERVICE, given_at, PACKS) is None


@pytest.mark.parametrize(
    ("day", "months", "later"),
    [
        (date(2028, 2, 29), 24, date(2030, 2, 28)),
        (date(2028, 2, 29), 48, date(2032, 2, 29)),
        (date(2026, 12, 31), 2, date(2027, 2, 28)),
        (date(2026, 11, 30), 1, date(2026, 12, 30)),
    ],
)  # fmt: skip
def test_months_end_on_the_last_day_where_they_are_shorter(day: date, months: int, later: date) -> None:
    at = datetime(day.year, day.month, day.day, 13, 30, tzinfo=UTC)

    assert months_later(at, months) == at.replace(year=later.year, month=later.month, day=later.day)


def test_what_is_presumed_needs_no_record_but_ends_when_it_is_taken_back() -> None:
    unknown = changed(SPANIARD, consents=())

    assert codes(unknown, P.SERVICE) == codes(unknown, P.REMINDER) == codes(unknown, P.COLLECTION) == []
    assert codes(changed(unknown, consents=(revoked(P.SERVICE),)), P.SERVICE) == ["consent_revoked"]


def test_every_pack_that_demands_consent_says_so() -> None:
    verdict = may_call(changed(SPANIARD, consents=()), P.MARKETING, NOON, PACKS)

    missing = [reason.pack for reason in verdict.reasons if reason.code is C.CONSENT_MISSING]
    assert missing == ["ES 20261125", "EU 20261125"]


# --- registries ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ((), "registry_unchecked"),
        ((checked("us_national_dnc", NOON, NOON + 31 * DAY),), "registry_unchecked"),
        ((checked("mx_repep", NOON - DAY, NOON + 29 * DAY),), None),
        ((checked("mx_repep", NOON - DAY, NOON + 29 * DAY, is_listed=True),), "registry_listed"),
        ((checked("mx_repep", NOON - 60 * DAY, NOON - 30 * DAY, is_listed=True),), "registry_listed"),
        ((checked("mx_repep", NOON - 30 * DAY, NOON + 30 * DAY),), "registry_expired"),
        ((checked("mx_repep", NOON - 2 * DAY, NOON - DAY),), "registry_expired"),
        ((checked("mx_repep", NOON + 50 * DAY, NOON + 60 * DAY),), "registry_unchecked"),
    ],
)
def test_a_registry_is_asked_before_and_its_answer_does_not_last(checks: tuple[object, ...], code: str | None) -> None:
    at = local("America/Mexico_City", 2026, 11, 25, 12)
    callee = Callee(
        e164="+525512345678", country="MX", zones=("America/Mexico_City",), registry_checks=checks,  # type: ignore[arg-type]
        consents=(granted(basis=Basis.CUSTOMER), granted(P.SURVEY, Basis.EXPRESS)),
    )  # fmt: skip

    found = [each for each in codes(callee, at=at) if each.startswith("registry")]
    assert found == ([code] if code else [])
    assert codes(callee, P.SURVEY, at) == []  # outside of the registry
    agreed = changed(callee, consents=(granted(basis=Basis.EXPRESS),))
    assert codes(agreed, at=at) == []  # consent overrides it
    lapsed = changed(callee, consents=(granted(basis=Basis.EXPRESS, expires_at=at - DAY),))
    assert ("registry_unchecked" in codes(lapsed, at=at)) is (code == "registry_unchecked")


# --- suppressions and tests ---------------------------------------------------------------------------------------
def suppressed(until: datetime | None = None, scope: str = "organisation") -> tuple[SuppressionFact, ...]:
    return (SuppressionFact(scope=scope, source="call", at=LONG_AGO, until=until),)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("scope", ["global", "organisation", "campaign"])
def test_a_suppression_wins_over_every_consent(purpose: Purpose, scope: str) -> None:
    consents = (granted(purpose), *SPANIARD.consents)

    assert codes(changed(SPANIARD, consents=consents, suppressions=suppressed(scope=scope)), purpose) == ["suppressed"]


def test_a_suppression_ends_where_it_says_so_and_the_next_legal_moment_is_then() -> None:
    callee = changed(SPANIARD, suppressions=suppressed(until=NOON + MINUTE))

    assert codes(callee) == ["suppressed"]
    assert codes(callee, at=NOON + MINUTE) == []
    assert next_legal(callee, P.MARKETING, NOON, PACKS) == NOON + MINUTE
    assert next_legal(callee, P.MARKETING, NOON - DAY, PACKS) == NOON + MINUTE
    at_night = changed(SPANIARD, suppressions=suppressed(until=local("Europe/Madrid", 2026, 11, 25, 23)))
    assert next_legal(at_night, P.MARKETING, NOON, PACKS) == local("Europe/Madrid", 2026, 11, 26, 9)


def test_what_does_not_pass_with_time_has_no_next_moment() -> None:
    assert next_legal(changed(SPANIARD, suppressions=suppressed()), P.MARKETING, NOON, PACKS) is None
    assert next_legal(changed(SPANIARD, consents=()), P.MARKETING, NOON, PACKS) is None
    assert next_legal(changed(SPANIARD, suppressions=suppressed(NOON + 40 * DAY)), P.MARKETING, NOON, PACKS) is None


def test_a_consent_or_an_answer_that_is_dated_later_makes_a_next_moment() -> None:
    tomorrow = NOON + DAY

    assert next_legal(changed(SPANIARD, consents=(granted(at=tomorrow),)), P.MARKETING, NOON, PACKS) == tomorrow


def test_test_calls_go_to_own_numbers_whatever_holds_and_to_who_agreed() -> None:
    own = changed(SPANIARD, is_own=True, suppressions=suppressed(), consents=())
    night = local("Europe/Madrid", 2026, 11, 29, 3)

    assert codes(own, P.TEST, night) == []
    assert codes(own, P.SERVICE, night) == ["suppressed"]
    tester = changed(SPANIARD, consents=(granted(P.TEST, Basis.OTHER),))
    assert codes(tester, P.TEST, night) == []
    assert codes(changed(tester, suppressions=suppressed()), P.TEST, night) == ["suppressed"]
    assert codes(SPANIARD, P.TEST) == ["consent_missing"]
    assert codes(changed(tester, consents=(granted(P.TEST, expires_at=NOON),)), P.TEST) == ["consent_missing"]
    assert codes(changed(tester, consents=(*tester.consents, revoked(P.TEST))), P.TEST) == ["consent_revoked"]
    assert next_legal(own, P.TEST, night, PACKS) == night


def test_all_reasons_are_told_at_once() -> None:
    callee = changed(SPANIARD, consents=(), suppressions=suppressed(scope="global"))

    assert set(codes(callee, at=local("Europe/Madrid", 2026, 11, 29, 3))) == {
        "suppressed", "consent_missing", "registry_unchecked", "outside_window",
    }  # fmt: skip


# --- packs --------------------------------------------------------------------------------------------------------
def test_rules_hold_on_the_days_that_they_say() -> None:
    pack = msgspec.convert(
        {
            "jurisdiction": "AQ", "name": "Antarctica", "version": 1, "as_of": "2026-11-25", "countries": ["AQ"],
            "sources": {"law": {"title": "The law"}},
            "consent": [{"purposes": ["service"], "accepts": ["written"], "source": "law",
                         "since": "2026-11-26", "until": "2026-11-27"}],
            "windows": [{"purposes": ["service"], "source": "law",
                         "hours": [{"days": ["wed", "thu", "fri", "sat"], "opens": "22:00", "closes": "20:00"}]}],
        },
        RulePack,
    )  # fmt: skip
    packs = RulePacks(packs=(pack,), default=PACKS.default)
    callee = Callee(e164="+6721000000", country="AQ", zones=("UTC",))

    found = [codes(callee, P.SERVICE, datetime(2026, 11, 25 + n, 22, tzinfo=UTC), packs) for n in range(4)]
    assert found == [[], ["consent_missing"], ["consent_missing"], []]
    assert codes(callee, P.SERVICE, datetime(2026, 11, 29, 19, tzinfo=UTC), packs) == []  # Saturday's, overnight
    assert codes(callee, P.SERVICE, datetime(2026, 11, 29, 20, tzinfo=UTC), packs) == ["outside_window"]


def test_duties_are_told_with_the_pack_that_has_them() -> None:
    duties = {duty.key: pack.jurisdiction for pack, duty in duties_of(SPANIARD, P.MARKETING, NOON, PACKS)}

    assert duties == {
        "identify_caller": "ES", "caller_number": "ES", "renew_consent": "ES",
        "disclose_ai": "EU", "privacy_notice": "EU",
    }  # fmt: skip
    before = duties_of(SPANIARD, P.SERVICE, datetime(2025, 1, 1, tzinfo=UTC), PACKS)
    assert [duty.key for _, duty in before] == ["privacy_notice"]
