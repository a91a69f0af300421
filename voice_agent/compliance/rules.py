"""May somebody be called? One pure function, asked before every call, that answers yes or every reason against it.

How it works: five questions, each of which may give reasons; one is enough.

| question | who answers |
|---|---|
| Is the number suppressed? | the ledger: always wins |
| Have they taken consent back, and is there one where the packs demand it? | the ledger, by the packs |
| Has every registry been asked that the packs name, and is the number on none? | the ledger, by the packs |
| Is it a legal hour, in every zone where they may be? | the packs and the clock |
| Is it a holiday there? | the packs and their calendars |

What is not known is taken at its worst: a region that is not known may be any, a zone likewise, and where nobody knows
a zone no hour is legal. Test calls are asked other questions: they may go to the organisation's own numbers, whatever
else holds, because nobody else answers there; and to numbers with a consent for test calls that are not suppressed.

`next_legal` and `open_until` look at hours, holidays and what is dated, such as the end of a suppression: what time
alone can change.
"""

import calendar
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeVar

from voice_agent.compliance.model import (
    Callee,
    ConsentAction,
    ConsentFact,
    Purpose,
    Reason,
    ReasonCode,
    RegistryFact,
    Verdict,
)
from voice_agent.compliance.rule_pack import (
    ConsentRule,
    Duty,
    Holidays,
    RegistryRule,
    Rule,
    RulePack,
    RulePacks,
    RuleSet,
    Weekday,
    WindowRule,
)
from voice_agent.compliance.windows import (
    Calendar,
    LocalHours,
    Place,
    Schedule,
    Span,
    is_open,
    local_time,
    open_spans,
    zone_named,
)

HORIZON = timedelta(days=30)
"""How far ahead a legal hour is looked for: longer than any run of holidays; who waits a month is asked again."""

OURS = "voice_agent: docs/compliance.md"
"""The source of what is our own rule."""

_DAYS = tuple(Weekday)
_Rule = TypeVar("_Rule", bound=Rule)


def may_call(callee: Callee, purpose: Purpose, at: datetime, packs: RulePacks) -> Verdict:
    """Return whether somebody may be called at a moment, with every reason against it."""
    if purpose is Purpose.TEST:
        reasons = tuple(_against_a_test(callee, at))
    else:
        reasons = (
            *_suppressed(callee, at),
            *_consents(callee, purpose, at, packs),
            *_registries(callee, purpose, at, packs),
            *_hours(callee, purpose, at, packs),
        )
    return Verdict(reasons=reasons, packs=packs.asked(callee))


def next_legal(callee: Callee, purpose: Purpose, after: datetime, packs: RulePacks) -> datetime | None:
    """Return the first moment from `after` on at which the call is allowed.

    None where there is none within 30 days, or where what speaks against it does not pass with time.
    """
    spans = _open_spans(callee, purpose, after, packs)
    # Within the hours a refusal lasts until something changes: after `after`, only the changes need be looked at.
    for moment in (after, *sorted(each for each in _changes(callee) if each > after)):
        start = next((max(span.start, moment) for span in spans if moment < span.end), None)
        if start is not None and may_call(callee, purpose, start, packs).is_allowed:
            return start
    return None


def _changes(callee: Callee) -> Iterator[datetime]:
    """Yield when something that is known begins to speak for a call, or ceases to speak against it."""
    yield from (fact.until for fact in callee.suppressions if fact.until is not None)
    yield from (fact.at for fact in callee.consents)
    yield from (check.checked_at for check in callee.registry_checks)


def open_until(callee: Callee, purpose: Purpose, at: datetime, packs: RulePacks) -> datetime | None:
    """Return when the legal hour of a moment ends, 30 days later at the most; None where it is none."""
    spans = _open_spans(callee, purpose, at, packs)
    return spans[0].end if spans and spans[0].start <= at else None


def duties_of(callee: Callee, purpose: Purpose, at: datetime, packs: RulePacks) -> list[tuple[RulePack, Duty]]:
    """Return what the call has to do beside being allowed, each with the pack that says so."""
    return _in_force(packs.rules(lambda holder: holder.duties, callee, purpose), at)


def expiry(callee: Callee, purpose: Purpose, at: datetime, packs: RulePacks) -> datetime | None:
    """Return when a consent that is given at a moment ends by the packs; None: never."""
    rules = _in_force(packs.rules(_consent_rules, callee, purpose), at)
    ends = [months_later(at, rule.expires_months) for _, rule in rules if rule.expires_months is not None]
    return min(ends, default=None)


def months_later(at: datetime, months: int) -> datetime:
    """Return the same day and time months later; the last day of a shorter month (29 February, the 31st)."""
    years, month = divmod(at.month - 1 + months, 12)
    year = at.year + years
    return at.replace(year=year, month=month + 1, day=min(at.day, calendar.monthrange(year, month + 1)[1]))


