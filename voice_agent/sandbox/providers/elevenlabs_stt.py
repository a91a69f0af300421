"""Double of ElevenLabs' realtime speech recognition, `/v1/speech-to-text/realtime`.

Source: the ElevenLabs API reference ("Speech to Text, Realtime") and the message types of its Python SDK 2.78. Not
documented there, seen in public reports: a commit of less than 0.3 s of new audio is answered by `commit_throttled`
alone (github.com/elevenlabs/packages/issues/378), and a socket without audio for 15 s is closed without a message.
It recognises 8,000 Hz only: mu-law or PCM.
"""

from time import monotonic
from typing import Literal
from uuid import uuid4

import msgspec
from aiohttp import web
from multidict import MultiMapping

from voice_agent.audio import mulaw
from voice_agent.sandbox.providers.faults import FaultKind
from voice_agent.sandbox.providers.journal import Service
from voice_agent.sandbox.providers.outbox import Outbox
from voice_agent.sandbox.providers.phrases import Ear, HeardWord
from voice_agent.sandbox.providers.visit import Visit, handler, hold
from voice_agent.sandbox.providers.world import World

MAX_KEYTERMS = 50
MAX_KEYTERM_CHARS = 20
MAX_PREVIOUS_CHARS = 50

_PARTIAL = "partial"


class Options(msgspec.Struct, frozen=True):
    """The query of the socket's address."""

    model_id: str
    audio_format: Literal["ulaw_8000", "pcm_8000"] = "pcm_8000"
    commit_strategy: Literal["manual", "vad"] = "manual"
    vad_silence_threshold_secs: float = 1.5
    vad_threshold: float = 0.4
    language_code: str = ""
    include_timestamps: bool = False
    include_language_detection: bool = False
    filter_background_audio: bool = False

    @classmethod
    def read(cls, query: MultiMapping[str]) -> "Options":
        """Read the query. Raises ValueError naming what the server would not accept."""
        options = msgspec.convert(dict(query), cls, strict=False)
        if not 0.3 <= options.vad_silence_threshold_secs <= 3.0:
            raise ValueError("vad_silence_threshold_secs must be between 0.3 and 3.0")
        if not 0.1 <= options.vad_threshold <= 0.9:
            raise ValueError("vad_threshold must be between 0.1 and 0.9")
        if options.filter_background_audio and options.include_timestamps:
            raise ValueError("filter_background_audio cannot be used with include_timestamps")
        keyterms = query.getall("keyterms", [])
        if len(keyterms) > MAX_KEYTERMS or any(len(term) > MAX_KEYTERM_CHARS for term in keyterms):
            raise ValueError(f"at most {MAX_KEYTERMS} keyterms of at most {MAX_KEYTERM_CHARS} characters")
        return options


class ClientMessage(msgspec.Struct):
    """`input_audio_chunk`, or `commit`."""

    message_type: str
    audio_base_64: bytes = b""
    commit: bool = False
    sample_rate: int = mulaw.RATE_HZ
    previous_text: str = ""


class _SessionConfig(msgspec.Struct):
    sample_rate: int
    audio_format: str
    commit_strategy: str
    model_id: str
    language_code: str | None
    vad_silence_threshold_secs: float
    vad_threshold: float
    include_timestamps: bool


class _SessionStarted(msgspec.Struct, tag_field="message_type", tag="session_started"):
    session_id: str
    config: _SessionConfig


class _Partial(msgspec.Struct, tag_field="message_type", tag="partial_transcript"):
    text: str


class _Committed(msgspec.Struct, tag_field="message_type", tag="committed_transcript"):
    text: str


class _TimedWord(msgspec.Struct):
    text: str
    start: float
    end: float
    type: Literal["word", "spacing"] = "word"
    logprob: float = -0.05


class _CommittedTimed(msgspec.Struct, tag_field="message_type", tag="committed_transcript_with_timestamps"):
    text: str
    language_code: str | None
    words: list[_TimedWord] | None


class _Error(msgspec.Struct):
    message_type: str
    error: str


_decoder = msgspec.json.Decoder(ClientMessage)
_encode = msgspec.json.encode


