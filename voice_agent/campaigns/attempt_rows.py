"""The SQL of what comes after a call: contacts at the phone, their attempts, what is left to close. Nothing commits.

Locks are taken in one order everywhere: a call, then its contact, then its campaign.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, and_, exists, literal_column, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls.model import ACTIVE, FINAL, CallState, Outcome
from voice_agent.campaigns.model import TERMINAL, CampaignState, ContactState
from voice_agent.storage.tables import CallRow, CampaignContactRow, CampaignRow, DispositionRow

_ACTIVE = [state.value for state in ACTIVE]
_FINAL = [state.value for state in FINAL]
_OPEN = [state.value for state in ContactState if state not in TERMINAL]
_NOT_CALLED_YET = [ContactState.PENDING.value, ContactState.DUE.value, ContactState.COOLDOWN.value]

# As the partial indexes have it, word for word.
_IS_LEASED: ColumnElement[bool] = literal_column("campaign_contact.state = 'leased'")
_IS_AT_THE_PHONE: ColumnElement[bool] = literal_column("campaign_contact.state IN ('leased','dialing','in_call')")


class Attempt(msgspec.Struct, frozen=True):
    """A call of a contact that is over."""

    state: CallState
    outcome: Outcome


async def locked_contact(session: AsyncSession, call: CallRow) -> CampaignContactRow | None:
    """Return the contact of a campaign's call for a change; None where they are gone."""
    row = CampaignContactRow
    query = select(row).where(row.id == call.campaign_contact_id, row.org_id == call.org_id)
    return await session.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))


async def ended_attempts(session: AsyncSession, contact: CampaignContactRow) -> list[Attempt]:
    """Return the calls of a contact that are over, in their order."""
    query = (
        select(CallRow.state, CallRow.outcome)
        .where(CallRow.campaign_contact_id == contact.id, CallRow.org_id == contact.org_id, CallRow.state.in_(_FINAL))
        .order_by(CallRow.attempt)
    )
    found = await session.execute(query)
    return [Attempt(CallState(state), Outcome(outcome)) for state, outcome in found if outcome is not None]


async def last_call(session: AsyncSession, contact: CampaignContactRow) -> CallRow | None:
    """Return the last attempt of a contact."""
    query = select(CallRow).where(CallRow.campaign_contact_id == contact.id, CallRow.org_id == contact.org_id)
    return await session.scalar(query.order_by(CallRow.attempt.desc()).limit(1))


async def is_called_again(session: AsyncSession, org_id: UUID, disposition: str) -> bool:
    """Tell whether an organisation calls people again who are given this disposition."""
    query = select(DispositionRow.is_retried).where(DispositionRow.org_id == org_id, DispositionRow.key == disposition)
    return bool(await session.scalar(query))


# --- opt-outs -------------------------------------------------------------------------------------------------------
async def leased_calls_to(session: AsyncSession, org_id: UUID, e164: str) -> Sequence[UUID]:
    """Return the calls to a number that an organisation's campaigns have written down and not asked for."""
    row = CampaignContactRow
    query = select(CallRow.id).join(row, row.call_id == CallRow.id)
    query = query.where(row.org_id == org_id, row.e164 == e164, _IS_LEASED, CallRow.state == CallState.INTENT.value)
    return (await session.scalars(query.order_by(CallRow.id))).all()


async def suppress_waiting(
    session: AsyncSession, org_id: UUID, e164: str, reason: str, now: datetime
) -> Sequence[tuple[UUID, UUID]]:
    """Make the rows of a number suppressed that no call is under way for; return their campaigns and keys."""
    row = CampaignContactRow
    active = select(CallRow.id).where(CallRow.org_id == org_id, CallRow.to_number == e164, CallRow.state.in_(_ACTIVE))
    is_leased_for_nothing = and_(_IS_LEASED, or_(row.call_id.is_(None), row.call_id.not_in(active)))
    suppressed = await session.execute(
        update(row)
        .where(row.org_id == org_id, row.e164 == e164, or_(row.state.in_(_NOT_CALLED_YET), is_leased_for_nothing))
        .values(
            state=ContactState.SUPPRESSED.value,
            skip_reason=reason,
            next_attempt_at=None,
            callback_at=None,
            settled_at=now,
            call_id=None,
            lease_owner=None,
            lease_until=None,
        )
        .returning(row.campaign_id, row.id)
        .execution_options(synchronize_session=False)
    )
    return [(campaign_id, contact_id) for campaign_id, contact_id in suppressed]


