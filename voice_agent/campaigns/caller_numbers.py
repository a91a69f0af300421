"""Which of our numbers a call of a campaign shows: chosen, warmed up, rested and put into quarantine. Pure.

How it works
------------
Of a pool's numbers those are left out that the law forbids for the callee's country, that are in quarantine, that rest,
or that are at a limit of their own. Of the others the best one is taken, by these questions, in this order:

1. Is it the one that was shown to this contact before? People answer a number that they know. A retry that wants
   another one turns this round.
2. Is it of the callee's region, of their area (as many digits as it shares with the callee's number), of their country?
3. Which one was used least today? Then by the number itself: the same state always gives the same number.

A new number begins with few calls a day (`WARM_UP`): carriers take a sudden burst from a number that
nobody knows for spam. One that is answered clearly less often than it used to be is put into quarantine: people's
telephones have begun to show it as spam, or carriers block it. The figures are our own; Twilio's advice
(https://www.twilio.com/docs/voice/spam-monitoring) gives none.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

WARM_UP = (20, 30, 50, 80, 120, 180, 270, 400, 600, 900)
"""Most calls on the first, second, ... day of a new number; from then on its own limits alone."""

LEAST_ANSWERS_OF = 50
"""Calls by which an answer rate is judged: of 50 with a rate of 30 % fewer than 8 are answered once in 200 times."""

DROP = 0.5
"""A rate below this share of what it used to be is a drop."""

QUARANTINE = timedelta(days=2)

_AREA_DIGITS = 5
"""Beginnings that are shared: +34 and three digits are a Spanish province, +1 and three an area of North America."""


class NumberUse(msgspec.Struct, frozen=True, kw_only=True):
    """One of our numbers, and how it is used."""

    id: UUID
    e164: str
    country: str = ""
    region: str = ""
    """ISO 3166-2."""

    max_live: int | None = None
    max_hour: int | None = None
    max_day: int | None = None
    rest_s: int = 0
    warm_since: datetime | None = None
    quarantine_until: datetime | None = None
    live: int = 0
    """Calls of campaigns that show it and go on; likewise of the last hour and of the last 24."""

    last_hour: int = 0
    last_day: int = 0
    last_used_at: datetime | None = None


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a number is to be shown to."""

    e164: str
    country: str = ""
    regions: tuple[str, ...] = ()
    forbidden_callers: tuple[str, ...] = ()
    """How numbers begin that must not be shown to them (`compliance.rule_pack.Duty`)."""

    known_number: str = ""
    """The one that they were shown before; empty: none."""

    wants_other: bool = False
    """Whether it should be another one than that."""


class NumberBlocker(StrEnum):
    """Why a number cannot be shown now."""

    FORBIDDEN = "forbidden"
    QUARANTINE = "quarantine"
    LIVE = "live"
    HOUR = "hour"
    DAY = "day"
    WARM_UP = "warm_up"
    REST = "rest"


def blocker_of(number: NumberUse, now: datetime) -> NumberBlocker | None:
    """Return why a number can be shown to nobody now; None where it can be."""
    if number.quarantine_until is not None and now < number.quarantine_until:
        return NumberBlocker.QUARANTINE
    if _is_at(number.max_live, number.live):
        return NumberBlocker.LIVE
    if _is_at(number.max_hour, number.last_hour):
        return NumberBlocker.HOUR
    if _is_at(number.max_day, number.last_day):
        return NumberBlocker.DAY
    if _is_at(warm_up_limit(number.warm_since, now), number.last_day):
        return NumberBlocker.WARM_UP
    if number.last_used_at is not None and now < number.last_used_at + timedelta(seconds=number.rest_s):
        return NumberBlocker.REST
    return None


def _is_at(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit


def room_of(number: NumberUse, now: datetime) -> int | None:
    """Return how many more calls may show a number now; None: any number."""
    if blocker_of(number, now) is not None:
        return 0
    if number.rest_s > 0:
        return 1
    limits = (
        (number.max_live, number.live),
        (number.max_hour, number.last_hour),
        (number.max_day, number.last_day),
        (warm_up_limit(number.warm_since, now), number.last_day),
    )
    return min((limit - count for limit, count in limits if limit is not None), default=None)


def warm_up_limit(warm_since: datetime | None, now: datetime) -> int | None:
    """Return how many calls a day a number may have for its age; None: any number."""
    if warm_since is None:
        return None
    day = max(0, (now - warm_since) // timedelta(days=1))
    return WARM_UP[day] if day < len(WARM_UP) else None


def is_legal(number: NumberUse, destination: Destination) -> bool:
    """Tell whether the law of the callee's country lets a number be shown."""
    return not (destination.forbidden_callers and number.e164.startswith(destination.forbidden_callers))


def choose(numbers: Sequence[NumberUse], destination: Destination, now: datetime) -> NumberUse | None:
    """Return the number to show, None where no number can be shown now."""
    free = [each for each in numbers if is_legal(each, destination) and blocker_of(each, now) is None]
    return min(free, key=lambda each: _order(each, destination), default=None)


def _order(number: NumberUse, destination: Destination) -> tuple[bool, bool, int, bool, int, str]:
    """Return what a number is compared by: the least is the best."""
    is_known = number.e164 == destination.known_number
    return (
        is_known if destination.wants_other else not is_known,
        not (number.region and number.region in destination.regions),
        -_shared(number.e164, destination.e164),
        not (number.country and number.country == destination.country),
        number.last_day,
        number.e164,
    )


def _shared(one: str, other: str) -> int:
    """Return how many digits two numbers have in common at their beginning, where it is more than a country's code."""
    shared = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return shared if shared >= _AREA_DIGITS else 0


class AnswerRate(msgspec.Struct, frozen=True, kw_only=True):
    """How often calls that showed a number were answered by anybody."""

    calls: int
    answered: int

    @property
    def rate(self) -> float:
        """Share of 0 to 1; 0 without calls."""
        return self.answered / self.calls if self.calls else 0.0


def is_dropped(lately: AnswerRate, before: AnswerRate) -> bool:
    """Tell whether a number is answered so much less than before that it should not be shown for a while."""
    if min(lately.calls, before.calls) < LEAST_ANSWERS_OF:
        return False
    return lately.rate < before.rate * DROP
