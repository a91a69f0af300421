"""What a call's end means for its contact, in the transaction that made it final; once, whatever comes after."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.calls.stored_calls import NOW
from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from tests.campaigns.settling_world import Exchange
from tests.campaigns.stored_campaigns import reread
from voice_agent.auth.principal import system
from voice_agent.calls.processor import SUPERSEDED
from voice_agent.campaigns.life import Cause
from voice_agent.campaigns.model import CampaignEvent, CampaignState
from voice_agent.campaigns.settling import CONTACT_SETTLED
from voice_agent.errors import CarrierError
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, CampaignContactRow, CampaignRow, DispositionRow, SpendRow

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
AWAY = CarrierError("no answer")


@pytest.fixture
async def world(sqlite: Database) -> DiallingWorld:
    return await dialling_world(sqlite)


@pytest.fixture
async def line(world: DiallingWorld) -> Exchange:
    return Exchange(world)


async def one_call(line: Exchange, **plan: Any) -> CallRow:
    """Place a call to the one contact of a campaign."""
    campaign = await line.world.campaign(**plan)
    await line.world.contacts(campaign, 1)
    (call,) = await line.place(campaign)
    return call


async def campaign_of(line: Exchange, call: CallRow) -> CampaignRow:
    async with line.world.database.read() as session:
        return await session.get_one(CampaignRow, call.campaign_id)


async def test_a_contact_follows_its_call_and_is_called_again_as_the_plan_says(database: Database) -> None:
    line = Exchange(await dialling_world(database))
    call = await one_call(line)
    assert (await line.contact(call)).state == "dialing"

    await line.hear(call, "ringing")
    assert (await line.contact(call)).state == "dialing"
    await line.end(call, "busy")

    assert await line.next_of(call) == ("cooldown", 15 * MINUTE)
    contact = await line.contact(call)
    assert (contact.attempts, contact.calls, contact.last_outcome, contact.call_id) == (1, 1, "busy", None)
    assert (contact.lease_owner, contact.lease_until, contact.last_ended_at) == (None, None, line.world.now)
    ((topic, subject, payload),) = line.told
    assert (topic, subject) == (CONTACT_SETTLED, str(contact.contact_id))
    assert (payload["outcome"], payload["state"], payload["attempt"]) == ("busy", "cooldown", 1)
    await line.processor.close()


async def test_who_answers_is_in_the_call_and_done_after_it_and_the_money_is_settled(database: Database) -> None:
    line = Exchange(await dialling_world(database))
    call = await one_call(line)
    reserved = (await line.spend(call)).reserved
    assert (await campaign_of(line, call)).committed == reserved

    await line.hear(call, "in-progress")
    assert (await line.contact(call)).state == "in_call"
    await line.end(call, duration_s=61)

    assert await line.next_of(call) == ("done", None)
    contact = await line.contact(call)
    assert (contact.settled_at, contact.attempts) == (line.world.now, 1)
    settled = (await line.spend(call)).settled
    assert (settled, (await campaign_of(line, call)).committed) == (2 * line.world.policy.cost_per_minute,) * 2
    await line.hear(call, "completed", source="poll", key="priced", price=17_500)
    assert (await campaign_of(line, call)).committed == 17_500
    assert len(line.told) == 1
    await line.processor.close()


async def test_a_late_verdict_corrects_the_outcome_once_and_makes_one_retry(line: Exchange) -> None:
    call = await one_call(line)
    await line.end(call)
    assert (await line.contact(call)).state == "done"

    for _ in range(3):
        await line.verdict(call, "machine_end_beep")
    assert await line.next_of(call) == ("cooldown", DAY)
    contact = await line.contact(call)
    assert (contact.attempts, contact.last_outcome, contact.settled_at) == (1, "voicemail", None)
    assert [payload["is_correction"] for _, _, payload in line.told] == [False, True]


async def test_a_correction_that_comes_after_the_next_call_began_changes_nothing_else(line: Exchange) -> None:
    campaign = await line.world.campaign()
    await line.world.contacts(campaign, 1)
    (first,) = await line.place(campaign)
    await line.end(first)
    async with line.world.database.write() as session:  # opened again by a manager
        contact = await session.get_one(CampaignContactRow, first.campaign_contact_id)
        contact.state, contact.next_attempt_at = "due", line.world.now
    line.world.pass_time(hours=4, minutes=1)
    (second,) = await line.place(campaign)

    await line.verdict(first, "machine_start")
    contact = await line.contact(first)
    assert (contact.state, contact.call_id, contact.last_outcome) == ("dialing", second.id, "human")


@pytest.mark.parametrize("state", ["suppressed", "cancelled", "expired", "skipped"])
async def test_what_was_ended_by_something_else_stays_so(line: Exchange, state: str) -> None:
    call = await one_call(line)
    await line.end(call)
    async with line.world.database.write() as session:
        (await session.get_one(CampaignContactRow, call.campaign_contact_id)).state = state

    await line.verdict(call, "machine_start")
    assert (await line.contact(call)).state == state


async def test_retries_end_and_are_counted_from_the_calls(line: Exchange) -> None:
    campaign = await line.world.campaign(
        retries={"busy": {"after_min": [5, 5]}}, caps={"gap_min": 5.0, "per_day": 20, "per_week": 50}
    )
    await line.world.contacts(campaign, 1)
    states = []
    for _ in range(3):
        (call,) = await line.place(campaign)
        await line.end(call, "busy")
        states.append((await line.next_of(call))[0])
        line.world.pass_time(minutes=6)
    assert states == ["cooldown", "cooldown", "exhausted"]
    assert [each.attempt for each in await line.world.calls(campaign)] == [1, 2, 3]
    assert await line.place(campaign) == []


async def test_an_invalid_number_is_invalid(line: Exchange) -> None:
    line.carrier.answers = [CarrierError("no such number", code=21211, status=400, kind="invalid_number")]
    call = await one_call(line)
    contact = await line.contact(call)
    assert (contact.state, contact.skip_reason[:14], contact.attempts) == ("invalid", "invalid_number", 1)


async def test_a_refused_request_that_was_not_processed_counts_for_nothing(line: Exchange) -> None:
    line.carrier.answers = [CarrierError("too many", code=20429, status=429)]
    call = await one_call(line)
    assert await line.next_of(call) == ("due", timedelta())
    contact = await line.contact(call)
    assert (contact.attempts, contact.calls, contact.last_outcome) == (0, 1, "not_placed")


async def test_a_void_call_leaves_no_trace_but_its_number(line: Exchange) -> None:
    campaign = await line.world.campaign()
    (contact,) = await line.world.contacts(campaign, 1)
    (call,) = await line.world.admit(campaign)
    line.world.pass_time(minutes=2)  # the lease is over

    voided = await line.placing.place_admitted(call.id)
    assert (voided.state, line.carrier.placed, line.told) == ("void", [], [])
    assert await line.next_of(call) == ("due", timedelta())
    (again,) = await line.place(campaign)
    contact = await line.contact(again)
    assert (again.attempt, contact.calls, contact.attempts, contact.last_outcome) == (2, 2, 0, None)
    reserved = (await line.spend(again)).reserved
    assert (await campaign_of(line, call)).committed == reserved


async def test_an_unknown_call_that_is_not_found_is_due_again_as_the_next_attempt(line: Exchange) -> None:
    line.carrier.answers = [AWAY]
    call = await one_call(line)
    assert (call.state, (await line.contact(call)).state) == ("unknown", "dialing")

    for _ in range(3):
        line.world.pass_time(seconds=61)
        await line.reconciler.reconcile()
    assert (await reread(line.world.database, call)).state == "not_placed"
    assert await line.next_of(call) == ("due", timedelta())
    (again,) = await line.place(await campaign_of(line, call))
    assert (again.attempt, len(line.carrier.placed)) == (2, 2)


async def not_placed(line: Exchange) -> CallRow:
    line.carrier.answers = [AWAY]
    call = await one_call(line)
    for _ in range(3):
        line.world.pass_time(seconds=61)
        await line.reconciler.reconcile()
    assert (await line.contact(call)).state == "due"
    return call


async def test_a_call_that_was_taken_for_none_and_is_there_takes_its_contact_back(line: Exchange) -> None:
    call = await not_placed(line)

    await line.hear(call, "ringing")
    contact = await line.contact(call)
    assert (contact.state, contact.call_id) == ("dialing", call.id)
    assert await line.place(await campaign_of(line, call)) == []
    await line.end(call)
    assert await line.next_of(call) == ("done", None)


async def test_while_they_are_called_again_it_is_hung_up_and_nobody_has_two_calls(database: Database) -> None:
    line = Exchange(await dialling_world(database))
    call = await not_placed(line)
    (again,) = await line.place(await campaign_of(line, call))

    await line.hear(call, "ringing")
    await line.hear(call, "in-progress")
    await line.processor.close()
    stored = await reread(line.world.database, call)
    assert (stored.state, stored.outcome, stored.end_reason) == ("cancelled", "cancelled", SUPERSEDED)
    assert set(line.carrier.hung_up) == {stored.call_sid}
    contact = await line.contact(call)
    assert (contact.state, contact.call_id) == ("dialing", again.id)
    await line.hear(call, "completed", duration_s=2)
    assert (await line.contact(call)).call_id == again.id


async def test_a_disposition_that_is_called_again_is_and_another_is_not(line: Exchange) -> None:
    async with line.world.database.write() as session:
        for key, is_retried in (("later", True), ("sold", False)):
            session.add(
                DispositionRow(
                    id=new_id(), org_id=line.world.org_id, key=key, label=key, is_retried=is_retried, created_at=NOW
                )
            )
    campaign = await line.world.campaign()
    await line.world.contacts(campaign, 2)
    for call, key in zip(await line.place(campaign, 2), ("later", "sold"), strict=True):
        async with line.world.database.write() as session:
            (await session.get_one(CallRow, call.id)).disposition = key
        await line.end(call)
        expected = ("cooldown", timedelta(hours=4)) if key == "later" else ("done", None)
        assert await line.next_of(call) == expected


async def test_an_opt_out_in_the_call_ends_everything(line: Exchange) -> None:
    call = await one_call(line)
    async with line.world.database.write() as session:
        row = await session.get_one(CallRow, call.id)
        row.is_opted_out, row.callback_at = True, line.world.now + DAY
    await line.end(call)
    contact = await line.contact(call)
    assert (contact.state, contact.callback_at) == ("suppressed", None)


async def test_a_suppression_that_came_during_the_call_ends_the_retries(line: Exchange) -> None:
    call = await one_call(line)
    await line.world.suppress(call.to_number)
    await line.end(call, "busy")
    assert (await line.contact(call)).state == "suppressed"


@pytest.mark.parametrize(
    ("event", "state"), [(CampaignEvent.STOP, "cancelled"), (CampaignEvent.END_REACHED, "expired")]
)
async def test_a_campaign_that_is_over_calls_nobody_again(line: Exchange, event: CampaignEvent, state: str) -> None:
    call = await one_call(line)
    async with line.world.database.write() as session:
        row = await session.get_one(CampaignRow, call.campaign_id)
        await line.life.move(session, row, event, Cause(by=system(line.world.org_id, "test")), line.world.now)
    await line.end(call, "busy")
    assert (await line.contact(call)).state == state


async def test_a_call_of_no_campaign_and_one_whose_contact_is_gone_are_nobodys(line: Exchange) -> None:
    call = await one_call(line)
    async with line.world.database.write() as session:
        await session.delete(await session.get_one(CampaignContactRow, call.campaign_contact_id))
    await line.end(call)
    assert (await reread(line.world.database, call)).state == "ended"
    async with line.world.database.write() as session:
        row = await session.get_one(CallRow, call.id)
        row.campaign_contact_id = None
        await line.settling.settle(session, row, line.world.now)
    assert line.told == []


async def test_what_a_campaign_has_committed_is_the_sum_of_its_calls(line: Exchange) -> None:
    campaign = await line.world.campaign(state=CampaignState.RUNNING)
    await line.world.contacts(campaign, 4)
    first, second, *_ = await line.place(campaign, 4)
    await line.end(first)
    await line.end(second, "no-answer")
    async with line.world.database.read() as session:
        counted = func.sum(func.coalesce(SpendRow.settled, SpendRow.reserved))
        total = await session.scalar(select(counted).where(SpendRow.campaign_id == campaign.id))
    assert (await reread(line.world.database, campaign)).committed == total
