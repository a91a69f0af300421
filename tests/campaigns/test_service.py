"""What people do with campaigns, where it can go wrong; test_routes has the rest."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.campaigns.campaign_world import CampaignWorld, campaign_world
from tests.campaigns.stored_campaigns import an_attempt, reread
from voice_agent.campaigns import repository
from voice_agent.campaigns import service as module
from voice_agent.campaigns.repository import ContactFilter
from voice_agent.errors import Conflict, NotFound
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CampaignRow


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[CampaignWorld]:
    async with campaign_world(sqlite, tmp_path) as opened:
        yield opened


async def row_of(world: CampaignWorld, campaign_id: str) -> CampaignRow:
    async with world.database.read() as session:
        return await session.get_one(CampaignRow, UUID(campaign_id))


async def test_a_pause_waits_for_live_calls_and_is_over_at_once_without_any(world: CampaignWorld) -> None:
    idle, busy = await world.launched("Idle"), await world.launched("Busier")
    row = await row_of(world, busy["id"])
    async with world.database.read() as session:
        (contact, *_) = await repository.contacts_page(session, row, ContactFilter(), before=None, limit=1)
    await an_attempt(world.database, row, contact, "in_progress")

    paused = [await world.told("POST", f"/campaigns/{each['id']}/pause", {}) for each in (idle, busy)]

    assert [each["state"] for each in paused] == ["paused", "pausing"]
    assert (await world.told("POST", f"/campaigns/{busy['id']}/resume"))["state"] == "running"


async def test_two_launches_at_once_are_one(world: CampaignWorld) -> None:
    ready = await world.ready()

    answers = await asyncio.gather(*(world.ask("POST", f"/campaigns/{ready['id']}/start") for _ in range(3)))

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]


async def test_what_is_not_there_is_not_found(world: CampaignWorld) -> None:
    service = world.parts.campaigns
    async with world.database.write() as session:
        with pytest.raises(NotFound):
            await service.find(session, world.org_id, uuid4())
        with pytest.raises(NotFound):
            await service.locked(session, world.org_id, uuid4())
        with pytest.raises(NotFound):
            await service.start(session, world.owner, uuid4())


async def test_contacts_neither_join_nor_are_reopened_where_nobody_is_called(world: CampaignWorld) -> None:
    stopped = await world.launched()
    await world.told("POST", f"/campaigns/{stopped['id']}/stop", {})
    draft = await world.campaign("Draft")
    async with world.database.write() as session:
        with pytest.raises(Conflict, match="no more contacts"):
            await world.parts.campaigns.add_contacts(session, world.owner, UUID(stopped["id"]), [uuid4()])
        with pytest.raises(Conflict, match="make a new one"):
            await world.parts.campaigns.reopen(session, world.owner, UUID(draft["id"]), ContactFilter())


async def test_a_draft_with_very_many_contacts_is_archived_and_not_deleted(
    world: CampaignWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = await world.campaign()
    contacts = await world.people("+34612345601", "+34612345602")
    await world.told("POST", f"/campaigns/{draft['id']}/contacts", {"contacts": contacts})
    monkeypatch.setattr(module, "MOST_DELETED", 1)

    assert (await world.ask("DELETE", f"/campaigns/{draft['id']}")).status_code == 409
    assert (await world.told("POST", f"/campaigns/{draft['id']}/archive"))["state"] == "archived"


async def test_an_edit_that_the_state_does_not_allow_changes_nothing(world: CampaignWorld) -> None:
    running = await world.launched()

    answer = await world.ask("PUT", f"/campaigns/{running['id']}", {"name": "Other", "plan": world.plan(weight=9)})

    assert answer.status_code == 409
    row = await reread(world.database, await row_of(world, running["id"]))
    assert (row.name, row.revision, row.plan["weight"]) == ("Spring", 1, 1)


async def test_a_release_by_hand_is_a_resume_of_what_is_held(world: CampaignWorld) -> None:
    running = await world.launched()
    async with world.database.write() as session:
        row = await session.get_one(CampaignRow, UUID(running["id"]))
        row.state, row.hold_code, row.reason = "held", "budget", "spent"

    resumed = await world.told("POST", f"/campaigns/{running['id']}/resume")

    assert (resumed["state"], resumed["hold_code"], resumed["reason"]) == ("running", "", "")
