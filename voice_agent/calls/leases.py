"""Which worker holds which live call, as all processes see it.

A call whose stream this process holds has a lease in its row: who, and until when that counts without another word. All
of them are renewed in one statement. What ends calls that nobody holds any more looks at the lease, never at the age of
a call. Nobody in a call waits for it: while the database is away calls go on, and leases run out.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from voice_agent.calls import repository
from voice_agent.calls.patience import Patience
from voice_agent.errors import DatabaseUnavailable
from voice_agent.storage.database import Database

LEASE_S = 15.0
"""How long a lease lasts: two renewals may fail."""

RENEW_S = 5.0

STATEMENT_S = 4.0
"""The longest that a renewal may take: shorter than the time to the next one."""

ENDING_S = 1.0
"""The longest that the end of a call waits for its being written down."""

log = structlog.get_logger(__name__)


class Leases:
    """The leases of one process. `open` it in the event loop that holds the calls."""

    def __init__(
        self, database: Database, worker: str, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """`worker` is this run of this process, unlike any other; `clock` returns the present in UTC."""
        self._database = database
        self._worker = worker
        self._clock = clock
        self._held: set[str] = set()
        self._new: set[str] = set()
        self._has_new = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._patience = Patience(ENDING_S)

    async def open(self) -> None:
        """Begin to renew."""
        self._task = asyncio.create_task(self._run(), name="leases")

    async def close(self) -> None:
        """Renew no more. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._patience.close()

    def take(self, call_sid: str) -> None:
        """Hold a call from now on. Never blocks: it is written down in a moment."""
        self._held.add(call_sid)
        self._new.add(call_sid)
        self._has_new.set()

    def release(self, call_sid: str) -> None:
        """Hold a call no more; its lease runs out."""
        self._held.discard(call_sid)
        self._new.discard(call_sid)

    async def mark_ended_by_us(self, call_sid: str, reason: str) -> None:
        """Write down that the call's end is meant, and why, so that no process resumes it. Takes a second at most."""
        try:
            await self._patience.wait_for(self._write_end(call_sid, reason))
        except (DatabaseUnavailable, SQLAlchemyError, TimeoutError) as error:
            log.warning("ending_not_written", call_sid=call_sid, error=type(error).__name__)

    async def _write_end(self, call_sid: str, reason: str) -> None:
        async with self._database.write() as session:
            await repository.mark_ended_by_us(session, call_sid, reason)

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RENEW_S):
                    await self._has_new.wait()
            except TimeoutError:
                pass
            self._has_new.clear()
            if self._held:
                await self._renew()

    async def _renew(self) -> None:
        new, self._new = self._new, set()
        until = self._clock() + timedelta(seconds=LEASE_S)
        try:
            async with asyncio.timeout(STATEMENT_S), self._database.write() as session:
                await repository.take_leases(session, self._worker, tuple(new), until)
                await repository.renew_leases(session, self._worker, tuple(self._held - new), until)
        except (DatabaseUnavailable, SQLAlchemyError, TimeoutError) as error:
            self._new |= new & self._held
            log.warning("leases_not_renewed", calls=len(self._held), error=type(error).__name__)
