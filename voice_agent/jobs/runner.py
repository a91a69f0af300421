"""A process that runs jobs: it holds its slot, feeds the engine, and looks after what others have left.

How it works
------------
`run` takes the slot, starts the engine, and then four things go on side by side:

- beat     a sign of life, every `beat_s`
- feed     jobs that are due are handed over to the engine, every `poll_s`
- tend     runs that the engine believes running and nobody runs are run again; slots without life are recovered; jobs
           that were handed over long ago are looked for; every `tend_s`
- periodic work that comes again

Whatever fails unexpectedly, the whole is stopped and begun anew: engine, slot and all. So it is where the slot is
lost: without a sign of life for `dead_after_s`, this process's jobs may be somebody else's, so it breaks them off
itself. After an outage of the database all are late; nobody judges others before it has given signs of life for so long
itself.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from voice_agent import __version__
from voice_agent.errors import DatabaseUnavailable, SettingsError
from voice_agent.jobs.engine import JobEngine
from voice_agent.jobs.model import JobKind, JobTimes, Run, Verdict, judge
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.jobs.performer import Performer
from voice_agent.jobs.periodic import Periodic, PeriodicWork
from voice_agent.jobs.workers import Worker, WorkerRegister
from voice_agent.settings import JobsSettings
from voice_agent.storage.database import Database

log = structlog.get_logger(__name__)

BATCH = 50
RESTART_S = 1.0
"""Before what failed is tried again."""

PURGE_S = 600.0
"""The longest that forgetting what is done may take."""


class SlotLost(Exception):
    """This process was late with its signs of life."""


class JobRunner:
    """The jobs of a process. `run` it in a task; `close` before that is cancelled."""

    def __init__(
        self,
        database: Database,
        settings: JobsSettings,
        kinds: Mapping[str, JobKind[Any]],
        periodic: Mapping[str, PeriodicWork],
        times: JobTimes,
    ) -> None:
        self._database = database
        self._settings = settings
        self._periodic = periodic
        self._times = times
        self._outbox = JobOutbox()
        self._performer = Performer(database, self._outbox, kinds)
        self._register = WorkerRegister(database, dead_after_s=times.dead_after_s)
        self._handing = asyncio.Lock()
        self._is_closing = False
        self._is_decided = asyncio.Event()
        self._refusal: SettingsError | None = None
        self._suspects: set[Run] = set()
        self._living_since = 0.0

    async def started(self) -> None:
        """Wait until jobs run. Raises SettingsError where another process has the slot."""
        await self._is_decided.wait()
        if self._refusal is not None:
            raise self._refusal

    async def run(self) -> None:
        """Run jobs until cancelled."""
        while True:
            try:
                await self._hold_slot()
            except Exception as error:
                causes = _leaves(error)
                if all(isinstance(cause, SlotLost | DatabaseUnavailable) for cause in causes):
                    log.warning("jobs_restart", error="; ".join(str(cause) for cause in causes))
                else:
                    log.exception("jobs_restart")
            await asyncio.sleep(RESTART_S)

    async def close(self) -> None:
        """Hand nothing over any more, and let what runs finish."""
        self._is_closing = True
        async with self._handing:
            await self._performer.close(within_s=self._times.close_s)

    # --- the slot ---------------------------------------------------------------------------------------------
    async def _hold_slot(self) -> None:
        slot = self._settings.slot
        worker = _new_worker(slot)
        await self._take(worker)
        try:
            await self._work(worker)
        finally:
            await self._leave(worker)

    async def _take(self, worker: Worker) -> None:
        began = time.monotonic()
        while host := await self._register.take(worker):
            if time.monotonic() - began > 1.5 * self._times.dead_after_s and not self._is_decided.is_set():
                self._refusal = SettingsError(
                    f"JOBS_SLOT={worker.slot} is that of another process, on {host}: every process that runs jobs "
                    "needs one of its own"
                )
                log.error("jobs_slot_taken", slot=worker.slot, host=host)
                self._is_decided.set()
            await asyncio.sleep(self._times.beat_s)
        self._living_since = time.monotonic()

    async def _leave(self, worker: Worker) -> None:
        try:
            await self._register.leave(worker)
        except DatabaseUnavailable:
            log.warning("jobs_slot_not_given_back", slot=worker.slot)

    async def _work(self, worker: Worker) -> None:
        times = self._times
        engine = JobEngine(
            self._database.url,
            self._performer.perform,
            slot=worker.slot,
            at_once=self._settings.at_once,
            poll_s=times.poll_s,
            recoveries=times.recoveries,
        )
        self._performer.worker_id = worker.id
        await engine.start()
        try:
            await self._start_over(engine)
            periodic = Periodic(self._database, {**self._periodic, **_purging(engine, times)}, worker_id=worker.id)
            await periodic.prepare()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(worker), name="jobs-beat")
                group.create_task(_again(times.poll_s, lambda: self._feed(engine)), name="jobs-feed")
                group.create_task(_again(times.tend_s, lambda: self._tend(engine, worker)), name="jobs-tend")
                group.create_task(_again(times.poll_s, lambda: periodic.run_due(group)), name="jobs-periodic")
                log.info("jobs_run", slot=worker.slot, worker=worker.id)
                self._refusal = None
                self._is_decided.set()
        finally:
            try:
                await engine.stop()
            finally:
                await self._performer.abandon(within_s=times.close_s)

    async def _start_over(self, engine: JobEngine) -> None:
        """Find at once what a killed process had not passed on, where no other can be about to."""
        self._suspects.clear()
        if self._database.is_sqlite:
            await self._find_lost(engine, datetime.now(UTC))

    async def _beat(self, worker: Worker) -> None:
        last = time.monotonic()
        while True:
            now = time.monotonic()
            try:
                async with asyncio.timeout(last + self._times.dead_after_s - now):
                    is_alive = await self._register.beat(worker)
            except TimeoutError:
                raise SlotLost("no sign of life could be given") from None
            except DatabaseUnavailable:
                self._living_since = now
            else:
                if not is_alive:
                    raise SlotLost("others have taken this process for dead")
                last = now
            await asyncio.sleep(self._times.beat_s)

    # --- jobs -------------------------------------------------------------------------------------------------
    async def _feed(self, engine: JobEngine) -> None:
        while await self._hand_over(engine) == BATCH:
            pass

    async def _hand_over(self, engine: JobEngine) -> int:
        async with self._handing:
            if self._is_closing:
                return 0
            now = datetime.now(UTC)
            async with self._database.read() as session:
                if not await self._outbox.has_due(session, now):
                    return 0
            async with self._database.write() as session:
                runs = await self._outbox.hand_over(session, now, limit=BATCH)
            try:
                await engine.enqueue(runs)
            except DatabaseUnavailable:
                async with self._database.write() as session:
                    await self._outbox.take_back(session, runs)
                raise
            return len(runs)

    async def _tend(self, engine: JobEngine, worker: Worker) -> None:
        await self._resume_stranded(engine, worker)
        if not self._database.is_sqlite and time.monotonic() - self._living_since > self._times.dead_after_s:
            await self._recover_dead(engine)
        await self._find_lost(engine, datetime.now(UTC) - timedelta(seconds=self._times.lost_after_s))

    async def _resume_stranded(self, engine: JobEngine, worker: Worker) -> None:
        """Run again what the engine lost hold of when its connection broke: seen twice, as a start takes a moment."""
        stranded = set(await engine.running(slot=worker.slot)) - set(self._performer.running)
        for run in stranded & self._suspects:
            log.warning("job_stranded", job=run.job_id, run=run.number)
            await engine.resume(run)
        self._suspects = stranded - self._suspects

    async def _recover_dead(self, engine: JobEngine) -> None:
        occupied = set((await engine.running()).values())
        for slot in sorted(occupied - await self._register.living_slots()):
            # Held meanwhile, so that nobody starts in it whose jobs would be taken for the dead one's.
            holder = _new_worker(slot)
            if not await self._register.take(holder):
                log.warning("jobs_of_a_dead_process", slot=slot)
                await engine.recover(slot)
                await self._register.leave(holder)

    async def _find_lost(self, engine: JobEngine, moment: datetime) -> None:
        async with self._database.read() as session:
            found = await self._outbox.handed_before(session, moment, limit=BATCH)
        if not found:
            return
        states = await engine.states([run for run, _ in found])
        async with self._database.write() as session:
            for run, has_begun in found:
                state = states.get(run)
                match judge(state, has_begun=has_begun):
                    case Verdict.AGAIN:
                        await self._outbox.take_back(session, [run])
                    case Verdict.FORGET:
                        await self._outbox.finish(session, run, by=None)
                    case Verdict.FAIL:
                        log.error("job_failed", job=run.job_id, error=state)
                        error = f"the engine ended it: {state}"
                        await self._outbox.fail(session, run, datetime.now(UTC), by=None, error=error)
                    case Verdict.LEAVE:
                        pass


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _new_worker(slot: str) -> Worker:
    host = socket.gethostname()[:200]
    return Worker(id=f"{slot}-{secrets.token_hex(6)}", slot=slot, host=host, version=__version__)


def _purging(engine: JobEngine, times: JobTimes) -> dict[str, PeriodicWork]:
    async def purge() -> None:
        if purged := await engine.purge(datetime.now(UTC) - timedelta(seconds=times.history_s)):
            log.info("jobs_purged", count=purged)

    return {"jobs-purge": PeriodicWork(interval_s=times.purge_s, handler=purge, timeout_s=PURGE_S)}


async def _again(pause_s: float, work: Callable[[], Awaitable[None]]) -> None:
    is_away = False
    while True:
        try:
            await work()
        except DatabaseUnavailable as error:
            if not is_away:
                log.warning("jobs_wait_for_the_database", error=str(error))
            is_away = True
            await asyncio.sleep(RESTART_S)
        else:
            is_away = False
            await asyncio.sleep(pause_s)
