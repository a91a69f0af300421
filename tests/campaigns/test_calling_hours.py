"""The hours of the law and of the plan, in every zone where somebody may be, through clock changes and midnights."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calls.stored_calls import NOW
from tests.compliance.people import FLORIDIAN, SPANIARD
from voice_agent.campaigns.calling_hours import is_open, next_moment, zone_of
from voice_agent.campaigns.plan import Audience, Plan, Variant, Weekday, Window
from voice_agent.compliance.model import Callee, Purpose
from voice_agent.compliance.packs import built_in
from voice_agent.compliance.rules import may_call

PACKS = built_in()
MOBILE = msgspec.structs.replace(SPANIARD, regions=(), zones=("Europe/Madrid", "Atlantic/Canary"))
NOWHERE = msgspec.structs.replace(SPANIARD, zones=("Europe/Atlantis",))
NOBODY = Callee(e164="+88213000000", country="", zones=())
WEEK = tuple(Weekday)


def plan(purpose: Purpose = Purpose.SERVICE, **said: Any) -> Plan:
    return Plan(purpose=purpose, audience=Audience(), variants=(Variant(agent_id=UUID(int=7)),), **said)


def window(opens: str, closes: str, *days: Weekday) -> Window:
    return Window(days=days or WEEK, opens=opens, closes=closes)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "callee", "after", "expected"),
    [
        ({}, SPANIARD, "2026-11-25T03:00", "2026-11-25T03:00"),
        ({"purpose": Purpose.MARKETING}, SPANIARD, "2026-11-25T03:00", "2026-11-25T08:00"),
        ({"purpose": Purpose.MARKETING}, SPANIARD, "2026-11-28T12:00", "2026-11-30T08:00"),  # a Saturday
        ({"purpose": Purpose.MARKETING, "windows": (window("06:00", "10:00"),)}, SPANIARD, "2026-11-25T03:00",
         "2026-11-25T08:00"),
        ({"windows": (window("10:00", "11:00"),)}, MOBILE, "2026-11-25T03:00", None),
        ({"windows": (window("10:00", "12:00"),)}, MOBILE, "2026-11-25T03:00", "2026-11-25T10:00"),
        ({"windows": (window("22:00", "02:00", Weekday.WED),)}, SPANIARD, "2026-11-26T00:30", "2026-11-26T00:30"),
        ({"windows": (window("10:00", "12:00"),), "ring_s": 30}, SPANIARD, "2026-11-25T10:59:30",
         "2026-11-25T10:59:30"),
        ({"windows": (window("10:00", "12:00"),), "ring_s": 31}, SPANIARD, "2026-11-25T10:59:30", "2026-11-26T09:00"),
        ({"black_out": (date(2026, 11, 25),)}, SPANIARD, "2026-11-25T12:00", "2026-11-25T23:00"),
        ({"black_out": (date(2026, 11, 25),)}, MOBILE, "2026-11-25T12:00", "2026-11-26T00:00"),
        ({"black_out": (date(2026, 11, 26),)}, SPANIARD, "2026-11-25T22:59:45", "2026-11-26T23:00"),
        ({"holidays": ("ES",)}, SPANIARD, "2026-12-08T12:00", "2026-12-08T23:00"),  # the Immaculate Conception
        ({"holidays": ("ES-MD",), "windows": (window("09:00", "10:00"),)}, SPANIARD, "2026-05-01T12:00",
         "2026-05-03T07:00"),  # 1 and 2 May
        ({"windows": (window("02:30", "02:59", Weekday.SUN),)}, SPANIARD, "2026-03-28T12:00", "2026-04-05T00:30"),
        ({"windows": (window("02:30", "02:59", Weekday.SUN),)}, SPANIARD, "2026-10-24T12:00", "2026-10-25T00:30"),
        ({"windows": (window("10:00", "12:00"),)}, NOWHERE, "2026-11-25T03:00", None),
        ({}, NOBODY, "2026-11-25T03:00", None),
    ],
)  # fmt: skip
def test_the_first_moment_of_both(said: dict[str, Any], callee: Callee, after: str, expected: str | None) -> None:
    found = next_moment(plan(**said), callee, at(after), PACKS)

    assert found == (None if expected is None else at(expected))


def test_local_time_is_told_by_the_first_zone() -> None:
    assert zone_of(MOBILE, PACKS) == ZoneInfo("Europe/Madrid")
    assert zone_of(NOWHERE, PACKS) is None


days = st.lists(st.sampled_from(WEEK), min_size=1, max_size=7, unique=True).map(tuple)
clocks = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
windows = st.lists(st.builds(lambda d, o, c: Window(days=d, opens=o, closes=c), days, clocks, clocks), max_size=3)
zones = st.lists(
    st.sampled_from(
        ["Europe/Madrid", "Atlantic/Canary", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]
    ),
    min_size=1, max_size=3, unique=True,
)  # fmt: skip
offs = st.lists(st.integers(0, 400).map(lambda day: date(2026, 1, 1) + timedelta(days=day)), max_size=4)


@given(
    windows, zones, offs, st.sampled_from([Purpose.MARKETING, Purpose.SERVICE]), st.integers(0, 400 * 86_400),
    st.sampled_from([SPANIARD, FLORIDIAN]), st.integers(5, 120),
)  # fmt: skip
def test_whatever_the_plan_and_the_day_law_and_plan_are_open_in_every_zone_while_it_rings(
    windows_: list[Window], zones_: list[str], closed: list[date], purpose: Purpose, second: int, callee: Callee,
    ring_s: int,
) -> None:  # fmt: skip
    person = msgspec.structs.replace(callee, zones=tuple(zones_))
    chosen = plan(purpose, windows=tuple(windows_), black_out=tuple(closed), ring_s=ring_s)
    after = at("2026-01-01T00:00") + timedelta(seconds=second)
    found = next_moment(chosen, person, after, PACKS)
    if found is None:
        return

    assert found >= after
    assert is_open(chosen, person, found, PACKS)
    for moment in (found, found + timedelta(seconds=ring_s) - timedelta(microseconds=1)):
        hours = {"outside_window", "holiday", "zone_unknown"}
        assert not hours & {reason.code.value for reason in may_call(person, purpose, moment, PACKS).reasons}
        for name in zones_:
            local = moment.astimezone(ZoneInfo(name))
            assert local.date() not in closed
            assert not windows_ or any(is_within(each, local.replace(tzinfo=None)) for each in windows_)


def is_within(each: Window, local: datetime) -> bool:
    opens, closes = (timedelta(hours=int(clock[:2]), minutes=int(clock[3:])) for clock in (each.opens, each.closes))
    if closes <= opens:
        closes += timedelta(days=1)
    for back in (0, 1):
        midnight = datetime.combine(local.date() - timedelta(days=back), datetime.min.time())
        if WEEK[midnight.weekday()] in each.days and opens <= local - midnight < closes:
            return True
    return False


def test_now_is_open_where_nothing_is_said() -> None:
    assert is_open(plan(), SPANIARD, NOW, PACKS)
    assert not is_open(plan(windows=(window("09:00", "10:00"),)), SPANIARD, NOW, PACKS)
