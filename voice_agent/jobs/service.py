"""Jobs: work that is asked for in a transaction and done after it, surely, by one process of several.

There is one way to ask: `request`, with the caller's session. If its transaction is rolled back there is no job; if it
is committed the job runs, whatever dies meanwhile. A handler runs at least once: killed between its work and its return
it runs again, so it must do its work so that twice is once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.errors import NotFound
from voice_agent.jobs.engine import engine_url
from voice_agent.jobs.model import FailedJob, JobContext, JobKind, JobTimes, Payload, Retry
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.jobs.periodic import PeriodicWork
from voice_agent.jobs.runner import JobRunner
from voice_agent.jobs.single import SingleProcess
from voice_agent.settings import JobsSettings
from voice_agent.storage.database import Database

PERIODIC_TIMEOUT_S = 600.0


class Jobs:
    """The jobs of a process: those that it asks for, and where `open` is told so, those that it runs."""

    def __init__(self, database: Database, settings: JobsSettings, *, times: JobTimes | None = None) -> None:
        self._database = database
        self._settings = settings
        self._times = times or JobTimes()
        self._outbox = JobOutbox()
        self._kinds: dict[str, JobKind[Any]] = {}
        self._periodic: dict[str, PeriodicWork] = {}
        self._single: SingleProcess | None = None
        self._runner: JobRunner | None = None
        self._task: asyncio.Task[None] | None = None

    # --- what there is to do ----------------------------------------------------------------------------------
    def register(
        self,
        kind: str,
        payload: type[Payload],
        handler: Callable[[Payload, JobContext], Awaitable[None]],
        *,
        retry: Retry | None = None,
        timeout_s: float = 600.0,
        give_up: Callable[[Payload, Exception], Awaitable[None]] | None = None,
    ) -> None:
        """Have jobs of a kind done by a handler, for `timeout_s` at the most each time. Before `open`.

        A payload holds ids, not contents. A handler that raises is run again by `retry`, then the job has failed, and
        `give_up` says so where people look.
        """
        self._refuse_twice(kind, self._kinds)
        self._kinds[kind] = JobKind(
            name=kind,
            payload=payload,
            handler=handler,
            retry=retry or Retry(),
            timeout_s=timeout_s,
            give_up=give_up,
        )

    def every(
        self,
        name: str,
        interval_s: float,
        handler: Callable[[], Awaitable[None]],
        *,
        timeout_s: float = PERIODIC_TIMEOUT_S,
    ) -> None:
        """Have a handler run again and again, never twice at a time among all processes. Before `open`."""
        self._refuse_twice(name, self._periodic)
        self._periodic[name] = PeriodicWork(interval_s=interval_s, handler=handler, timeout_s=timeout_s)

    def _refuse_twice(self, name: str, known: dict[str, Any]) -> None:
        if self._task is not None or name in known:
            raise ValueError(f"{name}: too late, or there already")

    # --- life -------------------------------------------------------------------------------------------------
    async def open(self, *, run: bool) -> None:
        """Run jobs from now on, in the background; with `run` false there is nothing to do, they are only asked for.

        Returns at once: the database may be away still. Raises SettingsError where another process runs the jobs of a
        SQLite database, and behind a transaction pooler.
        """
        if not run:
            return
        tables = engine_url(self._database.url)
        if self._database.is_sqlite:
            self._single = SingleProcess(Path(f"{tables.database}.lock"))
            self._single.take()
        self._runner = JobRunner(self._database, self._settings, self._kinds, self._periodic, self._times)
        self._task = asyncio.create_task(self._runner.run(), name="jobs")

    async def started(self) -> None:
        """Wait until jobs run. Raises SettingsError where another process has JOBS_SLOT."""
        if self._runner is not None:
            await self._runner.started()

    async def close(self) -> None:
        """Let running jobs finish for a while, break off the others, leave nothing. Safe to call twice."""
        if self._runner is not None and self._task is not None:
            await self._runner.close()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._runner = self._task = None
        if self._single is not None:
            self._single.release()
            self._single = None

    # --- jobs -------------------------------------------------------------------------------------------------
    async def request(
        self, session: AsyncSession, kind: str, payload: msgspec.Struct, *, job_id: str, delay_s: float = 0.0
    ) -> None:
        """Have a job done once the session's transaction is committed, after `delay_s` at the earliest.

        Asked for twice by the same `job_id` it is done once, also when it has been done within the last seven days.
        Raises ValueError where nobody has registered the kind, or its payload is another one.
        """
        known = self._kinds.get(kind)
        if known is None or type(payload) is not known.payload:
            raise ValueError(f"no jobs of kind {kind} with a {type(payload).__name__}")
        await self._outbox.request(session, kind, payload, job_id=job_id, delay_s=delay_s)

    async def failed(self, *, limit: int = 100) -> list[FailedJob]:
        """Return jobs that are not tried any more, those that failed last first."""
        async with self._database.read() as session:
            return await self._outbox.failed(session, limit=limit)

    async def count(self) -> tuple[int, int]:
        """Return how many jobs are not done yet, and how many have failed."""
        async with self._database.read() as session:
            return await self._outbox.count(session)

    async def retry(self, job_id: str) -> None:
        """Have a failed job tried again. Raises NotFound."""
        async with self._database.write() as session:
            if not await self._outbox.retry(session, job_id, datetime.now(UTC)):
                raise NotFound(f"no failed job {job_id}")
