"""What a change of a campaign's state brings with it; and any sequence of events."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.calls.stored_calls import NOW, an_organisation
from tests.campaigns.stored_campaigns import (
    Told,
    a_stored_campaign,
    an_attempt,
    jobs_of,
    notes_of,
    reread,
    stored_contacts,
)
from voice_agent.auth.principal import Principal, system
from voice_agent.calls.service import CallOrder
from voice_agent.campaigns import repository
from voice_agent.campaigns.life import (
    CANCEL_CALLS,
    END_REACHED,
    OPEN_CONTACTS,
    CallsToCancel,
    CampaignChores,
    CampaignLife,
    Cause,
    ContactsToOpen,
    Depth,
)
from voice_agent.campaigns.model import (
    EPOCH_RAISED,
    TRANSITIONS,
    CampaignEvent,
    CampaignState,
    ContactState,
    HoldCode,
)
from voice_agent.errors import Conflict, NotFound
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.storage.database import Database
from voice_agent.storage.tables import AuditRow, CallRow, CampaignContactRow, CampaignRow, SpendRow

E, S, C = CampaignEvent, CampaignState, ContactState
CONTEXT = JobContext(job_id="1", kind="x", tries=1, is_last=False)


def a_person(org_id: UUID) -> Principal:
    return Principal(kind="user", id=None, name="ana@harbour.test", org_id=org_id, permissions=frozenset())


async def moved(
    database: Database, life: CampaignLife, row: CampaignRow, event: CampaignEvent, **cause: object
) -> CampaignRow:
    async with database.write() as session:
        by = cause.pop("by", system(row.org_id, "test"))
        return await life.move(session, row, event, Cause(by=by, **cause), NOW)  # type: ignore[arg-type]


def a_life(told: Told | None = None, *, opened_at_once: int = 100) -> CampaignLife:
    return CampaignLife(JobOutbox(), told or Told(), opened_at_once=opened_at_once)


async def test_a_change_is_told_to_the_log_to_webhooks_and_of_a_person_to_the_audit(sqlite: Database) -> None:
    org_id = await an_organisation(sqlite)
    campaign = await a_stored_campaign(sqlite, org_id, S.READY)
    told = Told()

    row = await moved(sqlite, a_life(told), campaign, E.START, by=a_person(org_id), reason="the season begins")
    await moved(sqlite, a_life(told), campaign, E.HOLD, hold_code=HoldCode.BUDGET, release_at=NOW, reason="spent")

    assert (row.state, row.launched_at, row.resumed_at) == ("running", NOW, NOW)
    held = await reread(sqlite, campaign)
    assert (held.state, held.hold_code, held.release_at, held.epoch) == ("held", "budget", NOW, 2)
    notes = await notes_of(sqlite, campaign)
    assert [note.text for note in notes] == ["the season begins", "spent"]
    assert [topic for topic, _ in told.events] == ["campaign.state_changed"] * 2
    assert told.events[1][1]["code"] == "budget"
    async with sqlite.read() as session:
        (entry,) = (await session.scalars(select(AuditRow))).all()
    assert (entry.action, entry.before, entry.actor_name) == ("campaign.start", {"state": "ready"}, "ana@harbour.test")


async def test_what_is_edited_while_held_stays_held_for_its_reason(sqlite: Database) -> None:
    campaign = await a_stored_campaign(
        sqlite, await an_organisation(sqlite), S.HELD, hold_code="budget", reason="spent", release_at=NOW,
        preflight={"is_complete": True},
    )  # fmt: skip
    told = Told()

    row = await moved(sqlite, a_life(told), campaign, E.REDRAFT)

    assert (row.state, row.hold_code, row.reason, row.release_at) == ("held", "budget", "spent", NOW)
    assert row.preflight is None
    assert not told.events


@pytest.mark.parametrize("event", [E.PAUSE, E.HOLD, E.STOP, E.END_REACHED])
async def test_what_was_not_placed_yet_is_void_and_due_again_and_its_money_free(
    database: Database, event: CampaignEvent
) -> None:
    campaign = await a_stored_campaign(database, await an_organisation(database), S.RUNNING)
    leased, dialing, talking, orphan = await stored_contacts(
        database, campaign, C.LEASED, C.DIALING, C.IN_CALL, C.LEASED, lease_owner="w", lease_until=NOW
    )
    intent = await an_attempt(database, campaign, leased)
    await an_attempt(database, campaign, dialing, "dialing")
    await an_attempt(database, campaign, talking, "in_progress")

    row = await moved(database, a_life(), campaign, event)

    assert (row.epoch, row.committed) == (2, 200)
    call: CallRow = await reread(database, intent)
    assert (call.state, call.outcome, call.ended_at, call.revision) == ("void", "cancelled", NOW, 2)
    states = [(await reread(database, each)).state for each in (leased, dialing, talking, orphan)]
    assert states == ["due", "dialing", "in_call", "due"]
    again: CampaignContactRow = await reread(database, leased)
    assert (again.call_id, again.lease_owner, again.calls, again.next_attempt_at) == (None, None, 1, NOW)
    async with database.read() as session:
        spent = {each.call_id: each.settled for each in (await session.scalars(select(SpendRow))).all()}
    assert spent[intent.id] == 0
    assert sorted(map(str, spent.values())) == ["0", "None", "None"]


@pytest.mark.parametrize(
    ("event", "is_emergency", "depth"),
    [(E.PAUSE, False, "queued"), (E.STOP, False, "ringing"), (E.END_REACHED, False, "ringing"), (E.STOP, True, "live")],
)
async def test_a_job_ends_the_calls_that_the_verb_ends(
    sqlite: Database, event: CampaignEvent, is_emergency: bool, depth: str
) -> None:
    campaign = await a_stored_campaign(sqlite, await an_organisation(sqlite), S.RUNNING)

    row = await moved(sqlite, a_life(), campaign, event, is_emergency=is_emergency)

    (job,) = await jobs_of(sqlite)
    assert (job.kind, job.payload["depth"], job.payload["epoch"]) == (CANCEL_CALLS, depth, 2)
    assert (row.hold_code == END_REACHED) is (event is E.END_REACHED)


async def test_contacts_become_due_at_the_launch_and_a_job_does_what_is_left_of_many(database: Database) -> None:
    campaign = await a_stored_campaign(database, await an_organisation(database), S.READY)
    await stored_contacts(database, campaign, *[C.PENDING] * 5, C.DONE)
    life = a_life(opened_at_once=3)

    await moved(database, life, campaign, E.START)

    async with database.read() as session:
        assert (await repository.tally(session, campaign)).counts == {C.DUE: 3, C.PENDING: 2, C.DONE: 1}
    (job,) = await jobs_of(database)
    assert job.kind == OPEN_CONTACTS
    work = ContactsToOpen(org_id=campaign.org_id, campaign_id=campaign.id)
    await CampaignChores(database, life, JobOutbox(), Calls(), lambda: NOW).open_contacts(work, CONTEXT)
    async with database.read() as session:
        assert (await repository.tally(session, campaign)).counts == {C.DUE: 5, C.DONE: 1}


async def test_a_campaign_that_was_paused_meanwhile_is_not_opened_further(sqlite: Database) -> None:
    campaign = await a_stored_campaign(sqlite, await an_organisation(sqlite), S.PAUSED)
    (contact,) = await stored_contacts(sqlite, campaign, C.PENDING)
    work = ContactsToOpen(org_id=campaign.org_id, campaign_id=campaign.id)

    await CampaignChores(sqlite, a_life(), JobOutbox(), Calls(), lambda: NOW).open_contacts(work, CONTEXT)

    assert (await reread(sqlite, contact)).state == "pending"


class Calls:
    """A call service that notes whom it ended."""

    def __init__(self) -> None:
        self.ended: list[UUID] = []

    async def start(self, principal: Principal, order: CallOrder) -> CallRow:
        """Implement the port."""
        raise AssertionError((principal, order))

    async def end(self, principal: Principal, call_id: UUID) -> CallRow:
        """Implement the port: every second one has moved on."""
        assert principal.kind == "system"
        self.ended.append(call_id)
        if len(self.ended) % 2 == 0:
            raise Conflict("it has moved on")
        return CallRow(id=call_id)


@pytest.mark.parametrize(
    ("depth", "ended"),
    [(Depth.QUEUED, {"accepted"}), (Depth.RINGING, {"accepted", "ringing"}),
     (Depth.LIVE, {"accepted", "ringing", "in_progress"})],
)  # fmt: skip
async def test_calls_are_ended_as_deep_as_the_verb_goes(sqlite: Database, depth: Depth, ended: set[str]) -> None:
    campaign = await a_stored_campaign(sqlite, await an_organisation(sqlite), S.STOPPING)
    states = ["accepted", "ringing", "in_progress", "dialing"]
    contacts = await stored_contacts(sqlite, campaign, *[C.DIALING] * 4)
    calls = {
        (await an_attempt(sqlite, campaign, contact, state)).id: state
        for contact, state in zip(contacts, states, strict=True)
    }
    carrier = Calls()
    chores = CampaignChores(sqlite, a_life(), JobOutbox(), carrier, lambda: NOW)
    work = CallsToCancel(org_id=campaign.org_id, campaign_id=campaign.id, epoch=1, depth=depth)

    await chores.cancel_calls(work, CONTEXT)

    assert {calls[each] for each in carrier.ended} == ended
    (job,) = await jobs_of(sqlite)
    assert (job.payload["round"], job.payload["depth"]) == (2, depth)


@pytest.mark.parametrize(("state", "epoch"), [(S.RUNNING, 1), (S.PAUSED, 2)])
async def test_a_campaign_that_goes_on_keeps_its_calls(sqlite: Database, state: CampaignState, epoch: int) -> None:
    campaign = await a_stored_campaign(sqlite, await an_organisation(sqlite), state, epoch=epoch)
    (contact,) = await stored_contacts(sqlite, campaign, C.DIALING)
    await an_attempt(sqlite, campaign, contact, "accepted")
    carrier = Calls()
    chores = CampaignChores(sqlite, a_life(), JobOutbox(), carrier, lambda: NOW)

    await chores.cancel_calls(
        CallsToCancel(org_id=campaign.org_id, campaign_id=campaign.id, epoch=1, depth=Depth.LIVE), CONTEXT
    )

    assert not carrier.ended
    assert not await jobs_of(sqlite)


async def test_a_campaign_of_nobody_is_not_found(sqlite: Database) -> None:
    campaign = await a_stored_campaign(sqlite, await an_organisation(sqlite))
    campaign.org_id = await an_organisation(sqlite, "Other")

    with pytest.raises(NotFound):
        await moved(sqlite, a_life(), campaign, E.VALIDATE)


async def test_of_two_that_move_it_at_once_one_is_refused(database: Database) -> None:
    campaign = await a_stored_campaign(database, await an_organisation(database), S.READY)

    results = await asyncio.gather(
        *(moved(database, a_life(), campaign, E.START) for _ in range(3)), return_exceptions=True
    )

    assert sorted(type(each).__name__ for each in results) == ["CampaignRow", "Conflict", "Conflict"]
    assert len(await notes_of(database, campaign)) == 1


@given(st.lists(st.sampled_from(CampaignEvent), max_size=25))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_happens_the_table_holds_the_epoch_grows_and_nobody_is_lost(
    sqlite: Database, events: list[CampaignEvent]
) -> None:
    campaign = await a_stored_campaign(sqlite, await an_organisation(sqlite))
    await stored_contacts(sqlite, campaign, C.PENDING, C.DUE, C.LEASED, C.DONE)
    told = Told()
    life = a_life(told)
    state, epoch = S.DRAFT, 1
    for event in events:
        if (state, event) not in TRANSITIONS:
            with pytest.raises(Conflict):
                await moved(sqlite, life, campaign, event)
            continue
        before, state = state, TRANSITIONS[state, event]
        row = await moved(sqlite, life, campaign, event)
        assert CampaignState(row.state) is state
        assert before is not S.ARCHIVED
        assert row.epoch == epoch + (event in EPOCH_RAISED)
        epoch = row.epoch
        async with sqlite.read() as session:
            tally = await repository.tally(session, campaign)
        assert tally.total == 4
        assert C.LEASED not in tally.counts or epoch == 1
    stored = await reread(sqlite, campaign)
    assert (stored.state, stored.epoch) == (state, epoch)
    assert not [each for _, each in told.events if each["before"] == each["state"]]
