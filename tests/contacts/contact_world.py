"""The REST interface of contacts over a database, and its jobs done when a test says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import delete, select

from tests.api.world import ApiWorld, api_world
from tests.calls.stored_calls import an_organisation
from voice_agent.auth.principal import Principal
from voice_agent.auth.service import owner_of
from voice_agent.contacts.changes import CHANGE_CONTACTS, ChangeSetWork
from voice_agent.contacts.custom_fields import CLEAR_FIELD, FieldToClear
from voice_agent.jobs.model import JobContext
from voice_agent.storage.database import Database
from voice_agent.storage.tables import JobRow


def a_context(*, is_last: bool = False) -> JobContext:
    """Return what a job's handler is told."""
    return JobContext(job_id="1", kind="x", tries=1, is_last=is_last)


class ContactWorld:
    """Made by `contact_world`."""

    def __init__(self, api: ApiWorld, org_id: UUID, headers: dict[str, str]) -> None:
        self.api = api
        self.database: Database = api.database
        self.org_id = org_id
        self.headers = headers
        self.services = api.contacts

    @property
    def owner(self) -> Principal:
        """Who may do everything."""
        return owner_of(self.org_id)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Make a request under /api/v1."""
        return await self.api.ask(method, path, self.headers | headers, body)

    async def told(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Make a request that has to succeed; return its answer."""
        answer = await self.ask(method, path, body, **headers)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def create(self, number: str, **said: Any) -> dict[str, Any]:
        """Make a contact."""
        made: dict[str, Any] = await self.told("POST", "/contacts", {"number": number} | said)
        return made

    async def work(self) -> None:
        """Do the jobs that were asked for."""
        async with self.database.write() as session:
            jobs = (await session.scalars(select(JobRow).order_by(JobRow.created_at))).all()
            await session.execute(delete(JobRow))
        for job in jobs:
            if job.kind == CHANGE_CONTACTS:
                change = ChangeSetWork(change_set_id=UUID(job.payload["change_set_id"]))
                await self.services.changes.work(change, a_context())
            if job.kind == CLEAR_FIELD:
                field = FieldToClear(org_id=UUID(job.payload["org_id"]), key=job.payload["key"])
                await self.services.fields.clear(field, a_context())

    async def bulk(self, action: str, **order: Any) -> dict[str, Any]:
        """Do something with many contacts; return the change set when it is done."""
        asked = await self.told("POST", "/contacts/bulk", {"action": action} | order)
        await self.work()
        return await self.change_set(asked["id"])

    async def undo(self, change_set_id: str) -> dict[str, Any]:
        """Take a change set back; return it when that is done."""
        await self.told("POST", f"/change-sets/{change_set_id}/undo")
        await self.work()
        return await self.change_set(change_set_id)

    async def change_set(self, change_set_id: str) -> dict[str, Any]:
        """Return a change set."""
        found: dict[str, Any] = await self.told("GET", f"/change-sets/{change_set_id}")
        return found


@asynccontextmanager
async def contact_world(database: Database, folder: Path) -> AsyncIterator[ContactWorld]:
    """Put everything up over an organisation, and down again."""
    async with api_world(database, folder) as api:
        org_id = await an_organisation(database)
        yield ContactWorld(api, org_id, await api.key(org_id))
