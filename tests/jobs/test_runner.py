"""A process that runs jobs: its slot, what it hands over, what it finds again. What several do: test_worker."""

import asyncio

import pytest
from sqlalchemy import select, text, update
from structlog.testing import capture_logs

from tests.contracts.eventually import eventually
from tests.jobs.world import FAST, Note, ask, new_jobs, running, until, until_idle
from voice_agent.errors import SettingsError
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.workers import Worker, WorkerRegister
from voice_agent.storage.database import Database
from voice_agent.storage.tables import JobRow, WorkerRow


class Doing:
    """A handler that can be held."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self, payload: Note, _: JobContext) -> None:
        self.began.append(payload.name)
        await self.may_end.wait()
        self.ended.append(payload.name)


async def states(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(WorkerRow.state).order_by(WorkerRow.started_at)))


async def test_it_has_its_slot_while_it_runs(database: Database) -> None:
    async with running(new_jobs(database, slot="a-1")):
        assert await states(database) == ["ready"]
        async with database.read() as session:
            assert (await session.scalars(select(WorkerRow.slot))).one() == "a-1"
    assert await states(database) == ["gone"]


async def test_a_job_whose_run_was_never_passed_on_is_found(database: Database) -> None:
    """The process was killed between the two databases, or the engine's is an older copy."""
    doing = Doing()
    jobs = new_jobs(database)
    jobs.register("note", Note, doing)
    await ask(jobs, "note", "n")
    async with database.write() as session:
        await session.execute(update(JobRow).values(handed_at=JobRow.created_at, run=1))

    async with running(jobs):
        await until_idle(jobs)
    assert doing.ended == ["n"]


async def test_a_job_that_was_done_and_is_asked_for_again_goes(database: Database) -> None:
    doing = Doing()
    jobs = new_jobs(database)
    jobs.register("note", Note, doing)
    async with running(jobs):
        for _ in range(2):
            await ask(jobs, "note", "n")
            await until_idle(jobs)
    assert doing.ended == ["n"]


async def test_whose_slot_is_taken_by_a_living_process_is_refused_and_waits(database: Database) -> None:
    if database.is_sqlite:  # there the lock says it
        return
    register = WorkerRegister(database, dead_after_s=FAST.dead_after_s)
    other = Worker(id="other", slot="0", host="elsewhere", version="1")
    assert await register.take(other) == ""

    async def live() -> None:
        async def has_left() -> bool:
            return not await register.beat(other)

        await until(has_left)

    living = asyncio.create_task(live())
    jobs = new_jobs(database)
    await jobs.open(run=True)
    try:
        with pytest.raises(SettingsError, match="JOBS_SLOT=0 is that of another process, on elsewhere"):
            await jobs.started()
        await register.leave(other)
        await living

        async def has_it() -> bool:
            return await states(database) == ["gone", "ready"]

        await until(has_it)
    finally:
        await jobs.close()


async def test_a_slot_that_a_killed_process_had_is_taken_when_it_is_dead(database: Database) -> None:
    register = WorkerRegister(database, dead_after_s=FAST.dead_after_s)
    assert await register.take(Worker(id="killed", slot="0", host="here", version="1")) == ""

    async with running(new_jobs(database)):
        assert await states(database) == ["gone", "ready"]


async def test_f54_who_was_taken_for_dead_breaks_its_jobs_off_and_begins_anew(database: Database) -> None:
    """Its jobs are another one's now: here nobody has taken them, so it does them again itself."""
    doing = Doing()
    doing.may_end.clear()
    jobs = new_jobs(database)
    jobs.register("note", Note, doing)
    async with running(jobs):
        await ask(jobs, "note", "n")
        await eventually(lambda: doing.began)
        with capture_logs() as entries:
            async with database.write() as session:
                await session.execute(update(WorkerRow).values(state="gone"))

            async def is_back() -> bool:
                return await states(database) == ["gone", "ready"] and len(doing.began) == 2

            await until(is_back)
        assert "jobs_restart" in [entry["event"] for entry in entries]
        assert doing.ended == []
        doing.may_end.set()
        await until_idle(jobs)
    assert doing.ended == ["n"]


async def test_f42_a_locked_table_of_jobs_delays_and_loses_nothing(database: Database) -> None:
    doing = Doing()
    jobs = new_jobs(database)
    jobs.register("note", Note, doing)
    async with running(jobs):
        async with database.write() as session:
            if not database.is_sqlite:
                await session.execute(text("LOCK TABLE job"))
            await jobs.request(session, "note", Note("n"), job_id="n")
            await asyncio.sleep(0.3)
            assert doing.began == []
        await until_idle(jobs)
    assert doing.ended == ["n"]
