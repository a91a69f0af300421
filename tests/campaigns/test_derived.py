"""Campaigns of other campaigns' contacts, in chunks; what a test call is told."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.api.world import now
from tests.campaigns.campaign_world import CampaignWorld, campaign_world
from tests.campaigns.stored_campaigns import jobs_of
from tests.contacts.contact_world import a_context
from voice_agent.auth.principal import Principal
from voice_agent.calls.service import CallOrder
from voice_agent.campaigns import repository
from voice_agent.campaigns.derived import ContactsToGather, DerivedCampaigns, TestCall, TrialCalls
from voice_agent.campaigns.repository import ContactFilter
from voice_agent.errors import Conflict, InvalidRequest
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow, CampaignRow


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[CampaignWorld]:
    async with campaign_world(sqlite, tmp_path) as opened:
        yield opened


async def test_many_contacts_are_gathered_chunk_by_chunk_by_a_job_and_twice_is_once(world: CampaignWorld) -> None:
    source = await world.ready(people=5)
    derived = DerivedCampaigns(world.database, world.parts.campaigns, world.api.lists, JobOutbox(), now, chunk=2)
    async with world.database.write() as session:
        made = await derived.from_outcomes(session, world.owner, UUID(source["id"]), "Again", ContactFilter())
    (job,) = [job for job in await jobs_of(world.database) if job.kind == "campaign.gather"]
    (list_id,) = made.plan["audience"]["lists"]
    work = ContactsToGather(
        org_id=world.org_id, source_id=UUID(source["id"]), list_id=UUID(list_id), wanted=ContactFilter()
    )
    assert UUID(job.payload["list_id"]) == work.list_id

    await derived.work(work, a_context())
    await derived.work(work, a_context())

    members = await world.told("GET", f"/lists/{list_id}/members")
    assert len(members["items"]) == 5
    assert (await world.looked_at(str(made.id)))["contacts"] == 5


class Calls:
    """A call service that notes what it was to place."""

    def __init__(self) -> None:
        self.orders: list[CallOrder] = []

    async def start(self, principal: Principal, order: CallOrder) -> CallRow:
        """Implement the port."""
        assert principal.name
        self.orders.append(order)
        return CallRow()

    async def end(self, principal: Principal, call_id: UUID) -> CallRow:
        """Implement the port."""
        raise AssertionError((principal, call_id))


async def test_a_test_call_is_told_what_the_contact_would_be(world: CampaignWorld) -> None:
    agent = (await world.told("GET", f"/agents/{world.agent_id}/versions/1"))["definition"]
    agent["variables"] = {"given_name": {}, "offer": {}}
    await world.told("PUT", f"/agents/{world.agent_id}/draft", {"definition": agent})
    await world.told("POST", f"/agents/{world.agent_id}/publish")
    variants = [{"key": "b", "agent_id": world.agent_id, "variables": {"offer": "10 %"}}]
    campaign = await world.campaign(variants=variants, ring_s=15)
    contacts = await world.people("+34612345601", given_name="Ana", company="Port")
    await world.told("POST", f"/campaigns/{campaign['id']}/contacts", {"contacts": contacts})
    (contact,) = (await world.told("GET", f"/campaigns/{campaign['id']}/contacts"))["items"]
    calls = Calls()
    trials = TrialCalls(world.database, world.parts.campaigns, calls)

    wanted = TestCall(to="+34910000001", campaign_contact_id=UUID(contact["id"]))
    await trials.place(world.owner, UUID(campaign["id"]), wanted)

    (order,) = calls.orders
    assert dict(order.variables) == {"given_name": "Ana", "offer": "10 %"}
    assert (order.purpose, str(order.agent_id), order.ring_s) == ("test", world.agent_id, 15)
    with pytest.raises(InvalidRequest, match="variant"):
        await trials.place(world.owner, UUID(campaign["id"]), TestCall(to="+34910000001", variant="a"))


async def test_an_agent_that_is_not_published_cannot_be_tested(world: CampaignWorld) -> None:
    campaign = await world.campaign()
    await world.told("DELETE", f"/agents/{world.agent_id}")

    with pytest.raises(Conflict, match="not published"):
        await TrialCalls(world.database, world.parts.campaigns, Calls()).place(
            world.owner, UUID(campaign["id"]), TestCall(to="+34910000001", variant="a")
        )


async def test_a_source_that_is_gone_ends_the_gathering(world: CampaignWorld) -> None:
    source = await world.campaign()
    async with world.database.read() as session:
        row = await session.get_one(CampaignRow, UUID(source["id"]))
        assert not await repository.wanted_walk(session, row, ContactFilter(), after="", limit=5)
    await world.told("DELETE", f"/campaigns/{source['id']}")
    work = ContactsToGather(org_id=world.org_id, source_id=row.id, list_id=row.id, wanted=ContactFilter())

    await world.parts.derived.work(work, a_context())

    assert not [job for job in await jobs_of(world.database) if job.kind == "campaign.gather"]
