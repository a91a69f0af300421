"""The SQL of admission: who is due, who holds what already, and the rows of those who are called now. Nothing commits.

Who is due is found in the order in which they are called by jumping from rank to rank (a loose index scan): within a
rank those who are due come first, so that a million who wait for tomorrow cost nothing. Measured by bench/claim.py.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, and_, func, literal_column, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls.model import ACTIVE, CallState
from voice_agent.campaigns.attempt_caps import WEEK, PastCall
from voice_agent.campaigns.caller_numbers import NumberUse
from voice_agent.campaigns.model import ContactState
from voice_agent.storage.many_rows import is_one_of, is_postgres
from voice_agent.storage.tables import (
    AgentVersionRow,
    CallRow,
    CampaignContactRow,
    CampaignRow,
    ContactRow,
    PhoneNumberRow,
    PoolMemberRow,
)

# As the partial indexes have it, word for word: a planner that does not know the values must recognise it.
WAITING: ColumnElement[bool] = literal_column("campaign_contact.state IN ('due','cooldown')")
_IS_ACTIVE: ColumnElement[bool] = literal_column(
    "call.state IN ('intent','dialing','unknown','accepted','ringing','in_progress')"
)
_IS_AT_THE_PHONE: ColumnElement[bool] = literal_column("campaign_contact.state IN ('leased','dialing','in_call')")

MOST_RANKS = 64
"""So many different ranks are jumped over; a campaign with more is scanned in order from there on."""

ADMISSION_LOCK = 7_266_002
"""Key of the advisory lock under which one transaction at a time counts and admits; any number will do."""

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


async def lock_admission(session: AsyncSession) -> None:
    """Have every other admission wait until this transaction ends: what is counted in it stays so."""
    if is_postgres(session):  # SQLite has one writer at a time anyway
        await session.execute(text(f"SELECT pg_advisory_xact_lock({ADMISSION_LOCK})"))


# --- who is due -----------------------------------------------------------------------------------------------------
async def due_by_rank(session: AsyncSession, campaign_id: UUID, now: datetime, limit: int) -> list[tuple[int, int]]:
    """Return the ranks that have contacts who are due, in order, and how many, `limit` at the most of each."""
    ranks = _ranks(campaign_id)
    some: Select[Any] = select(literal_column("1")).where(
        *_due(campaign_id, now), CampaignContactRow.rank == ranks.c.rank
    )
    count = select(func.count()).select_from(some.limit(limit).correlate(ranks).subquery()).scalar_subquery()
    query = select(ranks.c.rank, count).where(ranks.c.rank.is_not(None)).order_by(ranks.c.rank).limit(MOST_RANKS)
    return [(rank, number) for rank, number in await session.execute(query) if number]


def _ranks(campaign_id: UUID) -> Any:
    """Return every rank of a campaign's waiting contacts, the lowest first; the last row may be NULL."""
    row = CampaignContactRow
    first = select(func.min(row.rank).label("rank")).where(row.campaign_id == campaign_id, WAITING)
    ranks = first.cte("ranks", recursive=True)
    following = (
        select(func.min(row.rank))
        .where(row.campaign_id == campaign_id, WAITING, row.rank > ranks.c.rank)
        .correlate(ranks)
        .scalar_subquery()
    )
    return ranks.union_all(select(following).where(ranks.c.rank.is_not(None)))


