"""Who holds which call, as others see it, and that nobody in a call waits for it."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from tests.calls.stored_calls import NOW, a_stored_call, reread
from tests.contracts.eventually import eventually
from tests.servers.postgres import PostgresServer
from voice_agent.calls import leases as module
from voice_agent.calls.leases import LEASE_S, Leases
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow

ONE, TWO = "CA" + "1" * 32, "CA" + "2" * 32


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_S", 0.01)


@pytest.fixture
async def leases(database: Database) -> AsyncIterator[Leases]:
    running = Leases(database, "worker-a", clock=Clock())
    await running.open()
    yield running
    await running.close()
    await running.close()


async def _until(database: Database, call: CallRow, worker: str | None, *, after: datetime | None = None) -> CallRow:
    for _ in range(500):
        row = await reread(database, call.id)
        if row.worker == worker and row.lease_until is not None and row.lease_until != after:
            return row
    raise AssertionError(f"{row.worker} until {row.lease_until}")


async def test_a_live_call_is_held_and_renewed_until_it_is_released(database: Database, leases: Leases) -> None:
    call = await a_stored_call(database, call_sid=ONE)
    leases.take(ONE)
    row = await _until(database, call, "worker-a")
    assert row.lease_until is not None
    assert row.lease_until > NOW + timedelta(seconds=LEASE_S)
    await _until(database, call, "worker-a", after=row.lease_until)
    leases.release(ONE)
    other = await a_stored_call(database, call_sid=TWO)
    leases.take(TWO)
    row = await _until(database, other, "worker-a")
    last = (await reread(database, call.id)).lease_until
    await _until(database, other, "worker-a", after=row.lease_until)
    assert (await reread(database, call.id)).lease_until == last


async def test_f47_a_call_that_was_taken_over_stays_with_whoever_took_it(database: Database, leases: Leases) -> None:
    call = await a_stored_call(database, call_sid=ONE)
    leases.take(ONE)
    await _until(database, call, "worker-a")
    other = Leases(database, "worker-b", clock=Clock())
    await other.open()
    other.take(ONE)
    taken = await _until(database, call, "worker-b")
    renewed = await _until(database, call, "worker-b", after=taken.lease_until)
    await other.close()
    second = await a_stored_call(database, call_sid=TWO)
    leases.take(TWO)
    await _until(database, second, "worker-a")
    assert (await reread(database, call.id)).worker == renewed.worker == "worker-b"


async def test_a_call_that_is_stored_later_is_held_from_then_on(database: Database, leases: Leases) -> None:
    leases.take(ONE)
    await eventually(lambda: not leases._new)
    await _until(database, await a_stored_call(database, call_sid=ONE), "worker-a")


async def test_an_end_that_is_meant_is_written_down(database: Database, leases: Leases) -> None:
    call = await a_stored_call(database, call_sid=ONE)
    await leases.mark_ended_by_us(ONE, "agent_hung_up")
    stored = await reread(database, call.id)
    assert (stored.is_ended_by_us, stored.end_reason) == (True, "agent_hung_up")


async def test_f40_a_database_that_is_away_ends_no_call_and_holds_no_end_up(
    postgres: PostgresServer,
) -> None:
    database = Database(postgres.fresh_database())
    leases = Leases(database, "worker-a", clock=Clock())
    await leases.open()
    call = await a_stored_call(database, call_sid=ONE)
    postgres.stop()
    try:
        leases.take(ONE)
        await leases.mark_ended_by_us(ONE, "agent_hung_up")
        await eventually(lambda: ONE in leases._new)
    finally:
        postgres.start()
    await _until(database, call, "worker-a")
    assert not (await reread(database, call.id)).is_ended_by_us
    await leases.close()
    await database.close()
