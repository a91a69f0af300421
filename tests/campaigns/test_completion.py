"""When a campaign has come to its end: nobody is left, and no call goes on."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from tests.campaigns.settling_world import Exchange
from tests.campaigns.stored_campaigns import reread
from voice_agent.auth.principal import system
from voice_agent.campaigns.life import Cause
from voice_agent.campaigns.model import CampaignEvent, CampaignState
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CampaignRow


@pytest.fixture
async def world(sqlite: Database) -> DiallingWorld:
    return await dialling_world(sqlite)


@pytest.fixture
async def line(world: DiallingWorld) -> Exchange:
    return Exchange(world)


async def move(line: Exchange, campaign: CampaignRow, event: CampaignEvent) -> None:
    async with line.world.database.write() as session:
        cause = Cause(by=system(line.world.org_id, "test"), reason="because")
        await line.life.move(session, campaign, event, cause, line.world.now)


async def state_of(line: Exchange, campaign: CampaignRow) -> tuple[int, str]:
    ended = await line.completion.complete()
    return ended, (await reread(line.world.database, campaign)).state


async def test_a_campaign_is_completed_when_nobody_is_left_and_not_before(database: Database) -> None:
    line = Exchange(await dialling_world(database))
    campaign = await line.world.campaign()
    await line.world.contacts(campaign, 1)
    assert await state_of(line, campaign) == (0, "running")

    (call,) = await line.place(campaign)
    assert await state_of(line, campaign) == (0, "running")
    await line.end(call, "busy")
    line.world.pass_time(days=300)  # never by idle time
    assert await state_of(line, campaign) == (0, "running")
    line.world.now = NEXT_MORNING
    (call,) = await line.place(campaign)
    await line.end(call)
    assert await state_of(line, campaign) == (1, "completed")
    stored = await reread(line.world.database, campaign)
    assert (stored.finished_at, stored.committed) == (line.world.now, line.world.policy.cost_per_minute)
    assert await state_of(line, campaign) == (0, "completed")


NEXT_MORNING = datetime.fromisoformat("2026-11-26T10:00:00+00:00")


async def test_an_audience_that_takes_people_in_by_itself_is_never_completed(line: Exchange) -> None:
    campaign = await line.world.campaign(audience={"is_live": True})
    await line.world.contacts(campaign, 1, state="done", next_attempt_at=None)
    assert await state_of(line, campaign) == (0, "running")


async def test_a_pause_is_over_when_the_last_call_has_ended(line: Exchange) -> None:
    campaign = await line.world.campaign()
    await line.world.contacts(campaign, 3)
    (call,) = await line.place(campaign)
    await move(line, campaign, CampaignEvent.PAUSE)
    assert await state_of(line, campaign) == (0, "pausing")
    await line.end(call)
    assert await state_of(line, campaign) == (1, "paused")
    assert (await reread(line.world.database, campaign)).reason == "because"
    assert await line.world.states(campaign) == {"done": 1, "due": 2}


@pytest.mark.parametrize(
    ("event", "contacts", "campaign_state"),
    [
        (CampaignEvent.STOP, "cancelled", "stopped"),
        (CampaignEvent.END_REACHED, "expired", "completed"),
    ],
)
async def test_a_stop_ends_the_others_at_once_and_waits_for_the_last_call(
    database: Database, event: CampaignEvent, contacts: str, campaign_state: str
) -> None:
    line = Exchange(await dialling_world(database))
    campaign = await line.world.campaign()
    await line.world.contacts(campaign, 6)
    call, first = await line.place(campaign, 2)
    await line.end(first)
    later: dict[str, Any] = {"state": "cooldown", "next_attempt_at": line.world.now + timedelta(days=1)}
    await line.world.contacts(campaign, 1, first=6, **later)
    await move(line, campaign, event)

    assert await state_of(line, campaign) == (0, "stopping")
    assert await line.world.states(campaign) == {"done": 1, "dialing": 1, contacts: 5}
    await line.end(call, "no-answer")
    assert await state_of(line, campaign) == (1, campaign_state)
    assert await line.world.states(campaign) == {"done": 1, contacts: 6}


@pytest.mark.parametrize("state", [CampaignState.HELD, CampaignState.PAUSED, CampaignState.DRAFT])
async def test_a_campaign_that_waits_for_somebody_waits(line: Exchange, state: CampaignState) -> None:
    campaign = await line.world.campaign(state)
    await line.world.contacts(campaign, 1, state="done", next_attempt_at=None)
    assert await state_of(line, campaign) == (0, state.value)


async def test_what_has_changed_since_it_was_looked_for_is_seen_under_the_lock(line: Exchange) -> None:
    """A contact joins, or the campaign is resumed, between the look and the lock."""
    campaign = await line.world.campaign()
    ends = line.completion._end
    await line.world.contacts(campaign, 1)
    assert not await ends(line.world.org_id, campaign.id)
    await move(line, campaign, CampaignEvent.STOP)
    assert not await ends(line.world.org_id, campaign.id)
    held = await line.world.campaign(CampaignState.HELD)
    assert not await ends(line.world.org_id, held.id)
    await line.completion._close_contacts(line.world.org_id, held.id)
    assert await line.world.states(campaign) == {"due": 1}
