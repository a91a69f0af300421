"""What calls were like, read from the database."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.calls.stored_calls import NOW, OURS, SPAIN
from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from voice_agent.campaigns import health
from voice_agent.campaigns.holding import LEAST_TURNS, NUMBER_QUARANTINE, Health, Share
from voice_agent.campaigns.plan import HoldRule
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, CampaignRow, PhoneNumberRow, TurnLatencyRow

OTHER = "+34930000000"


@pytest.fixture
async def world(database: Database) -> DiallingWorld:
    return await dialling_world(database)


async def ended(world: DiallingWorld, campaign: CampaignRow, number: int = 1, **columns: Any) -> list[CallRow]:
    said = {
        "state": "ended", "outcome": "human", "from_number": OURS, "requested_at": NOW - timedelta(minutes=1),
        "ended_at": NOW - timedelta(seconds=40), "to_number": SPAIN, "created_at": NOW,
    }  # fmt: skip
    rows = [
        CallRow(id=new_id(), org_id=world.org_id, direction="outbound", campaign_id=campaign.id, **(said | columns))
        for _ in range(number)
    ]
    async with world.database.write() as session:
        session.add_all(rows)
    return rows


async def found(world: DiallingWorld, campaign: CampaignRow, now: datetime = NOW) -> Health:
    async with world.database.read() as session:
        return await health.health_of(session, campaign, HoldRule(), now)


async def test_failures_count_by_number_and_code_within_the_window(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    campaign.resumed_at = NOW - timedelta(hours=1)
    await ended(world, campaign, 3)
    await ended(world, campaign, 2, outcome="carrier_failed", state="failed", error_code=32011, from_number=OTHER)
    await ended(world, campaign, 1, end_reason="transport_lost")
    await ended(world, campaign, 4, outcome="carrier_failed", ended_at=NOW - timedelta(minutes=3))
    await ended(world, campaign, 4, outcome="not_placed")
    await ended(world, campaign, 4, state="void", outcome="cancelled", requested_at=None)

    health_ = await found(world, campaign)
    assert health_.failed == Share(part=3, of=6)
    assert health_.failed_by_number == {OURS: Share(part=1, of=4), OTHER: Share(part=2, of=2)}
    assert (dict(health_.errors), health_.is_account_refused) == ({32011: 2}, False)
    campaign.resumed_at = NOW - timedelta(seconds=30)
    assert (await found(world, campaign)).failed == Share()


async def test_a_refused_account_is_known_by_its_code(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    campaign.resumed_at = None
    await ended(world, campaign, 1, outcome="carrier_failed", state="failed", error_code=20003)

    assert (await found(world, campaign)).is_account_refused


async def test_an_agent_that_was_not_heard_is_silent_where_a_stream_was_held(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    campaign.resumed_at = None
    answered = {"answered_at": NOW - timedelta(seconds=50), "worker": "w"}
    await ended(world, campaign, 1, **answered, first_audio_at=NOW - timedelta(seconds=49))
    await ended(world, campaign, 2, **answered)
    await ended(world, campaign, 1, **answered, first_audio_at=NOW - timedelta(seconds=45))
    await ended(world, campaign, 1, **(answered | {"worker": None}))
    await ended(world, campaign, 1, **answered, ended_at=NOW)

    assert (await found(world, campaign)).silent == Share(part=3, of=4)


async def test_slow_answers_are_told_from_twenty_turns_on(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    campaign.resumed_at = None
    (call,) = await ended(world, campaign)

    async def turns(number: int, first: int) -> None:
        async with world.database.write() as session:
            for turn in range(first, first + number):
                took = {"voice_to_voice_ms": 100.0 * turn, "parts": {}}
                session.add(TurnLatencyRow(call_id=call.id, segment=0, turn=turn, org_id=world.org_id, **took))

    await turns(LEAST_TURNS - 1, 1)
    assert (await found(world, campaign)).slow_ms == 0.0
    await turns(1, LEAST_TURNS)
    assert (await found(world, campaign)).slow_ms == 1_900.0


async def numbers(world: DiallingWorld) -> dict[str, datetime | None]:
    async with world.database.read() as session:
        return {row.e164: row.quarantine_until for row in await session.scalars(select(PhoneNumberRow))}


async def test_numbers_that_fail_are_rested(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    await world.number(OTHER)

    async with world.database.write() as session:
        await health.rest_numbers(session, campaign, [OTHER], NOW)
    assert await numbers(world) == {OURS: None, OTHER: NOW + NUMBER_QUARANTINE}


async def test_a_number_that_people_have_stopped_answering_goes_into_quarantine_once(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    await world.number(OTHER)
    for e164, lately in ((OURS, 30), (OTHER, 5)):
        days_ago, hour_ago = NOW - timedelta(days=3), NOW - timedelta(hours=1)
        for at, answered, unanswered in ((days_ago, 30, 30), (hour_ago, lately, 60 - lately)):
            await ended(world, campaign, answered, from_number=e164, requested_at=at, answered_at=at)
            await ended(world, campaign, unanswered, from_number=e164, requested_at=at, outcome="no_answer")

    async with world.database.write() as session:
        assert await health.quarantine_dropped(session, NOW) == [OTHER]
        assert await health.quarantine_dropped(session, NOW) == []
    assert await numbers(world) == {OURS: None, OTHER: NOW + timedelta(days=2)}
