"""What calls ask of agents and numbers, and the first start, on SQLite and on Postgres."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select

from tests.api.world import ApiWorld, api_world
from tests.calls.stored_calls import a_call
from voice_agent.agents.files import Agent, load_agent
from voice_agent.agents.model import Variable
from voice_agent.auth.principal import system
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


async def test_a_caller_who_is_handed_over_hears_what_the_agent_of_the_call_says_then(world: ApiWorld) -> None:
    org_id = await world.organisation()
    by_default = a_call(org_id)
    ours = load_agent()
    own = msgspec.structs.replace(
        ours.definition,
        language="es",
        lines=msgspec.structs.replace(ours.definition.lines, connecting="Le paso, {{name}}."),
        variables={"name": Variable(default="un momento")},
    )
    async with world.database.write() as session:
        row, _ = await world.agents.create(session, system(org_id, "test"), "Own", Agent(own, ours.dialogue))
        version = await world.agents.publish(session, system(org_id, "test"), row.id)
        by_own = a_call(org_id)
        by_own.agent_version_id, by_own.language, by_own.variables = version.id, "es", {"name": "Ana"}

        assert await world.directory.connecting_line(session, by_own) == "Le paso, Ana."
        by_default.variables, by_default.language = {}, "es"
        assert await world.directory.connecting_line(session, by_default) == "Un momento, por favor, le paso."
