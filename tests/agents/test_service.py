"""Versions under two editors at once, on SQLite and on Postgres; test_routes has the rest."""

import asyncio
from datetime import UTC, datetime

from tests.calls.stored_calls import an_organisation
from voice_agent.agents import repository
from voice_agent.agents.files import load_agent
from voice_agent.agents.service import AgentService
from voice_agent.auth.principal import system
from voice_agent.storage.database import Database


async def test_two_editors_at_once_share_one_draft_and_numbers_have_no_gaps(database: Database) -> None:
    agents = AgentService(lambda: datetime.now(UTC))
    principal = system(await an_organisation(database), "test")
    async with database.write() as session:
        row, _ = await agents.create(session, principal, "Anna", load_agent())
        await agents.publish(session, principal, row.id)

    async def edit() -> int:
        async with database.write() as session:
            return (await agents.edit(session, principal, row.id, load_agent())).number

    assert set(await asyncio.gather(*(edit() for _ in range(5)))) == {2}
    async with database.read() as session:
        assert [version.number for version in await repository.versions(session, row.id)] == [2, 1]
        assert (await repository.numbered(session, row.id, 1)) is not None
