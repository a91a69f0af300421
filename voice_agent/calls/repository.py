"""The SQL of calls. Nothing here commits; what is read for a change is locked until the transaction ends."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import Select, and_, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls.model import ACTIVE, CallFacts, CallState, Outcome
from voice_agent.storage.tables import (
    AgentVersionRow,
    CallRow,
    CarrierEventRow,
    ConversationEventRow,
    RecordingRow,
    SpendRow,
    TranscriptEntryRow,
    TurnLatencyRow,
)


class CallFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls to list; what is empty filters nothing."""

    states: frozenset[CallState] = frozenset()
    outcomes: frozenset[Outcome] = frozenset()
    direction: str = ""
    number: str = ""
    """Of either end, E.164."""

    agent_id: UUID | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    """Exclusive."""


def facts_of(row: CallRow) -> CallFacts:
    """Return what is known of a call."""
    return CallFacts(
        state=CallState(row.state),
        outcome=None if row.outcome is None else Outcome(row.outcome),
        answered_by=row.answered_by,
        sip_code=row.sip_code,
        error_code=row.error_code,
        accepted_at=row.accepted_at,
        ringing_at=row.ringing_at,
        answered_at=row.answered_at,
        ended_at=row.ended_at,
        talk_s=row.talk_s,
        price=row.price,
    )


def store_facts(row: CallRow, facts: CallFacts) -> bool:
    """Write the facts back; return whether anything is new."""
    is_new = False
    for name in facts.__struct_fields__:
        value = getattr(facts, name)
        stored = value.value if isinstance(value, CallState | Outcome) else value
        if getattr(row, name) != stored:
            setattr(row, name, stored)
            is_new = True
    if is_new:
        row.revision += 1
    return is_new


# --- one call ---------------------------------------------------------------------------------------------------
async def of_organisation(session: AsyncSession, org_id: UUID, call_id: UUID) -> CallRow | None:
    """Return a call of this organisation."""
    return await session.scalar(select(CallRow).where(CallRow.id == call_id, CallRow.org_id == org_id))


async def locked(session: AsyncSession, call_id: UUID) -> CallRow | None:
    """Return a call for a change: others that want to change it wait.

    FOR NO KEY UPDATE on Postgres: rows that point at the call are inserted meanwhile, and must not wait for it.
    """
    query = select(CallRow).where(CallRow.id == call_id).with_for_update(key_share=True)
    return await session.scalar(query.execution_options(populate_existing=True))


