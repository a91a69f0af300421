"""ElevenLabs' streaming synthesis as the TextToSpeech port: one socket for a call, one context for a turn.

    speak ──> context opened (at most 5, closing ones count) ──> audio and timing ──> finish: context closed ──> final
    cancel ──> context closed, its late audio dropped
    socket lost ──> next socket, and every live turn goes on from its first undelivered word

What it does not do: judge how long the first audio may take, or ask another voice. That is `pipeline.fallback`'s.
"""

import asyncio
from dataclasses import dataclass, field

import msgspec
import structlog

from voice_agent.audio.mulaw import duration_ms
from voice_agent.errors import ProviderError, ProviderMisbehaved, ProviderRefused, ProviderUnavailable
from voice_agent.integrations.elevenlabs.sound_check import SoundCheck
from voice_agent.integrations.elevenlabs.synthesis_wire import (
    PROVIDER,
    Alignment,
    SynthesisEvent,
    SynthesisWire,
    failure,
    read,
    wire_for,
)
from voice_agent.integrations.elevenlabs.word_timing import WordTiming
from voice_agent.integrations.websocket import ProviderSocket, connect
from voice_agent.pipeline.ports import SynthesisListener, Voice, Word
from voice_agent.pipeline.respeaking import undelivered
from voice_agent.settings import ElevenLabsSettings

log = structlog.get_logger(__name__)

MAX_CONTEXTS = 5
"""A sixth context makes the server close the socket, with every context on it."""

NO_TIMING = Alignment()


@dataclass(frozen=True, slots=True)
class SynthesisLimits:
    """When to give up on a connection, and on the provider."""

    tick_s: float = 1.0
    """How often the other limits are looked at."""

    slot_s: float = 1.0
    """Longest wait of a turn for one of the five contexts: longer, and a fresh socket is quicker."""

    delays_s: tuple[float, ...] = (0.0, 0.1, 0.4)
    """Before each new connection after quick failures in a row; after the last one the turns have failed."""

    healthy_s: float = 10.0
    """A connection that lived this long was no quick failure."""


@dataclass(slots=True, eq=False)
class _Turn:
    number: int
    text: str = ""
    """What is to be said on the present connection; `sent` characters of it have gone out."""

    sent: int = 0
    is_finishing: bool = False
    is_closing: bool = False
    context_id: str = ""
    waiting_since: float | None = None
    delivered_bytes: int = 0
    resumed_at_ms: float = 0.0
    """Where in the turn's audio `text` begins."""

    words: list[Word] = field(default_factory=list)
    """The timed words of `text`."""

    held: list[tuple[bytes, tuple[Word, ...]]] = field(default_factory=list)
    """Silence at the beginning, not delivered before a voice is in it: it may be all there is."""

    timing: WordTiming = field(default_factory=WordTiming)
    check: SoundCheck = field(default_factory=SoundCheck)

    @property
    def delivered_ms(self) -> float:
        return duration_ms(self.delivered_bytes)

    @property
    def received_ms(self) -> float:
        return self.delivered_ms + duration_ms(sum(len(audio) for audio, _ in self.held))

    def resume(self) -> None:
        """Prepare to say what is left on another connection."""
        begin_ms = self.resumed_at_ms
        spoken = [Word(w.text, w.start_ms - begin_ms, w.end_ms - begin_ms) for w in self.words]
        left = undelivered(self.text[: self.sent], spoken, self.delivered_ms - begin_ms)
        for word in () if self.held else self.timing.finish():
            # The last word that came: whole, or cut in the middle and to be said again.
            if left.split()[:1] == [word.text.strip()]:
                left = left[len(word.text.strip()) :].lstrip()
        self.text = left + self.text[self.sent :]
        self.resumed_at_ms = self.delivered_ms
        self.sent = 0
        self.context_id = ""
        self.is_closing = False
        self.words.clear()
        self.held.clear()
        self.timing = WordTiming()
        self.check = SoundCheck()


