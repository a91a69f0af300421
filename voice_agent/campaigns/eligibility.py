"""May this contact be called by this campaign now? Everything that is known of them in, one answer out. Pure.

Asked in the transaction that admits a call; what of it may change until the call is dialled is asked once more then
(`calls.judging`). What is not known speaks against a call, never for one.

| question | if not |
|---|---|
| Are they there still, and is the number one that may be called at all? | over: skipped or invalid |
| Have they not refused, and is there what the law asks for (`compliance.rules`)? | over: suppressed or skipped |
| Do the caps let them be called, and is it within the hours while it rings? | later, at the first moment of both |
| Is nobody else calling them? | in a moment |

A suppression that ends by itself within `HORIZON` puts off; every other one is the end of it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

import msgspec

from voice_agent.calls.policy import CallPolicy, check_destination
from voice_agent.campaigns.attempt_caps import PastCall, allowed_from
from voice_agent.campaigns.calling_hours import next_moment
from voice_agent.campaigns.model import ContactState
from voice_agent.campaigns.plan import FLOOR_MIN, Plan
from voice_agent.compliance.model import Callee, Purpose, Reason, ReasonCode
from voice_agent.compliance.rule_pack import RulePacks
from voice_agent.compliance.rules import HORIZON, may_call
from voice_agent.errors import InvalidRequest, NotPermitted

IN_A_MOMENT = timedelta(seconds=15)
"""Until somebody is looked at again who is being called by somebody else: calls to busy people are short."""

_OF_TIME = frozenset({ReasonCode.OUTSIDE_WINDOW, ReasonCode.HOLIDAY})


class Go(msgspec.Struct, frozen=True, kw_only=True):
    """They may be called now."""


class Later(msgspec.Struct, frozen=True, kw_only=True):
    """They may not be called now, but will be."""

    at: datetime
    reason: str
    """Code, colon, and words for people; likewise of `Over`."""


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """They are not called by this campaign."""

    state: ContactState
    reason: str


Answer: TypeAlias = Go | Later | Over


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a contact whose turn it is."""

    e164: str
    callee: Callee | None
    """None where nothing is known of the number."""

    is_there: bool = True
    """Whether the contact has not been deleted."""

    attempts: int = 0
    """Of this campaign, those that count."""

    past: Sequence[PastCall] = ()
    """Calls of the last week to the number, by whomever in the organisation."""

    is_called_now: bool = False
    is_callback: bool = False
    """Whether they asked for this call: then the caps of a day and a week hold, the gap and the campaign's do not."""


def eligibility(candidate: Candidate, plan: Plan, policy: CallPolicy, packs: RulePacks, now: datetime) -> Answer:
    """Return whether somebody may be called now, and if not, when they may be or why they never will."""
    if (refused := _refused(candidate, plan, policy)) is not None:
        return refused
    assert candidate.callee is not None  # noqa: S101 - `_refused` says so
    verdict = may_call(candidate.callee, Purpose(plan.purpose), now, packs)
    lasting = [reason for reason in verdict.reasons if reason.code not in _OF_TIME]
    if lasting:
        return _not_allowed(lasting, candidate.callee, now)
    caps = plan.caps
    if candidate.is_callback:
        caps = msgspec.structs.replace(caps, gap_min=FLOOR_MIN)
    free_at = allowed_from(caps, candidate.past, now)
    at = next_moment(plan, candidate.callee, free_at, packs)
    if at is None:
        return Over(state=ContactState.SKIPPED, reason="no_hour: there is no hour at which they could be called")
    if at > now:
        code, words = ("caps", "called often enough for now") if free_at == at else ("hours", "outside the hours")
        return Later(at=at, reason=f"{code}: {words}")
    if candidate.is_called_now:
        return Later(at=now + IN_A_MOMENT, reason="at_the_phone: they are being called already")
    return Go()


def _refused(candidate: Candidate, plan: Plan, policy: CallPolicy) -> Over | None:
    """Return why somebody is not called, whatever the law and the hour."""
    if not candidate.is_there:
        return Over(state=ContactState.SKIPPED, reason="deleted: the contact has been deleted")
    if candidate.attempts >= plan.caps.per_campaign and not candidate.is_callback:
        return Over(state=ContactState.EXHAUSTED, reason="exhausted: called as often as the campaign may")
    try:
        check_destination(candidate.e164, policy)
    except InvalidRequest as error:
        return Over(state=ContactState.INVALID, reason=f"invalid_number: {error}")
    except NotPermitted as error:
        return Over(state=ContactState.SKIPPED, reason=f"not_permitted: {error}")
    if candidate.callee is None:
        return Over(state=ContactState.INVALID, reason="invalid_number: nothing is known of such a number")
    return None


def _not_allowed(reasons: list[Reason], callee: Callee, now: datetime) -> Later | Over:
    """Return what becomes of somebody against whom more than the hour speaks: the gravest reason counts."""
    reason = min(reasons, key=lambda each: each.code is not ReasonCode.SUPPRESSED)
    words = f"{reason.code}: {reason.detail}"
    if reason.code is not ReasonCode.SUPPRESSED:
        return Over(state=ContactState.SKIPPED, reason=words)
    ends = [fact.until for fact in callee.suppressions if fact.until is None or fact.until > now]
    last = max((end for end in ends if end is not None), default=None)
    if None in ends or last is None or last > now + HORIZON:
        return Over(state=ContactState.SUPPRESSED, reason=words)
    return Later(at=last, reason=words)
