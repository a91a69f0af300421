"""The audio path between a person and the carrier, from the answer to the hang-up, and the clock that drives it.

A line has one sample clock. Every 20 ms it hands its person what was heard in that interval and takes what was said
in it; a frame is therefore sent when its interval is over, as a telephone does. After a stall of the process the
missed intervals follow at once. All lines share one timer: a timer per call and frame costs 2 to 9 times the CPU.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

import structlog

from voice_agent.audio.mulaw import FRAME_BYTES, FRAME_MS, RATE_HZ
from voice_agent.sandbox.carrier.playout import Echo, Playout

log = structlog.get_logger(__name__)

TICK_S = FRAME_MS / 1_000

EARLY_S = 0.002
"""Frames are complete so long before the tick that sends them: uvloop's timers, which count whole milliseconds, may be
early, and a frame that is not complete waits for the next one."""

Clock = Callable[[], float]
"""Monotonic seconds. Not the event loop's clock: uvloop's counts whole milliseconds."""


class Handset(Protocol):
    """What a person can do to the call besides speaking."""

    def press(self, digit: str) -> None:
        """Press one key: 0-9, *, #, A-D."""
        ...

    def hang_up(self) -> None:
        """Put the telephone down."""
        ...


class Party(Protocol):
    """A person (or a machine) at the far end of a telephone line."""

    def on_answer(self, handset: Handset) -> None:
        """The line is open; the first `on_tick` follows."""
        ...

    def on_tick(self, heard: bytes) -> bytes:
        """Take the 160 samples of mu-law heard in the last 20 ms, return the 160 said in them. Must not block."""
        ...

    def on_hang_up(self) -> None:
        """The line is dead, by whichever side. Nothing follows."""
        ...


class Line:
    """An open line. `playout` is what the person hears; `tap` is given every frame that the person says.

    `recorder` is given every frame that was said, and the one that was heard meanwhile.
    """

    def __init__(self, party: Party, clock: Clock) -> None:
        self.playout = Playout()
        self.tap: Callable[[bytes], None] | None = None
        self.recorder: Callable[[bytes, bytes], None] | None = None
        self._party = party
        self._clock = clock
        self._origin = clock()
        self._frames = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def sample(self) -> int:
        """The present, on the line's clock."""
        return int((self._clock() - self._origin) * RATE_HZ)

    def catch_up(self) -> Playout:
        """Settle the playout up to now and return it: what is queued next begins to play now."""
        self.playout.advance(self.sample)
        return self.playout

    def mark(self, echo: Echo) -> None:
        """Have `echo` called when everything queued so far has been heard."""
        self.catch_up().mark(echo)
        self._arm()

    def tick(self) -> None:
        """Exchange every frame whose interval is over."""
        due = self.sample // FRAME_BYTES
        self.catch_up()
        while self._frames < due:
            self._frames += 1
            heard = self.playout.take_heard(FRAME_BYTES)
            said = self._party.on_tick(heard)
            if self.tap is not None:
                self.tap(said)
            if self.recorder is not None:
                self.recorder(said, heard)
        self._arm()

    def align(self, tick_s: float) -> None:
        """Let frames be complete when the line ticks, not up to 20 ms before. To be called before the first tick."""
        self._origin = tick_s - EARLY_S

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        """Wake for a mark that comes due before the next tick."""
        due = self.playout.next_mark_sample
        if due is None or due - self.playout.sample > FRAME_BYTES:
            return
        self.close()
        delay_s = math.ceil((due - self.playout.sample) * 1_000 / RATE_HZ) / 1_000
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._wake)

    def _wake(self) -> None:
        self.catch_up()
        self._arm()


class LineClock:
    """The one timer that drives every open line. It runs only while there is a line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: dict[Line, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = 0.0

    def add(self, line: Line, on_fault: Callable[[], None]) -> None:
        """Drive `line`; `on_fault` is called, once, where its person raises."""
        self._lines[line] = on_fault
        if self._timer is None:
            self._next_s = self._clock()
            self._schedule()
        line.align(self._next_s - TICK_S)

    def remove(self, line: Line) -> None:
        """Stop driving `line`."""
        self._lines.pop(line, None)
        line.close()
        if not self._lines and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        now_s = self._clock()
        missed = max(0, math.floor((now_s - self._next_s) / TICK_S))
        self._next_s += (missed + 1) * TICK_S
        self._timer = asyncio.get_running_loop().call_later(self._next_s - now_s, self._tick)

    def _tick(self) -> None:
        for line, on_fault in tuple(self._lines.items()):
            try:
                line.tick()
            except Exception:
                log.exception("simulated person failed")
                self.remove(line)
                on_fault()
        if self._lines:
            self._schedule()
