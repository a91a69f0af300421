"""What is said on ElevenLabs' synthesis sockets: two dialects of one idea, a context for each turn.

`MultiContext` is the text-to-speech socket (flash, turbo and multilingual models), `Dialogue` the text-to-dialogue
socket, the only one that v3 and v4 models have. Sources: ElevenLabs' asyncapi.yml (github elevenlabs/elevenlabs-docs,
fern/apis/api) and the types of its Python SDK. Servers answer in camel or snake case, by age: both are read.
"""

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import quote, urlencode

import msgspec

from voice_agent.errors import ProviderBusy, ProviderError, ProviderRefused, ProviderUnavailable
from voice_agent.integrations.websocket import websocket_url
from voice_agent.pipeline.ports import Voice
from voice_agent.settings import ElevenLabsSettings

PROVIDER = "elevenlabs"

INACTIVITY_S = 180
"""The longest that the server allows; a caller may talk for a minute before the agent's next word."""

DIALOGUE_MODELS = ("eleven_v3", "eleven_v4")

MULTILINGUAL_BY_CODE = ("eleven_flash_v2_5", "eleven_turbo_v2_5")
"""Models that take a language code; the others refuse it or ignore it."""


class SynthesisWire(Protocol):
    """The messages of one socket."""

    url: str
    keep_alive_s: float

    def open(self, context_id: str) -> Sequence[bytes]:
        """Return what opens a context."""
        ...

    def speak(self, context_id: str, text: str) -> bytes:
        """Return what has `text` synthesised at once."""
        ...

    def close(self, context_id: str) -> bytes:
        """Return what ends a context; its final message follows."""
        ...

    def keep_alive(self, context_ids: Sequence[str]) -> Sequence[bytes]:
        """Return what keeps the socket and these contexts."""
        ...


class MultiContext:
    """The text-to-speech socket."""

    keep_alive_s = 15.0

    def __init__(self, settings: ElevenLabsSettings, voice: Voice, model: str) -> None:
        query = {
            "model_id": model,
            "output_format": "ulaw_8000",
            "auto_mode": "true",
            "sync_alignment": "true",
            "inactivity_timeout": INACTIVITY_S,
        }
        if model in MULTILINGUAL_BY_CODE:
            query["language_code"] = voice.language
        path = f"/v1/text-to-speech/{quote(voice.voice_id, safe='')}/multi-stream-input"
        self.url = f"{websocket_url(settings.base_url)}{path}?{urlencode(query)}"
        self._voice_settings = {"speed": voice.speed}

    def open(self, context_id: str) -> Sequence[bytes]:
        """Voice settings may only come with a context's first message, whose text is one space."""
        return (_encode({"text": " ", "context_id": context_id, "voice_settings": self._voice_settings}),)

    def speak(self, context_id: str, text: str) -> bytes:
        """Flushed: what we send is a clause or a sentence, nothing better will come to wait for."""
        return _encode({"text": text, "context_id": context_id, "flush": True})

    def close(self, context_id: str) -> bytes:
        """Everything has been flushed, so nothing is lost."""
        return _encode({"context_id": context_id, "close_context": True})

    def keep_alive(self, context_ids: Sequence[str]) -> Sequence[bytes]:
        """Name only contexts that are open: naming an unknown one would create it."""
        if not context_ids:
            return (_encode({"text": ""}),)
        return [_encode({"text": "", "context_id": context_id}) for context_id in context_ids]


class Dialogue:
    """The text-to-dialogue socket, with one voice."""

    keep_alive_s = 8.0
    """The server closes after 20 s of silence, which cannot be changed."""

    def __init__(self, settings: ElevenLabsSettings, voice: Voice, model: str) -> None:
        query: dict[str, str] = {"model_id": model, "output_format": "ulaw_8000", "sync_alignment": "true"}
        path = "/v1/text-to-dialogue/multi-stream-input"
        self.url = f"{websocket_url(settings.base_url)}{path}?{urlencode(query)}"
        self._voice_id = voice.voice_id

    def open(self, context_id: str) -> Sequence[bytes]:
        """Name the voices once: repeating them closes the socket."""
        return (_encode({"voices": [self._voice_id], "context_id": context_id}),)

    def speak(self, context_id: str, text: str) -> bytes:
        """Flushed: the server would wait for about 40 characters."""
        inputs = [{"text": text, "voice_id": self._voice_id}]
        return _encode({"inputs": inputs, "context_id": context_id, "flush": True})

    def close(self, context_id: str) -> bytes:
        """End the context."""
        return _encode({"context_id": context_id, "close_context": True})

    def keep_alive(self, context_ids: Sequence[str]) -> Sequence[bytes]:
        """One message keeps everything."""
        del context_ids
        return (_encode({"keep_alive": True}),)


