"""Planned misbehaviour: which connection or request goes wrong, and how. Deterministic.

A plan is consumed by one connection or request after the other; `Gate` applies a fault to the messages of one
connection. Faults of the sound itself are applied by `sound.spoil`.
"""

from enum import Enum, StrEnum
from random import Random

import msgspec

from voice_agent.sandbox.providers.journal import Service


class FaultKind(StrEnum):
    """What goes wrong; docs/sandbox-providers.md says it with examples."""

    SLOW_CONNECT = "slow_connect"
    """The upgrade, or the response's status line, comes `delay_s` late."""
    REFUSE = "refuse"
    """The connection is reset before anything is answered."""
    STATUS = "status"
    """The answer is HTTP `status`, with `retry_after_s` where it is set."""
    LATE_FIRST_BYTE = "late_first_byte"
    """The first message after `after_messages` comes `delay_s` late, and so all later ones."""
    STALL = "stall"
    """From there on nothing is sent, and the connection stays open."""
    RESET = "reset"
    """The connection is reset (RST)."""
    CLOSE = "close"
    """A socket is closed with `close_code`; 1006 drops it without a close frame. A response is cut off."""
    TRUNCATE = "truncate"
    """A response ends properly, but without its end marker; a socket closes with 1000."""
    ERROR = "error"
    """The provider's own error message `error` comes in the stream, which then ends."""
    MALFORMED = "malformed"
    """One message is cut in half, so that it cannot be decoded."""
    OUT_OF_ORDER = "out_of_order"
    """One message arrives after its successor."""
    SLOW_READ = "slow_read"
    """The double stops reading for `delay_s` after `after_messages` messages of the client."""
    HUGE = "huge"
    """An answer of `size_bytes`, as fast as the client reads it."""
    WRONG_RATE = "wrong_rate"
    """Sound of twice the announced sample rate."""
    ODD_BYTES = "odd_bytes"
    """One byte is missing from every chunk of sound."""
    SILENCE = "silence"
    """Sound that is silent throughout."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One misbehaviour of one connection."""

    kind: FaultKind
    after_messages: int = 0
    """It begins once this many messages (SSE events, audio chunks) have been sent."""
    after_bytes: int = 0
    """... and this many bytes."""
    delay_s: float = 5.0
    status: int = 500
    retry_after_s: float | None = None
    close_code: int = 1006
    error: str = ""
    """The provider's machine-readable name of the error; empty: a typical one."""
    size_bytes: int = 100_000_000


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The faults of one service. Without `probability` the n-th connection takes entry n, and null is healthy."""

    faults: tuple[Fault | None, ...] = ()
    probability: float = 0.0
    """Above 0: each connection goes wrong with this probability, in a way drawn from `faults`."""
    seed: int = 0
    repeat: bool = False
    """Begin again after the last entry; otherwise all is well from there on."""


class FaultDesk:
    """The plans of all services, and how far each has been consumed."""

    def __init__(self) -> None:
        self._plans: dict[Service, FaultPlan] = {}
        self._taken: dict[Service, int] = {}
        self._random: dict[Service, Random] = {}

    def plan(self, service: Service, plan: FaultPlan) -> None:
        """Replace the plan of a service; its next connection takes the first entry."""
        self._plans[service] = plan
        self._taken[service] = 0
        self._random[service] = Random(plan.seed)

    def clear(self) -> None:
        """Let everything be well."""
        self._plans.clear()

    def take(self, service: Service) -> Fault | None:
        """Return the fault of the next connection, None where it is healthy."""
        plan = self._plans.get(service)
        if plan is None or not plan.faults:
            return None
        if plan.probability > 0:
            random = self._random[service]
            return random.choice(plan.faults) if random.random() < plan.probability else None
        number = self._taken[service]
        self._taken[service] = number + 1
        if plan.repeat:
            number %= len(plan.faults)
        return plan.faults[number] if number < len(plan.faults) else None


class Step(Enum):
    """What to do with a message."""

    SEND = "send"
    DELAY = "delay"
    """Wait for the fault's `delay_s`, then send."""
    HOLD = "hold"
    """Keep it until the next one has been sent."""
    GARBLE = "garble"
    SWALLOW = "swallow"
    RESET = "reset"
    CLOSE = "close"
    TRUNCATE = "truncate"
    ERROR = "error"


_ONCE = {
    FaultKind.LATE_FIRST_BYTE: Step.DELAY,
    FaultKind.MALFORMED: Step.GARBLE,
    FaultKind.OUT_OF_ORDER: Step.HOLD,
    FaultKind.ERROR: Step.ERROR,
}
_FOR_GOOD = {
    FaultKind.STALL: Step.SWALLOW,
    FaultKind.RESET: Step.RESET,
    FaultKind.CLOSE: Step.CLOSE,
    FaultKind.TRUNCATE: Step.TRUNCATE,
}


class Gate:
    """The fault of one connection, met by each message on its way out."""

    def __init__(self, fault: Fault | None) -> None:
        self._fault = fault
        self._messages = 0
        self._bytes = 0
        self._is_spent = False

    def judge(self, payload: bytes) -> Step:
        """Return what to do with the next message, and count it."""
        fault = self._fault
        if fault is None or self._is_spent:
            return Step.SEND
        due = self._messages >= fault.after_messages and self._bytes >= fault.after_bytes
        self._messages += 1
        self._bytes += len(payload)
        if not due:
            return Step.SEND
        if fault.kind in _ONCE:
            self._is_spent = True
            return _ONCE[fault.kind]
        return _FOR_GOOD.get(fault.kind, Step.SEND)


def garble(payload: bytes) -> bytes:
    """Return a message that no decoder accepts, with the line ends of the original."""
    body = payload.rstrip(b"\r\n")
    return body[: len(body) // 2] + payload[len(body) :]
