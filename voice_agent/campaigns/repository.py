"""The SQL of campaigns, their revisions, contacts, notes and dispositions. Nothing here commits.

Admission and settling have statements of their own; what fills an audience is `audience`.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select, true, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls.model import ACTIVE, CallState, Outcome
from voice_agent.campaigns.model import CampaignState, ContactState, Tally
from voice_agent.rest.pages import Place
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import (
    CallRow,
    CampaignContactRow,
    CampaignNoteRow,
    CampaignRevisionRow,
    CampaignRow,
    ContactRow,
    DispositionRow,
    SpendRow,
)

LONGEST_NOTE = 1_000
_ACTIVE = [state.value for state in ACTIVE]
Clause = ColumnElement[bool]


class CampaignFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which campaigns to list; what is empty filters nothing."""

    states: frozenset[CampaignState] = frozenset()
    name: str = ""
    """A part of its name."""


class ContactFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which contacts of a campaign; what is empty filters nothing."""

    states: frozenset[ContactState] = frozenset()
    outcomes: frozenset[Outcome] = frozenset()
    """Of their last call."""

    reason: str = ""
    """How the reason begins for which they are skipped or put off."""

    number: str = ""
    """E.164."""

    variant: str = ""
    contact_ids: tuple[UUID, ...] = ()


# --- campaigns ------------------------------------------------------------------------------------------------------
async def find(session: AsyncSession, org_id: UUID, campaign_id: UUID) -> CampaignRow | None:
    """Return a campaign of this organisation, an archived one too."""
    return await session.scalar(select(CampaignRow).where(CampaignRow.id == campaign_id, CampaignRow.org_id == org_id))


async def locked(session: AsyncSession, org_id: UUID, campaign_id: UUID) -> CampaignRow | None:
    """Return a campaign for a change: others that want to change it wait."""
    query = select(CampaignRow).where(CampaignRow.id == campaign_id, CampaignRow.org_id == org_id)
    return await session.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))


async def page(
    session: AsyncSession, org_id: UUID, wanted: CampaignFilter, *, before: Place | None, limit: int
) -> Sequence[CampaignRow]:
    """Return campaigns, newest first; archived ones only where their state is asked for."""
    query = select(CampaignRow).where(CampaignRow.org_id == org_id)
    if wanted.states:
        query = query.where(CampaignRow.state.in_([state.value for state in wanted.states]))
    else:
        query = query.where(CampaignRow.archived_at.is_(None))
    if wanted.name:
        query = query.where(func.lower(CampaignRow.name).contains(wanted.name.lower(), autoescape=True))
    return await _newest_first(session, query, CampaignRow, before, limit)


async def named(session: AsyncSession, org_id: UUID, name: str) -> CampaignRow | None:
    """Return the campaign of a name that is not archived."""
    query = select(CampaignRow).where(
        CampaignRow.org_id == org_id, CampaignRow.name == name, CampaignRow.archived_at.is_(None)
    )
    return await session.scalar(query)


async def live(session: AsyncSession) -> Sequence[CampaignRow]:
    """Return the campaigns of every organisation that dial now."""
    return (await session.scalars(select(CampaignRow).where(CampaignRow.state == CampaignState.RUNNING.value))).all()


async def revision(session: AsyncSession, campaign: CampaignRow, number: int) -> CampaignRevisionRow | None:
    """Return a revision of a campaign."""
    return await session.get(CampaignRevisionRow, (campaign.id, number))


async def revisions(session: AsyncSession, campaign: CampaignRow) -> Sequence[CampaignRevisionRow]:
    """Return the revisions of a campaign, newest first; 200 at the most."""
    query = select(CampaignRevisionRow).where(CampaignRevisionRow.campaign_id == campaign.id)
    return (await session.scalars(query.order_by(CampaignRevisionRow.number.desc()).limit(200))).all()


# --- its log --------------------------------------------------------------------------------------------------------
async def note(
    session: AsyncSession,
    campaign: CampaignRow,
    kind: str,
    text: str,
    details: dict[str, Any] | None,
    by: str,
    now: datetime,
) -> None:
    """Add a line to a campaign's log; `by` is the name of who did it, or of the part of this system that did."""
    session.add(
        CampaignNoteRow(
            id=new_id(),
            org_id=campaign.org_id,
            campaign_id=campaign.id,
            kind=kind,
            text=text[:LONGEST_NOTE],
            details=details,
            created_by=by,
            created_at=now,
        )
    )


