"""Lists and segments over REST: what `contact_world` has, and lists."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select

from tests.api.world import ApiWorld, api_world
from tests.calls.stored_calls import an_organisation
from tests.contacts.contact_world import ContactWorld, a_context
from voice_agent.contacts.list_filling import ListToFill
from voice_agent.storage.database import Database
from voice_agent.storage.tables import JobRow, ListMemberRow


class ListWorld(ContactWorld):
    """Made by `list_world`."""

    def __init__(self, api: ApiWorld, org_id: UUID, headers: dict[str, str]) -> None:
        super().__init__(api, org_id, headers)
        self.filling = api.filling
        self.lists = api.lists

    async def a_list(self, name: str = "Spring", **said: Any) -> str:
        """Make a list or a segment; return its key."""
        made = await self.told("POST", "/lists", {"name": name} | said)
        return str(made["id"])

    async def fill(self) -> int:
        """Do the fillings that were asked for; return how many there were."""
        async with self.database.write() as session:
            jobs = (await session.scalars(select(JobRow).order_by(JobRow.created_at))).all()
            await session.execute(delete(JobRow))
        for job in jobs:
            work = ListToFill(change_set_id=UUID(job.payload["change_set_id"]))
            await self.filling.work(work, a_context())
        return len(jobs)

    async def members(self, list_id: str) -> set[str]:
        """Return the numbers of a list's members, as they are stored."""
        page = await self.told("GET", f"/lists/{list_id}/members?limit=200")
        assert page["next_cursor"] is None
        return {contact["e164"] for contact in page["items"]}

    async def rows(self, list_id: str) -> int:
        """Return how many memberships a list has, whatever they are of."""
        async with self.database.read() as session:
            rows = await session.scalars(select(ListMemberRow).where(ListMemberRow.list_id == UUID(list_id)))
            return len(rows.all())


@asynccontextmanager
async def list_world(database: Database, folder: Path) -> AsyncIterator[ListWorld]:
    """Put everything up over an organisation, and down again."""
    async with api_world(database, folder) as api:
        org_id = await an_organisation(database)
        yield ListWorld(api, org_id, await api.key(org_id))


def numbers(count: int, first: int = 0) -> list[str]:
    """Return Spanish mobile numbers."""
    return [f"+3461234{index:04d}" for index in range(first, first + count)]
