"""The last look's statement. test_placing has what is done with its answer."""

from datetime import timedelta

from tests.campaigns.dialling_world import dialling_world
from voice_agent.calls import admitted
from voice_agent.calls.model import CallState
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id


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

    async with database.write() as session:
        call.campaign_epoch = 2
        assert not await admitted.begin(session, call, world.now)
        call.campaign_epoch = 1
        stranger, call.org_id = call.org_id, new_id()
        assert not await admitted.begin(session, call, world.now)
        call.org_id = stranger
        assert not await admitted.begin(session, call, world.now + timedelta(minutes=1))
        assert await admitted.begin(session, call, world.now)
        assert not await admitted.begin(session, call, world.now)
    assert await world.states(campaign) == {"dialing": 1}
