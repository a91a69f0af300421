"""OpenAI's realtime transcription as the SpeechToText port.

The model's name goes into `session.update`, never into the address: there it would open a conversation session.
Segments end where the pipeline commits (`turn_detection` null, the only value that the live models accept). Source:
OpenAI's guide "Realtime transcription" (https://developers.openai.com/api/docs/guides/realtime-transcription) and the
types of its Python SDK, `openai/types/realtime`.
"""

from binascii import b2a_base64
from collections.abc import Callable, Mapping

import msgspec

from voice_agent.errors import ProviderBusy, ProviderError, ProviderRefused, ProviderUnavailable
from voice_agent.integrations.failures import REFUSED_CODES
from voice_agent.integrations.transcription import (
    Claimed,
    Final,
    Heard,
    Interim,
    NothingHeard,
    ResumableTranscription,
    SessionFailed,
    TranscriptionLimits,
)
from voice_agent.integrations.websocket import websocket_url
from voice_agent.pipeline.ports import Transcript
from voice_agent.settings import OpenAISettings

PROVIDER = "openai"

SESSION_LIMIT_S = 600.0
"""Other clients assume that a session ends after 15 minutes (not documented), and start anew after 10."""

MANY_LANGUAGES_MODELS = ("gpt-live-transcribe", "gpt-transcribe")
"""Models that take a list of languages; older ones take a single one."""


class _Failure(msgspec.Struct):
    type: str | None = None
    code: str | None = None
    message: str | None = None


class _Event(msgspec.Struct):
    type: str
    item_id: str = ""
    delta: str = ""
    transcript: str = ""
    error: _Failure | None = None


_EVENT = msgspec.json.Decoder(_Event)


class _RealtimeDialect:
    provider = PROVIDER
    keep_alive = b""

    def __init__(self, settings: OpenAISettings, language: str, session_limit_s: float) -> None:
        self.url = f"{websocket_url(settings.base_url)}/realtime?intent=transcription"
        self.session_limit_s = session_limit_s
        self._key = settings.api_key
        model = settings.transcription_model
        asks_many = model.startswith(MANY_LANGUAGES_MODELS)
        spoken: dict[str, object] = {"languages": [language]} if asks_many else {"language": language}
        audio_input = {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": model, **spoken},
            "turn_detection": None,
        }
        session = {"type": "transcription", "audio": {"input": audio_input}}
        self._update = msgspec.json.encode({"type": "session.update", "session": session})

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._key.get_secret_value()}"}

    def opening(self) -> tuple[bytes, ...]:
        return (self._update,)

    def audio(self, mulaw: bytes) -> bytes:
        encoded = b2a_base64(mulaw, newline=False)
        return b'{"type":"input_audio_buffer.append","audio":"' + encoded + b'"}'

    def commit(self) -> bytes:
        return b'{"type":"input_audio_buffer.commit"}'

    def read(self, payload: bytes) -> Heard | None:
        event = _EVENT.decode(payload)
        match event.type:
            case "conversation.item.input_audio_transcription.delta":
                return Interim(event.delta, event.item_id, is_delta=True)
            case "conversation.item.input_audio_transcription.completed":
                return Final(event.transcript, event.item_id)
            case "conversation.item.input_audio_transcription.failed":
                # The words of this item are lost for good; the session and the call go on.
                return Final("", event.item_id)
            case "input_audio_buffer.committed":
                return Claimed(event.item_id)
            case "error":
                return _meaning(event.error or _Failure())
        return None


def _meaning(failure: _Failure) -> Heard | None:
    if failure.code == "input_audio_buffer_commit_empty":
        return NothingHeard()
    error = _session_failure(failure)
    return None if error is None else SessionFailed(error)


def _session_failure(failure: _Failure) -> ProviderError | None:
    """Return why the session is over, None for an error that leaves it open (most do)."""
    text = f"{failure.code or failure.type or 'error'} {failure.message or ''}".strip()
    if failure.code in REFUSED_CODES or failure.type == "authentication_error":
        return ProviderRefused(PROVIDER, text)
    if failure.code == "rate_limit_exceeded":
        return ProviderBusy(PROVIDER, text)
    if failure.code == "session_expired" or failure.type == "server_error":
        return ProviderUnavailable(PROVIDER, text)
    return None


class OpenAITranscription:
    """The SpeechToText port over OpenAI."""

    def __init__(
        self,
        settings: OpenAISettings,
        limits: TranscriptionLimits | None = None,
        *,
        session_limit_s: float = SESSION_LIMIT_S,
    ) -> None:
        self._settings = settings
        self._limits = limits or TranscriptionLimits()
        self._session_limit_s = session_limit_s

    def open(self, *, language: str, on_transcript: Callable[[Transcript], None]) -> ResumableTranscription:
        """Return a stream at once and connect in the background."""
        dialect = _RealtimeDialect(self._settings, language, self._session_limit_s)
        return ResumableTranscription(dialect, on_transcript, self._limits)