def _due(campaign_id: UUID, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (CampaignContactRow.campaign_id == campaign_id, WAITING, CampaignContactRow.next_attempt_at <= now)


async def claim(session: AsyncSession, campaign_id: UUID, now: datetime, limit: int) -> Sequence[CampaignContactRow]:
    """Return the contacts that are to be called next, locked: what another transaction has locked is passed over."""
    claimed: list[CampaignContactRow] = []
    ranks = await due_by_rank(session, campaign_id, now, limit)
    for rank, _ in ranks:
        of_rank = _claiming(campaign_id, now, limit - len(claimed)).where(CampaignContactRow.rank == rank)
        claimed += (await session.scalars(of_rank)).all()
        if len(claimed) >= limit:
            return claimed
    if len(ranks) >= MOST_RANKS:
        further = _claiming(campaign_id, now, limit - len(claimed)).where(CampaignContactRow.rank > ranks[-1][0])
        claimed += (await session.scalars(further)).all()
    return claimed


def _claiming(campaign_id: UUID, now: datetime, limit: int) -> Select[CampaignContactRow]:
    query = select(CampaignContactRow).where(*_due(campaign_id, now))
    query = query.order_by(CampaignContactRow.rank, CampaignContactRow.next_attempt_at).limit(limit)
    return query.with_for_update(skip_locked=True).execution_options(populate_existing=True)


# --- who holds what -------------------------------------------------------------------------------------------------
class ActiveCalls(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that go on, or may, counted by what limits them."""

    all: int
    starting: int
    """Written down and not asked for yet; of campaigns alone."""

    by_organisation: Counter[UUID]
    by_campaign: Counter[UUID]
    starting_by_campaign: Counter[UUID]
    by_agent: Counter[UUID]
    by_number: Counter[str]
    starting_by_number: Counter[str]


async def active_calls(session: AsyncSession) -> ActiveCalls:
    """Count the calls of the whole installation that go on, or may."""
    call = CallRow
    columns = (call.org_id, call.campaign_id, AgentVersionRow.agent_id, call.from_number, call.direction, call.state)
    query = (
        select(*columns, func.count())
        .outerjoin(AgentVersionRow, AgentVersionRow.id == call.agent_version_id)
        .where(_IS_ACTIVE)
        .group_by(*columns)
    )
    found = ActiveCalls(
        all=0,
        starting=0,
        by_organisation=Counter(),
        by_campaign=Counter(),
        starting_by_campaign=Counter(),
        by_agent=Counter(),
        by_number=Counter(),
        starting_by_number=Counter(),
    )
    total = starting = 0
    for org_id, campaign_id, agent_id, from_number, direction, state, count in await session.execute(query):
        total += count
        found.by_organisation[org_id] += count
        if agent_id is not None:
            found.by_agent[agent_id] += count
        if direction == "outbound":
            found.by_number[from_number] += count
        if campaign_id is None:
            continue
        found.by_campaign[campaign_id] += count
        if state == CallState.INTENT.value:
            starting += count
            found.starting_by_campaign[campaign_id] += count
            found.starting_by_number[from_number] += count
    return msgspec.structs.replace(found, all=total, starting=starting)


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What an organisation's calls to some numbers were."""

    calls: dict[str, list[PastCall]]
    called_now: set[str]
    """Numbers that are being called, by whomever."""


async def past_calls(session: AsyncSession, org_id: UUID, numbers: Sequence[str], now: datetime) -> Past:
    """Return the calls of the last week to each number, all campaigns and those of none; and who is being called."""
    call = CallRow
    query = select(call.to_number, call.requested_at, call.ended_at, call.outcome, call.state).where(
        call.org_id == org_id,
        is_one_of(session, call.to_number, numbers),
        call.direction == "outbound",
        call.created_at > now - WEEK,
    )
    active = {state.value for state in ACTIVE}
    found = Past(calls={e164: [] for e164 in numbers}, called_now=set())
    for e164, requested_at, ended_at, outcome, state in await session.execute(query):
        if state in active:
            found.called_now.add(e164)
        if requested_at is not None:
            past = PastCall(requested_at=requested_at, ended_at=ended_at, outcome=outcome or "")
            found.calls[e164].append(past)
    return found


async def at_the_phone(session: AsyncSession, org_id: UUID, numbers: Sequence[str]) -> frozenset[str]:
    """Return which of these numbers a campaign of the organisation is calling, or about to."""
    row = CampaignContactRow
    query = select(row.e164).where(row.org_id == org_id, is_one_of(session, row.e164, numbers), _IS_AT_THE_PHONE)
    return frozenset((await session.scalars(query)).all())


async def contacts_there(session: AsyncSession, org_id: UUID, contact_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Return which of these contacts have not been deleted."""
    query = select(ContactRow.id).where(
        ContactRow.org_id == org_id, is_one_of(session, ContactRow.id, contact_ids), ContactRow.deleted_at.is_(None)
    )
    return frozenset((await session.scalars(query)).all())


# --- numbers --------------------------------------------------------------------------------------------------------
async def numbers_of(
    session: AsyncSession, org_id: UUID, pool_ids: frozenset[UUID | None], active: ActiveCalls, now: datetime
) -> dict[UUID | None, list[NumberUse]]:
    """Return the numbers of each pool, with their use; of None all of the organisation's."""
    numbers = (await session.scalars(select(PhoneNumberRow).where(PhoneNumberRow.org_id == org_id))).all()
    named = [pool_id for pool_id in pool_ids if pool_id is not None]
    members = select(PoolMemberRow.pool_id, PoolMemberRow.number_id).where(
        PoolMemberRow.org_id == org_id, PoolMemberRow.pool_id.in_(named)
    )
    pooled = {(pool_id, number_id) for pool_id, number_id in await session.execute(members)} if named else set()
    use = await _use_of(session, [row.e164 for row in numbers], now)
    uses = [
        _number_use(row, use.get(row.e164, (0, 0, None)), active.starting_by_number[row.e164], now) for row in numbers
    ]
    uses = [msgspec.structs.replace(each, live=active.by_number[each.e164]) for each in uses]
    return {pool_id: [each for each in uses if pool_id is None or (pool_id, each.id) in pooled] for pool_id in pool_ids}


async def _use_of(session: AsyncSession, numbers: Sequence[str], now: datetime) -> dict[str, tuple[int, int, datetime]]:
    """Return how often each number was shown in the last hour and day, and when it was last."""
    call = CallRow
    in_hour = func.count(call.id).filter(call.requested_at > now - HOUR)
    query = (
        select(call.from_number, in_hour, func.count(call.id), func.max(call.requested_at))
        .where(is_one_of(session, call.from_number, numbers), call.requested_at > now - DAY)
        .group_by(call.from_number)
    )
    return {e164: (hour, day, last) for e164, hour, day, last in await session.execute(query) if last is not None}


def _number_use(row: PhoneNumberRow, use: tuple[int, int, datetime | None], starting: int, now: datetime) -> NumberUse:
    last_hour, last_day, last_used_at = use
    return NumberUse(
        id=row.id,
        e164=row.e164,
        country=row.country,
        region=row.region,
        max_live=row.max_live,
        max_hour=row.max_hour,
        max_day=row.max_day,
        rest_s=row.rest_s,
        warm_since=row.warm_since,
        quarantine_until=row.quarantine_until,
        last_hour=last_hour + starting,
        last_day=last_day + starting,
        last_used_at=now if starting else last_used_at,
    )


# --- rows of those who are called -----------------------------------------------------------------------------------
class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Who is about to call."""

    owner: str
    until: datetime


def lease(contact: CampaignContactRow, call: CallRow, lease: Lease) -> None:
    """Have a claimed contact called by a call: nobody else calls them meanwhile.

    Writing it down raises IntegrityError where a campaign is calling this number already.
    """
    contact.state = ContactState.LEASED.value
    contact.call_id = call.id
    contact.calls += 1
    contact.from_number = contact.from_number or call.from_number
    contact.lease_owner, contact.lease_until = lease.owner, lease.until
    contact.lease_epoch = call.campaign_epoch or 0
    contact.skip_reason = ""


async def commit_money(session: AsyncSession, campaign: CampaignRow, amount: int, budget: int | None) -> bool:
    """Add `amount` to what a campaign has committed; False where its state, epoch or budget forbid it by now."""
    row = CampaignRow
    guards = [row.id == campaign.id, row.state == "running", row.epoch == campaign.epoch]
    if budget is not None:
        guards.append(row.committed + amount <= budget)
    changed = await session.execute(
        update(row)
        .where(and_(*guards))
        .values(committed=row.committed + amount)
        .returning(row.committed)
        .execution_options(synchronize_session=False)
    )
    committed = changed.scalar_one_or_none()
    return committed is not None
