"""Campaigns are held with their reason, and numbers are rested in their place where it is only them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.calls.stored_calls import NOW, OURS
from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from tests.campaigns.stored_campaigns import Told, notes_of, reread
from tests.campaigns.test_health import OTHER, ended
from voice_agent.calls.policy import CallPolicy
from voice_agent.campaigns.guarding import CampaignGuard
from voice_agent.campaigns.life import CampaignLife
from voice_agent.campaigns.limits import Limits
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CampaignRow


@pytest.fixture
async def world(sqlite: Database) -> DiallingWorld:
    return await dialling_world(sqlite)


def guard(world: DiallingWorld, troubles: Sequence[str] = ()) -> CampaignGuard:
    async def policies(_: object, org_id: Any) -> CallPolicy:
        assert org_id == world.org_id
        return world.policy

    life = CampaignLife(JobOutbox(), Told())
    return CampaignGuard(world.database, life, policies, limits=Limits(), troubles=lambda: troubles)


async def held(world: DiallingWorld, campaign: CampaignRow) -> tuple[str, str, str]:
    row = await reread(world.database, campaign)
    return row.state, row.hold_code, row.reason


async def test_a_healthy_campaign_goes_on(world: DiallingWorld) -> None:
    assert await guard(world).look_after(NOW) == frozenset()
    campaign = await world.campaign()
    await ended(world, campaign, 9)

    assert await guard(world).look_after(NOW) == frozenset()
    assert await held(world, campaign) == ("running", "", "")


async def test_failures_hold_it_for_a_while_and_raise_its_epoch(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    async with world.database.write() as session:
        (await session.get_one(CampaignRow, campaign.id)).resumed_at = NOW - timedelta(hours=1)
    await ended(world, campaign, 6, outcome="carrier_failed", error_code=32011)

    assert await guard(world).look_after(NOW) == {campaign.id}
    assert await held(world, campaign) == (
        "held", "failures", "6 of the last 6 calls failed (mostly with the carrier's error 32011)",
    )  # fmt: skip
    row = await reread(world.database, campaign)
    assert (row.epoch, row.release_at) == (2, NOW + timedelta(seconds=300))


async def test_one_number_that_fails_is_rested_and_the_log_says_so(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    await world.number(OTHER)
    async with world.database.write() as session:
        (await session.get_one(CampaignRow, campaign.id)).resumed_at = NOW - timedelta(hours=1)
    await ended(world, campaign, 6, outcome="carrier_failed", from_number=OTHER)
    await ended(world, campaign, 6)

    await guard(world).look_after(NOW)
    assert (await held(world, campaign))[0] == "running"
    (note,) = await notes_of(world.database, campaign)
    assert (note.kind, note.details) == ("numbers", {"numbers": [OTHER]})


async def test_trouble_is_told_before_it_holds(world: DiallingWorld) -> None:
    campaign = await world.campaign()
    async with world.database.write() as session:
        (await session.get_one(CampaignRow, campaign.id)).resumed_at = NOW - timedelta(hours=1)
    await ended(world, campaign, 3, outcome="carrier_failed")
    await ended(world, campaign, 6)

    assert await guard(world).look_after(NOW) == {campaign.id}
    assert (await held(world, campaign))[0] == "running"


@pytest.mark.parametrize(
    ("plan", "committed", "troubles", "lag_ms", "code"),
    [
        ({"budget": 10}, 0, (), 0.0, "budget"),
        ({"budget": 100_000_000}, 0, (), 0.0, ""),
        ({"budget": 100_000_000}, 99_999_999, (), 0.0, "budget"),
        ({}, 0, ("openai",), 0.0, "provider"),
        ({}, 0, (), 900.0, "latency"),
        ({"pool_id": "00000000-0000-0000-0000-000000000009"}, 0, (), 0.0, "no_number"),
        ({"variants": [{"agent_id": "00000000-0000-0000-0000-000000000009"}]}, 0, (), 0.0, ""),
    ],
)
async def test_what_else_holds_it(
    world: DiallingWorld, plan: dict[str, Any], committed: int, troubles: Sequence[str], lag_ms: float, code: str
) -> None:
    campaign = await world.campaign(**plan)
    async with world.database.write() as session:
        (await session.get_one(CampaignRow, campaign.id)).committed = committed

    await guard(world, troubles).look_after(NOW, lag_ms=lag_ms)
    assert (await held(world, campaign))[1] == code


async def test_a_number_in_quarantine_alone_holds_it(world: DiallingWorld) -> None:
    campaign = await world.campaign(pool_id=str(await world.pool(await world.number(
        OTHER, quarantine_until=NOW + timedelta(hours=1)
    ))))  # fmt: skip
    assert OURS != OTHER

    await guard(world).look_after(NOW)
    assert (await held(world, campaign))[1] == "no_number"
