"""The last look's statement. test_placing has what is done with its answer."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.campaigns.dialling_world import dialling_world
from voice_agent.calls import admitted
from voice_agent.calls.model import CallState
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow


def test_the_words_are_those_of_campaigns() -> None:
    assert (admitted.RUNNING, admitted.LEASED, admitted.DIALING) == (
        CampaignState.RUNNING,
        ContactState.LEASED,
        ContactState.DIALING,
    )


async def test_a_contact_is_dialled_by_the_call_it_is_leased_for_and_by_no_other(database: Database) -> None:
    world = await dialling_world(database)
    campaign = await world.campaign()
    await world.contacts(campaign, 1)
    (call,) = await world.admit(campaign)
    assert call.state == CallState.INTENT

    async def begun(**changes: Any) -> set[UUID]:
        async with database.write() as session:
            row = await session.get_one(CallRow, call.id)
            before = {name: getattr(row, name) for name in changes if name != "now"}
            for name in before:
                setattr(row, name, changes[name])
            await session.flush()
            found = await admitted.begin(session, [row], changes.get("now", world.now))
            for name, value in before.items():
                setattr(row, name, value)
        return found

    assert await begun(campaign_epoch=2) == set()
    assert await begun(campaign_contact_id=new_id()) == set()
    assert await begun(now=world.now + timedelta(minutes=1)) == set()
    assert await begun() == {call.id}
    assert await begun() == set()
    assert await world.states(campaign) == {"dialing": 1}


async def test_calls_are_locked_in_one_order(database: Database) -> None:
    world = await dialling_world(database)
    campaign = await world.campaign()
    await world.contacts(campaign, 3)
    keys = [call.id for call in await world.admit(campaign)]

    async with database.write() as session:
        assert [call.id for call in await admitted.locked(session, keys[::-1])] == sorted(keys)
