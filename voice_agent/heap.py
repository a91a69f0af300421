"""The heap of a process that holds calls: when Python looks for objects that only hold each other.

Unasked it would do so dozens of times a second at 80 calls, and a full look at everything that was loaded stops all
calls for 250 ms. So what was loaded is frozen, out of its sight, and young objects are looked at seldom. But what a
call leaves behind (its tasks, sockets and sessions know each other) is old by then, and would stay: 120 kB a call. A
look at all that is not frozen stops the calls for 40 to 140 ms at 80 of them, which the audio sent ahead covers
(`bench.underruns` stalls for 100 ms every second), so it comes where no call is live, else once for many that ended.
"""

import gc
import time

import structlog

log = structlog.get_logger(__name__)

THRESHOLDS = (20_000, 50, 100)
"""Python's own are (700, 10, 10)."""

CALLS = 200
"""Ended calls between two looks while others go on: 24 MB."""

CALLS_IDLE = 10
"""The same while no call is live: a look takes a few milliseconds then, and an idle server has nothing to keep."""


class Heap:
    """Of this process. `open` it once everything is loaded."""

    def __init__(self) -> None:
        self._thresholds_before = gc.get_threshold()
        self._ended = 0

    def open(self) -> None:
        """Freeze what is there."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)

    def note_end(self, *, is_idle: bool) -> None:
        """A call has ended, and its files are written; `is_idle` tells that it was the last one."""
        self._ended += 1
        if self._ended < (CALLS_IDLE if is_idle else CALLS):
            return
        self._ended = 0
        began = time.perf_counter()
        found = gc.collect()
        log.debug("heap_collected", found=found, ms=round((time.perf_counter() - began) * 1_000, 1))

    def close(self) -> None:
        """Leave things as they were."""
        gc.set_threshold(*self._thresholds_before)
        gc.unfreeze()
