"""Periodic work, on both databases."""

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from structlog.testing import capture_logs

from voice_agent.jobs.periodic import Periodic, PeriodicWork
from voice_agent.jobs.workers import Worker, WorkerRegister
from voice_agent.storage.database import Database
from voice_agent.storage.tables import PeriodicRow


class Sweep:
    """Work that can be held."""

    def __init__(self) -> None:
        self.began = 0
        self.ended = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> None:
        self.began += 1
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        self.ended += 1


def periodic(database: Database, work: PeriodicWork, *, worker_id: str = "a") -> Periodic:
    return Periodic(database, {"sweep": work}, worker_id=worker_id)


def every(interval_s: float, sweep: Sweep, *, timeout_s: float = 60.0) -> PeriodicWork:
    return PeriodicWork(interval_s=interval_s, handler=sweep, timeout_s=timeout_s)


async def enter(database: Database, *names: str) -> WorkerRegister:
    register = WorkerRegister(database, dead_after_s=60)
    for name in names:
        await register.take(Worker(id=name, slot=name, host="h", version="1"))
    return register


async def due_at(database: Database) -> datetime:
    async with database.read() as session:
        return (await session.scalars(select(PeriodicRow.due_at))).one()


async def make_due(database: Database) -> None:
    async with database.write() as session:
        await session.execute(update(PeriodicRow).values(due_at=datetime.now(UTC) - timedelta(seconds=1)))


async def test_it_runs_at_once_and_then_when_it_is_due(database: Database) -> None:
    sweep = Sweep()
    sweep.may_end.set()
    await enter(database, "a")
    work = periodic(database, every(3_600, sweep))
    await work.prepare()
    for _ in range(3):
        async with asyncio.TaskGroup() as group:
            await work.run_due(group)
    assert sweep.ended == 1

    await make_due(database)
    async with asyncio.TaskGroup() as group:
        await work.run_due(group)
    assert sweep.ended == 2
    assert await due_at(database) > datetime.now(UTC) + timedelta(seconds=3_500)


async def test_of_many_at_once_one_runs_it_and_nobody_while_it_runs(database: Database) -> None:
    sweep = Sweep()
    names = [f"w{number}" for number in range(6)]
    if not database.is_sqlite:
        await enter(database, *names)
    else:
        await enter(database, names[0])
        names = names[:1] * 6
    works = [periodic(database, every(0.0, sweep), worker_id=name) for name in names]
    await works[0].prepare()
    async with asyncio.TaskGroup() as group:
        await asyncio.gather(*(work.run_due(group) for work in works))
        await make_due(database)
        await asyncio.gather(*(work.run_due(group) for work in works))
        assert sweep.began <= 1
        sweep.may_end.set()

    assert sweep.ended == 1


async def test_who_is_gone_is_not_at_it_any_more(database: Database) -> None:
    held, sweep = Sweep(), Sweep()
    sweep.may_end.set()
    register = await enter(database, "a")
    first, second = periodic(database, every(0.0, held)), periodic(database, every(0.0, sweep), worker_id="b")
    await first.prepare()
    async with asyncio.TaskGroup() as group:
        await first.run_due(group)
        await second.run_due(group)
        await asyncio.sleep(0)
        assert sweep.began == 0

        await register.leave(Worker(id="a", slot="a", host="h", version="1"))
        await second.run_due(group)
        held.may_end.set()
    assert sweep.ended == 1


async def test_what_raises_or_takes_too_long_comes_again(database: Database) -> None:
    sweep = Sweep()
    await enter(database, "a")
    work = periodic(database, every(0.0, sweep, timeout_s=0.01))
    await work.prepare()
    with capture_logs() as entries:
        for _ in range(2):
            async with asyncio.TaskGroup() as group:
                await work.run_due(group)

        sweep.error = ValueError("no")
        sweep.may_end.set()
        async with asyncio.TaskGroup() as group:
            await work.run_due(group)

    assert sweep.began == 3
    assert [(entry["event"], entry["log_level"]) for entry in entries] == [
        ("periodic_failed", "warning"), ("periodic_failed", "warning"), ("periodic_failed", "error"),
    ]  # fmt: skip


async def test_a_shorter_interval_comes_sooner(database: Database) -> None:
    await periodic(database, every(3_600, Sweep())).prepare()
    async with database.write() as session:
        await session.execute(update(PeriodicRow).values(due_at=datetime.now(UTC) + timedelta(hours=1)))

    await periodic(database, every(60, Sweep())).prepare()

    assert await due_at(database) < datetime.now(UTC) + timedelta(seconds=61)


async def test_with_nothing_to_do_nothing_is_asked(sqlite: Database) -> None:
    await sqlite.close()
    async with asyncio.TaskGroup() as group:
        await Periodic(sqlite, {}, worker_id="a").run_due(group)