# --- sweeping -------------------------------------------------------------------------------------------------------
async def lapsed_leases(session: AsyncSession, now: datetime, limit: int) -> Sequence[tuple[UUID, UUID | None]]:
    """Return the contacts whose lease has ended, and the call that each was leased for."""
    row = CampaignContactRow
    query = select(row.id, row.call_id).where(_IS_LEASED, row.lease_until < now).order_by(row.lease_until).limit(limit)
    return [(contact_id, call_id) for contact_id, call_id in await session.execute(query)]


async def missed_calls(session: AsyncSession, limit: int) -> Sequence[UUID]:
    """Return the calls that are over, or answered, of contacts who do not show it."""
    row = CampaignContactRow
    is_over = CallRow.state.in_(_FINAL)
    is_answered = and_(CallRow.state == CallState.IN_PROGRESS.value, row.state != ContactState.IN_CALL.value)
    query = select(CallRow.id).join(row, row.call_id == CallRow.id).where(_IS_AT_THE_PHONE, or_(is_over, is_answered))
    return (await session.scalars(query.limit(limit))).all()


async def without_call(session: AsyncSession, contact_id: UUID, now: datetime) -> bool:
    """Make a contact due again who is leased for no call, or for one that is gone; False where they are not."""
    row = CampaignContactRow
    is_gone = or_(row.call_id.is_(None), ~exists().where(CallRow.id == row.call_id))
    freed = await session.execute(
        update(row)
        .where(row.id == contact_id, _IS_LEASED, is_gone)
        .values(state=ContactState.DUE.value, next_attempt_at=now, call_id=None, lease_owner=None, lease_until=None)
        .returning(row.id)
        .execution_options(synchronize_session=False)
    )
    return freed.scalar_one_or_none() is not None


# --- completion -----------------------------------------------------------------------------------------------------
async def ending_campaigns(session: AsyncSession) -> Sequence[CampaignRow]:
    """Return the campaigns that are pausing or stopping, and those that dial and have nobody left."""
    row, contact = CampaignRow, CampaignContactRow
    left = exists().where(contact.campaign_id == row.id, contact.state.in_(_OPEN))
    is_drained = and_(row.state == CampaignState.RUNNING.value, ~left)
    is_ending = row.state.in_([CampaignState.PAUSING.value, CampaignState.STOPPING.value])
    return (await session.scalars(select(row).where(or_(is_ending, is_drained)).order_by(row.id))).all()


async def is_open(session: AsyncSession, campaign: CampaignRow) -> bool:
    """Tell whether a campaign has contacts that are not over yet."""
    row = CampaignContactRow
    return bool(await session.scalar(select(exists().where(row.campaign_id == campaign.id, row.state.in_(_OPEN)))))


async def is_active(session: AsyncSession, campaign: CampaignRow) -> bool:
    """Tell whether a campaign has calls that go on, or may, or contacts at the phone."""
    row = CampaignContactRow
    calls = exists().where(CallRow.campaign_id == campaign.id, CallRow.state.in_(_ACTIVE))
    at_the_phone = exists().where(row.campaign_id == campaign.id, _IS_AT_THE_PHONE)
    return bool(await session.scalar(select(or_(calls, at_the_phone))))


async def close_waiting(
    session: AsyncSession, campaign: CampaignRow, state: ContactState, reason: str, now: datetime, *, limit: int
) -> int:
    """End the part of `limit` contacts that nobody is calling; return how many."""
    row = CampaignContactRow
    some = select(row.id).where(row.campaign_id == campaign.id, row.state.in_(_NOT_CALLED_YET)).limit(limit)
    closed = await session.execute(
        update(row)
        .where(row.id.in_(some), row.state.in_(_NOT_CALLED_YET))
        .values(state=state.value, skip_reason=reason, next_attempt_at=None, settled_at=now)
        .execution_options(synchronize_session=False)
    )
    return int(getattr(closed, "rowcount", 0))


async def callbacks_of(
    session: AsyncSession, campaign: CampaignRow, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[CampaignContactRow]:
    """Return the contacts who are to be called at a moment of their own, the soonest first."""
    row = CampaignContactRow
    is_promised = row.callback_at.is_not(None)
    query = select(row).where(row.campaign_id == campaign.id, row.state.in_(_OPEN), is_promised)
    if after is not None:
        moment, key = after
        query = query.where(or_(row.callback_at > moment, and_(row.callback_at == moment, row.id > key)))
    return (await session.scalars(query.order_by(row.callback_at, row.id).limit(limit))).all()