async def lock_sid(session: AsyncSession, call_sid: str) -> None:
    """Hold a carrier's name for a call until the transaction ends, whether or not anybody knows the call yet."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(call_sid, 0))))


async def by_sid(session: AsyncSession, call_sid: str) -> CallRow | None:
    """Return the call that the carrier names so."""
    return await session.scalar(select(CallRow).where(CallRow.call_sid == call_sid))


async def claim_dialing(session: AsyncSession, call_id: UUID, now: datetime) -> bool:
    """Go from intent to dialing; False where somebody else did, or the call was given up. Then nothing may be sent."""
    claimed = await session.execute(
        update(CallRow)
        .where(CallRow.id == call_id, CallRow.state == CallState.INTENT.value)
        .values(state=CallState.DIALING.value, requested_at=now, revision=CallRow.revision + 1)
        .returning(CallRow.id)
    )
    return claimed.scalar_one_or_none() is not None


class CallIdentity(msgspec.Struct, frozen=True):
    """Whose call it is."""

    call_sid: str | None
    id: UUID
    org_id: UUID
    erased_at: datetime | None


async def identities(session: AsyncSession, call_sids: Sequence[str]) -> list[CallIdentity]:
    """Return whose calls these are, of those that are known."""
    query = select(CallRow.call_sid, CallRow.id, CallRow.org_id, CallRow.erased_at)
    rows = await session.execute(query.where(CallRow.call_sid.in_(call_sids)))
    return [CallIdentity(*row) for row in rows]


# --- many calls ---------------------------------------------------------------------------------------------------
async def page(
    session: AsyncSession, org_id: UUID, wanted: CallFilter, *, before: tuple[datetime, UUID] | None, limit: int
) -> Sequence[CallRow]:
    """Return calls, newest first, from those before the given (created_at, id) on."""
    query = _filtered(select(CallRow).where(CallRow.org_id == org_id), wanted)
    if before is not None:
        query = query.where(tuple_(CallRow.created_at, CallRow.id) < tuple_(*before))
    query = query.order_by(CallRow.created_at.desc(), CallRow.id.desc()).limit(limit)
    return (await session.scalars(query)).all()


def _filtered(query: Select[CallRow], wanted: CallFilter) -> Select[CallRow]:
    if wanted.states:
        query = query.where(CallRow.state.in_([state.value for state in wanted.states]))
    if wanted.outcomes:
        query = query.where(CallRow.outcome.in_([outcome.value for outcome in wanted.outcomes]))
    if wanted.direction:
        query = query.where(CallRow.direction == wanted.direction)
    if wanted.number:
        query = query.where(or_(CallRow.to_number == wanted.number, CallRow.from_number == wanted.number))
    if wanted.agent_id is not None:
        versions = select(AgentVersionRow.id).where(AgentVersionRow.agent_id == wanted.agent_id)
        query = query.where(CallRow.agent_version_id.in_(versions))
    if wanted.created_from is not None:
        query = query.where(CallRow.created_at >= wanted.created_from)
    if wanted.created_to is not None:
        query = query.where(CallRow.created_at < wanted.created_to)
    return query


async def active_of_number(session: AsyncSession, org_id: UUID, number: str) -> Sequence[CallRow]:
    """Return the calls with this number at either end that are going on, or may be."""
    query = select(CallRow).where(
        CallRow.org_id == org_id,
        or_(CallRow.to_number == number, CallRow.from_number == number),
        CallRow.state.in_([state.value for state in ACTIVE]),
    )
    return (await session.scalars(query)).all()


async def is_called_otherwise(session: AsyncSession, call: CallRow) -> bool:
    """Tell whether another call of the organisation to this number of a campaign's goes on, or may."""
    if call.campaign_contact_id is None:
        return False
    query = select(CallRow.id).where(
        CallRow.org_id == call.org_id,
        CallRow.to_number == call.to_number,
        CallRow.direction == "outbound",
        CallRow.id != call.id,
        CallRow.state.in_([state.value for state in ACTIVE]),
    )
    return await session.scalar(query.limit(1)) is not None


async def take_leases(session: AsyncSession, worker: str, call_sids: Sequence[str], until: datetime) -> None:
    """Say that the worker holds these calls from now on, whoever held them before."""
    if call_sids:
        await session.execute(
            update(CallRow).where(CallRow.call_sid.in_(call_sids)).values(worker=worker, lease_until=until)
        )


async def renew_leases(session: AsyncSession, worker: str, call_sids: Sequence[str], until: datetime) -> None:
    """Say that the worker still holds these calls; one that somebody else has taken over stays theirs."""
    if call_sids:
        await session.execute(
            update(CallRow)
            .where(CallRow.call_sid.in_(call_sids), or_(CallRow.worker.is_(None), CallRow.worker == worker))
            .values(worker=worker, lease_until=until)
        )


async def mark_ended_by_us(session: AsyncSession, call_sid: str, reason: str) -> None:
    """Note that whoever holds a call means it to end, and why: nobody is to resume it. The last reason counts."""
    meant = {"is_ended_by_us": True, "end_reason": reason}
    await session.execute(update(CallRow).where(CallRow.call_sid == call_sid).values(meant))


async def stale(session: AsyncSession, state: CallState, *, before: datetime, limit: int = 500) -> Sequence[CallRow]:
    """Return calls that have been in a state since before then: by request for dialing and unknown, else creation."""
    since = func.coalesce(CallRow.requested_at, CallRow.created_at)
    query = select(CallRow).where(CallRow.state == state.value, since < before).order_by(since).limit(limit)
    return (await session.scalars(query)).all()


