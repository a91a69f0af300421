"""When another call may be asked for: never more than so many in any second, kept where the request leaves.

Requests are spread evenly, `SLACK` wider than the rate has it. A bucket that lets a second's worth go at once would let
nearly twice as many into a second that begins in the middle of it; and what leaves a twentieth of a second late must
not be caught up by the next one. Whoever waits twice (before the transaction that marks a call as dialling, and once
more right at the request) waits the second time only where the first wait has been overtaken by a stall.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from voice_agent.storage.cache import TokenBuckets

SLACK = 1.1
"""Measured by bench.dialling: at 10 a second the eleventh leaves 1.1 s after the first, less the jitter of two."""


class DialTurns:
    """Hands out turns by key, such as a campaign. One for the process that dials."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` returns seconds."""
        self._buckets = TokenBuckets(clock)
        self._sleep = sleep

    async def wait(self, key: str, per_second: float) -> None:
        """Wait until the next request of this key may leave."""
        while (wait_s := self._buckets.take(key, limit=1, window_s=SLACK / per_second)) > 0:
            await self._sleep(wait_s)
