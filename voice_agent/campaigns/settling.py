"""What a call means for its contact: they are in the call, their part is over, or they are called again.

How it works
------------
`CallProcessor` calls `settle` in each transaction that has changed a campaign's call. It brings the contact in step:

| the call | the contact |
|---|---|
| goes on, answered | in_call |
| is over | `retries.following` says: over, or again at a moment; counted anew from its calls |
| is over, and its outcome is corrected later (a machine, not a person) | the same once more, from the same calls |
| was taken for none, and is there after all | back at the phone |

Nothing is added up: attempts and retries are counted from the contact's calls each time, so a report that comes twice,
or late, or not in its order, ends alike and makes no second retry. A correction moves only a contact who has not been
called since, and not one whose part was ended by something else (an opt-out, the campaign's end, a person).

The call's money is settled by `calls.spending`, in the same transaction.

Source: campaigns.md 4.4 step 9; invariants 2, 5 and 9 of section 5.
"""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls.model import ACTIVE, CallState, Outcome
from voice_agent.campaigns import attempt_rows, repository
from voice_agent.campaigns.calling_hours import next_moment, zone_of
from voice_agent.campaigns.life import END_REACHED
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.campaigns.plan import Plan, stored_plan
from voice_agent.campaigns.ports import Publish, tell_nobody
from voice_agent.campaigns.retries import (
    NEVER_RANG,
    Again,
    Ended,
    Legal,
    Next,
    Over,
    following,
    is_counted,
    ordinary,
    promised,
)
from voice_agent.compliance.service import ComplianceService
from voice_agent.errors import InvalidRequest
from voice_agent.storage.tables import CallRow, CampaignContactRow, CampaignRow

log = structlog.get_logger(__name__)

CONTACT_SETTLED = "campaign.contact_settled"
"""Topic of the event."""

SUPPRESSED = Over(state=ContactState.SUPPRESSED, reason="suppressed: they are not to be called any more")

_OURS_TO_CHANGE = frozenset({ContactState.DONE, ContactState.EXHAUSTED, ContactState.DUE, ContactState.COOLDOWN})
"""Where a correction of the last call's outcome moves a contact."""

_OVER = frozenset({CampaignState.STOPPING, CampaignState.STOPPED, CampaignState.COMPLETED, CampaignState.ARCHIVED})


def at_any_hour(at: datetime) -> datetime:
    """Be a `Legal` that forbids nothing."""
    return at


class Settling:
    """One for the process."""

    def __init__(
        self, compliance: ComplianceService, publish: Publish = tell_nobody, *, clock: Callable[[], datetime]
    ) -> None:
        """`clock` returns the present in UTC."""
        self._compliance = compliance
        self._publish = publish
        self._clock = clock

    async def follow(self, session: AsyncSession, call: CallRow) -> None:
        """Be the `follow` of `CallProcessor`: bring the contact of a call that has changed in step with it."""
        await self.settle(session, call, self._clock())

    async def settle(self, session: AsyncSession, call: CallRow, now: datetime) -> None:
        """Bring the contact of a locked call in step with it; a call of no campaign has none."""
        if call.campaign_contact_id is None or call.campaign_id is None:
            return
        await session.flush()
        contact = await attempt_rows.locked_contact(session, call)
        campaign = await repository.find(session, call.org_id, call.campaign_id)
        if contact is None or campaign is None:
            return
        if CallState(call.state) in ACTIVE:
            _follow(contact, call)
            return
        plan = stored_plan(campaign.plan)
        ended = await self._ended(session, plan, contact, call, now)
        is_correction = contact.call_id != call.id
        contact.attempts = ended.attempts
        if is_correction and not _is_moved_by(contact, call):
            return
        answer = await self._answer(session, campaign, plan, call, ended)
        _write(contact, call, answer, now)
        await self._tell(session, contact, call, now, is_correction=is_correction)

    async def look_again(self, session: AsyncSession, contact: CampaignContactRow, now: datetime) -> None:
        """Have a locked contact wait for what their last call says, as if nothing else had been agreed."""
        call = await attempt_rows.last_call(session, contact)
        campaign = await repository.find(session, contact.org_id, contact.campaign_id)
        if call is None or campaign is None or call.outcome is None:
            contact.state, contact.next_attempt_at = ContactState.DUE.value, now
            return
        plan = stored_plan(campaign.plan)
        ended = await self._ended(session, plan, contact, call, now)
        answer = await self._answer(session, campaign, plan, call, msgspec.structs.replace(ended, callback_at=None))
        _write(contact, call, answer, now)

    async def legal_moment(
        self, session: AsyncSession, campaign: CampaignRow, e164: str, after: datetime
    ) -> datetime | None:
        """Return the first moment from one on at which a campaign may call a number, by law and by its own hours."""
        legal, _, _ = await self._hours(session, campaign, stored_plan(campaign.plan), e164)
        return legal(after)

    async def _ended(
        self, session: AsyncSession, plan: Plan, contact: CampaignContactRow, call: CallRow, now: datetime
    ) -> Ended:
        calls = await attempt_rows.ended_attempts(session, contact)
        counted = [is_counted(plan, each.state, each.outcome) for each in calls]
        outcome = Outcome(call.outcome or Outcome.NOT_PLACED)
        is_retried = call.disposition is not None and await attempt_rows.is_called_again(
            session, call.org_id, call.disposition
        )
        return Ended(
            outcome=outcome,
            ended_at=call.ended_at or now,
            may_have_rung=call.accepted_at is not None,
            times=sum(each.outcome is outcome for each in calls),
            unplaced=sum(each.state is CallState.VOID or each.outcome in NEVER_RANG for each in calls),
            attempts=sum(counted),
            is_opted_out=call.is_opted_out,
            callback_at=_wanted(contact, call),
            is_called_again=is_retried,
        )

    async def _answer(
        self, session: AsyncSession, campaign: CampaignRow, plan: Plan, call: CallRow, ended: Ended
    ) -> Next:
        answer = following(plan, ended, at_any_hour)
        if isinstance(answer, Over):
            return answer
        if CampaignState(campaign.state) in _OVER:
            return _closed(campaign)
        legal, zone, is_suppressed = await self._hours(session, campaign, plan, call.to_number)
        if is_suppressed:
            return SUPPRESSED
        return following(plan, msgspec.structs.replace(ended, zone=zone), legal)

    async def _hours(
        self, session: AsyncSession, campaign: CampaignRow, plan: Plan, e164: str
    ) -> tuple[Legal, ZoneInfo | None, bool]:
        """Return when somebody may be called, their zone, and whether they may not be called at all any more."""
        try:
            callee = await self._compliance.callee(session, campaign.org_id, e164, campaign_id=campaign.id)
        except InvalidRequest:  # whoever admits the next call says so of the contact
            return (lambda _: None), None, False
        packs = self._compliance.packs
        is_suppressed = any(fact.until is None for fact in callee.suppressions)
        return (lambda at: next_moment(plan, callee, at, packs)), zone_of(callee, packs), is_suppressed

    async def _tell(
        self, session: AsyncSession, contact: CampaignContactRow, call: CallRow, now: datetime, *, is_correction: bool
    ) -> None:
        if call.requested_at is None:
            return
        payload = {
            "campaign_id": str(call.campaign_id), "campaign_contact_id": str(contact.id),
            "contact_id": None if contact.contact_id is None else str(contact.contact_id),
            "call_id": str(call.id), "attempt": call.attempt, "outcome": call.outcome, "disposition": call.disposition,
            "state": contact.state, "reason": contact.skip_reason, "attempts": contact.attempts,
            "next_attempt_at": None if contact.next_attempt_at is None else contact.next_attempt_at.isoformat(),
            "is_correction": is_correction, "at": now.isoformat(),
        }  # fmt: skip
        await self._publish(session, call.org_id, CONTACT_SETTLED, str(contact.contact_id or contact.id), payload, now)


