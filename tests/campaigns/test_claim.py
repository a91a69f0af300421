"""The statements of admission on both databases: who is due, what is locked, and what is counted."""

from datetime import timedelta
from typing import Any

import pytest

from tests.calls.stored_calls import NOW, OURS, a_call
from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from tests.campaigns.stored_campaigns import an_attempt
from voice_agent.campaigns import claim
from voice_agent.campaigns.model import CampaignState
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CampaignContactRow, CampaignRow


@pytest.fixture
async def world(database: Database) -> DiallingWorld:
    return await dialling_world(database)


async def claimed(world: DiallingWorld, campaign: CampaignRow, limit: int) -> list[str]:
    async with world.database.write() as session:
        return [row.e164[-4:] for row in await claim.claim(session, campaign.id, NOW, limit)]


async def test_who_is_due_is_counted_and_claimed_rank_by_rank(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    await world.contacts(campaign, 2, first=10, rank=3)
    await world.contacts(campaign, 3, first=20, rank=-1, next_attempt_at=NOW - timedelta(hours=1))
    await world.contacts(campaign, 2, first=30, rank=0, next_attempt_at=NOW + timedelta(hours=1))
    await world.contacts(campaign, 1, first=40, rank=-2, state="leased", lease_until=NOW)
    await world.contacts(campaign, 1, first=50, rank=1, state="cooldown")

    async with world.database.read() as session:
        assert await claim.due_by_rank(session, campaign.id, NOW, 2) == [(-1, 2), (1, 1), (3, 2)]
    assert await claimed(world, campaign, 2) == ["0020", "0021"]
    assert await claimed(world, campaign, 9) == ["0020", "0021", "0022", "0050", "0010", "0011"]
    assert await claimed(world, campaign, 0) == []


async def test_of_a_campaign_with_very_many_ranks_the_last_ones_are_claimed_too(
    world: DiallingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "MOST_RANKS", 2)
    campaign = await world.campaign()
    for rank in range(5):
        await world.contacts(campaign, 1, first=rank, rank=rank)

    assert await claimed(world, campaign, 9) == ["0000", "0001", "0002", "0003", "0004"]


async def test_what_another_transaction_has_claimed_is_passed_over(postgres: Any) -> None:
    database = Database(postgres.fresh_database())
    try:
        world = await dialling_world(database)
        campaign = await world.campaign()
        await world.contacts(campaign, 4)
        async with database.write() as one, database.write() as other:
            first = await claim.claim(one, campaign.id, NOW, 2)
            second = await claim.claim(other, campaign.id, NOW, 9)
            assert (len(first), len(second)) == (2, 2)
            assert not {row.id for row in first} & {row.id for row in second}
    finally:
        await database.close()


async def test_calls_that_go_on_are_counted_by_everything_that_limits_them(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    one, two, three = await world.contacts(campaign, 3)
    await an_attempt(world.database, campaign, one)
    await an_attempt(world.database, campaign, two, "ringing")
    await an_attempt(world.database, campaign, three, "ended")
    async with world.database.write() as session:
        session.add(a_call(world.org_id, state="in_progress"))

    async with world.database.read() as session:
        active = await claim.active_calls(session)
    assert (active.all, active.starting, active.by_organisation) == (3, 1, {world.org_id: 3})
    assert (active.by_campaign, active.starting_by_campaign) == ({campaign.id: 2}, {campaign.id: 1})
    assert (active.by_number, active.starting_by_number) == ({OURS: 3}, {OURS: 1})


async def test_calls_of_the_last_week_to_a_number_count_whoever_made_them(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    (contact,) = await world.contacts(campaign, 1)
    other = "+34612009999"
    await an_attempt(world.database, campaign, contact, "ended")
    async with world.database.write() as session:
        old = a_call(world.org_id, state="ended")
        old.to_number, old.created_at = contact.e164, NOW - timedelta(days=8)
        session.add(old)
        ringing = a_call(world.org_id, state="ringing")
        ringing.to_number = other
        session.add(ringing)

    async with world.database.read() as session:
        past = await claim.past_calls(session, world.org_id, [contact.e164, other], NOW)
    assert [len(past.calls[e164]) for e164 in (contact.e164, other)] == [1, 1]
    assert past.called_now == {other}


async def test_numbers_come_by_pool_with_how_they_are_used(world: DiallingWorld) -> None:
    number = await world.number("+34930000000", rest_s=60, max_day=9)
    pool = await world.pool(number)
    campaign = await world.campaign()
    contacts = await world.contacts(campaign, 3)
    calls = [await an_attempt(world.database, campaign, contact, "ended") for contact in contacts[:2]]
    waiting = await an_attempt(world.database, campaign, contacts[2])
    async with world.database.write() as session:
        for call, ago in zip(calls, (timedelta(minutes=5), timedelta(hours=5)), strict=True):
            row = await session.get_one(type(call), call.id)
            row.from_number, row.requested_at = number.e164, NOW - ago
        (await session.get_one(type(waiting), waiting.id)).from_number = number.e164

    async with world.database.read() as session:
        active = await claim.active_calls(session)
        found = await claim.numbers_of(session, world.org_id, frozenset({None, pool}), active, NOW)
        alone = await claim.numbers_of(session, world.org_id, frozenset({None}), active, NOW)
    assert {each.e164 for each in found[None]} == {OURS, number.e164} == {each.e164 for each in alone[None]}
    (use,) = found[pool]
    assert (use.live, use.last_hour, use.last_day, use.last_used_at, use.rest_s) == (1, 2, 3, NOW, 60)


async def test_money_is_committed_only_while_the_campaign_runs_under_the_same_epoch(world: DiallingWorld) -> None:
    campaign = await world.campaign()

    async def commit(amount: int, budget: int | None) -> bool:
        async with world.database.write() as session:
            return await claim.commit_money(session, campaign, amount, budget)

    assert await commit(10, None)
    assert await commit(10, 20)
    assert not await commit(1, 20)
    async with world.database.write() as session:
        (await session.get_one(CampaignRow, campaign.id)).epoch = 2
    assert not await commit(1, None)
    campaign.epoch = 2
    assert await commit(1, None)
    async with world.database.write() as session:
        (await session.get_one(CampaignRow, campaign.id)).state = CampaignState.HELD.value
    assert not await commit(1, None)


async def test_who_is_at_the_phone_is_known_across_campaigns(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    rows: list[CampaignContactRow] = await world.contacts(campaign, 1, state="in_call")
    rows += await world.contacts(campaign, 1, first=1)

    async with world.database.read() as session:
        numbers = [row.e164 for row in rows]
        assert await claim.at_the_phone(session, world.org_id, numbers) == {rows[0].e164}
        there = await claim.contacts_there(session, world.org_id, [row.contact_id for row in rows if row.contact_id])
        assert there == {row.contact_id for row in rows}
