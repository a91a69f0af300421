"""What a killed process has left half done is put right by the next sweep of any."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError

from tests.calls.stored_calls import NOW
from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from tests.campaigns.settling_world import Exchange
from tests.campaigns.stored_campaigns import reread
from tests.contracts.eventually import eventually
from voice_agent.campaigns import sweeping
from voice_agent.errors import DatabaseUnavailable
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow


@pytest.fixture
async def world(sqlite: Database) -> DiallingWorld:
    return await dialling_world(sqlite)


@pytest.fixture
async def line(world: DiallingWorld) -> Exchange:
    return Exchange(world)


async def test_a_lease_that_has_ended_is_given_back_with_its_money_and_the_next_attempt_is_number_two(
    database: Database,
) -> None:
    line = Exchange(await dialling_world(database))
    campaign = await line.world.campaign()
    await line.world.contacts(campaign, 1)
    (call,) = await line.world.admit(campaign)
    assert await line.sweeper.sweep() == 0

    line.world.pass_time(seconds=31)
    assert await line.sweeper.sweep() == 1
    voided = await reread(database, call)
    assert (voided.state, voided.outcome) == ("void", "not_placed")
    assert (await line.contact(call)).state == "due"
    assert (await reread(database, campaign)).committed == 0
    assert await line.sweeper.sweep() == 0
    (again,) = await line.place(campaign)
    assert (again.attempt, again.state) == (2, "accepted")


async def test_a_lease_for_no_call_is_given_back_too(line: Exchange) -> None:
    campaign = await line.world.campaign()
    leased: dict[str, Any] = {"state": "leased", "lease_until": NOW - timedelta(seconds=1), "next_attempt_at": None}
    await line.world.contacts(campaign, 1, **leased)
    assert await line.sweeper.sweep() == 1
    assert await line.world.states(campaign) == {"due": 1}


async def test_a_call_that_is_dialled_while_its_lease_ends_keeps_its_contact(line: Exchange) -> None:
    campaign = await line.world.campaign()
    await line.world.contacts(campaign, 1)
    (call,) = await line.world.admit(campaign)
    async with line.world.database.write() as session:
        (await session.get_one(CallRow, call.id)).state = "dialing"
    line.world.pass_time(seconds=31)
    assert await line.sweeper.sweep() == 0
    assert (await line.contact(call)).state == "leased"


@pytest.mark.parametrize(
    ("state", "outcome", "expected"), [("ended", "human", "done"), ("in_progress", None, "in_call")]
)
async def test_a_settlement_that_was_missed_is_made(
    line: Exchange, state: str, outcome: str | None, expected: str
) -> None:
    campaign = await line.world.campaign()
    await line.world.contacts(campaign, 1)
    (call,) = await line.place(campaign)
    async with line.world.database.write() as session:
        row = await session.get_one(CallRow, call.id)
        row.state, row.outcome, row.ended_at = state, outcome, line.world.now
    assert await line.sweeper.sweep() == 1
    assert (await line.contact(call)).state == expected
    assert await line.sweeper.sweep() == 0


async def test_it_sweeps_by_itself_and_outlives_a_database_that_is_away(
    line: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "LOOK_S", 0.01)
    monkeypatch.setattr(sweeping, "SWEEP_S", 0.01)
    campaign = await line.world.campaign()
    await line.world.contacts(campaign, 1)
    (call,) = await line.world.admit(campaign)
    line.world.pass_time(seconds=31)
    faults: list[Exception] = [DatabaseUnavailable("away"), SQLAlchemyError("broken")]
    complete = line.completion.complete

    looks: list[int] = []

    async def failing() -> int:
        if faults:
            raise faults.pop()
        looks.append(await complete())
        return looks[-1]

    monkeypatch.setattr(line.completion, "complete", failing)
    await line.sweeper.open()
    await eventually(lambda: looks)
    await asyncio.gather(line.sweeper.close(), line.sweeper.close())
    assert (await line.contact(call)).state == "due"
