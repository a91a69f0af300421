"""One leg of a call: its record, its line once answered, its keys, and the way it ends."""

import asyncio
from datetime import UTC, datetime

from voice_agent.sandbox.carrier.callbacks import CallEvent, StatusCallback, StatusCallbacks
from voice_agent.sandbox.carrier.journal import CallChanged, DigitPressed, Warned
from voice_agent.sandbox.carrier.line import Line, Party
from voice_agent.sandbox.carrier.media import MediaStream
from voice_agent.sandbox.carrier.record import TERMINAL, CallRecord, Status
from voice_agent.sandbox.carrier.recorder import Recorder, RecordingOrder
from voice_agent.sandbox.carrier.services import Callee, Services

DIGITS = frozenset("0123456789*#ABCD")

_EVENTS: dict[Status, CallEvent] = {"ringing": "ringing", "in-progress": "answered"}


class Leg:
    """A leg and the person at its far end, who is given this object as the handset."""

    def __init__(
        self,
        record: CallRecord,
        services: Services,
        callback: StatusCallback | None = None,
        *,
        recording: RecordingOrder | None = None,
    ) -> None:
        self.record = record
        self.services = services
        self.stream: MediaStream | None = None
        """The media stream that holds the line, if one does."""

        self.recorder: Recorder | None = None
        """Where the leg is to be recorded, and was answered."""

        self.keys: asyncio.Queue[str] = asyncio.Queue()
        self.hung_up = asyncio.Event()
        """The person has put the telephone down."""

        self._callbacks = StatusCallbacks(record, callback or StatusCallback(), services)
        self._order = recording
        self._party: Party | None = None
        self._line: Line | None = None

    @property
    def line(self) -> Line:
        """The open line. Raises RuntimeError before the answer: a verb that needs one came too early."""
        if self._line is None:
            raise RuntimeError("the call was not answered")
        return self._line

    @property
    def is_answered(self) -> bool:
        """Whether there is a line."""
        return self._line is not None

    @property
    def sample(self) -> int:
        """The line's present; 0 before the answer."""
        return self._line.sample if self._line is not None else 0

    # --- the handset --------------------------------------------------------------------------------------------
    def press(self, digit: str) -> None:
        """Press one key: 0-9, *, #, A-D; anything else raises ValueError."""
        if digit not in DIGITS:
            raise ValueError(f"{digit!r} is no key")
        self._write_digit(digit)
        if self.stream is not None:
            self.stream.send_digit(digit)
        else:
            self.keys.put_nowait(digit)

    def hang_up(self) -> None:
        """Put the telephone down."""
        self.hung_up.set()

    # --- its life -----------------------------------------------------------------------------------------------
    def begin(self) -> None:
        """Tell that the call leaves the queue."""
        self._callbacks.tell("initiated")

    async def ring(self, callee: Callee, timeout_s: float) -> Status:
        """Ring `callee`; answer, or return the terminal status without applying it."""
        self.change("ringing")
        if callee.outcome == "no-answer" or callee.ring_s >= timeout_s:
            await asyncio.sleep(timeout_s)
            return "no-answer"
        await asyncio.sleep(callee.ring_s)
        if callee.outcome == "answered":
            if callee.person is None:
                raise ValueError(f"nobody is at {self.record.to}: Callee.person is missing")
            self.answer(callee.person())
            return "in-progress"
        return callee.outcome

    def answer(self, party: Party) -> None:
        """Open the line to `party`."""
        self._party = party
        self._line = Line(party, self.services.clock)
        self.record.answered_at = datetime.now(UTC)
        party.on_answer(self)
        self.services.line_clock.add(self._line, self._on_party_fault)
        self.change("in-progress")
        if self._order is not None:
            self.recorder = Recorder(self.record, self._order, self.services, self._line)

    def end(self, status: Status) -> None:
        """Close the line and settle the record. Twice does nothing."""
        if self.record.is_over:
            return
        self.record.ended_at = datetime.now(UTC)
        if self._line is not None:
            self.services.line_clock.remove(self._line)
        self.change(status)
        if self.recorder is not None:
            self.recorder.finish()
        if self._party is not None:
            self._party.on_hang_up()

    def change(self, status: Status) -> None:
        """Record a status and tell the server. A call canceled in the queue is told to nobody, as at Twilio."""
        was_queued = self.record.status == "queued"
        self.record.status = status
        self.services.journal.write(
            CallChanged(at=self.services.journal.now, call_sid=self.record.sid, status=status, sample=self.sample)
        )
        event: CallEvent | None = "completed" if status in TERMINAL else _EVENTS.get(status)
        if event is not None and not (was_queued and status == "canceled"):
            self._callbacks.tell(event)

    async def play(self, mulaw: bytes) -> None:
        """Let the person hear `mulaw` to its end; cancelled, what is left of it is dropped."""
        heard = asyncio.Event()
        self.line.catch_up().play(mulaw)
        self.line.mark(lambda _sample, _is_cleared: heard.set())
        try:
            await heard.wait()
        finally:
            self.line.catch_up().drop()

    def warn(self, code: int, message: str) -> None:
        """Write what Twilio's debugger would show."""
        journal = self.services.journal
        journal.write(Warned(at=journal.now, call_sid=self.record.sid, code=code, message=message))

    def _write_digit(self, digit: str) -> None:
        journal = self.services.journal
        journal.write(DigitPressed(at=journal.now, call_sid=self.record.sid, digit=digit, sample=self.sample))

    def _on_party_fault(self) -> None:
        self.warn(0, "the simulated person failed; the line is dead")
        self.hung_up.set()
