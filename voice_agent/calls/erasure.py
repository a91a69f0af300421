"""Deleting what calls leave behind: for one call, for a telephone number, and when its time is over.

What was said and heard goes, and whose it was: transcript, timing, event log, the carrier's messages, recordings,
variables, both numbers. That a call took place, when, how it came out and what it cost stays: reports and bills are
made of it. Rows go in the caller's transaction; files, and the carrier's copies of recordings, by a job that is
requested in the same one, so that neither goes without the other.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import recording_rows
from voice_agent.calls.model import FINAL
from voice_agent.storage.tables import (
    CallRow,
    CarrierEventRow,
    ConversationEventRow,
    RecordingRow,
    TranscriptEntryRow,
    TurnLatencyRow,
)

ERASED_NUMBER = "erased"
"""What stands in place of both numbers."""


class ErasedFiles(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Files that nothing points at any more: for the job that deletes them."""

    call_sid: str
    """Names the call's folder on the worker's disk; empty where it had none."""

    keys: tuple[str, ...]
    """In the storage."""

    carrier_sids: tuple[str, ...] = ()
    """Recordings that the carrier may still have."""

    is_carrier_recorded: bool = False
    """Whether the carrier may have others, that it has not told of."""


async def erase(session: AsyncSession, call: CallRow, *, now: datetime) -> ErasedFiles:
    """Delete a call's content; return what is left to delete outside of the database."""
    recordings = await recording_rows.of_call(session, call.id)
    files = ErasedFiles(
        call_sid=call.call_sid or "",
        keys=tuple(key for row in recordings for key in (row.storage_key, row.peaks_key) if key is not None),
        carrier_sids=tuple(row.carrier_sid for row in recordings if row.carrier_sid is not None),
        is_carrier_recorded=call.is_carrier_recorded and call.call_sid is not None,
    )
    for table in (TranscriptEntryRow, TurnLatencyRow, ConversationEventRow, CarrierEventRow, RecordingRow):
        await session.execute(delete(table).where(table.call_id == call.id))
    call.from_number = call.to_number = ERASED_NUMBER
    call.variables = {}
    call.briefing = ""
    call.error = None
    call.erased_at = call.erased_at or now
    call.revision += 1
    return files


async def calls_of_number(session: AsyncSession, org_id: UUID, number: str) -> Sequence[CallRow]:
    """Return the calls with this number at either end that are over."""
    query = select(CallRow).where(
        CallRow.org_id == org_id,
        or_(CallRow.to_number == number, CallRow.from_number == number),
        CallRow.state.in_([state.value for state in FINAL]),
    )
    return (await session.scalars(query.with_for_update())).all()


async def calls_past_their_time(
    session: AsyncSession, org_id: UUID, retention_days: int, *, now: datetime, limit: int
) -> Sequence[CallRow]:
    """Return calls that are over since longer than they are kept, oldest first."""
    query = (
        select(CallRow)
        .where(
            CallRow.org_id == org_id,
            CallRow.erased_at.is_(None),
            CallRow.ended_at < now - timedelta(days=retention_days),
        )
        .order_by(CallRow.ended_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return (await session.scalars(query)).all()