async def notes_page(
    session: AsyncSession, campaign: CampaignRow, *, kind: str, before: Place | None, limit: int
) -> Sequence[CampaignNoteRow]:
    """Return the lines of a campaign's log, newest first."""
    query = select(CampaignNoteRow).where(CampaignNoteRow.campaign_id == campaign.id)
    if kind:
        query = query.where(CampaignNoteRow.kind == kind)
    return await _newest_first(session, query, CampaignNoteRow, before, limit)


# --- its contacts ---------------------------------------------------------------------------------------------------
async def tallies(session: AsyncSession, campaign_ids: Sequence[UUID]) -> dict[UUID, Tally]:
    """Return how many contacts of each campaign are in each state."""
    row = CampaignContactRow
    query = select(row.campaign_id, row.state, func.count()).where(row.campaign_id.in_(campaign_ids))
    counts: dict[UUID, dict[ContactState, int]] = {campaign_id: {} for campaign_id in campaign_ids}
    for campaign_id, state, count in await session.execute(query.group_by(row.campaign_id, row.state)):
        counts[campaign_id][ContactState(state)] = count
    return {campaign_id: Tally(counts=each) for campaign_id, each in counts.items()}


async def tally(session: AsyncSession, campaign: CampaignRow) -> Tally:
    """Return how many contacts of a campaign are in each state."""
    return (await tallies(session, [campaign.id]))[campaign.id]


async def count_active(session: AsyncSession, campaign: CampaignRow) -> int:
    """Return how many calls of a campaign are going on, or may be."""
    query = select(func.count()).where(CallRow.campaign_id == campaign.id, CallRow.state.in_(_ACTIVE))
    return int((await session.execute(query)).scalar_one())


async def contacts_page(
    session: AsyncSession, campaign: CampaignRow, wanted: ContactFilter, *, before: Place | None, limit: int
) -> Sequence[CampaignContactRow]:
    """Return contacts of a campaign, those that joined last first."""
    query = select(CampaignContactRow).where(_wanted(campaign, wanted))
    return await _newest_first(session, query, CampaignContactRow, before, limit)


async def contact(session: AsyncSession, campaign: CampaignRow, campaign_contact_id: UUID) -> CampaignContactRow | None:
    """Return a contact of a campaign."""
    query = select(CampaignContactRow).where(
        CampaignContactRow.id == campaign_contact_id, CampaignContactRow.campaign_id == campaign.id
    )
    return await session.scalar(query)


def _wanted(campaign: CampaignRow, wanted: ContactFilter) -> Clause:
    row = CampaignContactRow
    conditions: list[Clause] = [row.campaign_id == campaign.id]
    if wanted.states:
        conditions.append(row.state.in_([state.value for state in wanted.states]))
    if wanted.outcomes:
        conditions.append(row.last_outcome.in_([outcome.value for outcome in wanted.outcomes]))
    if wanted.reason:
        conditions.append(row.skip_reason.startswith(wanted.reason, autoescape=True))
    if wanted.number:
        conditions.append(row.e164 == wanted.number)
    if wanted.variant:
        conditions.append(row.variant == wanted.variant)
    if wanted.contact_ids:
        conditions.append(row.contact_id.in_(wanted.contact_ids))
    return and_(true(), *conditions)


async def contacts_walk(
    session: AsyncSession, campaign: CampaignRow, *states: ContactState, after: str, limit: int
) -> Sequence[CampaignContactRow]:
    """Return the next contacts in some states by their numbers, for walking through all of them.

    Numbers, because the unique index by campaign and number is read in its order: a step never costs more than itself.
    """
    row = CampaignContactRow
    query = select(row).where(row.campaign_id == campaign.id, row.state.in_([state.value for state in states]))
    return (await session.scalars(query.where(row.e164 > after).order_by(row.e164).limit(limit))).all()


async def wanted_walk(
    session: AsyncSession, campaign: CampaignRow, wanted: ContactFilter, *, after: str, limit: int
) -> Sequence[tuple[str, UUID | None]]:
    """Return the numbers of the next contacts that are meant, and their keys (None: they are gone)."""
    row = CampaignContactRow
    query = select(row.e164, row.contact_id).where(_wanted(campaign, wanted), row.e164 > after)
    return [(e164, contact_id) for e164, contact_id in await session.execute(query.order_by(row.e164).limit(limit))]


