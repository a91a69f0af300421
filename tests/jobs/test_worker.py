"""A process that runs jobs: SIGTERM lets the running ones finish, a killed one's are done when it is back."""

import signal
from pathlib import Path

from sqlalchemy import URL

from tests.jobs.world import Journal, Note, ask, new_jobs, until, worker_processes
from voice_agent.storage.database import Database


async def _nothing(_: Note, __: object) -> None:
    raise AssertionError("only worker processes run jobs here")


async def test_sigterm_lets_a_running_job_finish_and_sigkill_has_it_done_again(
    database: Database, database_url: URL, tmp_path: Path
) -> None:
    journal = Journal(tmp_path)
    jobs = new_jobs(database)
    jobs.register("hold", Note, _nothing)
    await ask(jobs, "hold", "gate")

    async def has_begun() -> bool:
        return bool(journal.of("begin", "gate"))

    async with worker_processes(database_url, tmp_path, "0") as (killed,):
        await until(has_begun)
        await killed.kill()
    assert journal.of("end") == []

    async with worker_processes(database_url, tmp_path, "0") as (worker,):

        async def is_begun_again() -> bool:
            return len(journal.of("begin", "gate")) == 2

        await until(is_begun_again)
        worker.signal(signal.SIGTERM)
        (tmp_path / "gate").touch()
        status, log = await worker.end()
    assert status == 0, log
    assert journal.of("end", "gate") == [worker.pid]
    assert await jobs.count() == (0, 0)
