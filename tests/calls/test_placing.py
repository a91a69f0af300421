"""Admitted calls are dialled once, and only while everything is as it was when they were admitted."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from tests.calls.stored_calls import POLICY, OneAgent
from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from tests.campaigns.stored_campaigns import reread
from tests.fakes.carrier import FakeCarrier
from tests.servers.postgres import PostgresServer
from voice_agent.calls.placing import CallPlacing, PlacingPorts
from voice_agent.calls.processor import CallProcessor
from voice_agent.calls.turns import DialTurns
from voice_agent.campaigns import repository
from voice_agent.campaigns.admission import LEASE_S
from voice_agent.errors import CarrierError, DatabaseUnavailable, NotFound
from voice_agent.integrations.twilio.addresses import TwilioAddresses
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, CampaignContactRow, CampaignRow, SpendRow


class Line:
    """What places the calls of a dialling world."""

    def __init__(self, world: DiallingWorld) -> None:
        self.world = world
        self.carrier = FakeCarrier()
        self.slept: list[float] = []
        self.now_s = 0.0
        self.ended: list[str] = []
        self.processor = CallProcessor(world.database, self.carrier, OneAgent(), policy=POLICY, on_ended=self._note_end)
        self.placing = CallPlacing(
            PlacingPorts(
                database=world.database,
                compliance=world.compliance,
                carrier=self.carrier,
                addresses=TwilioAddresses("https://calls.example.org"),
                processor=self.processor,
            ),
            clock=lambda: world.now,
            calls_per_second=2.0,
            turns=DialTurns(clock=lambda: self.now_s, sleep=self._sleep),
        )

    async def _note_end(self, _: Any, call: CallRow) -> None:
        self.ended.append(f"{call.state} {call.outcome}")

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
async def world(sqlite: Database) -> DiallingWorld:
    return await dialling_world(sqlite)


async def admitted(world: DiallingWorld, number: int = 1, *, first: int = 0) -> list[CallRow]:
    campaign = await world.campaign()
    await world.contacts(campaign, number, first=first)
    return await world.admit(campaign)


async def contact_of(world: DiallingWorld, call: CallRow) -> CampaignContactRow:
    async with world.database.read() as session:
        return await session.get_one(CampaignContactRow, call.campaign_contact_id)


async def test_an_admitted_call_is_dialled_once_however_many_try(database: Database) -> None:
    world = await dialling_world(database)
    line = Line(world)
    (call,) = await admitted(world)

    await asyncio.gather(*(line.placing.place_admitted(call.id) for _ in range(4)))
    assert len(line.carrier.placed) == 1
    stored = await reread(database, call)
    assert (stored.state, stored.requested_at, stored.verdict["reasons"]) == ("accepted", world.now, [])
    assert (await contact_of(world, call)).state == "dialing"


async def change(world: DiallingWorld, call: CallRow, what: str) -> None:
    if what == "suppressed":
        await world.suppress(call.to_number)
        return
    if what == "lapsed":
        world.pass_time(seconds=LEASE_S)
        return
    async with world.database.write() as session:
        campaign = await session.get_one(CampaignRow, call.campaign_id)
        contact = await session.get_one(CampaignContactRow, call.campaign_contact_id)
        if what == "paused":
            campaign.state, campaign.epoch = "pausing", 2
        elif what == "resumed":
            campaign.epoch = 2
        elif what == "withdrawn":
            contact.state = "suppressed"
        else:
            contact.call_id = new_id()


@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        ("paused", "cancelled"),
        ("resumed", "cancelled"),
        ("withdrawn", "cancelled"),
        ("another call", "cancelled"),
        ("lapsed", "cancelled"),
        ("suppressed", "blocked"),
    ],
)
async def test_what_has_changed_since_the_admission_leaves_it_void(database: Database, what: str, outcome: str) -> None:
    world = await dialling_world(database)
    line = Line(world)
    (call,) = await admitted(world)
    await change(world, call, what)

    await line.placing.place_admitted(call.id)
    stored = await reread(database, call)
    assert (line.carrier.placed, stored.state, stored.outcome, stored.requested_at) == ([], "void", outcome, None)
    assert stored.error
    assert line.ended == [f"void {outcome}"]
    async with database.read() as session:
        assert (await session.get_one(SpendRow, call.id)).settled == 0


async def test_a_process_that_is_fenced_out_dials_nobody(world: DiallingWorld) -> None:
    line = Line(world)
    (call,) = await admitted(world)

    async def fence(_: object) -> bool:
        return False

    assert (await line.placing.place_admitted(call.id, fence=fence)).outcome == "not_placed"
    assert line.carrier.placed == []


async def test_a_pause_and_a_call_that_turns_out_void_never_wait_for_each_other(postgres: PostgresServer) -> None:
    database = Database(postgres.fresh_database())
    try:
        world = await dialling_world(database)
        line = Line(world)
        (call,) = await admitted(world)
        asked, is_waiting = 0, asyncio.Event()

        async def fence(_: object) -> bool:
            nonlocal asked
            asked += 1
            is_waiting.set()
            async with database.read() as session:  # until the pause waits for a lock
                waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                while not await session.scalar(waits):
                    await session.rollback()
            return False

        async def pause() -> None:
            await is_waiting.wait()
            assert call.campaign_id is not None
            async with database.write() as session:
                campaign = await repository.locked(session, world.org_id, call.campaign_id)
                assert campaign is not None
                campaign.state, campaign.epoch = "pausing", 2
                await repository.give_back(session, campaign, world.now)

        await asyncio.gather(pause(), line.placing.place_admitted(call.id, fence=fence))
        assert asked == 1
        assert (await reread(database, call)).state == "void"
        assert line.carrier.placed == []
    finally:
        await database.close()


async def test_calls_wait_for_the_campaign_s_turn_and_the_account_s(world: DiallingWorld) -> None:
    line = Line(world)
    for call in await admitted(world, 3):
        await line.placing.place_admitted(call.id, campaign_id=call.campaign_id, calls_per_second=1.0)

    assert len(line.carrier.placed) == 3
    assert round(sum(line.slept), 6) == 2.2


async def test_a_call_whose_turn_comes_after_a_pause_is_not_dialled(world: DiallingWorld) -> None:
    line = Line(world)
    first, second = await admitted(world, 2)
    await line.placing.place_admitted(first.id, campaign_id=first.campaign_id, calls_per_second=1.0)
    sleep = line.placing._turns._sleep

    async def sleep_through_a_pause(seconds: float) -> None:
        await change(world, second, "paused")
        await sleep(seconds)

    line.placing._turns._sleep = sleep_through_a_pause
    await line.placing.place_admitted(second.id, campaign_id=second.campaign_id, calls_per_second=1.0)
    assert len(line.carrier.placed) == 1


@pytest.mark.parametrize(
    ("error", "state", "outcome"),
    [
        (CarrierError("no answer"), "unknown", None),
        (CarrierError("broken", status=503), "unknown", None),
        (CarrierError("later", status=429), "failed", "not_placed"),
        (CarrierError("no such number", code=21211, status=400, kind="invalid_number"), "failed", "invalid_number"),
        (CarrierError("no", code=21215, status=403), "failed", "carrier_failed"),
    ],
)
async def test_an_answer_that_is_no_yes_is_written_down_as_what_it_is(
    world: DiallingWorld, error: CarrierError, state: str, outcome: str | None
) -> None:
    line = Line(world)
    (call,) = await admitted(world)
    line.carrier.answers = [error]

    await line.placing.place_admitted(call.id)
    stored = await reread(world.database, call)
    assert (stored.state, stored.outcome) == (state, outcome)
    assert line.ended == ([] if outcome is None else [f"failed {outcome}"])
    await line.placing.place_admitted(call.id)
    assert len(line.carrier.placed) == 1
    world.pass_time(minutes=1)


async def test_a_call_that_nobody_knows_is_not_placed(world: DiallingWorld) -> None:
    line = Line(world)
    with pytest.raises(NotFound):
        await line.placing.place(new_id())
    with pytest.raises(NotFound):
        await line.placing.place_admitted(new_id())


async def test_calls_of_several_campaigns_are_marked_together_each_by_its_own_rules(database: Database) -> None:
    world = await dialling_world(database)
    line = Line(world)
    calls = [*await admitted(world, 3), *await admitted(world, 2, first=10)]
    await change(world, calls[0], "suppressed")
    await change(world, calls[1], "withdrawn")
    await change(world, calls[3], "paused")

    await asyncio.gather(*(line.placing.place_admitted(call.id) for call in calls))
    states = [(await reread(database, call)).state for call in calls]
    assert states == ["void", "void", "accepted", "void", "void"]
    assert [request.to for request in line.carrier.placed] == [calls[2].to_number]


async def test_what_goes_wrong_with_the_database_is_told_to_all_that_were_together(world: DiallingWorld) -> None:
    line = Line(world)
    calls = await admitted(world, 2)

    async def broken(_: object) -> bool:
        raise DatabaseUnavailable("away")

    told = await asyncio.gather(
        *(line.placing.place_admitted(call.id, fence=broken) for call in calls), return_exceptions=True
    )
    assert [type(error) for error in told] == [DatabaseUnavailable] * 2
    assert line.carrier.placed == []
