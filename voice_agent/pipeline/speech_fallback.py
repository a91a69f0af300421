"""Speech that goes on although its provider does not: a second voice, a second recogniser.

Both are ports made of ports. A synthesiser that fails, or is silent while words are outstanding, is replaced for the
rest of the turn: the backup begins with the first word that was not wholly delivered. A recogniser that is lost is
replaced for the rest of the call: the backup hears what no final transcript had answered. Reconnecting to the same
provider is the adapters' own business and comes first.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from voice_agent.audio.mulaw import duration_ms
from voice_agent.errors import ProviderError, ProviderUnavailable
from voice_agent.pipeline.circuit_breaker import CircuitBreaker
from voice_agent.pipeline.ports import (
    FinalTranscript,
    SpeechToText,
    SynthesisListener,
    SynthesisStream,
    TextToSpeech,
    Transcript,
    TranscriptionLost,
    Voice,
    Word,
)
from voice_agent.pipeline.respeaking import is_outstanding, undelivered
from voice_agent.pipeline.segment_log import SegmentLog

log = structlog.get_logger(__name__)


# --- synthesis ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class SpeechLimits:
    """How long a synthesiser may be silent while words are outstanding."""

    first_audio_s: float = 1.2
    """Of the primary, from the text to its sound; healthy ones take 0.1 to 0.4 s."""

    next_audio_s: float = 1.2
    """Between two chunks. Audio comes faster than it is played, so the caller hears nothing of a wait this long."""

    backup_audio_s: float = 2.5
    """Of the backup, which may have to connect first."""


@dataclass(slots=True, eq=False)
class _Turn:
    number: int
    text: str = ""
    """What the present voice was given to say."""

    words: list[Word] = field(default_factory=list)
    began_at_ms: float = 0.0
    """Where in the turn's audio the present voice began."""

    delivered_bytes: int = 0
    is_finishing: bool = False
    is_on_backup: bool = False
    deadline: asyncio.TimerHandle | None = None

    @property
    def delivered_ms(self) -> float:
        """All audio of the turn so far, of both voices."""
        return duration_ms(self.delivered_bytes)

    @property
    def left(self) -> str:
        """What the present voice still has to say."""
        return undelivered(self.text, self.words, self.delivered_ms - self.began_at_ms)

    @property
    def is_outstanding(self) -> bool:
        """Whether something must still come from the present voice."""
        delivered_ms = self.delivered_ms - self.began_at_ms
        return self.is_finishing or is_outstanding(self.text, self.words, delivered_ms)

    def disarm(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


class FallbackTextToSpeech:
    """`primary`, and `backup` (with `backup_voice`) for what it does not deliver.

    The backup may be the same provider: another connection cures a stalled one. One instance serves all calls.
    """

    def __init__(
        self,
        primary: TextToSpeech,
        backup: TextToSpeech,
        *,
        backup_voice: Voice | None = None,
        limits: SpeechLimits | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._primary = primary
        self._backup = backup
        self._backup_voice = backup_voice
        self._limits = limits or SpeechLimits()
        self._breaker = breaker or CircuitBreaker(time.monotonic)

    def open(self, *, voice: Voice, listener: SynthesisListener) -> "FallbackSynthesis":
        """Return a stream; the backup is connected when it is first needed."""
        backup_voice = self._backup_voice or voice
        return FallbackSynthesis(
            open_primary=lambda ear: self._primary.open(voice=voice, listener=ear),
            open_backup=lambda ear: self._backup.open(voice=backup_voice, listener=ear),
            listener=listener,
            limits=self._limits,
            breaker=self._breaker,
        )


class FallbackSynthesis:
    """A SynthesisStream over two."""

    def __init__(
        self,
        *,
        open_primary: Callable[[SynthesisListener], SynthesisStream],
        open_backup: Callable[[SynthesisListener], SynthesisStream],
        listener: SynthesisListener,
        limits: SpeechLimits,
        breaker: CircuitBreaker,
    ) -> None:
        self._listener = listener
        self._limits = limits
        self._breaker = breaker
        self._loop = asyncio.get_running_loop()
        self._turns: dict[int, _Turn] = {}
        self._over: set[int] = set()
        """Turns for which nothing more is done or reported."""

        self._primary = open_primary(_Ear(self, is_backup=False))
        self._open_backup = open_backup
        self._backup: SynthesisStream | None = None

    # --- the port --------------------------------------------------------------------------------------------------
    def speak(self, turn: int, text: str) -> None:
        """Synthesise more of a turn."""
        state = self._turn(turn)
        if state is not None:
            state.text += text if text[-1:].isspace() else f"{text} "
            self._stream(state).speak(turn, text)
            self._watch(state, is_first=not state.words)

    def finish(self, turn: int) -> None:
        """End a turn."""
        state = self._turn(turn)
        if state is not None:
            state.is_finishing = True
            self._stream(state).finish(turn)
            self._watch(state, is_first=not state.words)

    def cancel(self, turn: int) -> None:
        """Forget a turn."""
        state = self._turns.get(turn)
        self._over.add(turn)
        if state is not None:
            self._end(state)
            self._stream(state).cancel(turn)

    async def close(self) -> None:
        """End both streams."""
        for state in self._turns.values():
            state.disarm()
        self._turns.clear()
        await self._primary.close()
        if self._backup is not None:
            await self._backup.close()

    # --- what comes back -------------------------------------------------------------------------------------------
    def heard(self, turn: int, mulaw: bytes, words: tuple[Word, ...], *, is_backup: bool) -> None:
        """Pass on audio of the voice that speaks the turn; called by its ear."""
        state = self._current(turn, is_backup=is_backup)
        if state is None:
            return
        if mulaw and not is_backup:
            self._breaker.succeed()
        state.words += words
        state.delivered_bytes += len(mulaw)
        self._watch(state, is_first=False)
        begin_ms = state.began_at_ms
        if begin_ms:
            words = tuple(Word(w.text, w.start_ms + begin_ms, w.end_ms + begin_ms) for w in words)
        self._listener.on_audio(turn, mulaw, words)

    def finished(self, turn: int, *, is_backup: bool) -> None:
        """Pass on the end of a turn; called by the ear of the voice that speaks it."""
        state = self._current(turn, is_backup=is_backup)
        if state is not None:
            self._end(state)
            self._listener.on_finished(turn)

    def failed(self, turn: int, error: ProviderError, *, is_backup: bool) -> None:
        """Replace the voice of a turn, or give the turn up; called by its ear."""
        state = self._current(turn, is_backup=is_backup)
        if state is None:
            return
        state.disarm()
        if is_backup:
            self._end(state)
            self._listener.on_failed(turn, error)
            return
        self._breaker.fail(error)
        log.warning("synthesis_fallback", turn=turn, error=str(error))
        self._switch(state)

    def _switch(self, state: _Turn) -> None:
        left = state.left
        state.is_on_backup = True
        state.text, state.words, state.began_at_ms = left, [], state.delivered_ms
        if not left.strip() and state.is_finishing:
            self._end(state)
            self._listener.on_finished(state.number)
            return
        stream = self._stream(state)
        if left.strip():
            stream.speak(state.number, left)
        if state.is_finishing:
            stream.finish(state.number)
        self._watch(state, is_first=True)

    # --- deadlines -------------------------------------------------------------------------------------------------
    def _watch(self, state: _Turn, *, is_first: bool) -> None:
        """Arm the turn's deadline for as long as something is outstanding."""
        state.disarm()
        if not state.is_outstanding:
            return
        limits = self._limits
        wait_s = limits.first_audio_s if is_first else limits.next_audio_s
        wait_s = limits.backup_audio_s if state.is_on_backup else wait_s
        state.deadline = self._loop.call_later(wait_s, self._expire, state, wait_s)

    def _expire(self, state: _Turn, wait_s: float) -> None:
        self._stream(state).cancel(state.number)
        error = ProviderUnavailable("text to speech", f"no audio for {wait_s:.1f} s")
        self.failed(state.number, error, is_backup=state.is_on_backup)

    # --- turns -----------------------------------------------------------------------------------------------------
    def _turn(self, number: int) -> _Turn | None:
        state = self._turns.get(number)
        if state is None and number not in self._over:
            state = self._turns[number] = _Turn(number)
            state.is_on_backup = not self._breaker.admits()
        return state

    def _stream(self, state: _Turn) -> SynthesisStream:
        if not state.is_on_backup:
            return self._primary
        if self._backup is None:
            self._backup = self._open_backup(_Ear(self, is_backup=True))
        return self._backup

    def _current(self, turn: int, *, is_backup: bool) -> _Turn | None:
        """Return the turn where this voice still speaks it."""
        state = self._turns.get(turn)
        return state if state is not None and state.is_on_backup == is_backup else None

    def _end(self, state: _Turn) -> None:
        state.disarm()
        self._over.add(state.number)
        self._turns.pop(state.number, None)


class _Ear:
    """The listener of one of the two streams."""

    def __init__(self, owner: FallbackSynthesis, *, is_backup: bool) -> None:
        self._owner = owner
        self._is_backup = is_backup

    def on_audio(self, turn: int, mulaw: bytes, words: tuple[Word, ...]) -> None:
        self._owner.heard(turn, mulaw, words, is_backup=self._is_backup)

    def on_finished(self, turn: int) -> None:
        self._owner.finished(turn, is_backup=self._is_backup)

    def on_failed(self, turn: int, error: ProviderError) -> None:
        self._owner.failed(turn, error, is_backup=self._is_backup)


# --- recognition ----------------------------------------------------------------------------------------------------
class FallbackSpeechToText:
    """`primary`, and `backup` from the moment it is lost. One instance serves all calls."""

    def __init__(self, primary: SpeechToText, backup: SpeechToText, *, breaker: CircuitBreaker | None = None) -> None:
        self._primary = primary
        self._backup = backup
        self._breaker = breaker or CircuitBreaker(time.monotonic)

    def open(self, *, language: str, on_transcript: Callable[[Transcript], None]) -> "FallbackTranscription":
        """Return a stream; the backup is connected when it is first needed."""
        return FallbackTranscription(
            self._primary, self._backup, self._breaker, language=language, on_transcript=on_transcript
        )


class FallbackTranscription:
    """A TranscriptionStream over two, the second one opened when it is needed."""

    def __init__(
        self,
        primary: SpeechToText,
        backup: SpeechToText,
        breaker: CircuitBreaker,
        *,
        language: str,
        on_transcript: Callable[[Transcript], None],
    ) -> None:
        self._backup: SpeechToText | None = backup
        self._breaker = breaker
        self._language = language
        self._on_transcript = on_transcript
        self._loop = asyncio.get_running_loop()
        self._log = SegmentLog()
        self._closing: list[asyncio.Task[None]] = []
        if breaker.admits():
            self._stream = primary.open(language=language, on_transcript=self._hear)
        else:
            self._backup = None
            self._stream = backup.open(language=language, on_transcript=self._hear)

    def send(self, mulaw: bytes) -> None:
        """Recognise more audio."""
        if self._backup is not None:
            self._log.add(mulaw)
        self._stream.send(mulaw)

    def commit(self) -> None:
        """Ask for the final transcript of what was sent."""
        if self._backup is not None:
            self._log.commit(self._loop.time())
        self._stream.commit()

    async def close(self) -> None:
        """End the stream."""
        await self._stream.close()
        await asyncio.gather(*self._closing)

    def _hear(self, transcript: Transcript) -> None:
        if self._backup is not None:
            if isinstance(transcript, TranscriptionLost):
                self._switch(self._backup, transcript.error)
                return
            self._breaker.succeed()
            if isinstance(transcript, FinalTranscript):
                self._log.answer(transcript.text)
                list(self._log.take_finals())
        self._on_transcript(transcript)

    def _switch(self, backup: SpeechToText, error: ProviderError) -> None:
        self._breaker.fail(error)
        log.warning("transcription_fallback", error=str(error))
        self._backup = None
        self._closing.append(self._loop.create_task(self._stream.close()))
        self._stream = backup.open(language=self._language, on_transcript=self._hear)
        for kept in self._log.replay():
            if kept is None:
                self._stream.commit()
            else:
                self._stream.send(kept)
