"""The carrier: a double of Twilio on a real port, with the calls that run over it.

carrier ── REST (Calls, Recordings) ◄── the server under test
   │────── webhooks, status callbacks ──► the server
   └────── media socket, 20 ms frames ◄──► the server
   ▲
simulated people: `place_inbound_call` for a caller, `register` for whoever a number reaches
"""

import asyncio
import time
from collections import deque
from types import TracebackType
from typing import Self

from aiohttp import web

from voice_agent.sandbox.carrier.call import Application, Call
from voice_agent.sandbox.carrier.callbacks import StatusCallback
from voice_agent.sandbox.carrier.documents import Fetch
from voice_agent.sandbox.carrier.faults import CreateFault, CreateFaultPlan
from voice_agent.sandbox.carrier.forms import RestError
from voice_agent.sandbox.carrier.journal import Journal
from voice_agent.sandbox.carrier.leg import Leg
from voice_agent.sandbox.carrier.line import Clock, LineClock, Party
from voice_agent.sandbox.carrier.machines import MachineDetection
from voice_agent.sandbox.carrier.record import CallRecord
from voice_agent.sandbox.carrier.recorder import RecordingOrder
from voice_agent.sandbox.carrier.recordings import RecordingShelf
from voice_agent.sandbox.carrier.rest import RestInterface
from voice_agent.sandbox.carrier.services import Background, Callee, CarrierSettings, Services, Synthesise
from voice_agent.sandbox.carrier.webhooks import WebhookClient

SHUTDOWN_S = 5.0

CONCURRENCY_EXCEEDED = 10004


class Carrier:
    """A carrier with one account. Use as an async context manager, or `start` and `stop` it.

    `synthesise` speaks `<Say>`; without it a text is silence of its length.
    """

    def __init__(
        self,
        settings: CarrierSettings | None = None,
        *,
        synthesise: Synthesise | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.settings = settings or CarrierSettings()
        self.journal = Journal(clock)
        self.base_url = ""
        """Address of the REST interface, once started: what TWILIO_BASE_URL is set to."""

        self.recordings = RecordingShelf(self.settings.recording_faults)
        """The recordings of its calls, and what goes wrong with requests for them."""

        self._webhooks = WebhookClient(self.settings.auth_token, self.journal, self.settings.routes)
        self._services = Services(
            settings=self.settings,
            journal=self.journal,
            webhooks=self._webhooks,
            recordings=self.recordings,
            background=Background(),
            line_clock=LineClock(clock),
            clock=clock,
            synthesise=synthesise,
            find_callee=self._find_callee,
        )
        self._clock = clock
        self._callees: dict[str, Callee] = {}
        self._calls: dict[str, Call] = {}
        self._running = Background()
        self._refusals: deque[RestError] = deque()
        self.create_faults = CreateFaultPlan(self.settings.create_faults)
        """What goes wrong with requests for a call."""

        self._next_slot_s = 0.0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        await self._webhooks.open()
        rest = RestInterface(
            self, self.journal, account_sid=self.settings.account_sid, auth_token=self.settings.auth_token
        )
        self._runner = web.AppRunner(
            rest.application, access_log=None, shutdown_timeout=SHUTDOWN_S, handler_cancellation=True
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = self.recordings.base_url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """End every call, drop callbacks that were not yet sent, and stop listening."""
        await self._running.close()
        await self._services.background.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._webhooks.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # --- the public's side --------------------------------------------------------------------------------------
    def place_inbound_call(
        self,
        person: Party,
        *,
        to: str,
        from_: str,
        voice_url: str,
        fallback_url: str = "",
        status_callback: str = "",
    ) -> Call:
        """Have `person` call the number `to`, whose voice webhook is `voice_url`; return at once."""
        record = CallRecord(
            account_sid=self.settings.account_sid, to=to, from_=from_, direction="inbound", status="ringing"
        )
        application = Application(Fetch(voice_url), Fetch(fallback_url) if fallback_url else None)
        call = Call(Leg(record, self._services, StatusCallback(status_callback)), application)
        self._calls[record.sid] = call
        self._running.spawn(call.receive(person))
        return call

    def register(self, number: str, callee: Callee) -> None:
        """Say what happens when `number` is called. Any other number does not exist: the call fails."""
        self._callees[number] = callee

    def refuse_next(self, error: RestError) -> None:
        """Have the next authenticated REST request answered by `error`; repeated, the one after it, and so on."""
        self._refusals.append(error)

    # --- the REST interface's side ------------------------------------------------------------------------------
    def create_call(
        self,
        record: CallRecord,
        application: Application,
        callback: StatusCallback,
        *,
        ring_timeout_s: float,
        time_limit_s: float,
        detection: MachineDetection | None = None,
        recording: RecordingOrder | None = None,
    ) -> Call:
        """Queue an outbound call and return it."""
        leg = Leg(record, self._services, callback, recording=recording)
        call = Call(leg, application, time_limit_s=time_limit_s, detection=detection)
        queued_s = self._take_slot()
        record.queue_ms = round(queued_s * 1_000)
        if 0 < self.settings.max_calls <= self._outbound_calls():
            record.error_code = CONCURRENCY_EXCEEDED
        self._calls[record.sid] = call
        self._running.spawn(call.place(self._find_callee(record.to), ring_timeout_s=ring_timeout_s, queued_s=queued_s))
        return call

    def _outbound_calls(self) -> int:
        """Return how many are going on."""
        return sum(each.record.direction == "outbound-api" and not each.record.is_over for each in self._calls.values())

    def find_call(self, call_sid: str) -> Call | None:
        """Return a call by its SID."""
        return self._calls.get(call_sid)

    def list_calls(self) -> tuple[Call, ...]:
        """Return every call since the start, newest first."""
        return tuple(reversed(self._calls.values()))

    def next_refusal(self) -> RestError | None:
        """Return the error for the request being answered, if one was ordered."""
        return self._refusals.popleft() if self._refusals else None

    def next_create_fault(self) -> tuple[CreateFault | None, float]:
        """Return what goes wrong with the request for a call being answered, and for how long where it is slow."""
        return self.create_faults.next(), self.settings.create_faults.slow_s

    def _find_callee(self, number: str) -> Callee:
        return self._callees.get(number, Callee(outcome="failed", ring_s=0.0))

    def _take_slot(self) -> float:
        """Return how long, in seconds, a call created now waits in the queue."""
        if self.settings.calls_per_s <= 0:
            return 0.0
        now_s = self._clock()
        slot_s = max(now_s, self._next_slot_s)
        self._next_slot_s = slot_s + 1.0 / self.settings.calls_per_s
        return slot_s - now_s


async def wait_for_calls(*calls: Call) -> None:
    """Return when all of these calls are over."""
    await asyncio.gather(*(call.ended.wait() for call in calls))
