"""Jobs as the others use them, on both databases."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.contracts.eventually import eventually
from tests.jobs.world import AT_ONCE, FAST, Note, ask, new_jobs, running, until, until_idle
from tests.servers.postgres import PostgresServer
from voice_agent.errors import NotFound, SettingsError
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.settings import JobsSettings
from voice_agent.storage.database import Database


class Doing:
    """A handler that fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.done: list[tuple[str, int]] = []
        self.tried = 0

    async def __call__(self, payload: Note, context: JobContext) -> None:
        self.tried += 1
        if self.failures:
            self.failures -= 1
            raise ConnectionError("away")
        self.done.append((payload.name, context.tries))


def jobs_of(database: Database, doing: Doing) -> Jobs:
    jobs = new_jobs(database)
    jobs.register("note", Note, doing, retry=AT_ONCE)
    return jobs


async def test_a_job_is_done_once_after_its_transaction(database: Database) -> None:
    doing = Doing()
    jobs = jobs_of(database, doing)
    async with running(jobs):
        for _ in range(2):
            await ask(jobs, "note", "n")
        await until_idle(jobs)
        await ask(jobs, "note", "n")
        await until_idle(jobs)
    assert doing.done == [("n", 1)]


async def test_what_was_rolled_back_is_never_done(database: Database) -> None:
    doing = Doing()
    jobs = jobs_of(database, doing)

    async def fail() -> None:
        async with database.write() as session:
            await jobs.request(session, "note", Note("lost"), job_id="lost")
            raise RuntimeError

    async with running(jobs):
        with pytest.raises(RuntimeError):
            await fail()
        await ask(jobs, "note", "kept")
        await until_idle(jobs)
    assert doing.done == [("kept", 1)]


async def test_it_is_tried_again_until_it_succeeds(database: Database) -> None:
    doing = Doing(failures=2)
    jobs = jobs_of(database, doing)
    async with running(jobs):
        await ask(jobs, "note", "n")
        await until_idle(jobs)
        assert await jobs.failed() == []
    assert doing.done == [("n", 3)]


async def test_one_that_keeps_failing_is_shown_counted_and_can_be_retried(database: Database) -> None:
    doing = Doing(failures=AT_ONCE.tries)
    jobs = jobs_of(database, doing)
    async with running(jobs):
        await ask(jobs, "note", "n", job_id="j")

        async def has_failed() -> bool:
            return await jobs.count() == (0, 1)

        await until(has_failed)
        (failed,) = await jobs.failed()
        assert (failed.id, failed.tries, failed.error) == ("j", 3, "ConnectionError: away")
        assert doing.tried == AT_ONCE.tries

        await jobs.retry("j")
        await until_idle(jobs)
        assert await jobs.count() == (0, 0)
        with pytest.raises(NotFound):
            await jobs.retry("j")
    assert doing.done == [("n", 1)]


async def test_a_delay_is_kept(database: Database) -> None:
    doing = Doing()
    jobs = jobs_of(database, doing)
    async with running(jobs):
        await ask(jobs, "note", "later", delay_s=3_600)
        await ask(jobs, "note", "soon", delay_s=0.2)
        await ask(jobs, "note", "now")

        async def is_one_left() -> bool:
            return (await jobs.count()) == (1, 0)

        await until(is_one_left)
    assert sorted(doing.done) == [("now", 1), ("soon", 1)]


async def test_many_at_once_are_all_done_once(database: Database) -> None:
    doing = Doing()
    jobs = jobs_of(database, doing)
    async with running(jobs):
        async with database.write() as session:
            for number in range(120):
                await jobs.request(session, "note", Note(str(number)), job_id=f"n{number}")
        await until_idle(jobs)
    assert sorted(int(name) for name, _ in doing.done) == list(range(120))


async def test_a_process_that_only_asks_runs_nothing(database: Database) -> None:
    doing = Doing()
    asking, doer = jobs_of(database, doing), jobs_of(database, doing)
    await asking.open(run=False)
    await asking.started()
    await ask(asking, "note", "n")
    assert await asking.count() == (1, 0)
    await asking.close()

    async with running(doer):
        await until_idle(doer)
    assert doing.done == [("n", 1)]


async def test_periodic_work_comes_again(database: Database) -> None:
    ticks: list[int] = []
    jobs = new_jobs(database)

    async def tick() -> None:
        ticks.append(len(ticks))

    jobs.every("tick", 0.05, tick)
    async with running(jobs):
        await eventually(lambda: len(ticks) >= 3)


async def test_what_runs_is_given_a_while_to_finish(database: Database) -> None:
    began, ended = asyncio.Event(), asyncio.Event()
    jobs = new_jobs(database, times=FAST)

    async def short(_: Note, __: JobContext) -> None:
        began.set()
        await asyncio.sleep(0.05)
        ended.set()

    jobs.register("short", Note, short)
    async with running(jobs):
        await ask(jobs, "short")
        await began.wait()
    assert ended.is_set()
    assert await jobs.count() == (0, 0)


