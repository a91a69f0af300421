"""Hours in local time through every clock change: what looks ahead agrees with what looks at one moment."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compliance.zones import ZONES
from voice_agent.compliance.windows import (
    WHOLE_DAY,
    LocalHours,
    Place,
    Schedule,
    Span,
    is_open,
    local_time,
    open_spans,
    public_holidays,
    zone_named,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=400)
TICK = timedelta(microseconds=1)

HOUR = timedelta(hours=1)


def hours(opens: float, closes: float) -> LocalHours:
    return LocalHours(opens * HOUR, closes * HOUR)


def daily(*each: LocalHours) -> Schedule:
    return Schedule(days=(each,) * 7)


NIGHT_AND_DAY = daily(hours(0.25, 1.5), hours(2.5, 3), hours(9, 21), hours(22.5, 26.25))
"""Opens and closes in the hours in which clocks are changed, and goes on after midnight."""


@pytest.mark.parametrize("name", ZONES)
def test_spans_of_400_days_begin_and_end_where_single_moments_do(name: str) -> None:
    place = Place(NIGHT_AND_DAY, ZoneInfo(name))

    spans = open_spans([place], START, END)

    assert len(spans) > 1_000
    for span in spans[1:-1]:
        assert is_open(place, span.start)
        assert not is_open(place, span.start - TICK)
        assert is_open(place, span.end - TICK)
        assert not is_open(place, span.end)
    assert spans == sorted(spans)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    quarters = st.integers(0, 191)
    days = []
    for _ in range(7):
        drawn = draw(st.lists(st.tuples(quarters, quarters), max_size=3))
        days.append(tuple(hours(min(a, b, 95) / 4, max(a, b) / 4) for a, b in drawn if min(a, b, 95) < max(a, b)))
    since = draw(st.none() | st.dates(date(2026, 1, 1), date(2027, 1, 1)))
    until = draw(st.none() | st.dates(date(2026, 1, 1), date(2027, 1, 1)))
    return Schedule(days=tuple(days), calendars=draw(st.sampled_from([(), (("ES", "CN"),)])), since=since, until=until)


@given(
    schedules(),
    st.lists(st.sampled_from(ZONES), min_size=1, max_size=3),
    st.integers(0, 390),
    st.lists(st.integers(0, 10 * 24 * 60 - 1), min_size=1, max_size=60),
)
@settings(max_examples=60, deadline=None)
def test_a_moment_is_in_a_span_exactly_where_every_place_is_open(
    schedule: Schedule, names: list[str], day: int, minutes: list[int]
) -> None:
    places = [Place(schedule, ZoneInfo(name)) for name in names]
    start = START + timedelta(days=day)
    spans = open_spans(places, start, start + timedelta(days=10))

    for minute in minutes:
        at = start + timedelta(minutes=minute)
        assert any(span.start <= at < span.end for span in spans) == all(is_open(place, at) for place in places)


def test_a_local_time_that_is_skipped_opens_when_the_clock_has_jumped_over_it() -> None:
    """New York, 8 March 2026: 02:00 is followed by 03:00."""
    place = Place(daily(hours(2.5, 5)), ZoneInfo("America/New_York"))

    (span,) = open_spans([place], datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 3, 8, 20, tzinfo=UTC))
    assert span == Span(datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 3, 8, 9, tzinfo=UTC))


def test_a_local_time_that_comes_twice_is_open_twice() -> None:
    """New York, 1 November 2026: 02:00 is 01:00 again."""
    place = Place(daily(hours(1, 1.5)), ZoneInfo("America/New_York"))

    spans = open_spans([place], datetime(2026, 11, 1, 4, tzinfo=UTC), datetime(2026, 11, 1, 12, tzinfo=UTC))
    assert [(span.start.hour, span.end - span.start) for span in spans] == [(5, HOUR / 2), (6, HOUR / 2)]


def test_a_day_that_a_zone_left_out_has_no_hours() -> None:
    """Samoa had no 30 December 2011."""
    place = Place(daily(hours(9, 21)), ZoneInfo("Pacific/Apia"))

    spans = open_spans([place], datetime(2011, 12, 29, 12, tzinfo=UTC), datetime(2012, 1, 1, 9, tzinfo=UTC))
    days = [local_time(place.zone, span.start)[0].day for span in spans]
    assert days == [29, 31, 1]
    assert all(span.end - span.start == 12 * HOUR for span in spans)


def test_hours_after_midnight_belong_to_the_day_on_which_they_begin() -> None:
    nothing: tuple[LocalHours, ...] = ()
    place = Place(Schedule(days=(*([nothing] * 4), (hours(22, 26),), nothing, nothing)), ZoneInfo("Europe/Madrid"))

    assert is_open(place, datetime(2026, 11, 28, 0, 30, tzinfo=UTC))  # Saturday 01:30
    assert not is_open(place, datetime(2026, 11, 28, 1, 0, tzinfo=UTC))
    assert not is_open(place, datetime(2026, 11, 27, 0, 30, tzinfo=UTC))  # Friday 01:30


def test_a_holiday_is_that_of_the_local_day() -> None:
    place = Place(Schedule(days=((WHOLE_DAY,),) * 7, calendars=(("ES", ""),)), ZoneInfo("Atlantic/Canary"))

    spans = open_spans([place], datetime(2026, 12, 24, tzinfo=UTC), datetime(2026, 12, 27, tzinfo=UTC))
    assert spans[0].end == datetime(2026, 12, 25, tzinfo=UTC)
    kiritimati = Place(place.schedule, ZoneInfo("Pacific/Kiritimati"))
    assert not is_open(kiritimati, datetime(2026, 12, 24, 10, tzinfo=UTC))
    assert is_open(kiritimati, datetime(2026, 12, 25, 10, tzinfo=UTC))


def test_hours_that_hold_from_a_day_to_another_leave_the_other_days_open() -> None:
    closed = Schedule(days=((),) * 7, since=date(2026, 2, 28), until=date(2026, 3, 1))

    assert [bool(closed.hours_on(date(2026, 2, 27) + timedelta(days=n))) for n in range(4)] == [
        True,
        False,
        False,
        True,
    ]
    assert not closed.is_always_open
    assert daily(WHOLE_DAY).is_always_open


def test_the_29th_of_february_is_a_day_like_others() -> None:
    place = Place(daily(hours(9, 21)), ZoneInfo("Europe/Madrid"))

    spans = open_spans([place], datetime(2028, 2, 28, tzinfo=UTC), datetime(2028, 3, 2, tzinfo=UTC))
    assert [span.start.day for span in spans] == [28, 29, 1]


def test_what_is_always_open_and_no_place_at_all_leave_the_whole_time() -> None:
    always = Place(daily(WHOLE_DAY), ZoneInfo("UTC"))

    assert open_spans([always], START, END) == open_spans([], START, END) == [Span(START, END)]


def test_zones_and_calendars_that_there_are_not() -> None:
    assert zone_named("Europe/Madrid") == ZoneInfo("Europe/Madrid")
    assert [zone_named(name) for name in ("", "America", "../etc/passwd", "Etc/Unknown", "europe/madrid\0")] == [
        None
    ] * 5
    assert public_holidays("XX", "", 2026) == {}
    assert public_holidays("GB", "NOWHERE", 2026) == public_holidays("GB", "", 2026)
    assert public_holidays("ES", "CN", 2026)[date(2026, 5, 30)] == "Day of the Canary Islands"


def test_a_moment_with_fractions_of_a_second_is_looked_ahead_from_as_it_is() -> None:
    place = Place(daily(hours(9, 21)), ZoneInfo("Europe/Madrid"))
    start = datetime(2026, 11, 25, 9, 0, 0, 500_000, UTC)

    assert open_spans([place], start, start + HOUR) == [Span(start, start + HOUR)]


def test_a_time_that_ends_as_the_clock_changes() -> None:
    place = Place(daily(hours(1, 4)), ZoneInfo("Europe/Madrid"))
    start, change = datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)

    assert open_spans([place], start, change) == [Span(change - HOUR, change)]
