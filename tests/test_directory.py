"""What calls ask of agents and numbers, and the first start, on SQLite and on Postgres."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.api.world import ApiWorld, api_world
from voice_agent.agents.files import load_agent
from voice_agent.directory import found
from voice_agent.errors import NotFound
from voice_agent.storage.database import Database
from voice_agent.storage.tables import AgentRow, OrganisationRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ApiWorld]:
    async with api_world(database, tmp_path) as world:
        yield world


async def test_the_first_start_makes_an_organisation_and_publishes_its_agent_and_later_ones_nothing(
    world: ApiWorld,
) -> None:
    for _ in range(2):
        async with world.database.write() as session:
            await found(session, world.identity, world.agents, load_agent())

    async with world.database.read() as session:
        assert (await session.scalars(select(func.count()).select_from(OrganisationRow))).one() == 1
        assert [row.published_version for row in await session.scalars(select(AgentRow))] == [1]
        who = await world.directory.answering(session, "+15550000000")
    assert (who.agent_name, who.language) == ("Harbour Dental reception", "en")
    assert who.version_id is not None


async def test_without_any_organisation_nobody_answers(world: ApiWorld) -> None:
    async with world.database.read() as session:
        with pytest.raises(NotFound):
            await world.directory.answering(session, "+15550000000")