# --- suppressions and consents --------------------------------------------------------------------------------------
def _suppressed(callee: Callee, at: datetime) -> Iterator[Reason]:
    for fact in callee.suppressions:
        if fact.until is None or at < fact.until:
            until = "" if fact.until is None else f" until {fact.until:%Y-%m-%d %H:%M} UTC"
            yield Reason(
                code=ReasonCode.SUPPRESSED,
                detail=f"the number is not to be called{until} ({fact.scope}, by {fact.source or 'nobody named'})",
                source=OURS,
            )


def _against_a_test(callee: Callee, at: datetime) -> Iterator[Reason]:
    if callee.is_own:
        return
    yield from _suppressed(callee, at)
    revoked_at, grants = _standing(callee, Purpose.TEST, at)
    if not any(_lasts(grant, at) for grant in grants):
        yield Reason(
            code=ReasonCode.CONSENT_MISSING if revoked_at is None else ReasonCode.CONSENT_REVOKED,
            detail="test calls go to the organisation's own numbers, or to who agreed to be called for tests",
            source=OURS,
        )


def _standing(callee: Callee, purpose: Purpose, at: datetime) -> tuple[datetime | None, list[ConsentFact]]:
    """Return when consent for a purpose was last taken back, and what was granted after that. The last word wins."""
    facts = [fact for fact in callee.consents if fact.purpose is purpose and fact.at <= at]
    revoked_at = max((fact.at for fact in facts if fact.action is ConsentAction.REVOKE), default=None)
    grants = [fact for fact in facts if fact.action is ConsentAction.GRANT]
    return revoked_at, [fact for fact in grants if revoked_at is None or fact.at > revoked_at]


def _lasts(fact: ConsentFact, at: datetime, months: int | None = None) -> bool:
    if fact.expires_at is not None and at >= fact.expires_at:
        return False
    return months is None or at < months_later(fact.at, months)


def _consents(callee: Callee, purpose: Purpose, at: datetime, packs: RulePacks) -> Iterator[Reason]:
    revoked_at, grants = _standing(callee, purpose, at)
    if revoked_at is not None and not grants:
        detail = f"consent to {purpose} calls was taken back on {revoked_at:%Y-%m-%d}"
        yield Reason(code=ReasonCode.CONSENT_REVOKED, detail=detail, source=OURS)
        return
    for pack, rule in _in_force(packs.rules(_consent_rules, callee, purpose), at):
        if not rule.presumed and (code := _lack(rule, grants, at)):
            yield _reason(
                code, _CONSENT_WORDS[code].format(purpose=purpose, bases=" or ".join(rule.accepts)), pack, rule
            )


def _consent_rules(holder: RuleSet) -> tuple[ConsentRule, ...]:
    return holder.consent


_CONSENT_WORDS = {
    ReasonCode.CONSENT_MISSING: "{purpose} calls with an artificial voice need consent ({bases}), and none is recorded",
    ReasonCode.CONSENT_INSUFFICIENT: "{purpose} calls with an artificial voice need consent that is {bases}",
    ReasonCode.CONSENT_EXPIRED: "the consent ({bases}) to {purpose} calls has expired",
}


def _lack(rule: ConsentRule, grants: list[ConsentFact], at: datetime) -> ReasonCode | None:
    """Return what is wrong with the consents that there are, None where one is enough."""
    if not grants:
        return ReasonCode.CONSENT_MISSING
    accepted = [grant for grant in grants if grant.basis in rule.accepts]
    if not accepted:
        return ReasonCode.CONSENT_INSUFFICIENT
    if not any(_lasts(grant, at, rule.expires_months) for grant in accepted):
        return ReasonCode.CONSENT_EXPIRED
    return None


# --- registries -------------------------------------------------------------------------------------------------------
def _registries(callee: Callee, purpose: Purpose, at: datetime, packs: RulePacks) -> Iterator[Reason]:
    _, grants = _standing(callee, purpose, at)
    checks = {check.registry_key: check for check in callee.registry_checks}
    for pack, rule in _in_force(packs.rules(_registry_rules, callee, purpose), at):
        is_overridden = any(grant.basis in rule.overridden_by and _lasts(grant, at) for grant in grants)
        if not is_overridden and (reason := _registry_reason(checks.get(rule.key), rule, at)):
            code, detail = reason
            yield _reason(code, detail, pack, rule)


def _registry_rules(holder: RuleSet) -> tuple[RegistryRule, ...]:
    return holder.registries


def _registry_reason(check: RegistryFact | None, rule: RegistryRule, at: datetime) -> tuple[ReasonCode, str] | None:
    if check is None or check.checked_at > at:
        return ReasonCode.REGISTRY_UNCHECKED, f"{rule.name} has not been asked about the number"
    if check.is_listed:
        return ReasonCode.REGISTRY_LISTED, f"the number is on {rule.name}"
    if at >= min(check.valid_until, check.checked_at + timedelta(days=rule.valid_days)):
        return ReasonCode.REGISTRY_EXPIRED, f"{rule.name} was asked on {check.checked_at:%Y-%m-%d}: too long ago"
    return None


