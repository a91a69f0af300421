"""Why is it not dialling? Each answer is the one that dialling itself would have given."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.calls.stored_calls import OURS
from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.model import CampaignState
from voice_agent.campaigns.why import WhyAnswer, why
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CampaignRow, PhoneNumberRow

ROOMY = Limits(inbound_share=0.0)


@pytest.fixture
async def world(sqlite: Database) -> DiallingWorld:
    return await dialling_world(sqlite)


async def asked(world: DiallingWorld, campaign: CampaignRow, limits: Limits = ROOMY) -> WhyAnswer:
    async with world.database.read() as session:
        row = await session.get_one(CampaignRow, campaign.id)
        return await why(session, row, limits, world.now)


async def test_a_campaign_that_dials_says_so(database: Database) -> None:
    world = await dialling_world(database)
    campaign = await world.campaign()
    await world.contacts(campaign, 3)

    answer = await asked(world, campaign)
    assert (answer.is_dialling, answer.due, answer.state, answer.ramp) == (True, 3, CampaignState.RUNNING, 0.1)
    assert answer.blockers == ("campaign_full", "campaign_rate", "carrier_rate")
    assert [number.e164 for number in answer.numbers] == [OURS]
    assert {scope.scope: scope.limit for scope in answer.scopes} == {
        "everything": 80, "organisation": None, "campaign": 1, "agent": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "limits", "blocker"),
    [
        ({}, {"max_calls": 1, "inbound_share": 1.0}, "global_full"),
        ({"variants": [{"agent_id": "00000000-0000-0000-0000-000000000009"}]}, {}, "no_agent"),
        ({"pool_id": "00000000-0000-0000-0000-000000000009"}, {}, "no_number"),
    ],
)
async def test_what_holds_it_back_is_named(
    world: DiallingWorld, plan: dict[str, Any], limits: dict[str, Any], blocker: str
) -> None:
    campaign = await world.campaign(**plan)
    await world.contacts(campaign, 1)

    answer = await asked(world, campaign, Limits(**({"inbound_share": 0.0} | limits)))
    assert not answer.is_dialling
    assert blocker in answer.blockers


async def test_outside_its_hours_it_says_when_it_goes_on(world: DiallingWorld) -> None:
    campaign = await world.campaign(windows=[{"days": ["thu"], "opens": "10:00", "closes": "12:00"}])
    contacts = await world.contacts(campaign, 3)
    await world.suppress(contacts[0].e164)
    await world.admit(campaign)

    answer = await asked(world, campaign)
    assert (answer.is_dialling, answer.due, answer.later) == (False, 0, 2)
    assert (answer.waiting_for, answer.over_for) == ({"hours": 2}, {"suppressed": 1})
    assert answer.next_at is not None
    assert answer.next_at - world.now == timedelta(hours=21)
    assert "nobody_due" in answer.blockers


async def test_one_that_is_held_says_why_and_a_number_says_what_it_waits_for(world: DiallingWorld) -> None:
    campaign = await world.campaign(CampaignState.HELD, budget=5)
    await world.contacts(campaign, 1)
    async with world.database.write() as session:
        row = await session.get_one(CampaignRow, campaign.id)
        row.reason, row.committed = "the budget is used up", 4
        number = (await session.scalars(select(PhoneNumberRow))).one()
        number.quarantine_until = world.now + timedelta(hours=1)

    answer = await asked(world, campaign)
    assert (answer.is_dialling, answer.reason, answer.blockers[0]) == (False, "the budget is used up", "state:held")
    assert (answer.budget, answer.committed) == (5, 4)
    assert [number.blocker for number in answer.numbers] == ["quarantine"]
