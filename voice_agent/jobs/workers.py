"""Which processes run jobs: their signs of life, in the table `worker`.

A slot (JOBS_SLOT) belongs to one process at a time, by a unique index. Who gives no sign of life for `dead_after_s`
loses it. Moments are the database's own, so that clocks of machines may differ.
"""

from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.database import Database
from voice_agent.storage.tables import WorkerRow

GONE = "gone"
READY = "ready"

KEPT = timedelta(days=1)
"""How long the row of a process that is gone is kept, for whoever looks what happened."""


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A process while it has its slot."""

    id: str
    slot: str
    host: str
    version: str


class WorkerRegister:
    """The table of them."""

    def __init__(self, database: Database, *, dead_after_s: float) -> None:
        self._database = database
        self._dead_after = timedelta(seconds=dead_after_s)

    async def take(self, worker: Worker) -> str:
        """Take the worker's slot; return "" where it has it now, else the host of the process that has it.

        On SQLite, where one process runs jobs, whoever was there before is gone.
        """
        async with self._database.write() as session:
            now = await self._now(session)
            await self._bury(session, now if self._database.is_sqlite else now - self._dead_after)
            await session.execute(delete(WorkerRow).where(WorkerRow.state == GONE, WorkerRow.seen_at < now - KEPT))
            insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
            statement = insert(WorkerRow).values(
                id=worker.id, slot=worker.slot, host=worker.host, version=worker.version, state=READY, live_calls=0,
                started_at=now, seen_at=now,
            )  # fmt: skip
            taken = await session.execute(statement.on_conflict_do_nothing().returning(WorkerRow.id))
            if taken.first() is not None:
                return ""
            owner = select(WorkerRow.host).where(WorkerRow.slot == worker.slot, WorkerRow.state != GONE)
            return (await session.scalar(owner)) or "another process"

    async def beat(self, worker: Worker) -> bool:
        """Give a sign of life; False where it came too late, and others may have the worker's jobs."""
        async with self._database.write() as session:
            mine = update(WorkerRow).where(WorkerRow.id == worker.id, WorkerRow.state != GONE)
            beaten = await session.execute(mine.values(seen_at=await self._now(session)).returning(WorkerRow.id))
            return beaten.first() is not None

    async def leave(self, worker: Worker) -> None:
        """Give the slot back."""
        async with self._database.write() as session:
            await session.execute(update(WorkerRow).where(WorkerRow.id == worker.id).values(state=GONE))

    async def living_slots(self) -> set[str]:
        """Return the slots of processes that live, once those that do not are marked so."""
        async with self._database.write() as session:
            await self._bury(session, await self._now(session) - self._dead_after)
            return set(await session.scalars(select(WorkerRow.slot).where(WorkerRow.state != GONE)))

    async def _bury(self, session: AsyncSession, before: datetime) -> None:
        dead = update(WorkerRow).where(WorkerRow.state != GONE, WorkerRow.seen_at <= before)
        await session.execute(dead.values(state=GONE))

    async def _now(self, session: AsyncSession) -> datetime:
        if self._database.is_sqlite:
            return datetime.now(UTC)
        moment: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
        return moment
