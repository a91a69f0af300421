"""One process leads; when it is gone another does; one that was only stopped is told so by the database."""

from datetime import timedelta

import pytest

from tests.calls.stored_calls import NOW
from voice_agent.campaigns.leader import LEASE_S, RENEW_S, Leader
from voice_agent.storage.database import Database


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def leader(database: Database, clock: Clock, owner: str) -> Leader:
    return Leader(database, "scheduler", owner, clock=lambda: clock.now)


async def holds(database: Database, each: Leader) -> bool:
    async with database.read() as session:
        return await each.holds(session)


async def test_one_leads_until_its_lease_has_ended(database: Database, clock: Clock) -> None:
    one, other = leader(database, clock, "one"), leader(database, clock, "other")

    assert (await one.lead(), await other.lead()) == (True, False)
    assert (one.fencing, other.fencing) == (1, None)
    clock.pass_time(LEASE_S - 0.1)
    assert await other.lead() is False
    clock.pass_time(0.1)
    assert not await holds(database, one)  # before anybody else has taken it
    assert await other.lead() is True
    assert (other.fencing, await holds(database, other)) == (2, True)


async def test_the_leader_renews_and_goes_on(sqlite: Database, clock: Clock) -> None:
    one, other = leader(sqlite, clock, "one"), leader(sqlite, clock, "other")
    for _ in range(20):
        assert await one.lead()
        assert not await other.lead()
        clock.pass_time(RENEW_S / 2)

    assert one.fencing == 1


async def test_one_that_was_only_stopped_is_fenced_out(sqlite: Database, clock: Clock) -> None:
    one, other = leader(sqlite, clock, "one"), leader(sqlite, clock, "other")
    await one.lead()
    clock.pass_time(LEASE_S + 1)
    await other.lead()

    assert one.fencing == 1  # it does not know
    assert not await holds(sqlite, one)
    assert await one.lead() is False
    assert one.fencing is None


async def test_who_led_before_leads_under_a_new_number(sqlite: Database, clock: Clock) -> None:
    one, other = leader(sqlite, clock, "one"), leader(sqlite, clock, "other")
    await one.lead()
    clock.pass_time(LEASE_S)
    await other.lead()
    clock.pass_time(LEASE_S)

    assert await one.lead()
    assert one.fencing == 3


async def test_who_resigns_is_followed_at_once(sqlite: Database, clock: Clock) -> None:
    one, other = leader(sqlite, clock, "one"), leader(sqlite, clock, "other")
    await one.lead()
    await one.resign()

    assert not await holds(sqlite, one)
    assert await other.lead()
    await one.resign()
    assert await holds(sqlite, other)
