"""What goes wrong with requests, by chance or in a given order: for a call, and for the sound of a recording.

Of a call it matters whether it exists all the same: its server must never ask for it twice. The sound of a recording
may be asked for again until it has come.
"""

import random
from collections import Counter, deque
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

Fault = TypeVar("Fault", bound=StrEnum)


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


class RecordingFault(StrEnum):
    """What happens to one GET of a recording's sound."""

    NOT_READY = "not_ready"
    """404: Twilio tells of a recording before it can be fetched from everywhere."""

    FAILED = "failed"
    """The answer is a 500."""

    BROKEN = "broken"
    """The connection ends in the middle of the sound."""


class RecordingFaults(msgspec.Struct, frozen=True, kw_only=True):
    """How likely each fault is, from 0.0 to 1.0; together at most 1.0."""

    not_ready: float = 0.0
    failed: float = 0.0
    broken: float = 0.0
    not_ready_first: int = 0
    """So many requests for each recording are answered 404 before anything else is decided."""

    seed: int = 0


class FaultPlan(Generic[Fault]):
    """Says for one request after the other what goes wrong. What was ordered comes first, then chance decides."""

    def __init__(self, kinds: type[Fault], chances: msgspec.Struct, seed: int) -> None:
        """`chances` has a field for each of the `kinds`."""
        self.injected: Counter[Fault] = Counter()
        """How often each fault has been given out."""

        self._chances = [(fault, float(getattr(chances, fault.value))) for fault in kinds]
        self._random = random.Random(seed)
        self._ordered: deque[Fault | None] = deque()

    def order(self, *faults: Fault | None) -> None:
        """Have the next requests go wrong so, one each; None lets one be."""
        self._ordered.extend(faults)

    def next(self) -> Fault | None:
        """Return the fault of the request being answered, None where nothing goes wrong."""
        fault = self._ordered.popleft() if self._ordered else self._by_chance()
        if fault is not None:
            self.injected[fault] += 1
        return fault

    def _by_chance(self) -> Fault | None:
        drawn = self._random.random()
        for fault, chance in self._chances:
            if drawn < chance:
                return fault
            drawn -= chance
        return None


class CreateFaultPlan(FaultPlan[CreateFault]):
    """Of POSTs to the Calls resource."""

    def __init__(self, faults: CreateFaults) -> None:
        super().__init__(CreateFault, faults, faults.seed)


class RecordingFaultPlan(FaultPlan[RecordingFault]):
    """Of GETs of recordings' sound."""

    def __init__(self, faults: RecordingFaults) -> None:
        super().__init__(RecordingFault, faults, faults.seed)
        self._not_ready_first = faults.not_ready_first

    def next_of(self, fetch: int) -> RecordingFault | None:
        """Return the fault of a recording's `fetch`-th request, from 1."""
        if fetch > self._not_ready_first:
            return self.next()
        self.injected[RecordingFault.NOT_READY] += 1
        return RecordingFault.NOT_READY
