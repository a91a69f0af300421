"""What a conversation needs from the world, as Protocols. Adapters live in `integrations`, fakes in tests/fakes.

Audio is mu-law, 8,000 Hz, mono everywhere here. Everything marked "hot path" is synchronous, must not block and
is called 50 times a second for each call. Adapters report problems as `voice_agent.errors.ProviderError`.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Protocol

import msgspec

from voice_agent.errors import ProviderError


# --- voice activity ---------------------------------------------------------------------------------------------
class VoiceActivityStream(Protocol):
    """The voice activity of one call. It keeps state from frame to frame."""

    def process(self, pcm16: bytes) -> float:
        """Return the probability, 0.0 to 1.0, that this frame (160 int16 samples, 8,000 Hz) is speech. Hot path."""
        ...


class VoiceActivityDetector(Protocol):
    """A voice activity model, loaded once and shared by all calls."""

    def open(self) -> VoiceActivityStream:
        """Return fresh state for one call."""
        ...


# --- speech to text ---------------------------------------------------------------------------------------------
class InterimTranscript(msgspec.Struct, frozen=True):
    """Everything recognised since the last final transcript; may change."""

    text: str


class FinalTranscript(msgspec.Struct, frozen=True):
    """The answer to exactly one `commit` (or a segment that the provider closed by itself); may be empty."""

    text: str


class TranscriptionLost(msgspec.Struct, frozen=True):
    """The stream is beyond repair: reconnecting has failed too. Nothing follows."""

    error: ProviderError


Transcript = InterimTranscript | FinalTranscript | TranscriptionLost


class TranscriptionStream(Protocol):
    """Speech recognition of one call. Audio sent before the provider is connected is kept (10 s) and replayed."""

    def send(self, mulaw: bytes) -> None:
        """Recognise more of the caller's audio, any length. Hot path."""
        ...

    def commit(self) -> None:
        """Ask for a FinalTranscript of everything sent so far. One commit, one final, in order. Hot path."""
        ...

    async def close(self) -> None:
        """End the stream and release its connection. Safe to call twice."""
        ...


class SpeechToText(Protocol):
    """A speech recognition provider."""

    def open(self, *, language: str, on_transcript: Callable[[Transcript], None]) -> TranscriptionStream:
        """Return a stream at once and connect in the background; `language` is ISO 639-1 ("en", "es").

        `on_transcript` is called on the event loop's thread, never from within `send` or `commit`.
        """
        ...


# --- text to speech ---------------------------------------------------------------------------------------------
class Voice(msgspec.Struct, frozen=True):
    """Who speaks, and how. Part of the key under which fixed phrases are cached."""

    voice_id: str
    """The provider's own id."""

    model: str = ""
    """The provider's model id; empty for its default."""

    language: str = "en"
    """ISO 639-1."""

    speed: float = 1.0
    """1.0 is the voice's own speed; 0.7 to 1.2."""


class Word(msgspec.Struct, frozen=True):
    """When a word sounds, in milliseconds from the start of its turn's audio."""

    text: str
    """The word with the punctuation and spaces that follow it, so that joining words gives the text back."""

    start_ms: float
    end_ms: float


class SynthesisListener(Protocol):
    """Where a synthesis stream reports to; called on the event loop's thread."""

    def on_audio(self, turn: int, mulaw: bytes, words: tuple[Word, ...]) -> None:
        """More audio of a turn, in order. `words` are those whose timing became known with it, possibly none."""
        ...

    def on_finished(self, turn: int) -> None:
        """All audio of a finished turn has been delivered. Exactly once for each `finish` that was not cancelled."""
        ...

    def on_failed(self, turn: int, error: ProviderError) -> None:
        """The turn cannot be completed. Nothing more follows for it."""
        ...


class SynthesisStream(Protocol):
    """Speech synthesis of one call; a turn is opened by its first `speak`. At most a few turns are open at once."""

    def speak(self, turn: int, text: str) -> None:
        """Synthesise `text` after what the turn already has; the text ends at a clause or sentence boundary."""
        ...

    def finish(self, turn: int) -> None:
        """No more text follows in this turn."""
        ...

    def cancel(self, turn: int) -> None:
        """Stop the turn: after this call nothing is reported for it. Unknown turns are ignored."""
        ...

    async def close(self) -> None:
        """End the stream and release its connection. Safe to call twice."""
        ...


