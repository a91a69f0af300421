"""The SQL of jobs: rows that are written in the transaction of what needs them, and what becomes of them.

Nothing here commits. A run belongs to one worker at a time, by `JobRow.worker`: whatever the engine believes, a job is
not done twice side by side. What a run reports is bound to its number and its worker, so that one which was given up,
and comes back, changes nothing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, delete, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.jobs.model import MAX_ID_CHARS, SEPARATOR, FailedJob, Run
from voice_agent.jobs.workers import GONE
from voice_agent.storage.tables import JobRow, WorkerRow

MAX_ERROR_CHARS = 500


class JobOutbox:
    """Every statement about jobs."""

    async def request(
        self, session: AsyncSession, kind: str, payload: msgspec.Struct, *, job_id: str, delay_s: float = 0.0
    ) -> None:
        """Have a job run once the session's transaction is committed. The same `job_id` a second time changes nothing.

        `delay_s` is the least that it waits. Raises ValueError where the id is empty, too long or has a "#".
        """
        if not 0 < len(job_id) <= MAX_ID_CHARS or SEPARATOR in job_id:
            raise ValueError(f"a job's id has 1 to {MAX_ID_CHARS} characters and no {SEPARATOR}")
        now = datetime.now(UTC)
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        statement = insert(JobRow).values(
            id=job_id,
            kind=kind,
            payload=msgspec.to_builtins(payload),
            created_at=now,
            due_at=now + timedelta(seconds=delay_s),
            run=0,
            tries=0,
            error="",
        )
        await session.execute(statement.on_conflict_do_nothing(index_elements=[JobRow.id]))

    # --- handing over -----------------------------------------------------------------------------------------
    async def has_due(self, session: AsyncSession, now: datetime) -> bool:
        """Tell whether a job is due."""
        return (await session.scalar(select(JobRow.id).where(_is_due(now)).limit(1))) is not None

    async def hand_over(self, session: AsyncSession, now: datetime, *, limit: int) -> list[Run]:
        """Mark due jobs as handed over, the oldest first, and return their runs: they are the caller's to pass on."""
        due = select(JobRow.id).where(_is_due(now)).order_by(JobRow.due_at).limit(limit)
        statement = (
            update(JobRow)
            .where(JobRow.id.in_(due.with_for_update(skip_locked=True)))
            .values(handed_at=now, run=JobRow.run + 1)
            .returning(JobRow.id, JobRow.run)
        )
        return [Run(row.id, row.run) for row in await session.execute(statement)]

    async def handed_before(self, session: AsyncSession, moment: datetime, *, limit: int) -> list[tuple[Run, bool]]:
        """Return runs that were handed over before a moment and nobody who lives is at; and whether they had begun."""
        statement = select(JobRow.id, JobRow.run, JobRow.worker).where(
            JobRow.handed_at < moment, JobRow.failed_at.is_(None), _is_held_by(None)
        )
        rows = await session.execute(statement.order_by(JobRow.handed_at).limit(limit))
        return [(Run(row.id, row.run), row.worker is not None) for row in rows]

    async def take_back(self, session: AsyncSession, runs: Sequence[Run]) -> None:
        """Have jobs that nobody is at handed over again, as another run."""
        await session.execute(update(JobRow).where(_is_of(runs, by=None)).values(handed_at=None, worker=None))

    # --- a run ------------------------------------------------------------------------------------------------
    async def begin(self, session: AsyncSession, run: Run, *, by: str) -> JobRow | None:
        """Have a worker do a run; None where it is done, given up, or somebody who lives is at it."""
        statement = update(JobRow).where(_is_of([run], by=None)).values(worker=by).returning(JobRow)
        return (await session.scalars(statement)).first()

    async def finish(self, session: AsyncSession, run: Run, *, by: str | None) -> None:
        """Delete a job: it is done. `by` is the worker that has it, None where nobody who lives does."""
        await session.execute(delete(JobRow).where(_is_of([run], by=by)))

    async def put_off(self, session: AsyncSession, run: Run, *, by: str, due_at: datetime, error: str) -> None:
        """Have a job wait for its next try."""
        changes = {"handed_at": None, "worker": None, "due_at": due_at}
        await session.execute(update(JobRow).where(_is_of([run], by=by)).values(changes | _tried(error)))

    async def fail(self, session: AsyncSession, run: Run, now: datetime, *, by: str | None, error: str) -> None:
        """Keep a job as failed."""
        changes = {"failed_at": now, "worker": None}
        await session.execute(update(JobRow).where(_is_of([run], by=by)).values(changes | _tried(error)))

    # --- for people -------------------------------------------------------------------------------------------
    async def failed(self, session: AsyncSession, *, limit: int) -> list[FailedJob]:
        """Return jobs that are not tried any more, those that failed last first."""
        statement = select(JobRow).where(JobRow.failed_at.is_not(None)).order_by(JobRow.failed_at.desc())
        return [_failed(row) for row in await session.scalars(statement.limit(limit))]

    async def count(self, session: AsyncSession) -> tuple[int, int]:
        """Return how many jobs are not done yet, and how many have failed."""
        statement = select(func.count(), func.count(JobRow.failed_at)).select_from(JobRow)
        everything, failed = (await session.execute(statement)).one()
        return everything - failed, failed

    async def retry(self, session: AsyncSession, job_id: str, now: datetime) -> bool:
        """Have a failed job tried again from its beginning; False where there is none."""
        statement = update(JobRow).where(JobRow.id == job_id, JobRow.failed_at.is_not(None))
        changes = {"failed_at": None, "handed_at": None, "tries": 0, "due_at": now}
        return (await session.execute(statement.values(changes).returning(JobRow.id))).first() is not None


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(JobRow.due_at <= now, JobRow.handed_at.is_(None), JobRow.failed_at.is_(None))


def _is_of(runs: Sequence[Run], *, by: str | None) -> ColumnElement[bool]:
    is_this_run = tuple_(JobRow.id, JobRow.run).in_([tuple(run) for run in runs])
    return and_(is_this_run, JobRow.handed_at.is_not(None), JobRow.failed_at.is_(None), _is_held_by(by))


def _is_held_by(worker: str | None) -> ColumnElement[bool]:
    if worker is not None:
        return JobRow.worker == worker
    return JobRow.worker.is_(None) | JobRow.worker.not_in(select(WorkerRow.id).where(WorkerRow.state != GONE))


def _tried(error: str) -> dict[str, Any]:
    return {"tries": JobRow.tries + 1, "error": error[:MAX_ERROR_CHARS]}


def _failed(row: JobRow) -> FailedJob:
    return FailedJob(
        id=row.id,
        kind=row.kind,
        payload=row.payload,
        tries=row.tries,
        error=row.error,
        created_at=row.created_at,
        failed_at=row.failed_at or row.created_at,
    )
