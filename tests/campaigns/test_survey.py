"""What the pacing is told of what is in the database."""

from datetime import timedelta

from tests.calls.stored_calls import NOW, OURS
from tests.campaigns.dialling_world import dialling_world
from tests.campaigns.stored_campaigns import an_attempt
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.pacing import Scope
from voice_agent.campaigns.survey import survey
from voice_agent.storage.database import Database

LIMITS = Limits(max_calls=20, organisation_calls=9, agent_calls=5, calls_per_second=3.0)


async def test_a_running_campaign_is_seen_with_all_that_limits_it(database: Database) -> None:
    world = await dialling_world(database)
    campaign = await world.campaign(weight=4, pacing={"max_calls": 10, "ramp_from": 0.1, "ramp_step_s": 60.0})
    contacts = await world.contacts(campaign, 5)
    await world.contacts(campaign, 2, first=10, rank=-1)
    await an_attempt(database, campaign, contacts[0])
    await an_attempt(database, campaign, contacts[1], "in_progress")
    await world.number("+34930000000", max_live=3)

    async with database.read() as session:
        seen = await survey(session, [campaign], LIMITS, world.now + timedelta(seconds=60))
    (claimant,) = seen.claimants
    assert (claimant.campaign_id, claimant.org_id, claimant.weight) == (campaign.id, world.org_id, 4)
    assert (claimant.active, claimant.starting, claimant.due, claimant.callbacks) == (2, 1, 7, 2)
    assert claimant.ramp == 0.2
    assert claimant.agents == (str(world.agent_id),)
    assert set(claimant.numbers) == {OURS, "+34930000000"}
    assert seen.ground.everything == Scope(limit=20, active=2)
    assert (seen.ground.kept_free, seen.ground.starting, seen.ground.calls_per_second) == (4, 1, 3.0)
    assert seen.ground.organisations == {world.org_id: Scope(limit=9, active=2)}
    assert seen.ground.agents == {str(world.agent_id): Scope(limit=5, active=0)}
    assert seen.ground.numbers["+34930000000"].room == 3


async def test_trouble_begins_the_ramp_anew_and_nobody_due_needs_no_number(sqlite: Database) -> None:
    world = await dialling_world(sqlite)
    campaign = await world.campaign()
    later = NOW + timedelta(hours=1)

    async with sqlite.read() as session:
        seen = await survey(session, [campaign], LIMITS, later, ramped_since={campaign.id: later})
        thorough = await survey(session, [campaign], LIMITS, later, is_thorough=True)
    assert (seen.claimants[0].ramp, seen.claimants[0].numbers, seen.claimants[0].agents) == (0.1, (), ())
    assert (thorough.claimants[0].ramp, thorough.claimants[0].numbers) == (1.0, (OURS,))
