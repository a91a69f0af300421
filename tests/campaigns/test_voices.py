"""Which version of which agent speaks for a variant."""

from collections.abc import Mapping
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import select

from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from voice_agent.agents.model import Variable
from voice_agent.agents.service import AgentService
from voice_agent.campaigns.plan import Plan, stored_plan
from voice_agent.campaigns.voices import Voice, voices_of
from voice_agent.errors import InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.tables import AgentVersionRow


@pytest.fixture
async def world(sqlite: Database) -> DiallingWorld:
    return await dialling_world(sqlite)


async def voices(world: DiallingWorld, *variants: Mapping[str, object], org_id: UUID | None = None) -> dict[str, Voice]:
    plan: Plan = stored_plan(world.plan(variants=list(variants)))
    async with world.database.read() as session:
        return await voices_of(session, org_id or world.org_id, plan)


async def test_a_variant_speaks_with_what_is_published_or_with_the_version_it_names(world: DiallingWorld) -> None:
    agent_id = str(world.agent_id)
    found = await voices(
        world, {"agent_id": agent_id}, {"key": "b", "agent_id": agent_id, "agent_version": 1},
        {"key": "c", "agent_id": agent_id, "agent_version": 2}, {"key": "d", "agent_id": str(UUID(int=9))},
    )  # fmt: skip

    assert set(found) == {"a", "b"}
    assert found["a"].agent_id == world.agent_id
    assert found["a"].version_id == found["b"].version_id


async def test_an_agent_of_another_organisation_or_one_that_is_archived_does_not_speak(world: DiallingWorld) -> None:
    variant = {"agent_id": str(world.agent_id)}
    assert await voices(world, variant, org_id=UUID(int=3)) == {}

    async with world.database.write() as session:
        await AgentService(lambda: world.now).archive(session, world.principal, world.agent_id)
    assert await voices(world, variant) == {}


async def test_a_version_that_cannot_be_read_or_is_a_draft_does_not_speak(world: DiallingWorld) -> None:
    variant = {"agent_id": str(world.agent_id)}
    for state, definition in (("published", {"name": 5}), ("draft", None)):
        async with world.database.write() as session:
            version = (await session.scalars(select(AgentVersionRow))).one()
            version.state, version.definition = state, definition or version.definition
        assert await voices(world, variant) == {}


async def test_an_agent_is_told_what_it_asks_for_and_nothing_else(world: DiallingWorld) -> None:
    variant = {"agent_id": str(world.agent_id), "variables": {"shop": "Harbour"}}
    (voice,) = (await voices(world, variant)).values()
    asking = {"name": Variable(is_required=True), "shop": Variable()}
    voice = msgspec.structs.replace(voice, definition=msgspec.structs.replace(voice.definition, variables=asking))

    assert voice.told({"name": "Ana", "unknown": "y"}) == {"name": "Ana", "shop": "Harbour"}
    with pytest.raises(InvalidRequest, match="name is required"):
        voice.told({"shop": "Mill"})
