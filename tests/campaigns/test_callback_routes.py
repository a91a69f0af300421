"""Promised calls over REST. test_callbacks has the rules."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from tests.api.world import now
from tests.campaigns.campaign_world import CampaignWorld, campaign_world
from voice_agent.auth.principal import Role
from voice_agent.storage.database import Database


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[CampaignWorld]:
    async with campaign_world(sqlite, tmp_path) as world:
        yield world


async def test_a_call_is_promised_shown_and_taken_back(world: CampaignWorld) -> None:
    campaign = await world.launched(people=3)
    path = f"/campaigns/{campaign['id']}"
    contacts = (await world.told("GET", f"{path}/contacts"))["items"]
    for days, contact in enumerate(contacts, start=1):
        at = (now() + timedelta(days=days)).isoformat()
        booked = await world.told("PUT", f"{path}/contacts/{contact['id']}/callback", {"at": at})
        assert (booked["state"], booked["rank"] < 0, booked["callback_at"]) == (
            "cooldown", True, booked["next_attempt_at"],
        )  # fmt: skip

    first = await world.told("GET", f"{path}/callbacks?limit=2")
    assert [each["id"] for each in first["items"]] == [each["id"] for each in contacts[:2]]
    rest = await world.told("GET", f"{path}/callbacks?limit=2&cursor={first['next_cursor']}")
    assert ([each["id"] for each in rest["items"]], rest["next_cursor"]) == ([contacts[2]["id"]], None)

    taken_back = await world.told("DELETE", f"{path}/contacts/{contacts[0]['id']}/callback")
    assert (taken_back["callback_at"], taken_back["state"]) == (None, "due")
    assert (await world.ask("DELETE", f"{path}/contacts/{contacts[0]['id']}/callback")).status_code == 404


async def test_what_cannot_be_promised_is_refused(world: CampaignWorld) -> None:
    campaign = await world.launched(people=1)
    path = f"/campaigns/{campaign['id']}"
    (contact,) = (await world.told("GET", f"{path}/contacts"))["items"]
    callback = f"{path}/contacts/{contact['id']}/callback"
    past = {"at": (now() - timedelta(days=1)).isoformat()}
    later = {"at": (now() + timedelta(days=1)).isoformat()}
    assert (await world.ask("PUT", callback, past)).status_code == 422
    assert (await world.ask("PUT", f"{path}/contacts/{uuid4()}/callback", later)).status_code == 404
    assert (await world.ask("GET", f"/campaigns/{uuid4()}/callbacks")).status_code == 404
    await world.told("POST", f"{path}/stop", {})
    assert (await world.ask("PUT", callback, later)).status_code == 409
    analyst = await world.api.member(world.org_id, Role.ANALYST)
    assert (await world.api.ask("PUT", callback, analyst, later)).status_code == 403