def _follow(contact: CampaignContactRow, call: CallRow) -> None:
    """Bring a contact in step with a call that goes on."""
    state = ContactState.IN_CALL if call.state == CallState.IN_PROGRESS else ContactState.DIALING
    if contact.call_id is None and contact.calls == call.attempt:
        # It was taken for none. No other call to them goes on: `CallProcessor` has seen to that.
        log.warning("call_is_there_after_all", call_id=str(call.id))
        contact.call_id, contact.state, contact.settled_at = call.id, state.value, None
    elif contact.call_id == call.id and state is ContactState.IN_CALL:
        contact.state = state.value


def _is_moved_by(contact: CampaignContactRow, call: CallRow) -> bool:
    """Tell whether a call that was settled before is settled once more."""
    return (
        contact.call_id is None
        and contact.calls == call.attempt
        and call.requested_at is not None
        and contact.last_outcome != call.outcome
        and ContactState(contact.state) in _OURS_TO_CHANGE
    )


def _wanted(contact: CampaignContactRow, call: CallRow) -> datetime | None:
    """Return when they are to be called by agreement: what was said in the call, or booked since it was asked for."""
    if call.callback_at is not None:
        return call.callback_at
    if contact.callback_at is not None and call.requested_at is not None and contact.callback_at > call.requested_at:
        return contact.callback_at
    return None


def _closed(campaign: CampaignRow) -> Over:
    is_expired = campaign.hold_code == END_REACHED or campaign.state == CampaignState.COMPLETED
    if is_expired:
        return Over(state=ContactState.EXPIRED, reason="expired: the campaign ended before they were reached")
    return Over(state=ContactState.CANCELLED, reason="cancelled: the campaign was stopped")


def _write(contact: CampaignContactRow, call: CallRow, answer: Next, now: datetime) -> None:
    contact.call_id = contact.lease_owner = contact.lease_until = None
    if call.requested_at is not None:
        contact.last_outcome, contact.last_ended_at = call.outcome, call.ended_at or now
    is_promised = isinstance(answer, Again) and answer.is_callback
    is_kept = call.answered_at is not None  # else the promise stands: their retries come first, too
    if is_promised:
        contact.callback_at = _wanted(contact, call)
        contact.rank = promised(contact.rank)
    elif is_kept or isinstance(answer, Over):
        contact.callback_at, contact.rank = None, ordinary(contact.rank)
    if isinstance(answer, Again):
        state = ContactState.DUE if answer.at <= now else ContactState.COOLDOWN
        contact.state, contact.next_attempt_at, contact.skip_reason = state.value, answer.at, ""
        contact.settled_at = None
    else:
        contact.state, contact.skip_reason = answer.state.value, answer.reason
        contact.next_attempt_at, contact.settled_at = None, now
