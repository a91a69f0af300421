"""The REST interface of campaigns over a database, and the jobs of campaigns done when a test says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, select

from tests.api.world import ApiWorld, api_world
from tests.contacts.contact_world import ContactWorld, a_context
from voice_agent.campaigns.derived import GATHER, ContactsToGather
from voice_agent.campaigns.life import CANCEL_CALLS, OPEN_CONTACTS, CallsToCancel, ContactsToOpen
from voice_agent.campaigns.preflight import VALIDATE, CampaignToLookAt
from voice_agent.storage.database import Database
from voice_agent.storage.tables import JobRow, PhoneNumberRow


class CampaignWorld(ContactWorld):
    """Made by `campaign_world`."""

    def __init__(self, api: ApiWorld, org_id: UUID, headers: dict[str, str], agent_id: str) -> None:
        super().__init__(api, org_id, headers)
        self.agent_id = agent_id
        self.parts = api.campaigns

    def plan(self, **changes: Any) -> dict[str, Any]:
        """Return a plan of the one agent that there is."""
        return {"purpose": "service", "audience": {}, "variants": [{"agent_id": self.agent_id}]} | changes

    async def campaign(self, name: str = "Spring", **changes: Any) -> dict[str, Any]:
        """Make a campaign."""
        body = {"name": name, "plan": self.plan(**changes)}
        made: dict[str, Any] = await self.told("POST", "/campaigns", body)
        return made

    async def people(self, *numbers: str, **said: Any) -> list[str]:
        """Make contacts; return their keys."""
        return [(await self.create(number, **said))["id"] for number in numbers]

    async def ready(self, name: str = "Spring", people: int = 2, **changes: Any) -> dict[str, Any]:
        """Make a campaign with contacts that may be called, and look at it."""
        campaign = await self.campaign(name, **changes)
        contacts = await self.people(*(f"+3461234{len(name):02d}{index:02d}" for index in range(people)))
        await self.told("POST", f"/campaigns/{campaign['id']}/contacts", {"contacts": contacts})
        return await self.looked_at(campaign["id"])

    async def looked_at(self, campaign_id: str) -> dict[str, Any]:
        """Look at a campaign to the end."""
        await self.told("POST", f"/campaigns/{campaign_id}/validate")
        await self.work()
        return await self.get(campaign_id)

    async def launched(self, name: str = "Spring", people: int = 2, **changes: Any) -> dict[str, Any]:
        """Make a campaign that dials."""
        campaign = await self.ready(name, people, **changes)
        started: dict[str, Any] = await self.told("POST", f"/campaigns/{campaign['id']}/start")
        return started

    async def get(self, campaign_id: str) -> dict[str, Any]:
        """Return a campaign."""
        found: dict[str, Any] = await self.told("GET", f"/campaigns/{campaign_id}")
        return found

    async def work(self) -> None:
        """Do the jobs of campaigns that were asked for, and those that they ask for, once each."""
        async with self.database.write() as session:
            jobs = (await session.scalars(select(JobRow).order_by(JobRow.created_at))).all()
            await session.execute(delete(JobRow))
        handlers: dict[str, tuple[type[msgspec.Struct], Any]] = {
            VALIDATE: (CampaignToLookAt, self.parts.preflight.work),
            GATHER: (ContactsToGather, self.parts.derived.work),
            OPEN_CONTACTS: (ContactsToOpen, self.parts.chores.open_contacts),
            CANCEL_CALLS: (CallsToCancel, self.parts.chores.cancel_calls),
        }
        for job in jobs:
            if job.kind in handlers:
                payload, handler = handlers[job.kind]
                await handler(msgspec.convert(job.payload, payload), a_context())

    async def our_number(self, e164: str, **columns: Any) -> None:
        """Have another number of our own."""
        async with self.database.write() as session:
            row = PhoneNumberRow(e164=e164, country="ES", **columns)
            await self.api.numbers.add(session, self.owner, row)


@asynccontextmanager
async def campaign_world(database: Database, folder: Path) -> AsyncIterator[CampaignWorld]:
    """Put everything up over an organisation with an agent, and down again."""
    async with api_world(database, folder) as api:
        org_id = await api.organisation()
        headers = await api.key(org_id)
        (agent,) = (await api.ask("GET", "/agents", headers)).json()["items"]
        yield CampaignWorld(api, org_id, headers, agent["id"])
