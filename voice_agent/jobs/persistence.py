"""What must be written down in the end, whatever the database does meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from voice_agent.errors import DatabaseUnavailable

log = structlog.get_logger(__name__)

PAUSE_S = 0.5

_Result = TypeVar("_Result")


async def persistently(work: Callable[[], Awaitable[_Result]], *, pause_s: float = PAUSE_S) -> _Result:
    """Do some work of the database again until it is there; to be cancelled by whoever cannot wait."""
    is_away = False
    while True:
        try:
            return await work()
        except DatabaseUnavailable as error:
            if not is_away:
                log.warning("jobs_wait_for_the_database", error=str(error))
            is_away = True
            await asyncio.sleep(pause_s)
