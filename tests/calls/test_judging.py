"""A call is judged in the transaction that marks it as dialling, and the verdict stays with it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from tests.api.world import ApiWorld, api_world, now
from tests.calls.stored_calls import SPAIN, a_call, reread
from voice_agent.auth.principal import system
from voice_agent.calls.judging import judge
from voice_agent.calls.repository import locked
from voice_agent.calls.service import CallOrder
from voice_agent.compliance.model import CallRefused, Purpose, SuppressionEntry
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow, SpendRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ApiWorld]:
    async with api_world(database, tmp_path) as world:
        yield world


async def suppress(world: ApiWorld, org_id: UUID | None, number: str = SPAIN) -> None:
    entry = SuppressionEntry(e164=number, source="call")
    async with world.database.write() as session:
        await world.compliance.suppress(session, org_id, entry, created_by="agent")


async def written_down(world: ApiWorld, org_id: UUID) -> CallRow:
    call = a_call(org_id, state="intent")
    async with world.database.write() as session:
        session.add(call)
    return call


async def test_a_call_that_is_allowed_keeps_what_was_asked_when(world: ApiWorld) -> None:
    call = await world.calls.start(system(await world.organisation(), "test"), CallOrder(to=SPAIN))

    stored = await reread(world.database, call.id)
    assert (stored.state, stored.purpose) == ("accepted", "service")
    assert stored.verdict is not None
    assert stored.verdict["reasons"] == []
    assert [pack["jurisdiction"] for pack in stored.verdict["packs"]] == ["ES", "EU", "default"]
    assert stored.verdict["asked_at"] == (stored.requested_at or now()).isoformat()


@pytest.mark.parametrize("is_everywhere", [True, False])
async def test_who_said_no_is_not_called_and_the_refusal_is_kept_and_costs_nothing(
    world: ApiWorld, is_everywhere: bool
) -> None:
    org_id = await world.organisation()
    await suppress(world, None if is_everywhere else org_id)

    with pytest.raises(CallRefused, match="not to be called") as refusal:
        await world.calls.start(system(org_id, "test"), CallOrder(to=SPAIN, purpose=Purpose.MARKETING))
    assert refusal.value.reasons[0].code == "suppressed"
    assert world.carrier.placed == []
    async with world.database.read() as session:
        (call,) = (await session.scalars(select(CallRow))).all()
        (spend,) = (await session.scalars(select(SpendRow))).all()
    assert (call.state, call.outcome, call.purpose, call.requested_at) == ("void", "blocked", "marketing", None)
    assert call.error is not None
    assert call.error.startswith("this call is not allowed: the number is not to be called")
    assert call.verdict is not None
    assert "suppressed" in [reason["code"] for reason in call.verdict["reasons"]]
    assert spend.settled == 0


async def test_what_was_said_after_a_call_was_written_down_still_counts(world: ApiWorld) -> None:
    org_id = await world.organisation()
    call = await written_down(world, org_id)
    await suppress(world, org_id)

    with pytest.raises(CallRefused):
        await world.calls.place(call.id)
    assert (await world.calls.place(call.id)).state == "void"
    assert world.carrier.placed == []


async def test_nobody_is_dialled_after_their_opt_out_was_committed(world: ApiWorld) -> None:
    org_id = await world.organisation()
    calls = [await written_down(world, org_id) for _ in range(12)]

    async def place(call: CallRow) -> None:
        try:
            await world.calls.place(call.id)
        except CallRefused:
            pass

    committed: list[float] = []

    async def opt_out() -> None:
        await suppress(world, org_id)
        committed.append(now().timestamp())

    await asyncio.gather(opt_out(), *(place(call) for call in calls))
    stored = [await reread(world.database, call.id) for call in calls]
    dialled = [row.requested_at.timestamp() for row in stored if row.requested_at is not None]
    assert all(at <= committed[0] for at in dialled)
    assert {row.state for row in stored} <= {"accepted", "void"}
    with pytest.raises(CallRefused):
        await world.calls.place((await written_down(world, org_id)).id)


async def test_the_moment_of_the_request_is_the_moment_of_the_verdict(world: ApiWorld) -> None:
    org_id = await world.organisation()
    call = await written_down(world, org_id)
    later = now() + timedelta(hours=1)
    async with world.database.write() as session:
        row = await locked(session, call.id)
        assert row is not None
        verdict = await judge(session, world.compliance, row, later)

    stored = await reread(world.database, call.id)
    assert verdict.is_allowed
    assert (stored.state, stored.requested_at) == ("dialing", later)
