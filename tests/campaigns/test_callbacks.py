"""A call that was promised: when it is, what it comes before, and that it can be taken back."""

from datetime import datetime, timedelta

import pytest

from tests.calls.stored_calls import NOW, a_call
from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from tests.campaigns.settling_world import Exchange
from tests.campaigns.stored_campaigns import notes_of
from voice_agent.auth.principal import system
from voice_agent.campaigns.callbacks import callbacks_page
from voice_agent.campaigns.model import CampaignState
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, CampaignContactRow, CampaignRow

TOMORROW = NOW + timedelta(days=1)
NIGHT = NOW.replace(hour=23)
EIGHT = datetime.fromisoformat("2026-11-26T08:00:00+00:00")  # nine in Madrid


@pytest.fixture
async def world(sqlite: Database) -> DiallingWorld:
    return await dialling_world(sqlite)


@pytest.fixture
async def line(world: DiallingWorld) -> Exchange:
    return Exchange(world)


async def in_call(line: Exchange, number: int = 1) -> tuple[CampaignRow, CallRow]:
    """A campaign of several contacts, the first of whom is in a call."""
    campaign = await line.world.campaign(windows=[{"days": ["wed", "thu"], "opens": "09:00", "closes": "20:00"}])
    await line.world.contacts(campaign, number)
    (call,) = await line.place(campaign)
    await line.hear(call, "in-progress")
    return campaign, call


async def agree(line: Exchange, call: CallRow, wanted: datetime) -> datetime:
    """What the agent's tool does in the call."""
    async with line.world.database.write() as session:
        row = await session.get_one(CallRow, call.id)
        row.callback_at = await line.callbacks.book_in_call(session, row, wanted, line.world.now)
        return row.callback_at


async def book(line: Exchange, campaign: CampaignRow, contact: CampaignContactRow, at: datetime) -> CampaignContactRow:
    async with line.world.database.write() as session:
        return await line.callbacks.book(session, line.world.principal, campaign.id, contact.id, at, line.world.now)


async def cancel(line: Exchange, campaign: CampaignRow, contact: CampaignContactRow) -> CampaignContactRow:
    async with line.world.database.write() as session:
        return await line.callbacks.cancel(session, line.world.principal, campaign.id, contact.id, line.world.now)


async def test_what_is_agreed_in_the_call_is_kept_before_all_others(database: Database) -> None:
    line = Exchange(await dialling_world(database))
    campaign, call = await in_call(line, 3)
    assert await agree(line, call, NIGHT) == EIGHT
    await line.end(call)

    contact = await line.contact(call)
    assert (contact.state, contact.callback_at, contact.next_attempt_at) == ("cooldown", EIGHT, EIGHT)
    line.world.now = EIGHT
    (again,) = await line.place(campaign)
    assert (again.to_number, again.attempt) == (call.to_number, 2)
    await line.end(again)
    contact = await line.contact(call)
    assert (contact.state, contact.callback_at, contact.rank) == ("done", None, 0)


async def test_the_gap_between_two_calls_does_not_hold_for_it_and_a_busy_line_leaves_it_promised(
    line: Exchange,
) -> None:
    campaign, call = await in_call(line, 2)
    await agree(line, call, line.world.now + timedelta(minutes=10))
    await line.end(call)
    line.world.pass_time(minutes=10)

    (again,) = await line.place(campaign)
    assert again.to_number == call.to_number
    await line.end(again, "busy")
    contact = await line.contact(call)
    assert (contact.state, contact.rank < 0) == ("cooldown", True)
    assert contact.next_attempt_at == line.world.now + timedelta(minutes=15)


async def test_a_moment_at_which_nobody_may_call_is_refused(line: Exchange) -> None:
    _, call = await in_call(line)
    for wanted in (line.world.now, line.world.now - timedelta(hours=1), line.world.now + timedelta(days=91)):
        with pytest.raises(InvalidRequest, match="within the next 90 days"):
            await agree(line, call, wanted)
    closed = await line.world.campaign(ring_s=90, windows=[{"days": ["mon"], "opens": "03:00", "closes": "03:01"}])
    (contact,) = await line.world.contacts(closed, 1, first=5)
    with pytest.raises(InvalidRequest, match="no hour"):
        await book(line, closed, contact, TOMORROW)


async def test_nobody_is_promised_a_call_by_what_does_not_call(line: Exchange) -> None:
    campaign, call = await in_call(line)
    async with line.world.database.write() as session:
        with pytest.raises(InvalidRequest, match="not of a campaign"):
            await line.callbacks.book_in_call(session, a_call(line.world.org_id), TOMORROW, line.world.now)
        (await session.get_one(CampaignRow, campaign.id)).state = CampaignState.STOPPING.value
    with pytest.raises(InvalidRequest, match="is over"):
        await agree(line, call, TOMORROW)
    running = await line.world.campaign()
    (contact,) = await line.world.contacts(running, 1, first=5, state="suppressed")
    with pytest.raises(Conflict, match="suppressed"):
        await book(line, running, contact, TOMORROW)


async def test_people_promise_a_call_to_somebody_whose_part_is_over_and_take_it_back(line: Exchange) -> None:
    campaign, call = await in_call(line)
    await line.end(call)
    contact = await line.contact(call)
    booked = await book(line, campaign, contact, TOMORROW)
    assert (booked.state, booked.next_attempt_at, booked.settled_at) == ("cooldown", TOMORROW, None)
    async with line.world.database.read() as session:
        (shown,) = await callbacks_page(session, campaign, after=None, limit=10)
        assert await callbacks_page(session, campaign, after=(TOMORROW, shown.id), limit=10) == []
    assert shown.id == contact.id

    taken_back = await cancel(line, campaign, contact)
    assert (taken_back.state, taken_back.callback_at, taken_back.rank) == ("done", None, 0)
    with pytest.raises(NotFound, match="promised"):
        await cancel(line, campaign, contact)
    assert [note.kind for note in await notes_of(line.world.database, campaign)] == ["callback", "callback"]


async def test_who_was_never_called_is_due_again_and_a_retry_is_as_it_was(line: Exchange) -> None:
    campaign = await line.world.campaign()
    first, second = await line.world.contacts(campaign, 2)
    await book(line, campaign, second, TOMORROW)
    assert (await cancel(line, campaign, second)).state == "due"
    await book(line, campaign, second, TOMORROW)
    (call,) = await line.place(campaign)
    await line.end(call, "busy")
    at = (await line.contact(call)).next_attempt_at
    await book(line, campaign, first, TOMORROW)
    assert (await cancel(line, campaign, first)).next_attempt_at == at


async def test_a_promise_during_a_call_is_found_at_its_end(line: Exchange) -> None:
    campaign, call = await in_call(line)
    contact = await line.contact(call)
    assert (await book(line, campaign, contact, TOMORROW)).state == "in_call"
    with pytest.raises(Conflict, match="just now"):
        await cancel(line, campaign, contact)
    await line.end(call)
    contact = await line.contact(call)
    assert (contact.state, contact.next_attempt_at) == ("cooldown", TOMORROW)


async def test_what_is_another_organisations_is_not_found(line: Exchange) -> None:
    campaign = await line.world.campaign()
    (contact,) = await line.world.contacts(campaign, 1)
    other = await line.world.campaign()
    with pytest.raises(NotFound, match="no such contact"):
        await book(line, other, contact, TOMORROW)
    line.world.principal = system(new_id(), "Luis")
    with pytest.raises(NotFound, match="no such campaign"):
        await book(line, campaign, contact, TOMORROW)