class Recognition:
    """One socket."""

    def __init__(self, guest: Visit, options: Options, outbox: Outbox) -> None:
        self._world = guest.world
        self._exchange = guest.exchange
        self._fault = guest.fault
        self._options = options
        self._outbox = outbox
        self._ear = Ear(guest.world.phrases)
        self._uncommitted_bytes = 0
        self._final_due_s = 0.0
        self._has_audio = False
        self._last_message_s = monotonic()
        outbox.put(_encode(self._started()), name="session_started")

    def receive(self, text: str) -> None:
        """Take a message of the client."""
        self._last_message_s = monotonic()
        try:
            message = _decoder.decode(text)
        except (msgspec.DecodeError, ValueError) as error:
            self._refuse("input_error", f"Invalid message: {error}")
            return
        if message.message_type == "commit":
            self._commit(is_asked=True)
        elif message.message_type != "input_audio_chunk":
            self._refuse("input_error", f"Unknown message_type {message.message_type}")
        else:
            self._take_chunk(message)

    def idle_after_s(self) -> float | None:
        """Return when the socket closes for want of audio."""
        return self._last_message_s + self._world.config.elevenlabs.stt_idle_close_s

    def idle(self) -> None:
        """Close as the server does: properly, without a message."""
        self._exchange.note("note", "idle close")
        self._outbox.close(1000)

    def _take_chunk(self, message: ClientMessage) -> None:
        if message.previous_text and (self._has_audio or len(message.previous_text) > MAX_PREVIOUS_CHARS):
            self._refuse("input_error", "previous_text is only allowed, with at most 50 characters, in the first chunk")
            return
        if message.sample_rate != mulaw.RATE_HZ:
            self._refuse("input_error", f"sample_rate {message.sample_rate} does not match the audio_format")
            return
        if message.audio_base_64:
            self._hear(message.audio_base_64)
        if message.commit:
            self._commit(is_asked=True)

    def _hear(self, audio: bytes) -> None:
        if self._options.audio_format != "ulaw_8000":
            if len(audio) % 2:
                self._refuse("input_error", "odd number of bytes in 16-bit audio")
                return
            audio = mulaw.encode(audio)
        self._has_audio = True
        self._exchange.audio_in_bytes += len(audio)
        self._uncommitted_bytes += len(audio)
        if self._ear.hear(audio):
            due_s = max(monotonic() + self._world.timings.interim_lag_s, self._final_due_s)
            self._outbox.put(_encode(_Partial(self._ear.text)), name="partial_transcript", due_s=due_s, key=_PARTIAL)
        if self._options.commit_strategy == "vad" and self._ear.words:
            silence_frames = self._ear.frames - 1 - self._ear.last_voiced_frame
            if silence_frames * mulaw.FRAME_MS >= self._options.vad_silence_threshold_secs * 1000:
                self._commit(is_asked=False)
        if self._uncommitted_bytes >= self._world.config.elevenlabs.auto_commit_s * mulaw.RATE_HZ:
            self._commit(is_asked=False)

    def _commit(self, *, is_asked: bool) -> None:
        self._exchange.note("in" if is_asked else "note", "commit")
        uncommitted_s = self._uncommitted_bytes / mulaw.RATE_HZ
        least_s = self._world.config.elevenlabs.min_commit_audio_s
        if is_asked and uncommitted_s < least_s:
            self._refuse(
                "commit_throttled",
                f"Commit request ignored: only {uncommitted_s:.2f}s of uncommitted audio. You need at least {least_s}s "
                "of uncommitted audio before committing.",
            )
            return
        self._uncommitted_bytes = 0
        due_s = max(monotonic() + self._world.timings.final_delay_s, self._final_due_s)
        self._final_due_s = due_s
        self._outbox.drop(lambda message: message.key == _PARTIAL and message.due_s > due_s)
        words = self._ear.take()
        text = " ".join(word.text for word in words)
        if self._fault and self._fault.kind is FaultKind.HUGE:
            text = "word " * (self._fault.size_bytes // 5)
        self._outbox.put(_encode(_Committed(text)), name="committed_transcript", due_s=due_s)
        options = self._options
        if options.include_timestamps or options.include_language_detection:
            timed = _CommittedTimed(text, options.language_code or "en", None)
            if options.include_timestamps:
                timed.words = _timed(words)
            self._outbox.put(_encode(timed), name="committed_transcript_with_timestamps", due_s=due_s)

    def _refuse(self, message_type: str, error: str) -> None:
        self._outbox.put(_encode(_Error(message_type, error)), name=message_type)

    def _started(self) -> _SessionStarted:
        options = self._options
        config = _SessionConfig(
            mulaw.RATE_HZ,
            options.audio_format,
            options.commit_strategy,
            options.model_id,
            options.language_code or None,
            options.vad_silence_threshold_secs,
            options.vad_threshold,
            options.include_timestamps,
        )
        return _SessionStarted(uuid4().hex, config)


def _timed(words: tuple[HeardWord, ...]) -> list[_TimedWord]:
    timed: list[_TimedWord] = []
    for word in words:
        if timed:
            timed.append(_TimedWord(" ", timed[-1].end, round(word.start_s, 3), "spacing"))
        timed.append(_TimedWord(word.text, round(word.start_s, 3), round(word.end_s, 3)))
    return timed


_STATUS_NAMES = {
    401: "invalid_api_key",
    403: "missing_permissions",
    404: "voice_not_found",
    429: "too_many_concurrent_requests",
    503: "system_busy",
}


def http_error(status: int, error: str = "", message: str = "The double was told to fail.") -> bytes:
    """Return ElevenLabs' error body for an HTTP status."""
    name = error or _STATUS_NAMES.get(status, "internal_server_error")
    return _encode({"detail": {"status": name, "message": message}})


async def _recognise(guest: Visit) -> web.StreamResponse:
    refusal = await guest.before(http_error)
    if refusal is not None:
        return refusal
    link = await guest.upgrade()
    link.error_message = lambda error: _encode(_Error(error or "transcriber_error", "The double was told to fail."))
    outbox = Outbox()
    request = guest.request
    try:
        options = Options.read(request.query)
        problem = None
    except (ValueError, msgspec.ValidationError) as error:
        options, problem = Options(""), _Error("invalid_request", str(error))
    if not guest.world.accepts_key(request.headers.get("xi-api-key") or request.query.get("token")):
        problem = _Error("auth_error", "You must be authenticated to use this endpoint.")
    if problem is not None:
        await link.send(_encode(problem))
        await link.socket.close(code=1008)
        guest.exchange.ended_by = "double"
        guest.exchange.note("out", problem.message_type, problem.error)
        return link.socket
    return await hold(guest, link, outbox, Recognition(guest, options, outbox))


def routes(world: World) -> list[web.RouteDef]:
    """Return the routes of this double."""
    return [web.get("/v1/speech-to-text/realtime", handler(world, Service.ELEVENLABS_STT, _recognise))]
