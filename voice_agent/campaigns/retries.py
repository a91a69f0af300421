"""What the end of a call means for the contact: their part is over, or they are called again, and when. Pure.

How it works
------------
`following(plan, ended, legal)` is asked once for each attempt that has ended:

| what came of it | then |
|---|---|
| they asked not to be called again | suppressed |
| they asked to be called at a moment | again then, before all others |
| the number does not exist | invalid |
| it was never asked for, or the carrier never had it, or it was taken back | again at once; it counts for nothing |
| an outcome that the plan has retries for | again, by how often this outcome has come; exhausted after the last one |
| a person, with a disposition that is called again | again when the gap between two calls has passed |
| anything else | done |

"Again" is counted from the end of the call, never less than `FLOOR_MIN` after one that may have been noticed, moved out
of the part of the day in which it was tried where the plan wants another one, and then to the first moment at which
calls are legal. Whether the caps across campaigns allow that moment is asked when it comes (`eligibility`).

What was never asked for, or was taken back, exhausts nobody: contention is "not now", never a failure. Three such in a
contact's life are called again at once, all further ones after the floor, so that a fault does not dial in circles.

Source: campaigns.md section 5, "Default retry matrix"; 4.4 steps 6 and 9.
"""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from voice_agent.calls.model import CallState, Outcome
from voice_agent.campaigns.model import ContactState
from voice_agent.campaigns.plan import FLOOR_MIN, Plan, Retry

FLOOR = timedelta(minutes=FLOOR_MIN)

NEVER_RANG = frozenset({Outcome.NOT_PLACED, Outcome.BLOCKED, Outcome.CANCELLED})
"""Outcomes that say nothing of the person: no request, no call at the carrier, or one that was taken back."""

AT_ONCE = Retry(after_min=(0, 0, 0), is_counted=False)
"""For those of them that the plan does not name."""

DAYPARTS = (time(0), time(12), time(17))
"""When morning, afternoon and evening begin, in the contact's own time."""

MOST_MOVES = 12
"""Parts of the day that are tried for another one: four days, holidays included."""

Legal = Callable[[datetime], datetime | None]
"""Returns the first moment from one on at which calls are legal; None where there is none in sight."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that is over, and what the contact has had before."""

    outcome: Outcome
    ended_at: datetime
    may_have_rung: bool = True
    """Whether the carrier had it: a call that was taken back may have been noticed."""

    times: int = 1
    """How often the contact's calls have had this outcome, this one included."""

    unplaced: int = 0
    """How many of the contact's calls count for nothing, this one included."""

    attempts: int = 1
    """How many of the contact's calls count, this one included."""

    is_opted_out: bool = False
    callback_at: datetime | None = None
    """When they asked in it to be called again."""

    is_called_again: bool = False
    """Whether its disposition is one that is called again."""

    zone: ZoneInfo | None = None
    """The contact's own; None where nobody knows it: then no part of the day is another one."""


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """They are not called again by this campaign."""

    state: ContactState
    reason: str = ""


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """They are called again."""

    at: datetime
    is_callback: bool = False


Next: TypeAlias = Over | Again

EXHAUSTED = Over(state=ContactState.EXHAUSTED, reason="exhausted: every attempt that the plan has was made")


def is_counted(plan: Plan, state: CallState, outcome: Outcome) -> bool:
    """Tell whether a call that is over counts against the caps of its campaign."""
    if state is CallState.VOID or outcome in NEVER_RANG:
        return False
    return outcome not in plan.retries or plan.retries[outcome].is_counted


def following(plan: Plan, ended: Ended, legal: Legal) -> Next:
    """Return what becomes of a contact whose call has ended."""
    if ended.is_opted_out:
        return Over(state=ContactState.SUPPRESSED, reason="suppressed: asked in a call not to be called again")
    if ended.callback_at is not None:
        at = max(ended.callback_at, ended.ended_at + FLOOR)
        return Again(at=legal(at) or at, is_callback=True)
    if ended.outcome is Outcome.INVALID_NUMBER:
        return Over(state=ContactState.INVALID, reason="invalid_number: the carrier knows no such number")
    if ended.outcome in NEVER_RANG:
        return Again(at=_soon(plan, ended, legal))
    if ended.attempts >= plan.caps.per_campaign and (ended.outcome in plan.retries or ended.is_called_again):
        return EXHAUSTED
    if ended.is_called_again and ended.outcome is Outcome.HUMAN:
        return Again(at=_moved(ended, Retry(), ended.ended_at + timedelta(minutes=plan.caps.gap_min), legal))
    retry = plan.retries.get(ended.outcome)
    if retry is None:
        return Over(state=ContactState.DONE)
    if ended.times > len(retry.after_min):
        return EXHAUSTED
    delay = max(FLOOR, timedelta(minutes=retry.after_min[ended.times - 1]))
    return Again(at=_moved(ended, retry, ended.ended_at + delay, legal))


def _soon(plan: Plan, ended: Ended, legal: Legal) -> datetime:
    """Return when somebody is called whose last call was none."""
    delays = plan.retries.get(ended.outcome, AT_ONCE).after_min
    delay = timedelta(minutes=delays[ended.unplaced - 1]) if ended.unplaced <= len(delays) else FLOOR
    if ended.may_have_rung:
        delay = max(delay, FLOOR)
    at = ended.ended_at + delay
    return legal(at) or at


def _moved(ended: Ended, retry: Retry, at: datetime, legal: Legal) -> datetime:
    """Return the first legal moment from `at` on, in another part of the day than the last call's where that is wanted.

    Where no other part of the day is legal, or no moment at all is in sight, it is as if none were wanted: whoever
    admits the call looks again.
    """
    first = legal(at)
    if first is None:
        return at
    zone = ended.zone
    if not retry.is_other_daypart or zone is None:
        return first
    tried = _daypart(ended.ended_at, zone)
    candidate: datetime | None = first
    for _ in range(MOST_MOVES):
        if candidate is None:
            break
        if _daypart(candidate, zone) != tried:
            return candidate
        candidate = legal(_next_daypart(candidate, zone))
    return first


def _daypart(at: datetime, zone: ZoneInfo) -> time:
    local = at.astimezone(zone).time()
    return max(begin for begin in DAYPARTS if begin <= local)


def _next_daypart(at: datetime, zone: ZoneInfo) -> datetime:
    """Return when the next part of the day begins after `at`, in the zone of `at`."""
    local = at.astimezone(zone)
    today = [datetime.combine(local.date(), begin, zone) for begin in DAYPARTS]
    tomorrow = datetime.combine(local.date() + timedelta(days=1), DAYPARTS[0], zone)
    moments = (begin.astimezone(at.tzinfo) for begin in (*today, tomorrow))
    return next(moment for moment in moments if moment > at)


CALLBACK_LIFT = 100_000_000
"""What a promised callback is put before others by; a hundred times the highest rank that a plan gives."""


def promised(rank: int) -> int:
    """Return the rank of somebody who was promised a call, by the rank that they had."""
    return rank if is_promised(rank) else rank - CALLBACK_LIFT


def ordinary(rank: int) -> int:
    """Return the rank of somebody whose promise has been kept, or taken back."""
    return rank + CALLBACK_LIFT if is_promised(rank) else rank


def is_promised(rank: int) -> bool:
    """Tell whether a rank is that of somebody who was promised a call."""
    return rank < -CALLBACK_LIFT // 2
