"""Puts a stream's messages back into the order of their numbers, and bounds how fast they may come.

TCP keeps order, so Twilio's own messages need none of this; proxies, recorders and attackers between us and Twilio do.
Pure: what is late is decided by the `now` that comes in.
"""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

REORDER_S = 0.1
"""How long a message waits for an earlier one: five 20 ms frames, the jitter that telephony calls bad but usable."""

AHEAD = 64
"""How far ahead of its turn a number is believed at once; silence on the wire widens it by the time that passed."""

NUMBERS_PER_S = 200
"""Numbers a stream may use up in a second: four times Twilio's pace."""

RESYNC_S = 0.5
"""Without any message in turn for so long, a number out of all order is where the peer now counts from."""


class OrderCounts(msgspec.Struct):
    """What was found out of order."""

    duplicate: int = 0
    """Seen before, or too late to be used: dropped."""
    early: int = 0
    """Came before an earlier number and waited for it."""
    lost: int = 0
    """Numbers that never came."""
    stray: int = 0
    """Numbers out of all order: dropped."""


class Resequencer(Generic[T]):
    """Returns items in the order of their numbers, waiting at most REORDER_S for a missing one.

    Feed every item to `take` and call `expire` now and then: a hole at the end of a burst closes only with time. A
    forged number cannot mute a call: numbers far ahead are dropped, and where the numbering itself has jumped, it is
    followed after RESYNC_S.
    """

    def __init__(self, next_number: int, now: float) -> None:
        self.counts = OrderCounts()
        self.next_number = next_number
        self._taken_at = now
        self._early: dict[int, tuple[T, float]] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether something has come early, so that `expire` is worth calling."""
        return bool(self._early)

    def pass_by(self, number: int, now: float) -> bool:
        """Return whether `number` is simply the next one, which is then done with: the cheap way for nearly all."""
        if number != self.next_number or self._early:
            return False
        self.next_number = number + 1
        self._taken_at = now
        return True

    def take(self, number: int, item: T, now: float) -> tuple[T, ...]:
        """Return what is in turn now that `item` has come, possibly nothing."""
        if self.pass_by(number, now):
            return (item,)
        return self.expire(now) + self._place(number, item, now)

    def expire(self, now: float) -> tuple[T, ...]:
        """Return what has waited long enough: the numbers missing before it are given up."""
        taken: tuple[T, ...] = ()
        while self._early and now - min(came_at for _, came_at in self._early.values()) >= REORDER_S:
            first = min(self._early)
            self.counts.lost += first - self.next_number
            self.next_number = first
            taken += self._run(now)
        return taken

    def _place(self, number: int, item: T, now: float) -> tuple[T, ...]:
        since_s = now - self._taken_at
        ahead = number - self.next_number
        if not 0 <= ahead <= AHEAD + since_s * NUMBERS_PER_S:
            if since_s < RESYNC_S:
                return self._drop(ahead)
            self.counts.stray += len(self._early)
            self._early.clear()
            self.next_number = number
        elif number in self._early:
            return self._drop(-1)
        self.counts.early += number != self.next_number
        self._early[number] = (item, now)
        return self._run(now)

    def _drop(self, ahead: int) -> tuple[T, ...]:
        if ahead < 0:
            self.counts.duplicate += 1
        else:
            self.counts.stray += 1
        return ()

    def _run(self, now: float) -> tuple[T, ...]:
        """Return the unbroken run that begins at the next number."""
        run: list[T] = []
        while self.next_number in self._early:
            run.append(self._early.pop(self.next_number)[0])
            self.next_number += 1
            self._taken_at = now
        return tuple(run)


class TokenBucket:
    """Lets `rate` units a second pass, and bursts of `burst` to twice `burst` after a pause.

    It is filled only when it has run dry, which makes `take` a subtraction, and the burst that imprecise.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._filled_at = now

    def take(self, amount: float, now: float) -> bool:
        """Return whether `amount` may pass, and count it if so."""
        level = self._level - amount
        if level < 0:
            level = min(self._burst, self._level + (now - self._filled_at) * self._rate) - amount
            self._filled_at = now
            if level < 0:
                self._level = level + amount
                return False
        self._level = level
        return True
