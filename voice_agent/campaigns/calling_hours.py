"""When a campaign may call somebody: the hours of the law, cut with the campaign's own. Pure.

How it works: both are weekly schedules in somebody's own time (`compliance.windows`), in every zone where they may be.
What is open is what is open in all of them, so a plan can only narrow what the law allows. A call rings for a while: a
moment counts where the hours are open from then on until the ringing has ended. Days on which the plan calls nobody are
closed in every zone where the callee may be. Where nobody knows a zone, no hour counts.

Many contacts have the same hours: spans are computed once for each set of places and day.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from voice_agent.campaigns.plan import Plan, Window
from voice_agent.compliance.model import Callee, Purpose
from voice_agent.compliance.rule_pack import Hours, RulePacks, Weekday, WindowRule
from voice_agent.compliance.rules import HORIZON, places_of, schedule_of
from voice_agent.compliance.windows import DAY, Calendar, Place, Schedule, Span, open_spans, zone_named

_ALL_DAY = (Hours(days=tuple(Weekday), opens="00:00", closes="24:00"),)


def next_moment(plan: Plan, callee: Callee, after: datetime, packs: RulePacks) -> datetime | None:
    """Return the first moment from `after` on at which the hours let somebody be called, and stay open while it rings.

    None where there is none within 30 days, or where nobody knows a zone of theirs. What else speaks against a call is
    not asked (`compliance.rules.may_call`).
    """
    places, zones = _places(plan, callee, packs)
    if places is None:
        return None
    ring = timedelta(seconds=plan.ring_s)
    for start, end in _spans(places, zones, plan.black_out, _day_of(after)):
        begin = max(start, after)
        if begin + ring <= end:
            return begin
    return None


def is_open(plan: Plan, callee: Callee, at: datetime, packs: RulePacks) -> bool:
    """Tell whether the hours let somebody be called at a moment, and stay open while it rings."""
    return next_moment(plan, callee, at, packs) == at


def zone_of(callee: Callee, packs: RulePacks) -> ZoneInfo | None:
    """Return the zone by which a callee's own time is told in reports: the first one they may be in."""
    return next((zone for name in packs.zones_of(callee) if (zone := zone_named(name)) is not None), None)


def _places(plan: Plan, callee: Callee, packs: RulePacks) -> tuple[tuple[Place, ...] | None, tuple[ZoneInfo, ...]]:
    legal = places_of(callee, Purpose(plan.purpose), packs)
    if legal is None:
        return None, ()
    if not (plan.windows or plan.holidays or plan.black_out):
        return legal, ()
    names = packs.zones_of(callee)
    zones = tuple(zone for name in names if (zone := zone_named(name)) is not None)
    if not zones or len(zones) < len(names):
        return None, ()
    schedule = _own_schedule(plan.windows, plan.holidays)
    return (*legal, *(Place(schedule, zone) for zone in zones)), zones


@lru_cache(maxsize=1_000)
def _own_schedule(windows: tuple[Window, ...], holidays: tuple[str, ...]) -> Schedule:
    hours = tuple(
        Hours(days=tuple(Weekday(day.value) for day in window.days), opens=window.opens, closes=window.closes)
        for window in windows
    )
    rule = WindowRule(purposes=(), source="", hours=hours or _ALL_DAY)
    return schedule_of(rule, tuple(map(_calendar, holidays)))


def _calendar(name: str) -> Calendar:
    country, _, part = name.partition("-")
    return country, part


def _day_of(at: datetime) -> date:
    return at.astimezone(UTC).date()


@lru_cache(maxsize=2_000)
def _spans(
    places: tuple[Place, ...], zones: tuple[ZoneInfo, ...], closed: tuple[date, ...], day: date
) -> tuple[Span, ...]:
    """Return when it is open in the 31 days from a day (UTC) on."""
    start = datetime.combine(day, time(), UTC)
    end = start + DAY + HORIZON
    spans: Sequence[Span] = open_spans(places, start, end)
    for each in closed:
        for zone in zones:
            off = Span(_midnight(each, zone), _midnight(each + DAY, zone))
            spans = [left for span in spans for left in _without(span, off)]
    return tuple(spans)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _without(span: Span, off: Span) -> list[Span]:
    """Return what is left of a span without another one."""
    before = Span(span.start, min(span.end, off.start))
    after = Span(max(span.start, off.end), span.end)
    if off.end <= span.start or off.start >= span.end:
        return [span]
    return [left for left in (before, after) if left.start < left.end]
