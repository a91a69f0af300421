"""Who decides whom to dial: one process at a time, of however many there are.

The leader renews a lease every `RENEW_S`; when it has ended another process takes it, which raises the fencing number.
A process that was only stopped for a while (a long collection, a frozen machine) believes that it leads still: so what
it decides is checked by owner and number in the very transactions that write it down and dial it, and refused there.

Times are this process's clock: processes whose clocks differ by more than a lease would take it from each other again
and again, which costs pace, and never a second call.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.database import Database
from voice_agent.storage.tables import LeaderRow

log = structlog.get_logger(__name__)

LEASE_S = 8.0
"""With `RENEW_S` between two looks another process dials ten seconds after the last sign of life, at the latest."""

RENEW_S = 2.0


class Leader:
    """One process's claim to lead."""

    def __init__(self, database: Database, name: str, owner: str, *, clock: Callable[[], datetime]) -> None:
        """`owner` is this run of this process, unlike any other; `clock` returns the present in UTC."""
        self._database = database
        self._name = name
        self._owner = owner
        self._clock = clock
        self._fencing: int | None = None
        self._renewed_at: datetime | None = None

    @property
    def fencing(self) -> int | None:
        """The number under which this process leads, as far as it knows; None where it does not."""
        return self._fencing

    async def lead(self) -> bool:
        """Take the lease or keep it, where it is free or ours; tell whether this process leads. Cheap while it does.

        Raises DatabaseUnavailable.
        """
        now = self._clock()
        # A clock that was set back must not keep anybody from renewing.
        is_fresh = self._renewed_at is not None and timedelta() <= now - self._renewed_at < timedelta(seconds=RENEW_S)
        if self._fencing is not None and is_fresh:
            return True
        async with self._database.write() as session:
            fencing = await self._claim(session, now)
        if fencing != self._fencing:
            log.info("leader_changed", name=self._name, owner=self._owner, fencing=fencing)
        self._fencing, self._renewed_at = fencing, now
        return fencing is not None

    async def _claim(self, session: AsyncSession, now: datetime) -> int | None:
        row = LeaderRow
        until = now + timedelta(seconds=LEASE_S)
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        first = insert(row).values(name=self._name, owner=self._owner, until=until, fencing=1)
        await session.execute(first.on_conflict_do_nothing())
        held = update(row).where(row.name == self._name, row.owner == self._owner).values(until=until)
        fencing = await session.scalar(held.returning(row.fencing))
        if fencing is None:
            free = update(row).where(row.name == self._name, or_(row.until <= now, row.owner == ""))
            taken = free.values(owner=self._owner, until=until, fencing=row.fencing + 1)
            fencing = await session.scalar(taken.returning(row.fencing))
        return fencing

    async def holds(self, session: AsyncSession) -> bool:
        """Tell, in a transaction, whether this process leads still: by owner, by number and by the time."""
        row = await session.scalar(
            select(LeaderRow).where(LeaderRow.name == self._name).execution_options(populate_existing=True)
        )
        return (
            row is not None and row.owner == self._owner and row.fencing == self._fencing and row.until > self._clock()
        )

    async def resign(self) -> None:
        """Let another process lead at once. Raises DatabaseUnavailable."""
        row = LeaderRow
        mine = update(row).where(row.name == self._name, row.owner == self._owner)
        async with self._database.write() as session:
            await session.execute(mine.values(owner="", until=self._clock()))
        self._fencing = None
