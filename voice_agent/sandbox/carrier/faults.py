"""What goes wrong with requests for a call: lost replies, resets, refusals; by chance or in a given order.

Whether a call exists all the same is what matters about each: its server must never ask for it twice.
"""

import random
from collections import Counter, deque
from enum import StrEnum

import msgspec


class CreateFault(StrEnum):
    """What happens to one POST of the Calls resource."""

    REPLY_LOST = "reply_lost"
    """The call is created; the connection ends before the answer."""

    RESET = "reset"
    """The connection ends before anything is done."""

    FAILED_AFTER = "failed_after"
    """The call is created; the answer is a 500."""

    FAILED_BEFORE = "failed_before"
    """Nothing is done; the answer is a 500."""

    BUSY = "busy"
    """Nothing is done; the answer is a 429."""

    SLOW = "slow"
    """The call is created; the answer comes `slow_s` later."""


class CreateFaults(msgspec.Struct, frozen=True, kw_only=True):
    """How likely each fault is, from 0.0 to 1.0; together at most 1.0."""

    reply_lost: float = 0.0
    reset: float = 0.0
    failed_after: float = 0.0
    failed_before: float = 0.0
    busy: float = 0.0
    slow: float = 0.0
    slow_s: float = 20.0
    seed: int = 0


class CreateFaultPlan:
    """Says for one POST after the other what goes wrong. What was ordered comes first, then chance decides."""

    def __init__(self, faults: CreateFaults) -> None:
        self.injected: Counter[CreateFault] = Counter()
        """How often each fault has been given out."""

        self._chances = [(fault, float(getattr(faults, fault.value))) for fault in CreateFault]
        self._random = random.Random(faults.seed)
        self._ordered: deque[CreateFault | None] = deque()

    def order(self, *faults: CreateFault | None) -> None:
        """Have the next POSTs go wrong so, one each; None lets one be."""
        self._ordered.extend(faults)

    def next(self) -> CreateFault | None:
        """Return the fault of the POST being answered, None where nothing goes wrong."""
        fault = self._ordered.popleft() if self._ordered else self._by_chance()
        if fault is not None:
            self.injected[fault] += 1
        return fault

    def _by_chance(self) -> CreateFault | None:
        drawn = self._random.random()
        for fault, chance in self._chances:
            if drawn < chance:
                return fault
            drawn -= chance
        return None
