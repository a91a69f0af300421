"""The SQL of recordings, on both databases."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from tests.calls.stored_calls import NOW, a_stored_call
from voice_agent.calls import recording_rows
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, RecordingRow


async def store(
    database: Database, call: CallRow, kind: str, segment: int, *, sid: str | None = None, at: datetime = NOW
) -> UUID:
    """Store a recording that is pending; return its key."""
    async with database.write() as session:
        row = RecordingRow(
            id=new_id(), org_id=call.org_id, call_id=call.id, kind=kind, segment=segment, state="pending",
            carrier_sid=sid, created_at=at,
        )  # fmt: skip
        session.add(row)
    return row.id


async def test_those_of_a_call_come_in_order_and_each_is_found(database: Database) -> None:
    call, other = await a_stored_call(database), await a_stored_call(database)
    carriers = [await store(database, call, "carrier", n, sid=f"RE{n}") for n in (1, 0)]
    ours = [await store(database, call, "stream", n) for n in (1, 0)]
    await store(database, other, "carrier", 0, sid="RE9")

    async with database.read() as session:
        found = await recording_rows.of_call(session, call.id)
        assert [row.id for row in found] == [*reversed(ours), *reversed(carriers)]
        stream = await recording_rows.of_stream(session, call.id, 1)
        assert stream is not None
        assert stream.id == ours[0]
        assert await recording_rows.of_stream(session, other.id, 0) is None
        named = await recording_rows.of_carrier_sid(session, "RE1")
        assert named is not None
        assert named.id == carriers[0]
        assert await recording_rows.of_carrier_sid(session, "RE2") is None
        first = await recording_rows.first_of_carrier(session, call.id)
        assert first is not None
        assert first.id == carriers[1]
        assert await recording_rows.count_of_carrier(session, call.id) == 2


async def test_only_the_carriers_that_wait_for_long_are_given_up(database: Database) -> None:
    call = await a_stored_call(database)
    old = await store(database, call, "carrier", 0, sid="RE0", at=NOW - timedelta(days=2))
    await store(database, call, "carrier", 1, sid="RE1")
    await store(database, call, "stream", 0, at=NOW - timedelta(days=2))
    done = await store(database, call, "carrier", 2, sid="RE2", at=NOW - timedelta(days=2))
    async with database.write() as session:
        (await session.get_one(RecordingRow, done)).state = "stored"
        pending = await recording_rows.pending_of_carrier(session, NOW - timedelta(days=1))
    assert [row.id for row in pending] == [old]


async def test_a_media_stream_has_one_recording(database: Database) -> None:
    call = await a_stored_call(database)
    await store(database, call, "stream", 0)
    with pytest.raises(IntegrityError):
        await store(database, call, "stream", 0)
