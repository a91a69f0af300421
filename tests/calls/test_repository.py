"""Facts between rows and records, and who may dial, on SQLite and on Postgres; the callers' tests have the rest."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import msgspec

from tests.calls.stored_calls import NOW, SID, a_call, a_stored_call, reread
from voice_agent.calls import repository
from voice_agent.calls.model import CallState, Outcome
from voice_agent.storage.database import Database
from voice_agent.storage.tables import SpendRow


def test_facts_are_written_back_only_where_they_are_new() -> None:
    row = a_call(uuid4())
    row.revision = 1
    facts = repository.facts_of(row)
    assert not repository.store_facts(row, facts)

    ended = msgspec.structs.replace(facts, state=CallState.ENDED, outcome=Outcome.BUSY, ended_at=NOW)
    assert repository.store_facts(row, ended)
    assert (row.state, row.outcome, row.revision) == ("ended", "busy", 2)
    assert repository.facts_of(row) == ended


async def test_of_ten_who_want_to_dial_a_call_one_may(database: Database) -> None:
    call = await a_stored_call(database, state="intent")

    async def claim() -> bool:
        async with database.write() as session:
            return await repository.claim_dialing(session, call.id, NOW)

    assert sum(await asyncio.gather(*(claim() for _ in range(10)))) == 1
    assert (await reread(database, call.id)).state == "dialing"


async def test_a_call_is_found_by_its_names_and_only_in_its_organisation(database: Database) -> None:
    call = await a_stored_call(database, call_sid=SID)
    async with database.read() as session:
        assert (await repository.by_sid(session, SID)) is not None
        assert (await repository.by_sid(session, "CA0")) is None
        assert (await repository.of_organisation(session, call.org_id, call.id)) is not None
        assert (await repository.of_organisation(session, uuid4(), call.id)) is None


async def test_what_was_spent_counts_what_is_set_aside_until_it_is_settled(database: Database) -> None:
    first = await a_stored_call(database, call_sid="CA1")
    second = await a_stored_call(database, call_sid="CA2", org_id=first.org_id)
    async with database.write() as session:
        session.add(SpendRow(call_id=first.id, org_id=first.org_id, at=NOW, reserved=100, settled=30))
        session.add(SpendRow(call_id=second.id, org_id=first.org_id, at=NOW, reserved=100))

    async with database.read() as session:
        assert await repository.spent_since(session, first.org_id, NOW) == 130
        assert await repository.spent_since(session, first.org_id, NOW + timedelta(seconds=1)) == 0
