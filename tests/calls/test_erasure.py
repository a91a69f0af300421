"""What is deleted of a call and what stays; test_routes has the rest."""

from datetime import timedelta

from tests.calls.stored_calls import NOW, SID, a_stored_call
from voice_agent.calls import erasure
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, RecordingRow


async def test_erasing_twice_is_erasing_once(database: Database) -> None:
    call = await a_stored_call(database, state="ended", call_sid=SID)
    for later in (NOW, NOW + timedelta(days=1)):
        async with database.write() as session:
            row = await session.get_one(CallRow, call.id)
            files = await erasure.erase(session, row, now=later)

    assert files == erasure.ErasedFiles(call_sid=SID, keys=())
    assert (row.erased_at, row.from_number, row.to_number, row.call_sid) == (NOW, "erased", "erased", SID)


async def test_what_the_carrier_may_still_have_of_a_call_is_named(database: Database) -> None:
    call = await a_stored_call(database, state="ended", call_sid=SID)
    async with database.write() as session:
        row = await session.get_one(CallRow, call.id)
        row.is_carrier_recorded = True
        for segment, sid in enumerate(("RE1", None)):
            session.add(
                RecordingRow(
                    id=new_id(), org_id=call.org_id, call_id=call.id, kind="carrier", segment=segment,
                    state="failed", carrier_sid=sid, created_at=NOW,
                )
            )  # fmt: skip
        await session.flush()
        files = await erasure.erase(session, row, now=NOW)

    assert (files.carrier_sids, files.is_carrier_recorded) == (("RE1",), True)


async def test_calls_past_their_time_come_oldest_first_and_only_once_erased(database: Database) -> None:
    org_id = (await a_stored_call(database, state="in_progress")).org_id
    days = (40, 31, 29)
    for number, ago in enumerate(days):
        call = await a_stored_call(database, state="ended", call_sid=f"CA{number}", org_id=org_id)
        async with database.write() as session:
            (await session.get_one(CallRow, call.id)).ended_at = NOW - timedelta(days=ago)

    async with database.write() as session:
        old = await erasure.calls_past_their_time(session, org_id, 30, now=NOW, limit=10)
        assert [call.call_sid for call in old] == ["CA0", "CA1"]
        await erasure.erase(session, old[0], now=NOW)
        await session.flush()
        again = await erasure.calls_past_their_time(session, org_id, 30, now=NOW, limit=10)
        assert [call.call_sid for call in again] == ["CA1"]
