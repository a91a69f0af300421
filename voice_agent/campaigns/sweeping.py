"""Puts right what a killed process, or a transaction that never came, has left half done. Independent of the jobs.

Every 30 s one sweep looks for:

| what | then |
|---|---|
| a lease that has ended while its call is only written down | the call is void, its contact due again at once |
| a contact at the phone whose call is over, or was answered | settled, as in the transaction that missed it |

and, every few seconds, for campaigns that have come to their end (`completion`). What becomes of calls that the carrier
may have is the reconciler's (`calls.reconciler`): it looks up unknown ones, asks about those that nobody holds, hangs
up the ones that nobody wrote down; whatever it finds goes through `CallProcessor`, and so through `settling`.

Sweeps of several processes at once do no harm: each step is taken under the call's lock, from the state it is for.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import repository as calls
from voice_agent.calls.model import CallState, Outcome, moved
from voice_agent.calls.processor import CallProcessor
from voice_agent.campaigns import attempt_rows
from voice_agent.campaigns.completion import Completion
from voice_agent.campaigns.settling import Settling
from voice_agent.errors import DatabaseUnavailable
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow

log = structlog.get_logger(__name__)

SWEEP_S = 30.0
LOOK_S = 2.0
"""Between two looks for campaigns that are over."""

MOST_AT_ONCE = 500


class Sweeper:
    """One for the process. `sweep` is one sweep; `open` begins to make them."""

    def __init__(
        self,
        database: Database,
        processor: CallProcessor,
        settling: Settling,
        completion: Completion,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._processor = processor
        self._settling = settling
        self._completion = completion
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin, with a sweep: whoever was here before may have been killed."""
        self._task = asyncio.create_task(self._run(), name="campaign-sweeper")

    async def close(self) -> None:
        """Stop. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        looks = 0
        while True:
            try:
                if looks % round(SWEEP_S / LOOK_S) == 0:
                    await self.sweep()
                await self._completion.complete()
            except (DatabaseUnavailable, SQLAlchemyError) as error:
                log.warning("sweeper_waits_for_the_database", error=type(error).__name__)
            looks += 1
            await asyncio.sleep(LOOK_S)

    async def sweep(self) -> int:
        """Make one sweep; return how many contacts were put right. Raises DatabaseUnavailable."""
        now = self._clock()
        async with self._database.read() as session:
            lapsed = await attempt_rows.lapsed_leases(session, now, MOST_AT_ONCE)
            missed = await attempt_rows.missed_calls(session, MOST_AT_ONCE)
        found = 0
        for contact_id, call_id in lapsed:
            found += await self._free(contact_id, call_id)
        for call_id in missed:
            found += await self._processor.change(call_id, self._settle)
        if found:
            log.info("contacts_swept", contacts=found)
        return found

    async def _free(self, contact_id: UUID, call_id: UUID | None) -> bool:
        """Void a call that was never asked for, so that its contact is due again."""
        if call_id is not None and await self._processor.change(call_id, self._void):
            return True
        return await self._database.transact(
            lambda session: attempt_rows.without_call(session, contact_id, self._clock())
        )

    async def _void(self, session: AsyncSession, call: CallRow) -> bool:
        before = calls.facts_of(call)
        if before.state is CallState.INTENT:
            after = moved(before, CallState.VOID, at=self._clock(), outcome=Outcome.NOT_PLACED)
            await self._processor.store(session, call, before, after)
            await self._settling.settle(session, call, self._clock())
            return True
        return False

    async def _settle(self, session: AsyncSession, call: CallRow) -> bool:
        await self._settling.settle(session, call, self._clock())
        return True
