"""ElevenLabs' realtime recogniser (Scribe) as the SpeechToText port.

Audio goes out as it came, `ulaw_8000`; segments end where the pipeline commits, never by the server's own detector.
Reconnecting, replay and order are `integrations.transcription`'s. Source: ElevenLabs API reference, "Realtime speech
to text" (https://elevenlabs.io/docs/api-reference/speech-to-text/v-1-speech-to-text-realtime).
"""

from binascii import b2a_base64
from collections.abc import Callable, Mapping
from math import inf
from urllib.parse import urlencode

import msgspec

from voice_agent.errors import ProviderBusy, ProviderError, ProviderRefused, ProviderUnavailable
from voice_agent.integrations.transcription import (
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
from voice_agent.settings import ElevenLabsSettings

PROVIDER = "elevenlabs"

REFUSALS = frozenset(
    {"auth_error", "quota_exceeded", "quota_exceeded_error", "unaccepted_terms", "unaccepted_terms_error"}
    | {"invalid_request"}
)
BUSY = frozenset({"rate_limited", "queue_overflow", "resource_exhausted"})
FAILURES = frozenset(
    {"error", "transcriber_error", "input_error", "chunk_size_exceeded", "session_time_limit_exceeded"}
)
EMPTY_COMMITS = frozenset({"commit_throttled", "insufficient_audio_activity"})
"""Too little audio in a commit: the answer is that nothing was said, and the session goes on."""


class _Event(msgspec.Struct):
    message_type: str
    text: str = ""
    error: str = ""


_EVENT = msgspec.json.Decoder(_Event)


class _ScribeDialect:
    provider = PROVIDER
    session_limit_s = inf
    keep_alive = b'{"message_type":"input_audio_chunk","audio_base_64":"","commit":false,"sample_rate":8000}'

    def __init__(self, settings: ElevenLabsSettings, language: str) -> None:
        query = urlencode(
            {
                "model_id": settings.stt_model,
                "audio_format": "ulaw_8000",
                "commit_strategy": "manual",
                "language_code": language,
            }
        )
        self.url = f"{websocket_url(settings.base_url)}/v1/speech-to-text/realtime?{query}"
        self._key = settings.api_key

    def headers(self) -> Mapping[str, str]:
        return {"xi-api-key": self._key.get_secret_value()}

    def opening(self) -> tuple[bytes, ...]:
        return ()

    def audio(self, mulaw: bytes) -> bytes:
        return (
            b'{"message_type":"input_audio_chunk","audio_base_64":"'
            + b2a_base64(mulaw, newline=False)
            + b'","commit":false,"sample_rate":8000}'
        )

    def commit(self) -> bytes:
        return b'{"message_type":"input_audio_chunk","audio_base_64":"","commit":true,"sample_rate":8000}'

    def read(self, payload: bytes) -> Heard | None:
        event = _EVENT.decode(payload)
        # "committed_transcript_with_timestamps" repeats a commit's text where timestamps are on: never read both.
        match event.message_type:
            case "partial_transcript":
                return Interim(event.text)
            case "committed_transcript":
                return Final(event.text)
            case kind if kind in EMPTY_COMMITS:
                return NothingHeard()
            case kind:
                error = _failure(kind, event.error)
                return None if error is None else SessionFailed(error)


def _failure(kind: str, message: str) -> ProviderError | None:
    text = f"{kind} {message}".strip()
    if kind in REFUSALS:
        return ProviderRefused(PROVIDER, text)
    if kind in BUSY:
        return ProviderBusy(PROVIDER, text)
    if kind in FAILURES:
        return ProviderUnavailable(PROVIDER, text)
    return None


class ElevenLabsSpeechToText:
    """The SpeechToText port over ElevenLabs."""

    def __init__(self, settings: ElevenLabsSettings, limits: TranscriptionLimits | None = None) -> None:
        self._settings = settings
        self._limits = limits or TranscriptionLimits()

    def open(self, *, language: str, on_transcript: Callable[[Transcript], None]) -> ResumableTranscription:
        """Return a stream at once and connect in the background."""
        return ResumableTranscription(_ScribeDialect(self._settings, language), on_transcript, self._limits)
