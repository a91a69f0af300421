"""The SQL of recordings, ours and the carrier's. Nothing here commits."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.tables import RecordingRow

_IS_CARRIERS = RecordingRow.kind == "carrier"


async def of_call(session: AsyncSession, call_id: UUID) -> Sequence[RecordingRow]:
    """Return the recordings of a call, ours before the carrier's, each in its order."""
    query = select(RecordingRow).where(RecordingRow.call_id == call_id)
    return (await session.scalars(query.order_by(RecordingRow.kind.desc(), RecordingRow.segment))).all()


async def of_stream(session: AsyncSession, call_id: UUID, segment: int) -> RecordingRow | None:
    """Return our recording of a call's media stream."""
    query = select(RecordingRow).where(
        RecordingRow.call_id == call_id, RecordingRow.kind == "stream", RecordingRow.segment == segment
    )
    return await session.scalar(query)


async def of_carrier_sid(session: AsyncSession, recording_sid: str) -> RecordingRow | None:
    """Return the carrier's recording of that name, as it is now."""
    query = select(RecordingRow).where(RecordingRow.carrier_sid == recording_sid)
    return await session.scalar(query.execution_options(populate_existing=True))


async def first_of_carrier(session: AsyncSession, call_id: UUID) -> RecordingRow | None:
    """Return the first recording that the carrier has told of for a call."""
    query = select(RecordingRow).where(RecordingRow.call_id == call_id, _IS_CARRIERS)
    return (await session.scalars(query.order_by(RecordingRow.segment))).first()


async def count_of_carrier(session: AsyncSession, call_id: UUID) -> int:
    """Return how many recordings the carrier has told of for a call."""
    query = select(func.count()).where(RecordingRow.call_id == call_id, _IS_CARRIERS)
    return (await session.execute(query)).scalar_one()


async def pending_of_carrier(session: AsyncSession, before: datetime) -> Sequence[RecordingRow]:
    """Return, locked, what was told of before a moment and is not fetched yet; without what another one has locked."""
    query = select(RecordingRow).where(RecordingRow.state == "pending", _IS_CARRIERS, RecordingRow.created_at < before)
    return (await session.scalars(query.with_for_update(skip_locked=True))).all()