class TextToSpeech(Protocol):
    """A speech synthesis provider."""

    def open(self, *, voice: Voice, listener: SynthesisListener) -> SynthesisStream:
        """Return a stream at once and connect in the background."""
        ...


# --- language model ---------------------------------------------------------------------------------------------
class UserMessage(msgspec.Struct, frozen=True, tag="user", tag_field="role"):
    """What the caller said."""

    text: str


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call", tag_field="role"):
    """A tool that the model wants to run. `arguments` is JSON text, not validated.

    `provider_fields` is what the provider wants back with the call unchanged (Gemini's thought signatures).
    """

    call_id: str
    name: str
    arguments: str
    provider_fields: dict[str, Any] = msgspec.field(default_factory=dict)


class AgentMessage(msgspec.Struct, frozen=True, tag="agent", tag_field="role"):
    """What the agent said (as far as it was heard) and which tools it called."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()


class ToolMessage(msgspec.Struct, frozen=True, tag="tool", tag_field="role"):
    """What a tool answered."""

    call_id: str
    name: str
    result: str


Message = UserMessage | AgentMessage | ToolMessage


class ToolDefinition(msgspec.Struct, frozen=True):
    """A tool as the model sees it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema of an object."""


class TextDelta(msgspec.Struct, frozen=True):
    """More of the reply's text."""

    text: str


ReplyPart = TextDelta | ToolCall


class LanguageModel(Protocol):
    """A chat model."""

    def reply(
        self, *, instructions: str, messages: Sequence[Message], tools: Sequence[ToolDefinition]
    ) -> AsyncGenerator[ReplyPart]:
        """Stream a reply. Cancelling the consuming task closes the provider's connection.

        Raises ProviderError; after the first part has been yielded, only where a continuation failed too.
        """
        ...

    async def warm_up(self) -> None:
        """Have a connection open for the first reply of a call. Never raises: the reply itself will tell."""
        ...


# --- the carrier's side -----------------------------------------------------------------------------------------
class Loudspeaker(Protocol):
    """The caller's ear: audio out, by turn. What is heard comes back as Playback* events."""

    def play(self, turn: int, mulaw: bytes) -> None:
        """Queue more audio of a turn, any length."""
        ...

    def finish(self, turn: int) -> None:
        """No more audio follows in this turn."""
        ...

    def stop(self, turn: int) -> None:
        """Silence the turn now and keep its unheard audio. Reports PlaybackStopped before it returns."""
        ...

    def resume(self, turn: int, from_ms: float) -> None:
        """Play a stopped turn again from `from_ms` of its audio (at or before what was heard)."""
        ...

    def discard(self, turn: int) -> None:
        """Forget a turn's audio that was not heard, silencing it first where it is playing."""
        ...


class CarrierControl(Protocol):
    """What the carrier does to a call."""

    async def hang_up(self) -> None:
        """End the call. An ended call is no error."""
        ...

    async def transfer(self, target: str) -> None:
        """Connect the caller to `target` (E.164) instead of the agent. Raises CarrierError."""
        ...


class HeardOptOut(msgspec.Struct, frozen=True, kw_only=True):
    """That a caller asked not to be called any more."""

    words: str
    """What they said, or the key that they pressed."""

    how: str
    """phrase, key or tool."""

    second: float
    """Of the call's clock."""


class CallControl(Protocol):
    """What an agent can do to the call itself."""

    async def hang_up(self, reason: str = "agent") -> None:
        """End the call, for a reason of `actions.HangUp`. An ended call is no error."""
        ...

    async def transfer(self, target: str) -> None:
        """Connect the caller to `target` (E.164) instead of the agent. Raises CarrierError."""
        ...

    async def record_opt_out(self, heard: HeardOptOut) -> bool:
        """Have the caller never called again; return once that cannot be lost, and whether it is in force already.

        Takes some seconds at most and never raises.
        """
        ...