async def unheld(
    session: AsyncSession, *, lease_before: datetime, silent_before: datetime, limit: int = 500
) -> Sequence[CallRow]:
    """Return calls of the carrier's that nobody holds: their lease ended, or they never had one and it is long ago."""
    since = func.coalesce(CallRow.answered_at, CallRow.requested_at, CallRow.created_at)
    query = (
        select(CallRow)
        .where(
            CallRow.state.in_(
                [state.value for state in (CallState.ACCEPTED, CallState.RINGING, CallState.IN_PROGRESS)]
            ),
            CallRow.call_sid.is_not(None),
            or_(CallRow.lease_until < lease_before, and_(CallRow.lease_until.is_(None), since < silent_before)),
        )
        .order_by(since)
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def without_carrier_recording(
    session: AsyncSession, ended_from: datetime, ended_to: datetime, limit: int = 500
) -> Sequence[CallRow]:
    """Return calls that the carrier was to record, were answered, ended between two moments, and have no word of it."""
    told = select(RecordingRow.id).where(RecordingRow.call_id == CallRow.id, RecordingRow.kind == "carrier")
    query = (
        select(CallRow)
        .where(
            CallRow.is_carrier_recorded,
            CallRow.ended_at >= ended_from,
            CallRow.ended_at < ended_to,
            CallRow.answered_at.is_not(None),
            CallRow.call_sid.is_not(None),
            CallRow.erased_at.is_(None),
            ~told.exists(),
        )
        .order_by(CallRow.ended_at)
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def unnamed(session: AsyncSession, to: str, caller: str, *, since: datetime) -> Sequence[CallRow]:
    """Return calls between two numbers that were requested since then, and whose name at the carrier is not known."""
    query = select(CallRow).where(
        CallRow.to_number == to,
        CallRow.from_number == caller,
        CallRow.call_sid.is_(None),
        CallRow.requested_at >= since,
        CallRow.state.in_([CallState.DIALING.value, CallState.UNKNOWN.value]),
    )
    return (await session.scalars(query)).all()


async def parked_sids(session: AsyncSession, *, since: datetime, before: datetime, limit: int = 500) -> Sequence[str]:
    """Return the carrier's names of calls that it told of between two moments, and that nobody knows."""
    event = CarrierEventRow
    query = (
        select(event.call_sid)
        .where(
            event.call_id.is_(None),
            event.call_sid.not_in(select(CallRow.call_sid).where(CallRow.call_sid.is_not(None))),
        )
        .group_by(event.call_sid)
        .having(func.min(event.received_at) < before, func.max(event.received_at) >= since)
        .limit(limit)
    )
    return (await session.scalars(query)).all()


# --- what a call leaves behind ------------------------------------------------------------------------------------
async def transcript(session: AsyncSession, call_id: UUID) -> Sequence[TranscriptEntryRow]:
    """Return what was said, in order."""
    query = select(TranscriptEntryRow).where(TranscriptEntryRow.call_id == call_id).order_by(TranscriptEntryRow.n)
    return (await session.scalars(query)).all()


async def latencies(session: AsyncSession, call_id: UUID) -> Sequence[TurnLatencyRow]:
    """Return the timing of the answered turns, in order."""
    query = (
        select(TurnLatencyRow)
        .where(TurnLatencyRow.call_id == call_id)
        .order_by(TurnLatencyRow.segment, TurnLatencyRow.turn)
    )
    return (await session.scalars(query)).all()


async def event_lines(
    session: AsyncSession, call_id: UUID, *, after: tuple[int, int] = (-1, 0), limit: int = 10_000
) -> Sequence[ConversationEventRow]:
    """Return the event log's lines after (segment, line), in order."""
    row = ConversationEventRow
    query = (
        select(row)
        .where(row.call_id == call_id, tuple_(row.segment, row.line) > tuple_(*after))
        .order_by(row.segment, row.line)
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def add_event_lines(session: AsyncSession, lines: Sequence[Mapping[str, object]]) -> None:
    """Add lines of event logs; those that are there already stay as they are."""
    if lines:
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        await session.execute(insert(ConversationEventRow).on_conflict_do_nothing(), lines)


async def delete_transcript(session: AsyncSession, call_id: UUID) -> None:
    """Delete a call's transcript and the timing of its turns, for those that take their place."""
    for table in (TranscriptEntryRow, TurnLatencyRow):
        await session.execute(delete(table).where(table.call_id == call_id))


# --- money ----------------------------------------------------------------------------------------------------------
async def spent_since(session: AsyncSession, org_id: UUID, since: datetime) -> int:
    """Return what calls cost since then, in millionths of a dollar: settled where known, else what was reserved."""
    total = func.coalesce(func.sum(func.coalesce(SpendRow.settled, SpendRow.reserved)), 0)
    query = select(total).where(SpendRow.org_id == org_id, SpendRow.at >= since)
    return int((await session.execute(query)).scalar_one())
