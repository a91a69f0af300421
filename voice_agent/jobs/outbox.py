"""Jobs: written down in the transaction that needs them, run after it, until they are done.

How it works
------------
A job is a row. It is inserted with the caller's session, so it exists if and only if what it belongs to does. A runner
claims due rows for `LEASE`, runs each kind's handler, and deletes the row when the handler returns. A handler that
raises is run again, later each time; after its last try the row stays, marked failed, for somebody to look at. A
process that is killed keeps its claim until the lease ends; then another one runs the job again. So a handler runs at
least once: it must do its work so that twice is once.

Any number of processes run jobs from one database. This is not a workflow engine: a job has one step.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

import msgspec
import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.errors import DatabaseUnavailable, VoiceAgentError
from voice_agent.storage.database import Database
from voice_agent.storage.tables import JobRow

log = structlog.get_logger(__name__)

POLL_S = 0.5
"""Between two looks for due jobs: an index scan."""

LEASE = timedelta(minutes=15)
"""The longest a job may take; then it counts as abandoned."""

AT_ONCE = 4
"""Jobs of one process that run at a time."""

FIRST_DELAY_S = 2.0
LONGEST_DELAY_S = 3_600.0

_Payload = TypeVar("_Payload", bound=msgspec.Struct)


class Handler(msgspec.Struct, Generic[_Payload], frozen=True, kw_only=True):
    """What runs the jobs of one kind."""

    payload: type[_Payload]
    run: Callable[[_Payload], Awaitable[None]]
    tries: int = 100
    """With doubling delays up to an hour: three and a half days."""


async def request(
    session: AsyncSession, kind: str, payload: msgspec.Struct, *, job_id: str, delay: timedelta = timedelta()
) -> None:
    """Have a job run once the session's transaction is committed. The same `job_id` a second time changes nothing."""
    now = datetime.now(UTC)
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(JobRow).values(
        id=job_id,
        kind=kind,
        payload=msgspec.to_builtins(payload),
        created_at=now,
        due_at=now + delay,
        tries=0,
        error="",
    )
    await session.execute(statement.on_conflict_do_nothing(index_elements=[JobRow.id]))


class JobOutbox:
    """`request` as an object: implements `calls.service.JobRequests`."""

    async def request(self, session: AsyncSession, kind: str, payload: msgspec.Struct, *, job_id: str) -> None:
        """Have a job run once the session's transaction is committed."""
        await request(session, kind, payload, job_id=job_id)


class JobRunner:
    """Runs the jobs of the kinds that it is given. One for a process."""

    def __init__(
        self, database: Database, handlers: Mapping[str, Handler[Any]], *, worker: str, poll_s: float = POLL_S
    ) -> None:
        """`worker` names this process in the rows that it claims."""
        self._database = database
        self._handlers = handlers
        self._worker = worker
        self._poll_s = poll_s
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Run jobs from now on, in the background."""
        self._loop = asyncio.create_task(self._run(), name="jobs")

    async def close(self) -> None:
        """Stop; a job that is running is broken off and run again later. Safe to call twice."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None

    async def _run(self) -> None:
        while True:
            try:
                claimed = await self.run_due()
            except DatabaseUnavailable as error:
                log.warning("jobs_wait_for_the_database", error=str(error))
                claimed = 0
            if not claimed:
                await asyncio.sleep(self._poll_s)

    async def run_due(self) -> int:
        """Run the jobs that are due, `AT_ONCE` at a time; return how many were claimed."""
        jobs = await self._claim()
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(self._do(job), name=f"job-{job.kind}")
        return len(jobs)

    async def _claim(self) -> list[JobRow]:
        now = datetime.now(UTC)
        is_free = JobRow.lease_until.is_(None) | (JobRow.lease_until < now)
        due = (
            select(JobRow.id)
            .where(JobRow.kind.in_(self._handlers), JobRow.due_at <= now, JobRow.failed_at.is_(None), is_free)
            .order_by(JobRow.due_at)
            .limit(AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        async with self._database.write() as session:
            ids = (await session.scalars(due)).all()
            if not ids:
                return []
            claim = (
                update(JobRow)
                .where(JobRow.id.in_(ids))
                .values(lease_until=now + LEASE, worker=self._worker, tries=JobRow.tries + 1)
                .returning(JobRow)
            )
            return list((await session.scalars(claim)).all())

    async def _do(self, job: JobRow) -> None:
        handler = self._handlers[job.kind]
        try:
            await handler.run(msgspec.convert(job.payload, handler.payload))
        except (VoiceAgentError, OSError, TimeoutError, msgspec.ValidationError) as error:
            await self._put_off(job, handler, error)
        else:
            async with self._database.write() as session:
                await session.execute(delete(JobRow).where(JobRow.id == job.id))

    async def _put_off(self, job: JobRow, handler: Handler[Any], error: Exception) -> None:
        now = datetime.now(UTC)
        is_last = job.tries >= handler.tries
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(job.tries - 1, 20))
        text = f"{type(error).__name__}: {error}"[:500]
        log.error("job_failed" if is_last else "job_put_off", job=job.id, kind=job.kind, tries=job.tries, error=text)
        async with self._database.write() as session:
            await session.execute(
                update(JobRow)
                .where(JobRow.id == job.id)
                .values(
                    lease_until=None,
                    due_at=now + timedelta(seconds=delay_s),
                    failed_at=now if is_last else None,
                    error=text,
                )
            )
