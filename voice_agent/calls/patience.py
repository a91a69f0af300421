"""How long somebody who must answer waits for the database.

`asyncio.timeout` cancels what it waited for and then waits for that to be done: a SQLite connection that waits for
another writer's lock cannot be cancelled, and takes its ten seconds all the same. Here the work goes on by itself.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

PATIENCE_S = 1.0
"""How long a webhook's answer may wait for the database: the carrier waits 15 s, the caller hears all of it."""

_Result = TypeVar("_Result")


class Patience:
    """Waits for work that may take too long. `close` it at the end."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._unfinished: set[asyncio.Task[Any]] = set()

    async def wait_for(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Return what `work` returns, or raise what it raises.

        Raises TimeoutError where it takes too long. Then it goes on, and what it does in the end is done: it must be
        such that this is no harm.
        """
        task = asyncio.create_task(work, name="patience")
        self._unfinished.add(task)
        task.add_done_callback(self._finished)
        done, _ = await asyncio.wait({task}, timeout=self._patience_s)
        if not done:
            raise TimeoutError
        return task.result()

    async def close(self) -> None:
        """Break off what goes on still, and wait until it has ended."""
        for task in self._unfinished:
            task.cancel()
        await asyncio.gather(*self._unfinished, return_exceptions=True)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._unfinished.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("late_work_failed", error=type(error).__name__)
