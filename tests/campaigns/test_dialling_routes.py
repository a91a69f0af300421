"""Why a campaign is not dialling, over REST. test_why has the answers."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.campaigns.campaign_world import CampaignWorld, campaign_world
from voice_agent.auth.principal import Role
from voice_agent.storage.database import Database


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[CampaignWorld]:
    async with campaign_world(sqlite, tmp_path) as world:
        yield world


async def test_a_running_campaign_says_what_it_could_do_now(world: CampaignWorld) -> None:
    campaign = await world.launched(people=2, budget=5_000_000)

    answer = await world.told("GET", f"/campaigns/{campaign['id']}/dialling")
    assert (answer["is_dialling"], answer["state"], answer["due"], answer["ramp"]) == (True, "running", 2, 0.1)
    assert [level["scope"] for level in answer["levels"]] == ["everything", "organisation", "campaign", "agent"]
    assert [(number["blocker"], number["live"]) for number in answer["numbers"]] == [("", 0)]
    assert (answer["budget"], answer["committed"]) == (5.0, 0.0)


async def test_a_draft_says_that_it_is_one_and_a_stranger_s_is_not_found(world: CampaignWorld) -> None:
    campaign = await world.campaign()

    answer = await world.told("GET", f"/campaigns/{campaign['id']}/dialling")
    assert (answer["is_dialling"], answer["blockers"][0], answer["budget"]) == (False, "state:draft", None)
    stranger = await world.api.member(await world.api.organisation("Mill", "+34910000009"), Role.MANAGER)
    assert (await world.api.ask("GET", f"/campaigns/{campaign['id']}/dialling", stranger)).status_code == 404
    assert (await world.ask("GET", f"/campaigns/{uuid4()}/dialling")).status_code == 404
