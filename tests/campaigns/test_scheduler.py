"""Ticks: who is due is dialled, within every limit, by the process that leads; and what happens when it dies."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.calls.stored_calls import POLICY, OneAgent
from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from tests.campaigns.stored_campaigns import Told, reread
from tests.fakes.carrier import FakeCarrier
from voice_agent.calls.placing import CallPlacing, PlacingPorts
from voice_agent.calls.policy import CallPolicy
from voice_agent.calls.processor import CallProcessor
from voice_agent.calls.turns import DialTurns
from voice_agent.campaigns.leader import LEASE_S
from voice_agent.campaigns.life import CampaignLife
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.model import CampaignState
from voice_agent.campaigns.scheduler import CampaignScheduler, SchedulerPorts
from voice_agent.errors import DatabaseUnavailable
from voice_agent.integrations.twilio.addresses import TwilioAddresses
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CampaignRow

FAST: dict[str, Any] = {"pacing": {"calls_per_second": 50.0, "max_calls": 50, "ramp_from": 1.0}}
LIMITS = Limits(inbound_share=0.0, calls_per_second=50.0)


class Process:
    """One process that may dial."""

    def __init__(self, world: DiallingWorld, owner: str = "one", limits: Limits = LIMITS) -> None:
        self.world = world
        self.carrier = FakeCarrier()
        processor = CallProcessor(world.database, self.carrier, OneAgent(), policy=POLICY)
        self.placing = CallPlacing(
            PlacingPorts(
                database=world.database,
                compliance=world.compliance,
                carrier=self.carrier,
                addresses=TwilioAddresses("https://calls.example.org"),
                processor=processor,
            ),
            clock=lambda: world.now,
            calls_per_second=1_000.0,
            turns=DialTurns(sleep=self._sleep),
        )
        self.troubles: Sequence[str] = ()
        self.scheduler = CampaignScheduler(
            SchedulerPorts(
                database=world.database,
                compliance=world.compliance,
                calls=self.placing,
                life=CampaignLife(JobOutbox(), Told()),
                policies=self._policies,
                troubles=lambda: self.troubles,
            ),
            owner=owner,
            limits=limits,
            clock=lambda: world.now,
            tick_s=0.005,
        )

    async def _policies(self, _: object, org_id: Any) -> CallPolicy:
        assert org_id == self.world.org_id
        return self.world.policy

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.001))

    async def tick(self) -> dict[Any, int]:
        """Tick as the leader would, and have what was admitted dialled."""
        assert await self.scheduler.leader.lead()
        decisions = await self.scheduler.tick(self.world.now)
        await self.dialled()
        return dict(decisions.places)

    async def until_placed(self, number: int) -> None:
        """Wait until so many calls have been asked for."""
        for _ in range(2_000):
            if len(self.carrier.placed) >= number:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("nobody was dialled")

    async def dialled(self) -> None:
        await asyncio.gather(*self.scheduler._placing)


@pytest.fixture
async def world(sqlite: Database) -> DiallingWorld:
    return await dialling_world(sqlite)


async def test_who_is_due_is_dialled_within_the_limits(database: Database) -> None:
    world = await dialling_world(database)
    process = Process(world, limits=Limits(max_calls=4, inbound_share=0.25, calls_per_second=50.0))
    campaign = await world.campaign(**FAST)
    await world.contacts(campaign, 9)

    assert await process.tick() == {campaign.id: 3}
    assert len(process.carrier.placed) == 3
    assert await process.tick() == {}
    assert await world.states(campaign) == {"dialing": 3, "due": 6}


async def test_nobody_running_is_nothing_to_do(world: DiallingWorld) -> None:
    process = Process(world)
    await world.campaign(CampaignState.PAUSED)

    assert await process.tick() == {}


async def test_two_campaigns_share_and_nobody_is_rung_twice(world: DiallingWorld) -> None:
    process = Process(world, limits=Limits(max_calls=8, inbound_share=0.0, calls_per_second=50.0))
    one, other = await world.campaign(**FAST), await world.campaign(**FAST)
    await world.contacts(one, 9)
    await world.contacts(other, 9)

    for _ in range(3):
        await process.tick()
    dialled = [request.to for request in process.carrier.placed]
    assert len(dialled) == len(set(dialled)) <= 8
    assert (await world.states(one))["dialing"] == 4


async def test_a_ramp_begins_slowly_and_trouble_begins_it_anew(world: DiallingWorld) -> None:
    process = Process(world)
    campaign = await world.campaign(pacing={"calls_per_second": 50.0, "max_calls": 20, "ramp_step_s": 60.0})
    await world.contacts(campaign, 40)

    assert await process.tick() == {campaign.id: 2}
    world.pass_time(seconds=60)
    assert await process.tick() == {campaign.id: 2}  # four together
    process.scheduler._ramped_since[campaign.id] = world.now
    world.pass_time(seconds=59)
    assert await process.tick() == {}


async def test_campaigns_begin_end_and_go_on_at_their_times(world: DiallingWorld) -> None:
    process = Process(world)
    begins = await world.campaign(CampaignState.SCHEDULED, starts_at=world.now.isoformat(), **FAST)
    ends = await world.campaign(ends_at=world.now.isoformat())
    held = await world.campaign(CampaignState.HELD)
    async with world.database.write() as session:
        (await session.get_one(CampaignRow, held.id)).release_at = world.now
    await world.contacts(begins, 1)

    await process.tick()
    states = [(await reread(world.database, each)).state for each in (begins, ends, held)]
    assert states == ["running", "stopping", "running"]
    assert len(process.carrier.placed) == 1


async def test_a_provider_that_fails_holds_campaigns_until_it_answers_again(world: DiallingWorld) -> None:
    process = Process(world)
    campaign = await world.campaign(**FAST)
    await world.contacts(campaign, 2)
    process.troubles = ("openai",)

    assert await process.tick() == {}
    row = await reread(world.database, campaign)
    assert (row.state, row.hold_code) == ("held", "provider")
    process.troubles = ()
    world.pass_time(seconds=301)
    assert await process.tick() == {campaign.id: 2}


async def test_one_whose_clock_was_set_back_goes_on_at_once(world: DiallingWorld) -> None:
    process = Process(world)
    await process.tick()
    world.pass_time(hours=-5)
    campaign = await world.campaign(CampaignState.SCHEDULED, starts_at=world.now.isoformat(), **FAST)
    await world.contacts(campaign, 1, next_attempt_at=world.now)

    assert await process.tick() == {campaign.id: 1}
    assert (await reread(world.database, campaign)).state == "running"


async def test_the_second_takes_over_when_the_first_is_gone_and_the_first_is_fenced_out(database: Database) -> None:
    world = await dialling_world(database)
    first, second = Process(world, "one"), Process(world, "two")
    campaign = await world.campaign(**FAST)
    await world.contacts(campaign, 2)
    assert await first.scheduler.leader.lead()
    admitted = await world.admit(campaign, 1, owner="one", fence=first.scheduler.leader.holds)

    world.pass_time(seconds=LEASE_S + 0.5)  # the first was only stopped for a while
    assert await second.tick() == {campaign.id: 1}
    await first.scheduler.tick(world.now)
    await first.scheduler._place(admitted[0], 50.0)
    await first.dialled()
    assert first.carrier.placed == []
    assert len(second.carrier.placed) == 1
    assert (await reread(database, admitted[0])).outcome == "not_placed"


async def test_what_was_admitted_by_one_that_died_is_not_dialled_and_not_lost(world: DiallingWorld) -> None:
    campaign = await world.campaign(**FAST)
    await world.contacts(campaign, 2)
    await world.admit(campaign, 1, owner="dead")
    process = Process(world)

    assert await process.tick() == {campaign.id: 1}
    assert await world.states(campaign) == {"leased": 1, "dialing": 1}
    (lost,) = [row for row in await world.rows(campaign) if row.state == "leased"]
    assert lost.lease_until is not None
    assert lost.lease_until - world.now == timedelta(seconds=30)


async def test_it_runs_by_itself_and_ends_leaving_the_lead(world: DiallingWorld) -> None:
    process = Process(world)
    campaign = await world.campaign(**FAST)
    await world.contacts(campaign, 3)

    await process.scheduler.open()
    await process.until_placed(3)
    await process.scheduler.close()
    await process.scheduler.close()
    other = Process(world, "two")
    assert await other.scheduler.leader.lead()


async def test_a_database_that_is_away_is_waited_for(world: DiallingWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(world)
    campaign = await world.campaign(**FAST)
    await world.contacts(campaign, 1)
    lead, failures = process.scheduler.leader.lead, [True]
    monkeypatch.setattr("voice_agent.campaigns.scheduler.IDLE_S", 0.01)

    async def away() -> bool:
        if failures:
            failures.pop()
            raise DatabaseUnavailable("away")
        return await lead()

    monkeypatch.setattr(process.scheduler.leader, "lead", away)
    await process.scheduler.open()
    await process.until_placed(1)
    await process.scheduler.close()
    assert failures == []
