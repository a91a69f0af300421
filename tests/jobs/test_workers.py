"""Slots and signs of life, on both databases."""

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from voice_agent.jobs.workers import KEPT, Worker, WorkerRegister
from voice_agent.storage.database import Database
from voice_agent.storage.tables import WorkerRow


def worker(name: str, *, slot: str = "0") -> Worker:
    return Worker(id=name, slot=slot, host=f"host-of-{name}", version="1")


async def let_pass(database: Database, name: str, seconds: float) -> None:
    """Make a sign of life older."""
    seen_at = datetime.now(UTC) - timedelta(seconds=seconds)
    async with database.write() as session:
        await session.execute(update(WorkerRow).where(WorkerRow.id == name).values(seen_at=seen_at))


async def known(database: Database) -> set[str]:
    async with database.read() as session:
        return set(await session.scalars(select(WorkerRow.id)))


async def test_a_slot_is_its_processes_until_that_leaves(database: Database) -> None:
    register = WorkerRegister(database, dead_after_s=60)
    assert await register.take(worker("a")) == ""
    assert await register.beat(worker("a"))
    assert await register.take(worker("other", slot="1")) == ""
    if not database.is_sqlite:
        assert await register.take(worker("b")) == "host-of-a"
        assert await register.living_slots() == {"0", "1"}

    await register.leave(worker("a"))
    assert not await register.beat(worker("a"))
    assert await register.take(worker("b")) == ""


async def test_of_many_at_once_one_has_it(database: Database) -> None:
    register = WorkerRegister(database, dead_after_s=60)
    if database.is_sqlite:  # whoever comes there is alone, and the others are gone
        return

    answers = await asyncio.gather(*(register.take(worker(f"w{number}")) for number in range(8)))

    assert answers.count("") == 1


async def test_without_a_sign_of_life_it_is_lost(database: Database) -> None:
    register = WorkerRegister(database, dead_after_s=60)
    await register.take(worker("a"))
    await let_pass(database, "a", 61)

    assert await register.living_slots() == set()
    assert not await register.beat(worker("a"))
    assert await register.take(worker("b")) == ""


async def test_late_but_not_judged_yet_it_lives(database: Database) -> None:
    """Nobody was there to take it for dead, as after an outage: it goes on."""
    register = WorkerRegister(database, dead_after_s=60)
    await register.take(worker("a"))
    await let_pass(database, "a", 61)

    assert await register.beat(worker("a"))
    assert await register.living_slots() == {"0"}


async def test_on_sqlite_whoever_comes_is_alone(sqlite: Database) -> None:
    register = WorkerRegister(sqlite, dead_after_s=60)
    await register.take(worker("a"))

    assert await register.take(worker("b")) == ""
    assert not await register.beat(worker("a"))


async def test_rows_of_the_dead_go_after_a_day(database: Database) -> None:
    register = WorkerRegister(database, dead_after_s=60)
    await register.take(worker("a"))
    await register.leave(worker("a"))
    await let_pass(database, "a", KEPT.total_seconds() + 10)

    await register.take(worker("b"))
    assert await known(database) == {"b"}
