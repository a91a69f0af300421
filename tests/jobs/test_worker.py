"""Processes that run jobs, killed and told to end: real ones, on both databases where the database allows two."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy import URL

from tests.jobs.world import FAST, Journal, Note, ask, new_jobs, until, until_idle, worker_processes
from tests.servers.postgres import PostgresServer
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.storage.database import Database


async def nothing(_: Note, __: JobContext) -> None: ...


def asking(database: Database) -> Jobs:
    jobs = new_jobs(database)
    for kind in ("note", "hold", "deadly"):
        jobs.register(kind, Note, nothing)
    return jobs


def it(condition: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    """Return a condition as `until` takes it."""

    async def holds() -> object:
        return condition()

    return holds


async def test_f48_a_killed_processes_job_is_done_after_its_restart(
    database: Database, database_url: URL, tmp_path: Path
) -> None:
    journal, jobs = Journal(tmp_path), asking(database)
    await ask(jobs, "hold", "job")
    async with worker_processes(database_url, tmp_path, "0") as (worker,):
        await until(it(lambda: journal.of("begin", "job")))
        worker.signal(signal.SIGKILL)
        await worker.end()
        assert await jobs.count() == (1, 0)

        (tmp_path / "job").touch()
        await worker.start()
        await until_idle(jobs)
        assert journal.of("end", "job") == [worker.pid]


async def test_f48_a_killed_processes_job_is_done_by_another_one(postgres: PostgresServer, tmp_path: Path) -> None:
    database = Database(postgres.fresh_database())
    journal, jobs = Journal(tmp_path), asking(database)
    await ask(jobs, "hold", "job")
    async with worker_processes(database.url, tmp_path, "a", "b") as workers:
        await until(it(lambda: journal.of("begin", "job")))
        (held_by,) = journal.of("begin", "job")
        killed, other = workers if workers[0].pid == held_by else reversed(workers)
        await until(it(lambda: other.pid in journal.of("tick") and killed.pid in journal.of("tick")))
        killed.signal(signal.SIGKILL)
        (tmp_path / "job").touch()
        await until_idle(jobs)
        assert journal.of("end", "job") == [other.pid]
        # Periodic work goes on, too, whoever was at it.
        ticks = len(journal.of("tick"))
        await until(it(lambda: len(journal.of("tick")) > ticks + 2))
    await database.close()


async def test_g25_two_processes_never_do_a_job_twice_nor_periodic_work_side_by_side(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    database = Database(postgres.fresh_database())
    journal, jobs = Journal(tmp_path), asking(database)
    async with worker_processes(database.url, tmp_path, "a", "b") as workers:
        await until(it(lambda: {worker.pid for worker in workers} <= set(journal.of("tick"))))
        async with database.write() as session:
            for number in range(200):
                await jobs.request(session, "note", Note(f"n{number}"), job_id=f"n{number}")
        await until_idle(jobs)
    await database.close()

    began = [line[1] for line in journal.lines() if line[0] == "begin"]
    assert sorted(began) == sorted(f"n{number}" for number in range(200))
    assert set(journal.of("begin")) == {worker.pid for worker in workers}
    assert _overlaps(journal) == []


def _overlaps(journal: Journal) -> list[int]:
    """Return the lines at which periodic work began while it was being done."""
    found, running = [], 0
    for number, (what, *_) in enumerate(journal.lines()):
        if what == "tick":
            running += 1
            if running > 1:
                found.append(number)
        elif what == "tock":
            running -= 1
    return found


async def test_a_job_that_kills_its_processes_has_failed_in_the_end(
    database: Database, database_url: URL, tmp_path: Path
) -> None:
    journal, jobs = Journal(tmp_path), asking(database)
    await ask(jobs, "deadly", "job", job_id="killer")
    async with worker_processes(database_url, tmp_path, "0") as (worker,):
        for _ in range(FAST.recoveries + 1):
            await worker.end()
            await worker.start()

        async def has_failed() -> bool:
            return await jobs.count() == (0, 1)

        await until(has_failed)
    (failed,) = await jobs.failed()
    assert (failed.id, failed.error) == ("killer", "the engine ended it: deadly")
    assert len(journal.of("begin", "job")) == FAST.recoveries + 1


async def test_f49_told_to_end_it_finishes_what_runs(sqlite: Database, sqlite_url: URL, tmp_path: Path) -> None:
    journal, jobs = Journal(tmp_path), asking(sqlite)
    await ask(jobs, "hold", "job")
    async with worker_processes(sqlite_url, tmp_path, "0") as (worker,):
        await until(it(lambda: journal.of("begin", "job")))
        worker.signal(signal.SIGTERM)
        await ask(jobs, "note", "later")
        await asyncio.sleep(0.3)
        (tmp_path / "job").touch()
        status, errors = await worker.end()

    assert status == 0, errors
    assert journal.of("end", "job")
    assert journal.of("closed")
    assert not journal.of("begin", "later")


async def test_f49_told_twice_it_ends_at_once(sqlite: Database, sqlite_url: URL, tmp_path: Path) -> None:
    journal, jobs = Journal(tmp_path), asking(sqlite)
    await ask(jobs, "hold", "job")
    async with worker_processes(sqlite_url, tmp_path, "0") as (worker,):
        await until(it(lambda: journal.of("begin", "job")))
        worker.signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        worker.signal(signal.SIGTERM)
        status, _ = await worker.end()

    assert status == 128 + signal.SIGTERM
    assert not journal.of("end", "job")
    assert await jobs.count() == (1, 0)


async def test_a_second_process_on_sqlite_says_why_it_ends(sqlite_url: URL, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    async with worker_processes(sqlite_url, tmp_path, "0", "1") as workers:
        ends = [asyncio.create_task(worker.end()) for worker in workers]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = [end for end in ends if end.done()]
        status, errors = refused.result()
        await until(it(lambda: journal.of("tick")))
        for worker in workers:
            await worker.kill()
        await asyncio.gather(*ends)

    assert status != 0
    assert "runs the jobs of this SQLite database already" in errors


async def test_two_processes_with_one_slot_are_refused(postgres: PostgresServer, tmp_path: Path) -> None:
    database = Database(postgres.fresh_database())
    async with worker_processes(database.url, tmp_path, "a", "a") as workers:
        ends = [asyncio.create_task(worker.end()) for worker in workers]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = [end for end in ends if end.done()]
        status, errors = refused.result()
        for worker in workers:
            await worker.kill()
        await asyncio.gather(*ends)
    await database.close()

    assert status != 0
    assert "JOBS_SLOT=a is that of another process" in errors


async def test_f54_a_process_that_was_stopped_for_a_while_gives_its_jobs_up(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Stopped past its lease another one has done its job; back, it breaks off what it was doing."""
    database = Database(postgres.fresh_database())
    journal, jobs = Journal(tmp_path), asking(database)
    async with worker_processes(database.url, tmp_path, "a", "b") as workers:
        await until(it(lambda: {worker.pid for worker in workers} <= set(journal.of("tick"))))
        await ask(jobs, "hold", "job")
        await until(it(lambda: journal.of("begin", "job")))
        (held_by,) = journal.of("begin", "job")
        stopped, other = workers if workers[0].pid == held_by else reversed(workers)
        stopped.signal(signal.SIGSTOP)
        await until(it(lambda: journal.of("begin", "job")[1:] == [other.pid]))
        stopped.signal(signal.SIGCONT)
        ticks = journal.of("tick").count(stopped.pid)
        await until(it(lambda: journal.of("tick").count(stopped.pid) > ticks))
        (tmp_path / "job").touch()
        await until_idle(jobs)
        assert journal.of("begin", "job") == [stopped.pid, other.pid]
        assert journal.of("end", "job") == [other.pid]
    await database.close()
