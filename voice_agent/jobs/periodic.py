"""Work that comes again: at most once at a time, however many processes run jobs.

A row for each name says when it is due and who is at it. Who has gone (`jobs.workers`) is not at it any more. What
raises is logged and comes again at its next time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.dialects import postgresql, sqlite

from voice_agent.errors import VoiceAgentError
from voice_agent.jobs.persistence import persistently
from voice_agent.jobs.workers import GONE
from voice_agent.storage.database import Database
from voice_agent.storage.tables import PeriodicRow, WorkerRow

log = structlog.get_logger(__name__)


class PeriodicWork(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done again and again."""

    interval_s: float
    """From one beginning to the next; later where it takes longer."""

    handler: Callable[[], Awaitable[None]]
    timeout_s: float


class Periodic:
    """The periodic work of a process, while it has its slot."""

    def __init__(self, database: Database, work: Mapping[str, PeriodicWork], *, worker_id: str) -> None:
        self._database = database
        self._work = work
        self._worker_id = worker_id

    async def prepare(self) -> None:
        """Have a row for each name. Where an interval has become shorter, its next time comes sooner."""
        now = datetime.now(UTC)
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        async with self._database.write() as session:
            for name, work in sorted(self._work.items()):
                await session.execute(insert(PeriodicRow).values(name=name, due_at=now).on_conflict_do_nothing())
                latest = now + timedelta(seconds=work.interval_s)
                late = update(PeriodicRow).where(PeriodicRow.name == name, PeriodicRow.due_at > latest)
                await session.execute(late.values(due_at=latest))

    async def run_due(self, group: asyncio.TaskGroup) -> None:
        """Start in `group` what is due and nobody is at."""
        if not self._work:
            return
        now = datetime.now(UTC)
        due = select(PeriodicRow.name).where(PeriodicRow.due_at <= now, PeriodicRow.name.in_(self._work), _is_free())
        async with self._database.read() as session:
            names = (await session.scalars(due)).all()
        for name in names:
            if await self._claim(name, now):
                group.create_task(self._do(name), name=f"periodic-{name}")

    async def _claim(self, name: str, now: datetime) -> bool:
        next_at = now + timedelta(seconds=self._work[name].interval_s)
        claim = update(PeriodicRow).where(PeriodicRow.name == name, PeriodicRow.due_at <= now, _is_free())
        async with self._database.write() as session:
            changes = {"worker": self._worker_id, "due_at": next_at}
            return (await session.execute(claim.values(changes).returning(PeriodicRow.name))).first() is not None

    async def _do(self, name: str) -> None:
        work = self._work[name]
        try:
            async with asyncio.timeout(work.timeout_s):
                await work.handler()
        except (VoiceAgentError, TimeoutError) as error:
            log.warning("periodic_failed", name=name, error=f"{type(error).__name__}: {error}")
        except Exception:
            log.exception("periodic_failed", name=name)
        await persistently(lambda: self._release(name))

    async def _release(self, name: str) -> None:
        mine = update(PeriodicRow).where(PeriodicRow.name == name, PeriodicRow.worker == self._worker_id)
        async with self._database.write() as session:
            await session.execute(mine.values(worker=None))


def _is_free() -> ColumnElement[bool]:
    living = select(WorkerRow.id).where(WorkerRow.state != GONE)
    return PeriodicRow.worker.is_(None) | PeriodicRow.worker.not_in(living)
