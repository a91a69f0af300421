"""Doing one run of a job: its handler, and what becomes of the job by that."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.jobs.model import JobContext, JobKind, Retry, Run
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.jobs.persistence import persistently
from voice_agent.storage.database import Database
from voice_agent.storage.tables import JobRow

log = structlog.get_logger(__name__)


Settlement = Callable[[AsyncSession], Awaitable[None]]
"""What a run leaves to be written down."""


class UnknownKind(Exception):
    """No handler for jobs of this kind: they come from a newer version, which runs beside this one for a while."""


class Performer:
    """Does runs. `perform` is what the engine calls, `running` what is being done now."""

    def __init__(self, database: Database, outbox: JobOutbox, kinds: Mapping[str, JobKind[Any]]) -> None:
        self._database = database
        self._outbox = outbox
        self._kinds = kinds
        self._is_closing = False
        self.worker_id = ""
        """Who it is that does them: `WorkerRow.id`, to be set before the engine is started."""

        self.running: dict[Run, asyncio.Task[None]] = {}

    async def perform(self, run: Run) -> None:
        """Do a run, and write down how it ended. What was done, given up, or is somebody else's is left alone."""
        if self._is_closing:
            # For whoever recovers it: the engine goes on claiming until it is stopped.
            await asyncio.get_running_loop().create_future()
        if run in self.running:
            return
        # A task of its own, to be broken off by `abandon` as well as by the engine.
        task = asyncio.create_task(self._perform(run, self.worker_id), name=f"job-{run.job_id}")
        self.running[run] = task
        try:
            await task
        finally:
            del self.running[run]

    async def _perform(self, run: Run, worker_id: str) -> None:
        async def begin() -> JobRow | None:
            async with self._database.write() as session:
                return await self._outbox.begin(session, run, by=worker_id)

        async def settle() -> None:
            async with self._database.write() as session:
                await settlement(session)

        if job := await persistently(begin):
            settlement = await self._try(job, run, worker_id)
            await persistently(settle)

    async def _try(self, job: JobRow, run: Run, worker_id: str) -> Settlement:
        """Run the handler; return what is to be written down."""
        kind = self._kinds.get(job.kind)
        retry = kind.retry if kind else Retry()
        tries = job.tries + 1
        context = JobContext(job_id=job.id, kind=job.kind, tries=tries, is_last=tries >= retry.tries)
        try:
            await _handle(kind, job, context)
        except Exception as error:  # noqa: BLE001 - the boundary of a job: whatever it raises, it is tried again
            if context.is_last and kind is not None:
                await _give_up(kind, job, error)
            return self._not_done(context, retry, run, worker_id, f"{type(error).__name__}: {error}")
        log.debug("job_done", job=job.id, kind=job.kind, tries=tries)
        return partial(self._outbox.finish, run=run, by=worker_id)

    def _not_done(self, context: JobContext, retry: Retry, run: Run, worker_id: str, error: str) -> Settlement:
        now = datetime.now(UTC)
        if context.is_last:
            log.error("job_failed", job=context.job_id, kind=context.kind, tries=context.tries, error=error)
            return partial(self._outbox.fail, run=run, now=now, by=worker_id, error=error)
        log.warning("job_put_off", job=context.job_id, kind=context.kind, tries=context.tries, error=error)
        due_at = now + timedelta(seconds=retry.delay_s(context.tries, random.random()))
        return partial(self._outbox.put_off, run=run, by=worker_id, due_at=due_at, error=error)

    # --- the end ----------------------------------------------------------------------------------------------
    async def close(self, *, within_s: float) -> None:
        """Begin nothing more, and let what runs finish. What does not is for `abandon`."""
        self._is_closing = True
        if self.running:
            await asyncio.wait(self.running.values(), timeout=within_s)

    async def abandon(self, *, within_s: float) -> None:
        """Break off what still runs."""
        tasks = list(self.running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            _, deaf = await asyncio.wait(tasks, timeout=within_s)
            for task in deaf:
                log.error("job_does_not_end", task=task.get_name())


async def _handle(kind: JobKind[Any] | None, job: JobRow, context: JobContext) -> None:
    if kind is None:
        raise UnknownKind(job.kind)
    payload = msgspec.convert(job.payload, kind.payload)
    async with asyncio.timeout(kind.timeout_s):
        await kind.handler(payload, context)


async def _give_up(kind: JobKind[Any], job: JobRow, error: Exception) -> None:
    """Tell whoever asked for a job that it is not tried any more."""
    if kind.give_up is None:
        return
    try:
        payload = msgspec.convert(job.payload, kind.payload)
        await persistently(partial(kind.give_up, payload, error))
    except Exception:  # the job has failed all the same, and its row says why
        log.exception("job_not_given_up", job=job.id, kind=job.kind)
