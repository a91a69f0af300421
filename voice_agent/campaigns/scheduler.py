"""Decides whom to dial, a few times a second, for all campaigns of the installation; one process at a time.

How it works
------------
Each tick of the process that leads (`leader`): look (`survey`), decide (`pacing`), admit for each campaign that has
places, in a transaction of its own (`admission`), and have each admitted call dialled by a task of this process
(`CallService.place_admitted`), which waits there for its turn. Nothing is remembered that matters: a process that dies
leaves calls that were admitted and not dialled, whose leases run out; everything else is in the database, and the next
process goes on from there. Why a call is a task here and no durable job: docs/decisions.

Every second, campaigns begin and end at their times. Every few seconds each campaign's calls are looked at, and it is
held or goes on (`holding`). Now and then numbers that people have stopped answering are put into quarantine.

Source: campaigns.md 4.4 steps 1 to 4.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from voice_agent.auth.principal import system
from voice_agent.calls.placing import Fence
from voice_agent.campaigns import health, repository, timetable
from voice_agent.campaigns.admission import Admission, Policies
from voice_agent.campaigns.guarding import CampaignGuard
from voice_agent.campaigns.leader import Leader
from voice_agent.campaigns.life import CampaignLife, Cause
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.model import CampaignEvent
from voice_agent.campaigns.pacing import Claimant, Decisions, Turns, decide
from voice_agent.campaigns.survey import survey
from voice_agent.compliance.service import ComplianceService
from voice_agent.errors import Conflict, DatabaseUnavailable, VoiceAgentError
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow, CampaignRow

log = structlog.get_logger(__name__)

TICK_S = 0.25
IDLE_S = 1.0
"""Between two looks of a process that does not lead, or whose database is away."""

TIMES_S = 1.0
HEALTH_S = 5.0
NUMBERS_S = 300.0
CLOSE_S = 15.0
"""How long calls that are being asked for may take at the end: longer than a request's own time-out."""

LEADER = "campaigns"
_BY = "scheduler"


class Dialler(Protocol):
    """What dials; `calls.service.CallService` implements it."""

    async def place_admitted(
        self,
        call_id: UUID,
        *,
        campaign_id: UUID | None = None,
        calls_per_second: float | None = None,
        fence: Fence | None = None,
    ) -> CallRow:
        """Dial an admitted call."""
        ...


class SchedulerPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What the scheduler needs of the rest of the system."""

    database: Database
    compliance: ComplianceService
    calls: Dialler
    life: CampaignLife
    policies: Policies
    troubles: Callable[[], Sequence[str]] = tuple
    """Returns the speech and language providers that fail in this process."""


class CampaignScheduler:
    """One for the process; any number of processes may have one."""

    def __init__(
        self,
        ports: SchedulerPorts,
        *,
        owner: str,
        limits: Limits,
        clock: Callable[[], datetime],
        tick_s: float = TICK_S,
    ) -> None:
        """`owner` is this run of this process, unlike any other; `clock` returns the present in UTC."""
        self._ports = ports
        self._database = ports.database
        self._limits = limits
        self._clock = clock
        self._tick_s = tick_s
        self.leader = Leader(ports.database, LEADER, owner, clock=clock)
        self.admission = Admission(
            ports.compliance, ports.policies, owner=owner, limits=limits, fence=self.leader.holds
        )
        self._guard = CampaignGuard(ports.database, ports.life, ports.policies, limits=limits, troubles=ports.troubles)
        self._turns = Turns()
        self._ramped_since: dict[UUID, datetime] = {}
        self._lag_s = 0.0
        self._last: dict[str, datetime] = {}
        self._placing: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------------------------
    async def open(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self.run(), name="campaign-scheduler")

    async def close(self) -> None:
        """Stop, let another process lead, and wait for the calls that are being asked for. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            try:
                await self.leader.resign()  # what still waits for its turn is not dialled any more
            except (DatabaseUnavailable, SQLAlchemyError) as error:
                log.warning("leader_not_resigned", error=type(error).__name__)
        if self._placing:
            _, late = await asyncio.wait(self._placing, timeout=CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def run(self) -> None:
        """Tick until it is cancelled. What goes wrong with the database is tried again."""
        loop = asyncio.get_running_loop()
        while True:
            wait_s = self._tick_s
            try:
                if await self.leader.lead():
                    await self.tick(self._clock())
                else:
                    wait_s = IDLE_S
            except (DatabaseUnavailable, SQLAlchemyError) as error:
                log.warning("scheduler_waits_for_the_database", error=type(error).__name__)
                wait_s = IDLE_S
            due = loop.time() + wait_s
            await asyncio.sleep(wait_s)
            # The worst of late ticks, fading: one of them alone is soon forgotten.
            self._lag_s = max(loop.time() - due, self._lag_s * 0.8)

    # --- one tick ---------------------------------------------------------------------------------------------
    async def tick(self, now: datetime) -> Decisions:
        """Decide who is dialled now, and have them dialled. Raises DatabaseUnavailable."""
        if self._is_time("times", TIMES_S, now):
            await self._keep_times(now)
        if self._is_time("health", HEALTH_S, now):
            await self._look_after(now)
        if self._is_time("numbers", NUMBERS_S, now):
            await self._rest_numbers(now)
        async with self._database.read() as session:
            rows = await repository.live(session)
            seen = await survey(session, rows, self._limits, now, ramped_since=self._ramped_since) if rows else None
        if seen is None:
            return Decisions(places={}, blockers={}, turns=self._turns)
        decisions = decide(seen.claimants, seen.ground, self._turns)
        self._turns = decisions.turns
        claimants = {each.campaign_id: each for each in seen.claimants}
        for row in rows:
            if row.id in decisions.places:
                await self._admit(row, claimants[row.id], decisions.places[row.id], now)
        return decisions

    def _is_time(self, what: str, every_s: float, now: datetime) -> bool:
        last = self._last.get(what)
        # A clock that was set back must not stop anything for as long as it was set back.
        if last is not None and timedelta() <= now - last < timedelta(seconds=every_s):
            return False
        self._last[what] = now
        return True

    async def _admit(self, row: CampaignRow, claimant: Claimant, places: int, now: datetime) -> None:
        try:
            calls = await self._database.transact(lambda session: self.admission.admit(session, row, now, places))
        except Conflict as error:
            log.info("admission_undone", campaign_id=str(row.id), reason=str(error))
            return
        for call in calls:
            task = asyncio.create_task(self._place(call, claimant.calls_per_second), name=f"place-{call.id}")
            self._placing.add(task)
            task.add_done_callback(self._placing.discard)

    async def _place(self, call: CallRow, calls_per_second: float) -> None:
        """Dial one call. What goes wrong is written down with the call, or found by the sweeper and the reconciler."""
        try:
            await self._ports.calls.place_admitted(
                call.id, campaign_id=call.campaign_id, calls_per_second=calls_per_second, fence=self.leader.holds
            )
        except (VoiceAgentError, SQLAlchemyError) as error:
            log.warning("admitted_call_not_placed", call_id=str(call.id), error=f"{type(error).__name__}: {error}")

    # --- beginnings and ends ----------------------------------------------------------------------------------
    async def _keep_times(self, now: datetime) -> None:
        async with self._database.read() as session:
            due = await timetable.due(session, now)
        for row, event in due:
            await self._move(row, event, Cause(by=system(row.org_id, _BY), reason=timetable.WORDS[event]), now)

    async def _move(self, row: CampaignRow, event: CampaignEvent, cause: Cause, now: datetime) -> None:
        try:
            await self._database.transact(lambda session: self._ports.life.move(session, row, event, cause, now))
        except VoiceAgentError as error:
            if isinstance(error, DatabaseUnavailable):
                raise
            log.info("campaign_not_moved", campaign_id=str(row.id), event_name=event.value, reason=str(error))

    # --- health -----------------------------------------------------------------------------------------------
    async def _look_after(self, now: datetime) -> None:
        in_trouble = await self._guard.look_after(now, lag_ms=self._lag_s * 1_000)
        # Trouble begins the ramp anew; once it is over that moment still counts.
        self._ramped_since |= dict.fromkeys(in_trouble, now)

    async def _rest_numbers(self, now: datetime) -> None:
        async with self._database.write() as session:
            for e164 in await health.quarantine_dropped(session, now):
                log.info("number_in_quarantine", e164=e164)
