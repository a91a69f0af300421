"""The end of a process that holds calls: no new ones, live ones to their end, a goodbye to those that last too long.

Started by the first SIGTERM. From then on the process says that it is not ready and refuses new calls, but still
answers the carrier about its live ones. At the deadline each of these hears a goodbye and is hung up at the carrier. A
second SIGTERM ends it at once: streams are closed, and the carrier brings the calls to whoever still runs (F49).
"""

import asyncio

import structlog

from voice_agent.calls.live import LiveCalls

GOODBYE_S = 20.0
"""The longest that a goodbye, and asking the carrier to hang up, may take: `goodbye_s` of the turn machine and more."""

REASON = "shutdown"

log = structlog.get_logger(__name__)


class Drain:
    """One for the process. Used on the event loop's thread."""

    def __init__(self, calls: LiveCalls, *, drain_s: float) -> None:
        """`drain_s` is what live calls are given to come to their own end."""
        self._calls = calls
        self._drain_s = drain_s
        self._task: asyncio.Task[None] | None = None
        self.is_over = False
        """Whether the process may end."""

    @property
    def has_begun(self) -> bool:
        """Whether the process is to end."""
        return self._task is not None or self.is_over

    def begin(self) -> None:
        """Take no new calls, and end once the last live one has ended. A second time: end now."""
        if self.has_begun:
            self.hurry()
            return
        self._calls.drain()
        log.info("draining", live_calls=len(self._calls), drain_s=self._drain_s)
        self._task = asyncio.create_task(self._run(), name="drain")

    def hurry(self) -> None:
        """Wait for nothing any more."""
        if not self.is_over:
            log.warning("drain_cut_short", live_calls=len(self._calls))
        self.is_over = True
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Leave no task behind."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        if not await self._is_idle_within(self._drain_s):
            log.warning("drain_deadline", live_calls=len(self._calls))
            self._calls.say_goodbye(REASON)
            if not await self._is_idle_within(GOODBYE_S):
                log.error("drain_overrun", live_calls=len(self._calls))
        self.is_over = True

    async def _is_idle_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._calls.until_idle()
        except TimeoutError:
            return False
        return True
