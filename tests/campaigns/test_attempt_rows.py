"""The statements of what comes after a call, on SQLite and on Postgres."""

from datetime import timedelta

from sqlalchemy import select

from tests.calls.stored_calls import NOW, a_call, an_organisation
from tests.campaigns.stored_campaigns import a_stored_campaign, an_attempt, reread, stored_contacts
from voice_agent.calls.model import CallState, Outcome
from voice_agent.campaigns import attempt_rows
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, CampaignContactRow, DispositionRow

_C = ContactState
LATER = NOW + timedelta(minutes=1)


async def test_a_contacts_attempts_are_those_that_are_over_in_their_order(database: Database) -> None:
    campaign = await a_stored_campaign(database, await an_organisation(database), CampaignState.RUNNING)
    one, other = await stored_contacts(database, campaign, _C.DIALING, _C.DIALING)
    first = await an_attempt(database, campaign, one, "ended")
    await an_attempt(database, campaign, other, "ended")
    async with database.write() as session:
        (await session.get_one(CallRow, first.id)).outcome = "busy"
        second = a_call(campaign.org_id, state="accepted")
        second.campaign_id, second.campaign_contact_id, second.attempt = campaign.id, one.id, 2
        session.add(second)
    async with database.read() as session:
        found = await attempt_rows.ended_attempts(session, one)
        assert [(each.state, each.outcome) for each in found] == [(CallState.ENDED, Outcome.BUSY)]
        last = await attempt_rows.last_call(session, one)
        assert last is not None
        assert last.id == second.id
        locked = await attempt_rows.locked_contact(session, second)
        assert locked is not None
        assert locked.id == one.id
        assert await attempt_rows.locked_contact(session, a_call(campaign.org_id)) is None


async def test_dispositions_are_an_organisations_own(sqlite: Database) -> None:
    ours, theirs = await an_organisation(sqlite), await an_organisation(sqlite, "Others")
    async with sqlite.write() as session:
        for org_id, is_retried in ((ours, True), (theirs, False)):
            row = DispositionRow(
                id=new_id(), org_id=org_id, key="later", label="Later", is_retried=is_retried, created_at=NOW
            )
            session.add(row)
    async with sqlite.read() as session:
        assert await attempt_rows.is_called_again(session, ours, "later")
        assert not await attempt_rows.is_called_again(session, theirs, "later")
        assert not await attempt_rows.is_called_again(session, ours, "never")


async def test_leases_that_have_ended_and_what_is_shown_wrongly_are_found(database: Database) -> None:
    campaign = await a_stored_campaign(database, await an_organisation(database), CampaignState.RUNNING)
    lapsed, fresh, over, answered, right = await stored_contacts(
        database, campaign, _C.LEASED, _C.LEASED, _C.DIALING, _C.DIALING, _C.IN_CALL, lease_until=NOW
    )
    async with database.write() as session:
        (await session.get_one(CampaignContactRow, fresh.id)).lease_until = LATER
    call = await an_attempt(database, campaign, lapsed)
    ended = await an_attempt(database, campaign, over, "ended")
    live = await an_attempt(database, campaign, answered, "in_progress")
    await an_attempt(database, campaign, right, "in_progress")

    async with database.read() as session:
        found = await attempt_rows.lapsed_leases(session, NOW + timedelta(seconds=1), 10)
        assert found == [(lapsed.id, call.id)]
        assert set(await attempt_rows.missed_calls(session, 10)) == {ended.id, live.id}
    async with database.write() as session:
        assert not await attempt_rows.without_call(session, lapsed.id, NOW)
        assert await attempt_rows.without_call(session, fresh.id, NOW)
    assert (await reread(database, fresh)).state == "due"


async def test_campaigns_that_may_be_over(database: Database) -> None:
    org_id = await an_organisation(database)
    states = (CampaignState.PAUSING, CampaignState.STOPPING, CampaignState.RUNNING, CampaignState.RUNNING)
    pausing, stopping, open_, drained = [await a_stored_campaign(database, org_id, state) for state in states]
    held = await a_stored_campaign(database, org_id, CampaignState.HELD)
    await stored_contacts(database, open_, _C.DONE, _C.COOLDOWN)
    await stored_contacts(database, drained, _C.DONE, _C.SUPPRESSED)
    (leased,) = await stored_contacts(database, pausing, _C.LEASED, first=9)
    (dialed,) = await stored_contacts(database, held, _C.DONE, first=10)
    await an_attempt(database, held, dialed, "unknown")

    async with database.read() as session:
        found = await attempt_rows.ending_campaigns(session)
        assert [each.id for each in found] == sorted(each.id for each in (pausing, stopping, drained))
        assert [await attempt_rows.is_open(session, each) for each in (open_, drained)] == [True, False]
        rows = (pausing, stopping, open_, held)
        assert [await attempt_rows.is_active(session, each) for each in rows] == [True, False, False, True]
    assert leased.state == "leased"


async def test_waiting_contacts_are_closed_some_at_a_time(database: Database) -> None:
    campaign = await a_stored_campaign(database, await an_organisation(database), CampaignState.STOPPING)
    await stored_contacts(database, campaign, _C.DUE, _C.COOLDOWN, _C.PENDING, _C.DIALING, _C.DONE)
    closed = []
    for _ in range(3):
        async with database.write() as session:
            closed.append(await attempt_rows.close_waiting(session, campaign, _C.CANCELLED, "stopped", LATER, limit=2))
    assert closed == [2, 1, 0]
    async with database.read() as session:
        rows = (await session.scalars(select(CampaignContactRow).order_by(CampaignContactRow.e164))).all()
    assert [row.state for row in rows] == ["cancelled"] * 3 + ["dialing", "done"]


async def test_callbacks_are_paged_in_their_order(database: Database) -> None:
    campaign = await a_stored_campaign(database, await an_organisation(database), CampaignState.RUNNING)
    late, *same = await stored_contacts(database, campaign, _C.COOLDOWN, _C.DUE, _C.DUE, callback_at=NOW)
    await stored_contacts(database, campaign, _C.DONE, first=5, callback_at=NOW)
    await stored_contacts(database, campaign, _C.DUE, first=6)
    async with database.write() as session:
        (await session.get_one(CampaignContactRow, late.id)).callback_at = LATER
    seen, after = [], None
    async with database.read() as session:
        while page := await attempt_rows.callbacks_of(session, campaign, after=after, limit=2):
            seen += [row.id for row in page]
            assert page[-1].callback_at is not None
            after = (page[-1].callback_at, page[-1].id)
    assert seen == [*sorted(row.id for row in same), late.id]


async def test_calls_to_a_number_that_were_not_asked_for(sqlite: Database) -> None:
    campaign = await a_stored_campaign(sqlite, await an_organisation(sqlite), CampaignState.RUNNING)
    one, other = await stored_contacts(sqlite, campaign, _C.LEASED, _C.DIALING)
    call = await an_attempt(sqlite, campaign, one)
    await an_attempt(sqlite, campaign, other, "dialing")
    async with sqlite.write() as session:
        assert await attempt_rows.leased_calls_to(session, campaign.org_id, one.e164) == [call.id]
        assert await attempt_rows.leased_calls_to(session, campaign.org_id, other.e164) == []
        assert await attempt_rows.suppress_waiting(session, campaign.org_id, one.e164, "asked", NOW) == []
