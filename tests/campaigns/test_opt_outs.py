"""Whoever asks not to be called again is not, by any campaign, from that commit on."""

from datetime import timedelta
from typing import Any

from tests.calls.stored_calls import NOW, an_organisation
from tests.campaigns.dialling_world import dialling_world
from tests.campaigns.settling_world import Exchange
from tests.campaigns.stored_campaigns import a_stored_campaign, notes_of, reread, stored_contacts
from voice_agent.campaigns.model import ContactState
from voice_agent.campaigns.opt_outs import REASON, withdraw
from voice_agent.storage.database import Database


async def test_every_row_that_waits_is_suppressed_and_what_was_written_down_is_void(database: Database) -> None:
    world = await dialling_world(database)
    leased, waiting, retried, over = [await world.campaign() for _ in range(4)]
    (one,) = await world.contacts(leased, 1)
    (two,) = await world.contacts(waiting, 1, state="pending", next_attempt_at=None)
    later: dict[str, Any] = {"next_attempt_at": NOW + timedelta(days=1), "callback_at": NOW + timedelta(days=1)}
    (three,) = await world.contacts(retried, 1, state="cooldown", **later)
    (four,) = await world.contacts(over, 1, state="done", next_attempt_at=None)
    (other,) = await world.contacts(retried, 1, first=1)
    (call,) = await world.admit(leased)

    async with database.write() as session:
        assert await withdraw(session, world.org_id, one.e164, world.now) == 3

    for contact in (one, two, three):
        stored = await reread(database, contact)
        assert (stored.state, stored.skip_reason, stored.settled_at) == ("suppressed", REASON, world.now)
        assert (stored.call_id, stored.lease_owner, stored.next_attempt_at, stored.callback_at) == (None,) * 4
    assert [(await reread(database, each)).state for each in (four, other)] == ["done", "due"]
    voided = await reread(database, call)
    assert (voided.state, voided.outcome, voided.error) == ("void", "blocked", REASON)
    assert (await reread(database, leased)).committed == 0
    assert [note.kind for note in await notes_of(database, waiting)] == ["opt_out"]
    async with database.write() as session:
        assert await withdraw(session, world.org_id, one.e164, world.now) == 0


async def test_a_call_that_goes_on_ends_as_it_does_and_is_not_followed_by_another(sqlite: Database) -> None:
    world = await dialling_world(sqlite)
    line = Exchange(world)
    campaign = await world.campaign()
    await world.contacts(campaign, 1)
    (call,) = await line.place(campaign)
    await world.suppress(call.to_number)

    async with sqlite.write() as session:
        assert await withdraw(session, world.org_id, call.to_number, world.now) == 0
    assert (await line.contact(call)).state == "dialing"
    await line.end(call, "no-answer")
    assert (await line.contact(call)).state == "suppressed"


async def test_another_organisations_contacts_are_not_touched(sqlite: Database) -> None:
    world = await dialling_world(sqlite)
    theirs = await a_stored_campaign(sqlite, await an_organisation(sqlite, "Others"))
    (contact,) = await stored_contacts(sqlite, theirs, ContactState.DUE, next_attempt_at=NOW)
    async with sqlite.write() as session:
        assert await withdraw(session, world.org_id, contact.e164, world.now) == 0
    assert (await reread(sqlite, contact)).state == "due"
