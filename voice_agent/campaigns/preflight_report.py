"""What the look before a launch counts, and what it makes of that. Pure: `preflight` gathers, this adds up.

Counts are added chunk by chunk and kept as a document with the campaign, so that a look that is broken off goes on
where it was. A finding blocks the launch or warns. Money is in millionths of a US dollar.

How long it takes is an estimate: every contact once, `CALL_S` for each call, at the plan's pace and number of calls at
once, within the hours of the places where most contacts are. Retries come on top.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from voice_agent.calls.policy import CallPolicy
from voice_agent.campaigns.plan import Plan

SAMPLES = 20
"""Contacts that are shown for each reason."""

MOST_REASONS = 50
CALL_S = 90.0
"""Ringing and talking of a call, taken together; our own assumption, most calls are not answered."""

SHORTEST_MIN = 1
"""Of the lower bound of what it costs: each contact once, a minute."""

MOST_PLACES = 10
LOOK_AHEAD = timedelta(days=30)
HOUR = timedelta(hours=1)


class Severity(StrEnum):
    """What a finding means for the launch."""

    BLOCKS = "blocks"
    WARNS = "warns"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that speaks against a launch, or that one should know before it."""

    code: str
    severity: Severity
    text: str
    count: int = 0
    """Contacts that it concerns; 0 where it concerns the campaign."""


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """Contacts that would not be called, for one reason."""

    count: int = 0
    samples: tuple[UUID, ...] = ()
    """Keys of some (`CampaignContactRow.id`)."""

    text: str = ""
    """The reason in words, of the first of them."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Kept contacts of one country in the same time zones."""

    count: int = 0
    e164: str = ""
    """A number of one of them."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted so far."""

    contacts: int = 0
    kept: int = 0
    waiting: int = 0
    """Of the kept ones, those that have to wait for their hours."""

    skipped: dict[str, Skipped] = {}
    places: dict[str, Place] = {}
    countries: dict[str, int] = {}
    """Of kept contacts, by ISO 3166."""

    def with_skipped(self, reason: str, contact_id: UUID) -> "Counts":
        """Return the counts with one more who would not be called. `reason` is a code, a colon, and words."""
        code, _, text = reason.partition(": ")
        code = code if code in self.skipped or len(self.skipped) < MOST_REASONS else "other"
        known = self.skipped.get(code, Skipped(text=text))
        samples = known.samples if len(known.samples) == SAMPLES else (*known.samples, contact_id)
        one_more = msgspec.structs.replace(known, count=known.count + 1, samples=samples)
        return msgspec.structs.replace(self, contacts=self.contacts + 1, skipped={**self.skipped, code: one_more})

    def with_kept(self, place: str, country: str, e164: str, *, is_waiting: bool) -> "Counts":
        """Return the counts with one more who would be called."""
        known = self.places.get(place, Place(e164=e164))
        return msgspec.structs.replace(
            self,
            contacts=self.contacts + 1,
            kept=self.kept + 1,
            waiting=self.waiting + is_waiting,
            places={**self.places, place: msgspec.structs.replace(known, count=known.count + 1)},
            countries={**self.countries, country: self.countries.get(country, 0) + 1},
        )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a look found."""

    counts: Counts
    findings: tuple[Finding, ...]
    cost_low: int
    """Every kept contact once, a minute."""

    cost_high: int
    """Every kept contact as often as the plan allows, as long as the agent may talk."""

    hours: float
    """Of dialling."""

    ends_at: datetime | None
    """When everybody would have been called once; None where that takes longer than 30 days."""

    @property
    def is_ready(self) -> bool:
        """Whether nothing blocks the launch."""
        return all(finding.severity is not Severity.BLOCKS for finding in self.findings)


def dialling_hours(plan: Plan, kept: int) -> float:
    """Return how long it takes to call so many once, while all hours are open."""
    pacing = plan.pacing
    return kept * max(1.0 / pacing.calls_per_second, CALL_S / pacing.max_calls) / 3_600.0


def end_of(plan: Plan, counts: Counts, start: datetime, is_open: Callable[[str, datetime], bool]) -> datetime | None:
    """Return when everybody would have been called once; None where it is more than 30 days away.

    `is_open` tells whether a number's owner may be called at a moment. Each place needs its share of the work within
    its own hours, and all of it together needs the whole.
    """
    if not counts.kept:
        return None
    work = dialling_hours(plan, counts.kept)
    largest = sorted(counts.places.values(), key=lambda place: -place.count)[:MOST_PLACES]
    left = {place.e164: max(work * place.count / counts.kept, 0.0) for place in largest}
    total, at = work, start
    while at < start + LOOK_AHEAD:
        open_now = [e164 for e164 in left if left[e164] > 0 and is_open(e164, at)]
        is_any_open = bool(open_now) or any(is_open(e164, at) for e164 in left)
        for e164 in open_now:
            left[e164] -= 1.0
        if is_any_open:
            total -= 1.0
        if total <= 0 and all(hours <= 0 for hours in left.values()):
            last = min(0.0, max(total, *left.values()))
            return at + (1.0 + last) * HOUR
        at += HOUR
    return None


def cost_range(plan: Plan, kept: int, policy: CallPolicy, longest_s: float) -> tuple[int, int]:
    """Return the least and the most that a campaign may cost."""
    calls = min(plan.caps.per_campaign, 1 + sum(len(retry.after_min) for retry in plan.retries.values()))
    low = kept * policy.reservation(60.0 * SHORTEST_MIN)
    high = kept * calls * policy.reservation(longest_s)
    return low, high


class CallerNumber(msgspec.Struct, frozen=True, kw_only=True):
    """A number that the campaign may show."""

    e164: str
    max_day: int | None = None


def number_findings(
    counts: Counts, numbers: Sequence[CallerNumber], forbidden: Mapping[str, tuple[str, ...]]
) -> list[Finding]:
    """Return what is wrong with the numbers to show. `forbidden`: country to how numbers begin that it forbids."""
    if not numbers:
        return [Finding(code="no_number", severity=Severity.BLOCKS, text="there is no number that calls could show")]
    found = []
    for country, prefixes in sorted(forbidden.items()):
        if prefixes and all(number.e164.startswith(prefixes) for number in numbers):
            text = f"the law of {country or 'no country'} forbids every one of the numbers as a caller's"
            count = counts.countries.get(country, 0)
            found.append(Finding(code="no_legal_number", severity=Severity.BLOCKS, text=text, count=count))
    limits = [number.max_day for number in numbers]
    a_day = sum(limit for limit in limits if limit is not None)
    if None not in limits and counts.kept > a_day:
        days = -(-counts.kept // max(a_day, 1))
        text = f"the numbers may show {a_day} calls a day: {counts.kept} contacts take {days} days"
        found.append(Finding(code="number_capacity", severity=Severity.WARNS, text=text, count=counts.kept - a_day))
    return found


def contact_findings(counts: Counts) -> list[Finding]:
    """Return what is to be said of the contacts."""
    if not counts.contacts:
        return [Finding(code="no_contacts", severity=Severity.BLOCKS, text="there is nobody in the audience")]
    found = []
    if not counts.kept:
        text = "nobody in the audience may be called"
        found.append(Finding(code="nobody_to_call", severity=Severity.BLOCKS, text=text, count=counts.contacts))
    missing = counts.skipped.get("variable_missing")
    if missing is not None:
        text = f"the agent needs what is not known of everybody: {missing.text}"
        found.append(Finding(code="variable_missing", severity=Severity.WARNS, text=text, count=missing.count))
    others = counts.contacts - counts.kept - (0 if missing is None else missing.count)
    if others:
        text = "some would not be called: see the reasons"
        found.append(Finding(code="contacts_skipped", severity=Severity.WARNS, text=text, count=others))
    return found


def budget_findings(plan: Plan, cost_low: int) -> list[Finding]:
    """Return what is to be said of the money."""
    if plan.budget == 0:
        return [Finding(code="no_budget", severity=Severity.BLOCKS, text="its budget is 0")]
    if plan.budget is not None and plan.budget < cost_low:
        text = "the budget does not last for one short call to everybody: the campaign will be held when it is spent"
        return [Finding(code="budget_short", severity=Severity.WARNS, text=text)]
    return []


def date_findings(plan: Plan, ends_at: datetime | None, kept: int, now: datetime) -> list[Finding]:
    """Return what is to be said of the dates."""
    if plan.ends_at is not None and plan.ends_at <= now:
        return [Finding(code="over", severity=Severity.BLOCKS, text="its end is in the past")]
    if kept and ends_at is None:
        text = "it takes longer than 30 days to call everybody once"
        return [Finding(code="slow", severity=Severity.WARNS, text=text)]
    if plan.ends_at is not None and ends_at is not None and ends_at > plan.ends_at:
        text = "its end comes before everybody has been called once: the rest would expire"
        return [Finding(code="ends_early", severity=Severity.WARNS, text=text)]
    return []
