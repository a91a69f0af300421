"""A process that does nothing but run jobs, until it is told to end.

The first SIGTERM or SIGINT lets running jobs finish, for `FINISH_S` at the most; the second one ends the process at
once. Either way what is not finished is done by another process, or by this one when it is started again.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import msgspec
import structlog

from voice_agent.jobs.model import JobTimes
from voice_agent.jobs.service import Jobs
from voice_agent.settings import Settings
from voice_agent.storage.database import Database, database_url

log = structlog.get_logger(__name__)

FINISH_S = 30.0
"""What orchestrators leave a process by default between their two signals."""

Register = Callable[[Jobs, Database], AbstractAsyncContextManager[None]]
"""Opens what jobs need, registers their handlers, and closes it all afterwards."""


def work(settings: Settings, register: Register, *, times: JobTimes | None = None) -> None:
    """Run jobs until SIGTERM or SIGINT. Raises SettingsError where this process may not run them."""
    asyncio.run(_work(settings, register, msgspec.structs.replace(times or JobTimes(), close_s=FINISH_S)))


async def _work(settings: Settings, register: Register, times: JobTimes) -> None:
    is_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _take_signal, number, is_to_end)
    database = Database(database_url(settings))
    try:
        if not database.is_pooled_by_transaction:
            await database.migrate()
        jobs = Jobs(database, settings.jobs, times=times)
        async with register(jobs, database):
            try:
                await jobs.open(run=True)
                await _until(is_to_end, jobs)
            finally:
                await jobs.close()
    finally:
        await database.close()


async def _until(is_to_end: asyncio.Event, jobs: Jobs) -> None:
    """Wait for the signal, or for the refusal of the slot."""
    started = asyncio.ensure_future(jobs.started())
    ending = asyncio.ensure_future(is_to_end.wait())
    await asyncio.wait([started, ending], return_when=asyncio.FIRST_COMPLETED)
    if started.done():
        started.result()
        await ending
    started.cancel()
    ending.cancel()


def _take_signal(number: signal.Signals, is_to_end: asyncio.Event) -> None:
    if is_to_end.is_set():
        log.warning("worker_ends_at_once", signal=number.name)
        os._exit(128 + number)
    log.info("worker_ends", signal=number.name)
    is_to_end.set()
