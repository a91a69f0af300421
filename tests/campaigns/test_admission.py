"""Who is admitted, and what is written for them; who is not, and what becomes of them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.calls.stored_calls import NOW, OURS
from tests.campaigns.dialling_world import OWNER, DiallingWorld, dialling_world
from tests.campaigns.stored_campaigns import reread
from voice_agent.calls.policy import MICROS, CallPolicy
from voice_agent.campaigns import claim
from voice_agent.campaigns.admission import LEASE_S
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.model import CampaignState
from voice_agent.errors import Conflict
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow, CampaignRow, ContactRow, SpendRow

DIGITS: dict[str, Any] = {"caps": {"gap_min": 240.0, "per_day": 2, "per_week": 3, "per_campaign": 4}}


@pytest.fixture
async def world(sqlite: Database) -> DiallingWorld:
    return await dialling_world(sqlite)


async def test_who_is_due_is_written_down_with_everything_that_belongs_to_a_call(database: Database) -> None:
    world = await dialling_world(database)
    campaign = await world.campaign()
    (contact,) = await world.contacts(campaign, 1, variables={"name": "Ana", "unknown": "to the agent"})

    (call,) = await world.admit(campaign)

    stored = await reread(database, call)
    assert (stored.state, stored.direction, stored.to_number, stored.from_number) == (
        "intent", "outbound", contact.e164, OURS,
    )  # fmt: skip
    assert (stored.campaign_id, stored.campaign_contact_id, stored.attempt) == (campaign.id, contact.id, 1)
    assert (stored.campaign_epoch, stored.campaign_revision, stored.variant, stored.purpose) == (1, 1, "a", "service")
    assert (stored.local_weekday, stored.local_hour) == (2, 13)  # a Wednesday; noon UTC in Madrid
    assert (stored.machine_detection, stored.on_machine, stored.ring_s) == ("enable", "hang_up", 30)
    leased = await reread(database, contact)
    assert (leased.state, leased.call_id, leased.calls, leased.attempts) == ("leased", call.id, 1, 0)
    assert (leased.lease_owner, leased.lease_epoch, leased.from_number) == (OWNER, 1, OURS)
    assert leased.lease_until == world.now + timedelta(seconds=LEASE_S)
    spend = await _spend(database, call)
    assert (spend.reserved, spend.settled, spend.campaign_id) == (
        world.policy.reservation(stored.time_limit_s), None, campaign.id,
    )  # fmt: skip
    assert (await reread(database, campaign)).committed == spend.reserved


async def _spend(database: Database, call: CallRow) -> SpendRow:
    async with database.read() as session:
        return await session.get_one(SpendRow, call.id)


async def test_lower_ranks_come_first_then_who_has_waited_longest(database: Database) -> None:
    world = await dialling_world(database)
    campaign = await world.campaign()
    late = await world.contacts(campaign, 1, first=0, rank=5, next_attempt_at=NOW - timedelta(days=1))
    newer = await world.contacts(campaign, 1, first=1, next_attempt_at=NOW - timedelta(minutes=1))
    older = await world.contacts(campaign, 1, first=2, next_attempt_at=NOW - timedelta(minutes=2))
    promised = await world.contacts(campaign, 1, first=3, rank=-10, callback_at=NOW)
    await world.contacts(campaign, 1, first=4, rank=-20, next_attempt_at=NOW + timedelta(seconds=1))

    called = [call.to_number for _ in range(4) for call in await world.admit(campaign, 1)]
    assert called == [each.e164 for each in (*promised, *older, *newer, *late)]
    assert await world.admit(campaign) == []


@pytest.mark.parametrize("state", [CampaignState.PAUSED, CampaignState.HELD, CampaignState.STOPPING])
async def test_a_campaign_that_does_not_run_admits_nobody(world: DiallingWorld, state: CampaignState) -> None:
    campaign = await world.campaign(state)
    await world.contacts(campaign, 2)

    assert await world.admit(campaign) == []
    assert await world.states(campaign) == {"due": 2}


async def test_who_is_not_the_one_that_admits_admits_nobody(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    await world.contacts(campaign, 1)

    async def fenced_out(_: object) -> bool:
        return False

    assert await world.admit(campaign, fence=fenced_out) == []
    assert await world.states(campaign) == {"due": 1}


@pytest.mark.parametrize(
    ("plan", "columns", "state", "reason"),
    [
        ({}, {"contact_id": None}, "skipped", "deleted"),
        ({}, {"e164": "+3461"}, "invalid", "invalid_number"),
        ({}, {"e164": "+4915112345678"}, "skipped", "not_permitted"),
        ({"purpose": "marketing"}, {}, "skipped", "consent_missing"),
        (DIGITS, {"attempts": 4}, "exhausted", "exhausted"),
        ({"holidays": ["ES"], "black_out": [f"2026-{m:02d}-{d:02d}" for m in (11, 12) for d in range(1, 31)]},
         {}, "skipped", "no_hour"),
    ],
)  # fmt: skip
async def test_who_will_never_be_called_is_over_with_the_reason(
    world: DiallingWorld, plan: dict[str, Any], columns: dict[str, Any], state: str, reason: str
) -> None:
    campaign = await world.campaign(**plan)
    await world.contacts(campaign, 1)
    async with world.database.write() as session:
        row = await session.get_one(type((await world.rows(campaign))[0]), (await world.rows(campaign))[0].id)
        for name, value in columns.items():
            setattr(row, name, value)

    assert await world.admit(campaign) == []
    (row,) = await world.rows(campaign)
    assert (row.state, row.skip_reason.partition(":")[0], row.settled_at) == (state, reason, world.now)
    assert (await reread(world.database, campaign)).committed == 0


async def test_a_suppressed_number_is_over_and_one_that_is_so_for_a_while_waits(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    first, second = await world.contacts(campaign, 2)
    until = world.now + timedelta(days=3)
    await world.suppress(first.e164)
    await world.suppress(second.e164, until)

    assert await world.admit(campaign) == []
    over, waits = await world.rows(campaign)
    assert (over.state, waits.state, waits.next_attempt_at) == ("suppressed", "due", until)


async def test_a_contact_that_was_deleted_is_not_called(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    (contact,) = await world.contacts(campaign, 1)
    async with world.database.write() as session:
        (await session.get_one(ContactRow, contact.contact_id)).deleted_at = NOW

    assert await world.admit(campaign) == []
    assert await world.states(campaign) == {"skipped": 1}


async def test_outside_the_plan_s_hours_they_wait_for_the_first_moment_that_is_within(world: DiallingWorld) -> None:
    campaign = await world.campaign(windows=[{"days": ["thu"], "opens": "10:00", "closes": "12:00"}])
    await world.contacts(campaign, 1)

    assert await world.admit(campaign) == []
    (row,) = await world.rows(campaign)
    world.now = datetime(2026, 11, 26, 9, tzinfo=UTC)
    assert (row.state, row.next_attempt_at) == ("due", world.now)
    assert len(await world.admit(campaign)) == 1


async def test_two_campaigns_never_ring_one_person_at_once(database: Database) -> None:
    world = await dialling_world(database)
    one, other = await world.campaign(), await world.campaign()
    await world.contacts(one, 2)
    await world.contacts(other, 2)

    assert len(await world.admit(one)) == 2
    assert await world.admit(other) == []
    rows = await world.rows(other)
    assert {row.state for row in rows} == {"due"}
    assert {row.skip_reason.partition(":")[0] for row in rows} == {"at_the_phone"} or {
        row.skip_reason.partition(":")[0] for row in rows
    } == {"caps"}


async def test_caps_count_the_calls_of_every_campaign(world: DiallingWorld) -> None:
    one, other = await world.campaign(**DIGITS), await world.campaign(**DIGITS)
    await world.contacts(one, 1)
    await world.contacts(other, 1)
    (call,) = await world.admit(one)
    await world.end(call)

    world.pass_time(minutes=239)
    assert await world.admit(other) == []
    (waiting,) = await world.rows(other)
    assert (waiting.next_attempt_at, waiting.skip_reason.partition(":")[0]) == (NOW + timedelta(minutes=240), "caps")
    world.pass_time(minutes=1)
    (second,) = await world.admit(other)
    await world.end(second)
    world.pass_time(hours=12)
    assert await world.admit(one) == []  # the third of a day
    (row,) = await world.rows(one)
    assert row.next_attempt_at == NOW + timedelta(days=1)


async def test_attempts_are_numbered_without_gaps(world: DiallingWorld) -> None:
    campaign = await world.campaign(caps={"gap_min": 5.0, "per_day": 20, "per_week": 50, "per_campaign": 50})
    await world.contacts(campaign, 1)
    for _ in range(4):
        (call,) = await world.admit(campaign)
        await world.end(call)
        world.pass_time(minutes=5)

    assert [call.attempt for call in await world.calls(campaign)] == [1, 2, 3, 4]


async def test_no_cap_is_passed_however_many_places_were_planned(world: DiallingWorld) -> None:
    campaign = await world.campaign(pacing={"max_calls": 3})
    await world.contacts(campaign, 9)

    assert len(await world.admit(campaign, limits=Limits(max_calls=4, inbound_share=0.5))) == 2
    assert len(await world.admit(campaign)) == 1
    assert await world.admit(campaign) == []
    other = await world.campaign()
    await world.contacts(other, 9, first=10)
    assert await world.admit(other, limits=Limits(inbound_share=0.0, organisation_calls=3)) == []
    assert len(await world.admit(other, limits=Limits(inbound_share=0.0, agent_calls=5))) == 2


async def test_a_number_is_shown_as_often_as_it_may_be(world: DiallingWorld) -> None:
    number = await world.number("+34930000000", max_live=2)
    campaign = await world.campaign(pool_id=str(await world.pool(number)))
    await world.contacts(campaign, 5)

    calls = await world.admit(campaign)
    assert [call.from_number for call in calls] == [number.e164] * 2
    rows = await world.rows(campaign)
    assert [row.skip_reason.partition(":")[0] for row in rows if row.state == "due"] == ["numbers_full"] * 3


async def test_the_budget_bounds_what_is_set_aside_and_nobody_loses_their_turn(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    await world.contacts(campaign, 5)
    (call,) = await world.admit(campaign, 1)
    each = (await _spend(world.database, call)).reserved
    async with world.database.write() as session:
        row = await session.get_one(CampaignRow, campaign.id)
        row.plan = world.plan(budget=3 * each + 1)

    assert len(await world.admit(campaign)) == 2
    assert (await reread(world.database, campaign)).committed == 3 * each
    assert await world.states(campaign) == {"leased": 3, "due": 2}


async def test_the_organisation_s_day_bounds_it_too(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    await world.contacts(campaign, 5)
    world.policy = CallPolicy(
        allowed_countries=frozenset({"ES"}), daily_spend_cap=5 * MICROS, cost_per_minute=MICROS // 10
    )
    calls = await world.admit(campaign)

    spent = sum([(await _spend(world.database, call)).reserved for call in calls])
    assert 0 < spent <= 5 * MICROS
    assert {row.skip_reason.partition(":")[0] for row in await world.rows(campaign) if row.state == "due"} == {
        "spend_cap"
    }


async def test_a_variant_speaks_with_its_own_agent_number_and_words(world: DiallingWorld) -> None:
    number = await world.number("+34930000000")
    pool = await world.pool(number)
    variants = [
        {"agent_id": str(world.agent_id)},
        {"key": "b", "agent_id": str(world.agent_id), "agent_version": 1, "pool_id": str(pool)},
    ]
    campaign = await world.campaign(
        variants=variants, machines={"by_attempt": ["hang_up", "speak"], "message": "Dear {name}, { name }: call us."}
    )
    await world.contacts(campaign, 1, variant="b", calls=1, variables={"name": "Ana"})

    (call,) = await world.admit(campaign)
    assert (call.variant, call.from_number, call.attempt) == ("b", number.e164, 2)
    assert (call.machine_detection, call.on_machine) == ("message_end", "speak")
    assert call.machine_message == "Dear Ana, Ana: call us."


async def test_without_an_agent_that_is_published_nobody_is_called(world: DiallingWorld) -> None:
    campaign = await world.campaign(variants=[{"agent_id": "00000000-0000-0000-0000-000000000007"}])
    await world.contacts(campaign, 1)

    assert await world.admit(campaign) == []
    assert await world.states(campaign) == {"due": 1}


async def test_what_is_paused_while_calls_are_admitted_undoes_all_of_it(postgres: Any) -> None:
    database = Database(postgres.fresh_database())
    try:
        world = await dialling_world(database)
        campaign = await world.campaign()
        await world.contacts(campaign, 2)
        has_begun, may_go_on = asyncio.Event(), asyncio.Event()

        async def wait(_: object) -> bool:
            has_begun.set()
            await may_go_on.wait()
            return True

        async def policies(session: Any, org_id: Any) -> CallPolicy:
            await wait(session)
            assert org_id == world.org_id
            return world.policy

        admission = world.admission()
        admission._policies = policies
        admitting = asyncio.create_task(
            database.transact(lambda session: admission.admit(session, campaign, world.now, 5))
        )
        await has_begun.wait()
        async with database.write() as session:
            row = await session.get_one(CampaignRow, campaign.id)
            row.state, row.epoch = "pausing", 2
        may_go_on.set()

        with pytest.raises(Conflict):
            await admitting
        assert await world.states(campaign) == {"due": 2}
        assert await world.calls(campaign) == []
    finally:
        await database.close()


async def test_two_that_admit_at_once_pass_no_cap_and_call_nobody_twice(postgres: Any) -> None:
    database = Database(postgres.fresh_database())
    try:
        world = await dialling_world(database)
        campaign = await world.campaign(pacing={"max_calls": 7})
        other = await world.campaign(pacing={"max_calls": 7})
        await world.contacts(campaign, 20)
        await world.contacts(other, 20)

        await asyncio.gather(
            *(world.admit(each, 3, owner=owner) for each in (campaign, other) for owner in ("one", "two", "three"))
        )
        async with database.read() as session:
            called = (await session.scalars(select(CallRow.to_number))).all()
        assert len(called) == len(set(called)) == 14
        assert (await world.states(campaign))["leased"] == (await world.states(other))["leased"] == 7
    finally:
        await database.close()


async def test_where_another_admission_was_faster_only_that_person_waits(world: DiallingWorld) -> None:
    """What one that is fenced out too late could do: the index says no, and nobody else is held up by it."""
    one, other = await world.campaign(), await world.campaign()
    await world.contacts(one, 3)
    (taken, *_) = await world.contacts(other, 1)
    admission = world.admission()
    at_the_phone = claim.at_the_phone

    async def blind(session: Any, org_id: Any, numbers: Any) -> frozenset[str]:
        await at_the_phone(session, org_id, numbers)
        row = await session.get(type(taken), taken.id)
        row.state = "leased"
        await session.flush()
        return frozenset()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "at_the_phone", blind)
        calls = await world.database.transact(lambda session: admission.admit(session, one, world.now, 3))
    assert [call.to_number for call in calls] == [row.e164 for row in (await world.rows(one))[1:]]
    waiting = (await world.rows(one))[0]
    assert (waiting.state, waiting.calls, waiting.skip_reason.partition(":")[0]) == ("due", 0, "at_the_phone")
    assert [(call.attempt, call.state) for call in await world.calls(one)] == [(1, "intent")] * 2
    committed = sum([(await _spend(world.database, call)).reserved for call in calls])
    assert (await reread(world.database, one)).committed == committed
