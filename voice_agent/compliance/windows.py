"""Weekly hours in somebody's own time: whether they are open, and when they are next. Pure.

How it works: hours are what the clock on the wall shows, and a moment is inside of them where its local time is. A
local time that a clock change skips never comes, and one that comes twice counts both times. To look ahead, the time
line of a zone is cut where its distance to UTC changes; within a piece local time is UTC plus a constant, so hours
become spans of moments there, and nothing about clock changes remains to be thought of. Spans of several schedules and
zones are then cut with each other: open is what is open in all.

Hours that go on after midnight belong to the day on which they begin, and so do that day's holidays. Calendars of
public holidays: the package `holidays`, by country and part. What a town alone celebrates is not in it.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import holidays
import msgspec

DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_STEP = timedelta(hours=12)
"""How far apart a zone's distance to UTC is looked at: no zone changes it twice within that."""

Calendar = tuple[str, str]
"""Country (ISO 3166) and part, empty for the whole country."""


class Span(NamedTuple):
    """A time from one moment to another, which is not in it any more; both in UTC."""

    start: datetime
    end: datetime


class LocalHours(NamedTuple):
    """From when to when, counted from a day's midnight; `closes` may lie on the next day."""

    opens: timedelta
    closes: timedelta


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Weekly hours."""

    days: tuple[tuple[LocalHours, ...], ...]
    """Of Monday to Sunday."""

    calendars: tuple[Calendar, ...] = ()
    """On whose public holidays it is closed."""

    since: date | None = None
    """The first day on which it holds; before that it is open all day."""

    until: date | None = None

    @property
    def is_always_open(self) -> bool:
        """Whether there is no moment at which it is closed."""
        return not self.calendars and all(WHOLE_DAY in hours for hours in self.days)

    def hours_on(self, day: date) -> tuple[LocalHours, ...]:
        """Return the hours that begin on a day."""
        if (self.since is not None and day < self.since) or (self.until is not None and day > self.until):
            return (WHOLE_DAY,)
        return () if self.holiday(day) else self.days[day.weekday()]

    def holiday(self, day: date) -> str:
        """Return the name of the public holiday for which it is closed on a day; empty where there is none."""
        names = (public_holidays(country, part, day.year).get(day, "") for country, part in self.calendars)
        return next((name for name in names if name), "")


WHOLE_DAY = LocalHours(timedelta(0), DAY)


class Place(msgspec.Struct, frozen=True):
    """A schedule in a zone."""

    schedule: Schedule
    zone: ZoneInfo


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def zone_named(name: str) -> ZoneInfo | None:
    """Return a time zone, None where there is none of this name."""
    return ZoneInfo(name) if name in _zone_names() else None


@lru_cache(maxsize=2_000)
def public_holidays(country: str, part: str, year: int) -> dict[date, str]:
    """Return a year's public holidays with their names, in English where they have one.

    Of the whole country where the part has no calendar; empty where the country has none.
    """
    parts = _calendars().get(country)
    if parts is None:
        return {}
    return dict(
        holidays.country_holidays(country, subdiv=part if part in parts else None, years=year, language="en_US")
    )


@cache
def _calendars() -> dict[str, list[str]]:
    return holidays.list_supported_countries()


def is_open(place: Place, at: datetime) -> bool:
    """Tell whether a moment is within the hours."""
    today, clock = local_time(place.zone, at)
    return any(hours.opens <= clock < hours.closes for hours in place.schedule.hours_on(today)) or any(
        hours.opens <= clock + DAY < hours.closes for hours in place.schedule.hours_on(today - DAY)
    )


def local_time(zone: ZoneInfo, at: datetime) -> tuple[date, timedelta]:
    """Return the day and the time of day that a clock on the wall shows."""
    local = at.astimezone(zone).replace(tzinfo=None)
    return local.date(), local - datetime.combine(local.date(), time())


def open_spans(places: Sequence[Place], start: datetime, end: datetime) -> list[Span]:
    """Return when all places are open between two moments, in order; whole where there are no places."""
    spans = [Span(start.astimezone(UTC), end.astimezone(UTC))]
    for place in places:
        if not place.schedule.is_always_open:
            spans = _both(spans, _spans_of(place, start, end))
    return spans


def _spans_of(place: Place, start: datetime, end: datetime) -> list[Span]:
    found: list[Span] = []
    for piece, offset in _pieces(place.zone, start, end):
        day = (piece.start + offset).date() - DAY  # whose hours may go on after its midnight
        while datetime.combine(day, time(), UTC) - offset < piece.end:
            midnight = datetime.combine(day, time(), UTC) - offset
            for hours in place.schedule.hours_on(day):
                opens, closes = max(midnight + hours.opens, piece.start), min(midnight + hours.closes, piece.end)
                if opens < closes:
                    found.append(Span(opens, closes))
            day += DAY
    return _joined(found)


def _joined(spans: list[Span]) -> list[Span]:
    """Return spans in order, those that touch or overlap made into one."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def _both(some: list[Span], others: list[Span]) -> list[Span]:
    """Return what is in both; each in order, without overlaps."""
    found: list[Span] = []
    i = j = 0
    while i < len(some) and j < len(others):
        start, end = max(some[i].start, others[j].start), min(some[i].end, others[j].end)
        if start < end:
            found.append(Span(start, end))
        if some[i].end <= others[j].end:
            i += 1
        else:
            j += 1
    return found


def _pieces(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[Span, timedelta]]:
    """Yield the time line from start to end in pieces of one distance to UTC each."""
    begun = at = start.astimezone(UTC).replace(microsecond=0)
    last = end.astimezone(UTC)
    offset = _offset(zone, at)
    while at < last:
        following = min(at + _STEP, last)
        if (new := _offset(zone, following)) != offset:
            change = _first(lambda moment: _offset(zone, moment) != offset, at, following)  # noqa: B023 - used at once
            yield Span(begun, change), offset
            begun, offset = change, new
        at = following
    if begun < last:
        yield Span(begun, last), offset


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


def _first(is_after: Callable[[datetime], bool], before: datetime, after: datetime) -> datetime:
    """Return the first whole second that is after a change between two moments, `before` a whole second."""
    low, high = 0, -((before - after) // _SECOND)
    while high - low > 1:
        middle = (low + high) // 2
        if is_after(before + middle * _SECOND):
            high = middle
        else:
            low = middle
    return before + high * _SECOND
