"""Money for calls, on SQLite and on Postgres."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from voice_agent.calls.policy import MICROS, CallPolicy
from voice_agent.calls.spending import reserve, room, settle, spent_today
from voice_agent.errors import Conflict
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, OrganisationRow

NOW = datetime(2026, 11, 25, 23, 59, tzinfo=UTC)
POLICY = CallPolicy(daily_spend_cap=10 * MICROS, cost_per_minute=MICROS)


async def an_organisation(database: Database) -> UUID:
    async with database.write() as session:
        row = OrganisationRow(id=new_id(), name="Harbour", created_at=NOW)
        session.add(row)
    return row.id


def a_call(org_id: UUID) -> CallRow:
    return CallRow(
        id=new_id(), org_id=org_id, direction="outbound", state="intent", from_number="+34910000000",
        to_number="+34612345678", created_at=NOW,
    )  # fmt: skip


async def call_costing(database: Database, org_id: UUID, dollars: float, now: datetime = NOW) -> CallRow:
    async with database.write() as session:
        call = a_call(org_id)
        session.add(call)
        await session.flush()
        await reserve(session, call, POLICY, amount=round(dollars * MICROS), now=now)
    return call


async def spent(database: Database, org_id: UUID) -> float:
    async with database.read() as session:
        return await spent_today(session, org_id, NOW) / MICROS


async def test_what_is_set_aside_counts_until_it_is_settled(database: Database) -> None:
    org_id = await an_organisation(database)
    call = await call_costing(database, org_id, 6)
    assert await spent(database, org_id) == 6

    with pytest.raises(Conflict, match="daily spend cap"):
        await call_costing(database, org_id, 5)
    async with database.write() as session:
        call.talk_s = 61
        await settle(session, call, POLICY)
    assert await spent(database, org_id) == 2

    async with database.write() as session:
        call.price = 12_345
        await settle(session, call, POLICY)
    assert await spent(database, org_id) == 0.012345


async def test_g21_fifty_at_once_never_pass_the_cap(database: Database) -> None:
    org_id = await an_organisation(database)

    results = await asyncio.gather(*(call_costing(database, org_id, 1) for _ in range(50)), return_exceptions=True)

    assert sum(isinstance(result, CallRow) for result in results) == 10
    assert {type(result) for result in results} == {CallRow, Conflict}
    assert await spent(database, org_id) == 10


async def test_each_day_and_each_organisation_has_its_own(database: Database) -> None:
    mine, other = await an_organisation(database), await an_organisation(database)
    await call_costing(database, mine, 10, now=NOW - timedelta(days=1))
    await call_costing(database, mine, 10)
    await call_costing(database, other, 10)

    assert await spent(database, mine) == 10


async def test_an_inbound_call_is_entered_with_what_it_cost(database: Database) -> None:
    org_id = await an_organisation(database)
    async with database.write() as session:
        call = a_call(org_id)
        call.talk_s = 30
        session.add(call)
        await session.flush()
        await settle(session, call, POLICY)

    assert await spent(database, org_id) == 1


async def test_what_a_day_leaves_is_told_under_the_same_lock(database: Database) -> None:
    org_id = await an_organisation(database)
    await call_costing(database, org_id, 6)

    async with database.write() as session:
        assert await room(session, org_id, POLICY, NOW) == 4 * MICROS
        assert await room(session, org_id, POLICY, NOW + timedelta(minutes=1)) == 10 * MICROS