class ElevenLabsSynthesis:
    """A SynthesisStream on one voice. Create it on the event loop; it connects at once."""

    def __init__(
        self, settings: ElevenLabsSettings, wire: SynthesisWire, listener: SynthesisListener, limits: SynthesisLimits
    ) -> None:
        self._key = settings.api_key
        self._wire = wire
        self._listener = listener
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._turns: dict[int, _Turn] = {}
        self._over: set[int] = set()
        """Turns that were finished, failed or cancelled: nothing more is done or reported for them."""

        self._contexts: dict[str, _Turn | None] = {}
        """Contexts that the server counts; None for one whose audio nobody wants any more."""

        self._opened = 0
        self._failures = 0
        self._sent_at = self._loop.time()
        self._socket: ProviderSocket | None = None
        self._ended: asyncio.Future[ProviderError] = self._loop.create_future()
        self._is_closed = False
        self._refusal: ProviderRefused | None = None
        self._tick_handle = self._loop.call_later(limits.tick_s, self._tick)
        self._task = self._loop.create_task(self._run())

    # --- the port --------------------------------------------------------------------------------------------------
    def speak(self, turn: int, text: str) -> None:
        """Synthesise more of a turn."""
        state = self._turn(turn)
        if state is not None:
            # The server speaks up to the last space.
            state.text += text if text[-1:].isspace() else f"{text} "
            self._go_on()

    def finish(self, turn: int) -> None:
        """End a turn."""
        state = self._turn(turn)
        if state is not None:
            state.is_finishing = True
            self._go_on()

    def cancel(self, turn: int) -> None:
        """Forget a turn."""
        state = self._turns.pop(turn, None)
        self._over.add(turn)
        if state is not None:
            self._abandon(state)

    async def close(self) -> None:
        """End the stream."""
        self._is_closed = True
        self._turns.clear()
        self._tick_handle.cancel()
        self._task.cancel()
        await asyncio.wait([self._task])

    def _turn(self, number: int) -> _Turn | None:
        if self._is_closed or number in self._over:
            return None
        return self._turns.setdefault(number, _Turn(number))

    # --- out -------------------------------------------------------------------------------------------------------
    def _go_on(self) -> None:
        """Send whatever can be sent now."""
        if self._task.done():
            self._connect_again()
        for state in tuple(self._turns.values()):
            if not state.text.strip() and not state.context_id:
                if state.is_finishing:
                    self._loop.call_soon(self._complete, state)
            elif self._socket is not None:
                self._advance(self._socket, state)

    def _connect_again(self) -> None:
        if self._refusal is None:
            self._task = self._loop.create_task(self._run())
            return
        for state in self._turns.values():
            self._loop.call_soon(self._fail, state, self._refusal)

    def _advance(self, socket: ProviderSocket, state: _Turn) -> None:
        if not state.context_id and not self._open_context(socket, state):
            return
        if len(state.text) > state.sent:
            self._send(socket, self._wire.speak(state.context_id, state.text[state.sent :]))
            state.sent = len(state.text)
        if state.is_finishing and not state.is_closing:
            self._send(socket, self._wire.close(state.context_id))
            state.is_closing = True

    def _open_context(self, socket: ProviderSocket, state: _Turn) -> bool:
        """Open a context for a turn; False where all are taken."""
        if len(self._contexts) >= MAX_CONTEXTS:
            state.waiting_since = state.waiting_since or self._loop.time()
            return False
        self._opened += 1
        state.context_id = f"turn-{state.number}-{self._opened}"
        state.waiting_since = None
        self._contexts[state.context_id] = state
        for message in self._wire.open(state.context_id):
            self._send(socket, message)
        return True

    def _abandon(self, state: _Turn) -> None:
        """Close a turn's context without wanting its audio. It counts until its final message has come."""
        if state.context_id in self._contexts:
            self._contexts[state.context_id] = None
            if self._socket is not None and not state.is_closing:
                self._send(self._socket, self._wire.close(state.context_id))

    def _send(self, socket: ProviderSocket, message: bytes) -> None:
        socket.send(message)
        self._sent_at = self._loop.time()

    # --- in --------------------------------------------------------------------------------------------------------
    def _receive(self, payload: bytes) -> None:
        try:
            event = read(payload)
        except msgspec.MsgspecError:
            log.warning("synthesis_event_dropped", provider=PROVIDER, length_bytes=len(payload))
            return
        error = failure(event)
        if error is not None:
            self._end(error)
            return
        state = self._contexts.get(event.context_id)
        if state is not None and (event.audio or event.timing):
            self._deliver(state, event)
        if event.is_final and event.context_id in self._contexts:
            state = self._contexts.pop(event.context_id)
            if state is not None:
                self._conclude(state)
            self._go_on()

    def _deliver(self, state: _Turn, event: SynthesisEvent) -> None:
        audio = event.audio or b""
        timing = event.timing or NO_TIMING
        fault = state.check.fault(audio, timing.length_ms, len(state.text))
        if fault:
            self._fail(state, ProviderMisbehaved(PROVIDER, fault))
            return
        self._failures = 0
        words = state.timing.add(timing.chars, timing.starts_ms, timing.durations_ms, state.received_ms)
        state.held.append((audio, words))
        if state.check.is_audible:
            self._release(state)

    def _release(self, state: _Turn) -> None:
        held, state.held = state.held, []
        for audio, words in held:
            state.words += words
            state.delivered_bytes += len(audio)
            self._listener.on_audio(state.number, audio, words)

    def _conclude(self, state: _Turn) -> None:
        """The server has ended a turn's context."""
        if not state.is_closing:
            # It gave up by itself: what is unsaid goes into a new context.
            state.resume()
            return
        fault = state.check.fault_at_end()
        if fault:
            self._fail(state, ProviderMisbehaved(PROVIDER, fault))
            return
        words = state.timing.finish()
        if words:
            state.held.append((b"", words))
        self._release(state)
        self._complete(state)

    def _complete(self, state: _Turn) -> None:
        if self._turns.get(state.number) is state:
            del self._turns[state.number]
            self._over.add(state.number)
            self._listener.on_finished(state.number)

    def _fail(self, state: _Turn, error: ProviderError) -> None:
        if self._turns.get(state.number) is state:
            del self._turns[state.number]
            self._over.add(state.number)
            self._abandon(state)
            self._listener.on_failed(state.number, error)

    # --- the connection --------------------------------------------------------------------------------------------
    async def _run(self) -> None:
        """Hold a connection until it is refused or fails too often; `_go_on` starts anew when there is work again."""
        self._failures = 0
        while True:
            began_at = self._loop.time()
            error = await self._session()
            for state in self._turns.values():
                state.resume()
            if self._loop.time() - began_at > self._limits.healthy_s:
                self._failures = 0
            if isinstance(error, ProviderRefused):
                self._refusal = error
                break
            if self._failures >= len(self._limits.delays_s):
                break
            log.info("synthesis_restarted", provider=PROVIDER, error=str(error))
            await asyncio.sleep(self._limits.delays_s[self._failures])
            self._failures += 1
        for state in tuple(self._turns.values()):
            self._fail(state, error)

    async def _session(self) -> ProviderError:
        """Serve one connection to its end and return why it ended."""
        self._ended = self._loop.create_future()
        self._contexts.clear()
        try:
            socket = await connect(
                PROVIDER,
                self._wire.url,
                headers={"xi-api-key": self._key.get_secret_value()},
                on_message=self._receive,
                on_closed=self._end,
            )
        except ProviderError as error:
            return error
        self._socket = socket
        try:
            self._go_on()
            return await self._ended
        finally:
            self._socket = None
            self._contexts.clear()
            socket.close()

    def _end(self, error: ProviderError) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    def _tick(self) -> None:
        self._tick_handle = self._loop.call_later(self._limits.tick_s, self._tick)
        if self._socket is None:
            return
        now = self._loop.time()
        waits = [now - state.waiting_since for state in self._turns.values() if state.waiting_since is not None]
        if max(waits, default=0.0) > self._limits.slot_s:
            self._end(ProviderUnavailable(PROVIDER, "no context became free"))
        elif now - self._sent_at > self._wire.keep_alive_s:
            live = [context_id for context_id, state in self._contexts.items() if state is not None]
            for message in self._wire.keep_alive(live):
                self._send(self._socket, message)


class ElevenLabsTextToSpeech:
    """The TextToSpeech port over ElevenLabs."""

    def __init__(self, settings: ElevenLabsSettings, limits: SynthesisLimits | None = None) -> None:
        self._settings = settings
        self._limits = limits or SynthesisLimits()

    def open(self, *, voice: Voice, listener: SynthesisListener) -> ElevenLabsSynthesis:
        """Return a stream at once and connect in the background; an empty voice id takes the configured one."""
        if not voice.voice_id:
            voice = msgspec.structs.replace(voice, voice_id=self._settings.voice_id)
        return ElevenLabsSynthesis(self._settings, wire_for(self._settings, voice), listener, self._limits)
