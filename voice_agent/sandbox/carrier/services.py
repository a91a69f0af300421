"""What all calls of one carrier share."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Literal

import msgspec
import structlog

from voice_agent.sandbox.carrier.faults import CreateFaults, RecordingFaults
from voice_agent.sandbox.carrier.journal import Journal
from voice_agent.sandbox.carrier.line import Clock, LineClock, Party
from voice_agent.sandbox.carrier.machines import Nature
from voice_agent.sandbox.carrier.record import new_sid
from voice_agent.sandbox.carrier.recordings import RecordingShelf
from voice_agent.sandbox.carrier.webhooks import Routes, WebhookClient

log = structlog.get_logger(__name__)

Synthesise = Callable[[str, str], bytes]
"""Text and ISO 639-1 language to mu-law at 8,000 Hz. Blocking: called in a thread."""


class CallbackFaults(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to callbacks about calls and recordings on their way; each a probability from 0.0 to 1.0."""

    lost: float = 0.0
    duplicated: float = 0.0
    copies: int = 2
    """How often a duplicated one arrives, at once and with one idempotency token."""
    reordered: float = 0.0
    """Arrives after the event that follows it; the last event waits for none."""
    delayed: float = 0.0
    delay_s: float = 1.0
    """How late a delayed callback is: it arrives after those that followed it."""
    seed: int = 0


class CarrierSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One account at the sandbox carrier. The defaults are fresh credentials for each carrier."""

    account_sid: str = msgspec.field(default_factory=lambda: new_sid("AC"))
    auth_token: str = msgspec.field(default_factory=lambda: new_sid(""))
    host: str = "127.0.0.1"
    port: int = 0
    """Of the REST interface; 0 takes a free one."""
    routes: Routes = msgspec.field(default_factory=dict)
    """Public address of a server to the one where it is really reached: "https://calls.example.org" to
    "http://127.0.0.1:8000". Signatures are made over the public one; media sockets (wss, ws) follow. Of several local
    ones the next is taken where a connection is refused, as a load balancer does."""
    calls_per_s: float = 0.0
    """Outbound calls begun a second, the rest are queued; Twilio's default is 1, 0 has no limit."""
    max_calls: int = 0
    """Outbound calls at once; one more fails with 10004, as on a new account. 0 has no limit."""
    callback_faults: CallbackFaults = CallbackFaults()
    create_faults: CreateFaults = CreateFaults()
    recording_faults: RecordingFaults = RecordingFaults()


class Callee(msgspec.Struct, frozen=True, kw_only=True):
    """What happens when a number is called."""

    outcome: Literal["answered", "busy", "no-answer", "failed"] = "answered"
    ring_s: float = 0.5
    """Ringing before the answer or the refusal; a call that nobody answers rings until its time-out."""
    person: Callable[[], Party] | None = None
    """Who answers: required where the outcome is "answered"."""
    nature: Nature = "human"
    """What machine detection takes it for."""
    detection_s: float = 2.0
    """From the answer to that verdict."""
    message_s: float = 8.0
    """From the answer to the end of a machine's message, which detection may be asked to wait for."""


class Background:
    """Work that outlives the call that began it: late callbacks. Nothing of it survives `close`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run `work`; what it raises is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def close(self) -> None:
        """Cancel what is left and wait for its end."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Handed to every call."""

    settings: CarrierSettings
    journal: Journal
    webhooks: WebhookClient
    recordings: RecordingShelf
    background: Background
    line_clock: LineClock
    clock: Clock
    synthesise: Synthesise | None
    find_callee: Callable[[str], Callee]
    """By the number that is called."""