async def test_what_does_not_finish_in_time_is_done_after_a_restart(database: Database) -> None:
    doing, began = Doing(), asyncio.Event()

    async def endless(_: Note, __: JobContext) -> None:
        began.set()
        await asyncio.Event().wait()

    first = new_jobs(database)
    first.register("note", Note, endless)
    async with running(first):
        await ask(first, "note", "n")
        await began.wait()
    assert await first.count() == (1, 0)

    second = jobs_of(database, doing)
    async with running(second):
        await until_idle(second)
    assert doing.done == [("n", 1)]


async def test_a_second_process_on_sqlite_is_refused(sqlite: Database) -> None:
    async with running(new_jobs(sqlite)):
        second = new_jobs(sqlite)
        with pytest.raises(SettingsError, match="JOBS_IN_SERVER=false"):
            await second.open(run=True)
        await second.close()
        await second.open(run=False)
    async with running(new_jobs(sqlite)):
        pass


async def test_f43_behind_a_transaction_pooler_jobs_are_refused() -> None:
    database = Database(URL.create("postgresql+asyncpg", "u", host="pooler.test", port=6543, database="d"))
    with pytest.raises(SettingsError, match="5432"):
        await Jobs(database, JobsSettings()).open(run=True)
    await database.close()


async def test_what_was_not_registered_or_too_late_is_refused(sqlite: Database) -> None:
    jobs = jobs_of(sqlite, Doing())
    async with sqlite.write() as session:
        with pytest.raises(ValueError, match="no jobs of kind"):
            await jobs.request(session, "unheard", Note(), job_id="a")
        with pytest.raises(ValueError, match="no jobs of kind note with a JobTimes"):
            await jobs.request(session, "note", FAST, job_id="a")
    with pytest.raises(ValueError, match="there already"):
        jobs.register("note", Note, Doing())
    async with running(jobs):
        with pytest.raises(ValueError, match="too late"):
            jobs.register("other", Note, Doing())


async def test_closing_twice_or_unopened_is_closing(sqlite: Database) -> None:
    jobs = new_jobs(sqlite)
    await jobs.close()
    await jobs.open(run=True)
    await jobs.close()
    await jobs.close()


async def test_f40_a_database_that_goes_and_comes_back_delays_jobs_and_loses_none() -> None:
    """Short of `dead_after_s` the engine goes on by itself; longer, all is broken off and begun anew."""
    server = PostgresServer()
    server.start()
    try:
        database = Database(server.fresh_database())
        doing = Doing()
        jobs = jobs_of(database, doing)
        try:
            async with running(jobs):
                for number, away_s in enumerate((0.3, FAST.dead_after_s + 2.0)):
                    await ask(jobs, "note", f"before-{number}", delay_s=0.1)
                    await asyncio.to_thread(server.stop)
                    await asyncio.sleep(away_s)
                    await asyncio.to_thread(server.start)
                    await until_idle(jobs)
                    await ask(jobs, "note", f"after-{number}")
                    await until_idle(jobs)
        finally:
            await database.close()
    finally:
        server.remove()
    assert {name for name, _ in doing.done} == {"before-0", "after-0", "before-1", "after-1"}


async def test_f40_closing_while_the_database_is_away_ends_in_time() -> None:
    server = PostgresServer()
    server.start()
    try:
        database = Database(server.fresh_database())
        jobs = jobs_of(database, Doing())
        await jobs.open(run=True)
        await jobs.started()
        await asyncio.to_thread(server.stop)
        async with asyncio.timeout(25):
            await jobs.close()
        await database.close()
    finally:
        server.remove()


async def test_f40_jobs_are_run_once_a_database_that_was_away_at_the_start_is_there() -> None:
    server = PostgresServer()
    server.start()
    doing = Doing()
    try:
        database = Database(server.fresh_database())
        jobs = jobs_of(database, doing)
        await ask(jobs, "note", "n")
        await asyncio.to_thread(server.stop)
        await jobs.open(run=True)
        await asyncio.sleep(0.2)
        await asyncio.to_thread(server.start)
        await until_idle(jobs)
        await jobs.close()
        await database.close()
    finally:
        server.remove()
    assert doing.done == [("n", 1)]


def test_the_engines_file_lies_beside_the_database(tmp_path: Path) -> None:
    async def run() -> None:
        database = Database(URL.create("sqlite+aiosqlite", database=str(tmp_path / "voice_agent.db")))
        await database.migrate()
        async with running(new_jobs(database)):
            pass
        await database.close()

    asyncio.run(run())
    assert {"voice_agent.db", "voice_agent-jobs.db", "voice_agent-jobs.db.lock"} <= {p.name for p in tmp_path.iterdir()}
