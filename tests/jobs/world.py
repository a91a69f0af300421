"""What the tests of jobs share: short times, a payload, a way to ask, and processes that run jobs."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import msgspec
from sqlalchemy import URL

from voice_agent.errors import DatabaseUnavailable
from voice_agent.jobs.model import JobTimes, Retry
from voice_agent.jobs.service import Jobs
from voice_agent.settings import JobsSettings
from voice_agent.storage.database import Database

FAST = JobTimes(
    poll_s=0.03,
    beat_s=0.1,
    dead_after_s=2.0,
    tend_s=0.1,
    lost_after_s=0.3,
    close_s=0.3,
    purge_s=0.1,
    recoveries=1,
)
"""Dead only after two seconds: this machine is shared, and who is late by one is not dead."""

AT_ONCE = Retry(tries=3, first_s=0.01, longest_s=0.05)

WAIT_S = 30.0
STEP_S = 0.02


class Note(msgspec.Struct, frozen=True):
    """A payload."""

    name: str = ""


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Return once the condition holds: what other processes and threads do takes its time."""
    for _ in range(round(WAIT_S / STEP_S)):
        if await condition():
            return
        await asyncio.sleep(STEP_S)
    raise AssertionError("it never happened")


async def until_idle(jobs: Jobs) -> None:
    """Return once no job is left to do."""

    async def is_idle() -> bool:
        try:
            return (await jobs.count())[0] == 0
        except DatabaseUnavailable:
            return False

    await until(is_idle)


async def ask(jobs: Jobs, kind: str, name: str = "", *, job_id: str = "", delay_s: float = 0.0) -> None:
    """Ask for a job in a transaction of its own."""
    async with jobs._database.write() as session:
        await jobs.request(session, kind, Note(name), job_id=job_id or f"{kind}-{name}", delay_s=delay_s)


@contextlib.asynccontextmanager
async def running(jobs: Jobs) -> AsyncIterator[Jobs]:
    """Run jobs."""
    await jobs.open(run=True)
    try:
        async with asyncio.timeout(WAIT_S):
            await jobs.started()
        yield jobs
    finally:
        await jobs.close()


def new_jobs(database: Database, *, slot: str = "0", times: JobTimes = FAST) -> Jobs:
    """Return jobs with short times."""
    return Jobs(database, JobsSettings(slot=slot), times=times)


class WorkerProcess:
    """A process of `tests.jobs.worker_process`; what it does is in a journal that all of a test share."""

    def __init__(self, url: URL, folder: Path, slot: str) -> None:
        self._url = url
        self._folder = folder
        self._slot = slot
        self._log = folder / f"worker-{uuid4().hex}.log"
        self._process: asyncio.subprocess.Process | None = None
        self.pid = 0

    async def start(self) -> None:
        """Start it; jobs run a moment later."""
        url = self._url.set(drivername=self._url.get_backend_name())
        environment = os.environ | {
            "DATABASE_URL": url.render_as_string(hide_password=False),
            "JOBS_SLOT": self._slot,
            "DATA_DIR": str(self._folder),
        }
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.jobs.worker_process",
                str(self._folder),
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.pid = self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self) -> tuple[int, str]:
        """Wait for its end; return its status and the end of its log."""
        assert self._process is not None
        async with asyncio.timeout(WAIT_S):
            status = await self._process.wait()
        return status, self._log.read_text()[-2_000:]

    async def kill(self) -> None:
        """End it, if it has not ended."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def worker_processes(url: URL, folder: Path, *slots: str) -> AsyncIterator[list[WorkerProcess]]:
    """Start processes that run jobs."""
    processes = [WorkerProcess(url, folder, slot) for slot in slots]
    try:
        for process in processes:
            await process.start()
        yield processes
    finally:
        for process in processes:
            await process.kill()


class Journal:
    """What worker processes have done: lines of "begin|end|tick|tock NAME PID"."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal"

    def lines(self) -> list[list[str]]:
        """Return every line, in its words."""
        return [line.split() for line in self._path.read_text().splitlines()] if self._path.exists() else []

    def of(self, what: str, name: str = "") -> list[int]:
        """Return the processes that did something."""
        return [int(line[2]) for line in self.lines() if line[0] == what and name in ("", line[1])]