# --- hours ------------------------------------------------------------------------------------------------------------
def _hours(callee: Callee, purpose: Purpose, at: datetime, packs: RulePacks) -> Iterator[Reason]:
    for pack, rule, schedule in _schedules(callee, purpose, packs):
        zones = packs.zones_of(callee)
        if schedule.is_always_open:
            continue
        if not zones:
            detail = "nobody knows in which time zone the callee is"
            yield _reason(ReasonCode.ZONE_UNKNOWN, detail, pack, rule)
        for name in zones:
            if (zone := zone_named(name)) is None:
                yield _reason(ReasonCode.ZONE_UNKNOWN, f"there is no time zone {name!r}", pack, rule)
            elif not is_open(place := Place(schedule, zone), at):
                yield _reason(*_closed(place, at), pack, rule)
                break  # the same rule in a further zone says nothing new


def _closed(place: Place, at: datetime) -> tuple[ReasonCode, str]:
    day, clock = local_time(place.zone, at)
    minutes = clock // timedelta(minutes=1)
    there = f"in {place.zone.key} it is {day:%A} {day.isoformat()}, {minutes // 60:02d}:{minutes % 60:02d}"
    if holiday := place.schedule.holiday(day):
        return ReasonCode.HOLIDAY, f"{there}, a public holiday ({holiday})"
    hours = ", ".join(f"{_clock(each.opens)}-{_clock(each.closes)}" for each in place.schedule.hours_on(day))
    return ReasonCode.OUTSIDE_WINDOW, f"{there}: calls of this purpose are legal {hours or 'at no hour of this day'}"


def _clock(since_midnight: timedelta) -> str:
    minutes = since_midnight // timedelta(minutes=1)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _open_spans(callee: Callee, purpose: Purpose, start: datetime, packs: RulePacks) -> list[Span]:
    """Return when it is legal by the hours alone in the 30 days from a moment on."""
    places = places_of(callee, purpose, packs)
    return [] if places is None else open_spans(places, start, start + HORIZON)


def places_of(callee: Callee, purpose: Purpose, packs: RulePacks) -> tuple[Place, ...] | None:
    """Return every schedule that holds for somebody in every zone where they may be: legal is what is open in all.

    None where no hour is legal, because nobody knows a zone of theirs.
    """
    places: list[Place] = []
    for _, _, schedule in _schedules(callee, purpose, packs):
        if schedule.is_always_open:
            continue
        zones = [zone_named(name) for name in packs.zones_of(callee)]
        if not zones:
            return None
        for zone in zones:
            if zone is None:
                return None
            places.append(Place(schedule, zone))
    return tuple(places)


def _schedules(callee: Callee, purpose: Purpose, packs: RulePacks) -> Iterator[tuple[RulePack, WindowRule, Schedule]]:
    """Yield the hours that hold for somebody; none for test calls."""
    if purpose is Purpose.TEST:
        return
    for pack, rule in packs.rules(lambda holder: holder.windows, callee, purpose):
        calendars = packs.calendars_of(pack, callee) if rule.holidays is Holidays.CLOSED else ()
        yield pack, rule, schedule_of(rule, calendars)


@lru_cache(maxsize=1_000)
def schedule_of(rule: WindowRule, calendars: tuple[Calendar, ...]) -> Schedule:
    """Return the weekly hours of a rule, closed on the holidays of some calendars."""
    days: list[list[LocalHours]] = [[] for _ in _DAYS]
    for hours in rule.hours:
        opens, closes = _since_midnight(hours.opens), _since_midnight(hours.closes)
        if closes <= opens:
            closes += timedelta(days=1)
        for day in hours.days:
            days[_DAYS.index(day)].append(LocalHours(opens, closes))
    return Schedule(days=tuple(map(tuple, days)), calendars=calendars, since=rule.since, until=rule.until)


def _since_midnight(clock: str) -> timedelta:
    return timedelta(hours=int(clock[:2]), minutes=int(clock[3:]))


# --- all of them ------------------------------------------------------------------------------------------------------
def _in_force(rules: list[tuple[RulePack, _Rule]], at: datetime) -> list[tuple[RulePack, _Rule]]:
    """Return the rules that are in force on the day of a moment (UTC)."""
    return [(pack, rule) for pack, rule in rules if rule.holds_on(at.date())]


def _reason(code: ReasonCode, detail: str, pack: RulePack, rule: Rule) -> Reason:
    return Reason(code=code, detail=detail, source=str(pack.sources[rule.source]), pack=pack.label)