async def move_contacts(
    session: AsyncSession, campaign: CampaignRow, wanted: ContactFilter, now: datetime, *, limit: int
) -> int:
    """Make `limit` of the contacts that are meant due now; return how many were."""
    row = CampaignContactRow
    some = select(row.id).where(_wanted(campaign, wanted)).limit(limit)
    moved = await session.execute(
        update(row)
        .where(row.id.in_(some))
        .values(
            state=ContactState.DUE.value,
            next_attempt_at=case((row.next_attempt_at > now, row.next_attempt_at), else_=now),
            skip_reason="",
            settled_at=None,
        )
        .execution_options(synchronize_session=False)
    )
    return int(getattr(moved, "rowcount", 0))


async def give_back(session: AsyncSession, campaign: CampaignRow, now: datetime) -> int:
    """Void the calls of a campaign that were written down and not asked for; return how many.

    Their contacts are due again, and what was set aside for them is free. `campaign` is locked.
    """
    call, contact_, spend = CallRow, CampaignContactRow, SpendRow
    voided = await session.execute(
        update(call)
        .where(call.campaign_id == campaign.id, call.state == CallState.INTENT.value)
        .values(
            state=CallState.VOID.value,
            outcome=Outcome.CANCELLED.value,
            ended_at=now,
            revision=call.revision + 1,
        )
        .returning(call.id)
        .execution_options(synchronize_session=False)
    )
    calls = list(voided.scalars())
    leased = and_(contact_.campaign_id == campaign.id, contact_.state == ContactState.LEASED.value)
    active = select(call.id).where(call.campaign_id == campaign.id, call.state.in_(_ACTIVE))
    await session.execute(
        update(contact_)
        .where(leased, or_(contact_.call_id.is_(None), contact_.call_id.not_in(active)))
        .values(
            state=ContactState.DUE.value,
            next_attempt_at=now,
            call_id=None,
            lease_owner=None,
            lease_until=None,
        )
        .execution_options(synchronize_session=False)
    )
    if calls:
        unsettled = and_(spend.call_id.in_(calls), spend.settled.is_(None))
        freed = (
            await session.execute(select(func.coalesce(func.sum(spend.reserved), 0)).where(unsettled))
        ).scalar_one()
        await session.execute(
            update(spend).where(unsettled).values(settled=0).execution_options(synchronize_session=False)
        )
        campaign.committed -= int(freed or 0)
    return len(calls)


async def active_calls(session: AsyncSession, campaign: CampaignRow) -> Sequence[CallRow]:
    """Return the calls of a campaign that are going on, or may be."""
    query = select(CallRow).where(CallRow.campaign_id == campaign.id, CallRow.state.in_(_ACTIVE))
    return (await session.scalars(query.order_by(CallRow.id))).all()


async def calls_page(
    session: AsyncSession,
    campaign: CampaignRow,
    outcomes: Collection[Outcome] = (),
    *,
    campaign_contact_id: UUID | None = None,
    before: Place | None,
    limit: int,
) -> Sequence[CallRow]:
    """Return the attempts of a campaign, or of one of its contacts, newest first."""
    query = select(CallRow).where(CallRow.campaign_id == campaign.id)
    if outcomes:
        query = query.where(CallRow.outcome.in_([outcome.value for outcome in outcomes]))
    if campaign_contact_id is not None:
        query = query.where(CallRow.campaign_contact_id == campaign_contact_id)
    return await _newest_first(session, query, CallRow, before, limit)


async def contacts_named(session: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> Sequence[ContactRow]:
    """Return those contacts of these that are the organisation's and not deleted."""
    query = select(ContactRow).where(
        ContactRow.org_id == org_id, ContactRow.deleted_at.is_(None), ContactRow.id.in_(ids)
    )
    return (await session.scalars(query.order_by(ContactRow.id))).all()


# --- dispositions ---------------------------------------------------------------------------------------------------
async def dispositions(session: AsyncSession, org_id: UUID) -> Sequence[DispositionRow]:
    """Return an organisation's own words for what a call meant, by their keys."""
    query = select(DispositionRow).where(DispositionRow.org_id == org_id)
    return (await session.scalars(query.order_by(DispositionRow.key))).all()


async def disposition(session: AsyncSession, org_id: UUID, disposition_id: UUID) -> DispositionRow | None:
    """Return one of them."""
    query = select(DispositionRow).where(DispositionRow.id == disposition_id, DispositionRow.org_id == org_id)
    return await session.scalar(query)


async def _newest_first(
    session: AsyncSession, query: Select[Any], row: Any, before: Place | None, limit: int
) -> Sequence[Any]:
    if before is not None:
        query = query.where(tuple_(row.created_at, row.id) < tuple_(*before))
    return (await session.scalars(query.order_by(row.created_at.desc(), row.id.desc()).limit(limit))).all()