def wire_for(settings: ElevenLabsSettings, voice: Voice) -> SynthesisWire:
    """Return the socket that the voice's model speaks on."""
    model = voice.model or settings.tts_model
    dialect = Dialogue if model.startswith(DIALOGUE_MODELS) else MultiContext
    return dialect(settings, voice, model)


# --- what comes back ------------------------------------------------------------------------------------------------
class Alignment(msgspec.Struct):
    """When each character sounds, in milliseconds from the beginning of its chunk."""

    chars: list[str] = []
    camel_starts: list[float] | None = msgspec.field(default=None, name="charStartTimesMs")
    camel_durations: list[float] | None = msgspec.field(default=None, name="charDurationsMs")
    old_starts: list[float] | None = msgspec.field(default=None, name="charsStartTimesMs")
    old_durations: list[float] | None = msgspec.field(default=None, name="charsDurationsMs")
    snake_starts: list[float] | None = msgspec.field(default=None, name="char_start_times_ms")
    snake_durations: list[float] | None = msgspec.field(default=None, name="char_durations_ms")

    @property
    def starts_ms(self) -> list[float]:
        """Start of each character."""
        return self.camel_starts or self.old_starts or self.snake_starts or []

    @property
    def durations_ms(self) -> list[float]:
        """Length of each character."""
        return self.camel_durations or self.old_durations or self.snake_durations or []

    @property
    def length_ms(self) -> float:
        """Where the last character ends."""
        return self.starts_ms[-1] + self.durations_ms[-1] if self.starts_ms and self.durations_ms else 0.0


class SynthesisEvent(msgspec.Struct):
    """Any message of either socket; unknown types have none of these fields."""

    audio: bytes | None = None
    alignment: Alignment | None = None
    camel_normalized: Alignment | None = msgspec.field(default=None, name="normalizedAlignment")
    snake_normalized: Alignment | None = msgspec.field(default=None, name="normalized_alignment")
    camel_final: bool | None = msgspec.field(default=None, name="isFinal")
    snake_final: bool | None = msgspec.field(default=None, name="is_final")
    camel_context: str | None = msgspec.field(default=None, name="contextId")
    snake_context: str | None = msgspec.field(default=None, name="context_id")
    error: str | None = None
    message: str | None = None

    @property
    def context_id(self) -> str:
        """The context meant, empty for none."""
        return self.camel_context or self.snake_context or ""

    @property
    def is_final(self) -> bool:
        """Whether the context has ended."""
        return bool(self.camel_final or self.snake_final)

    @property
    def timing(self) -> Alignment | None:
        """The characters as they were written; as they were read out where there is nothing else."""
        return self.alignment or self.camel_normalized or self.snake_normalized


_DECODER = msgspec.json.Decoder(SynthesisEvent)


def read(payload: bytes) -> SynthesisEvent:
    """Decode a message. Raises msgspec.MsgspecError."""
    return _DECODER.decode(payload)


REFUSALS = frozenset(
    {"authentication_required", "invalid_api_key", "quota_exceeded", "voice_not_found", "model_not_found"}
    | {"unauthorized", "missing_permissions", "payment_required"}
)
BUSY = frozenset({"too_many_concurrent_requests", "system_busy", "rate_limited"})


def failure(event: SynthesisEvent) -> ProviderError | None:
    """Return the error that a message announces; the socket closes after it."""
    if not event.error:
        return None
    text = f"{event.error} {event.message or ''}".strip()[:300]
    if event.error in REFUSALS:
        return ProviderRefused(PROVIDER, text)
    if event.error in BUSY:
        return ProviderBusy(PROVIDER, text)
    return ProviderUnavailable(PROVIDER, text)


def _encode(message: object) -> bytes:
    return msgspec.json.encode(message)
