"""Double of OpenAI's realtime transcription socket, `/v1/realtime?intent=transcription`.

Source: the OpenAI guide "Realtime transcription" and the types of openai-python 3.54 (types/realtime). It recognises
`audio/pcmu` only. Models that transcribe live send deltas while the audio comes; the others after the commit.
"""

from time import monotonic
from typing import Any, Literal
from uuid import uuid4

import msgspec
from aiohttp import web

from voice_agent.audio import mulaw
from voice_agent.sandbox.providers.completions import openai_error
from voice_agent.sandbox.providers.journal import Service
from voice_agent.sandbox.providers.outbox import Outbox
from voice_agent.sandbox.providers.phrases import Ear
from voice_agent.sandbox.providers.visit import Visit, handler, hold
from voice_agent.sandbox.providers.world import World

LIVE_MODELS = frozenset({"gpt-live-transcribe", "gpt-realtime-whisper"})
"""Models that send deltas before the commit, and accept no turn detection."""

KEYWORD_MODELS = frozenset({"gpt-live-transcribe", "gpt-transcribe"})
"""Models that take `keywords` and `languages`; the others take one `language`."""

MIN_COMMIT_MS = 100

MAX_APPEND_BYTES = 15 * 1024 * 1024

_encode = msgspec.json.encode


class _Format(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str = "audio/pcm"
    rate: int | None = None


class _TurnDetection(msgspec.Struct, frozen=True):
    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    silence_duration_ms: int = 500
    threshold: float = 0.5
    prefix_padding_ms: int = 300


class _Transcription(msgspec.Struct, frozen=True, omit_defaults=True):
    model: str = ""
    language: str | None = None
    languages: tuple[str, ...] | None = None
    keywords: tuple[str, ...] | None = None
    delay: str | None = None
    prompt: str | None = None


class _Input(msgspec.Struct, frozen=True, omit_defaults=True):
    format: _Format = _Format()
    transcription: _Transcription | None = None
    turn_detection: _TurnDetection | None | msgspec.UnsetType = msgspec.UNSET
    noise_reduction: dict[str, str] | None = None


class _Audio(msgspec.Struct, frozen=True):
    input: _Input = _Input()


class Session(msgspec.Struct, frozen=True):
    """A session as its client configures it."""

    type: Literal["transcription", "realtime"]
    audio: _Audio = _Audio()
    include: tuple[str, ...] = ()


class ClientMessage(msgspec.Struct):
    """Any message of the client."""

    type: str
    event_id: str = ""
    audio: bytes = b""
    session: Session | None = None


_decoder = msgspec.json.Decoder(ClientMessage)


class _Refused(Exception):
    """A message of the client is answered with `error`; the session goes on."""

    def __init__(self, code: str, message: str, param: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.param = param or None


def _event_id() -> str:
    return f"event_{uuid4().hex[:20]}"


def error_event(code: str, message: str, param: str | None = None, event_id: str | None = None) -> bytes:
    """Return an `error` event."""
    kind = "invalid_request_error" if code != "server_error" else "server_error"
    error = {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}
    return _encode({"type": "error", "event_id": _event_id(), "error": error})


def check(session: Session) -> None:
    """Refuse what the server would: raises _Refused."""
    audio = session.audio.input
    where = "session.audio.input"
    transcription = audio.transcription
    if transcription is None or not transcription.model:
        raise _Refused("missing_required_parameter", "A transcription model is needed.", f"{where}.transcription.model")
    if audio.format.type != "audio/pcmu":
        raise _Refused("unsupported_format", "This double recognises audio/pcmu only.", f"{where}.format.type")
    model = transcription.model
    if model in LIVE_MODELS and audio.turn_detection not in (None, msgspec.UNSET):
        raise _Refused("invalid_value", f"{model} does not support turn detection.", f"{where}.turn_detection")
    if model not in KEYWORD_MODELS and (transcription.keywords or transcription.languages):
        raise _Refused("invalid_value", f"{model} takes neither keywords nor languages.", f"{where}.transcription")
    if model in KEYWORD_MODELS and transcription.language:
        raise _Refused("invalid_value", f"{model} takes languages.", f"{where}.transcription.language")
    if transcription.delay and model != "gpt-realtime-whisper":
        raise _Refused("invalid_value", f"{model} does not take a delay.", f"{where}.transcription.delay")


class Transcription:
    """One socket."""

    def __init__(self, guest: Visit, outbox: Outbox, *, is_transcription: bool) -> None:
        self._world = guest.world
        self._exchange = guest.exchange
        self._outbox = outbox
        self._is_transcription = is_transcription
        self._session: Session | None = None
        self._ear = Ear(guest.world.phrases)
        self._buffered_bytes = 0
        self._item_id = f"item_{uuid4().hex[:20]}"
        self._previous_id: str | None = None
        self._sent_words = 0
        self._completed = 0
        self._speech_start_frame = -1
        kind = "transcription" if is_transcription else "realtime"
        self._send("session.created", {"session": {"id": f"sess_{uuid4().hex[:20]}", "type": kind}})

    def receive(self, text: str) -> None:
        """Take a message of the client."""
        try:
            message = _decoder.decode(text)
        except (msgspec.DecodeError, ValueError) as error:
            self._outbox.put(error_event("invalid_event", f"Invalid event: {error}"), name="error")
            return
        try:
            self._take(message)
        except _Refused as refused:
            event = error_event(refused.code, str(refused), refused.param, message.event_id or None)
            self._outbox.put(event, name="error")

    def idle_after_s(self) -> float | None:
        """An idle session stays open."""
        return None

    def idle(self) -> None:
        """Never called."""

    def _take(self, message: ClientMessage) -> None:
        kind = message.type
        if kind == "input_audio_buffer.append":
            self._append(message.audio)
        elif kind == "input_audio_buffer.commit":
            self._exchange.note("in", "commit")
            self._commit()
        elif kind == "input_audio_buffer.clear":
            self._exchange.note("in", "clear")
            self._ear.take()
            self._buffered_bytes, self._sent_words = 0, 0
            self._send("input_audio_buffer.cleared", {})
        elif kind in ("session.update", "transcription_session.update"):
            self._update(message.session)
        else:
            raise _Refused("invalid_value", f"Invalid value: '{kind}'.", "type")

    def _update(self, session: Session | None) -> None:
        if session is None:
            raise _Refused("missing_required_parameter", "Missing required parameter: 'session'.", "session")
        if not self._is_transcription or session.type != "transcription":
            raise _Refused("invalid_session_type", "This update does not fit the type of the session.", "session.type")
        check(session)
        self._session = session
        self._exchange.note("in", "session.update", _encode(session).decode())
        self._send("session.updated", {"session": msgspec.to_builtins(session)})

    @property
    def _model(self) -> str:
        transcription = self._session.audio.input.transcription if self._session else None
        return transcription.model if transcription else ""

    @property
    def _turn_detection(self) -> _TurnDetection | None:
        if self._session is None or self._model in LIVE_MODELS:
            return None
        chosen = self._session.audio.input.turn_detection
        return _TurnDetection() if chosen is msgspec.UNSET else chosen

    def _append(self, audio: bytes) -> None:
        if self._session is None:
            raise _Refused("unsupported_format", "This double recognises audio/pcmu only: configure the session first.")
        if len(audio) > MAX_APPEND_BYTES:
            raise _Refused("input_audio_too_large", "At most 15 MiB of audio at once.", "audio")
        self._exchange.audio_in_bytes += len(audio)
        self._buffered_bytes += len(audio)
        has_more = self._ear.hear(audio)
        if has_more and self._model in LIVE_MODELS:
            self._send_deltas(monotonic() + self._world.timings.interim_lag_s)
        detection = self._turn_detection
        if detection is not None:
            self._detect_turn(detection)

    def _send_deltas(self, due_s: float) -> None:
        """Send the words that have not been sent yet."""
        for number in range(self._sent_words, len(self._ear.words)):
            text = self._ear.words[number].text
            self._send(
                "conversation.item.input_audio_transcription.delta",
                {"item_id": self._item_id, "content_index": 0, "delta": f" {text}" if number else text},
                due_s=due_s,
                key=self._item_id,
            )
        self._sent_words = len(self._ear.words)

    def _detect_turn(self, detection: _TurnDetection) -> None:
        ear = self._ear
        silence_ms = (ear.frames - 1 - ear.last_voiced_frame) * mulaw.FRAME_MS
        if self._speech_start_frame < 0 and ear.last_voiced_frame >= 0 and silence_ms == 0:
            self._speech_start_frame = ear.last_voiced_frame
            start_ms = max(0, ear.last_voiced_frame * mulaw.FRAME_MS - detection.prefix_padding_ms)
            started = {"audio_start_ms": start_ms, "item_id": self._item_id}
            self._send("input_audio_buffer.speech_started", started)
        elif self._speech_start_frame >= 0 and silence_ms >= detection.silence_duration_ms:
            self._speech_start_frame = -1
            end_ms = ear.frames * mulaw.FRAME_MS
            self._send("input_audio_buffer.speech_stopped", {"audio_end_ms": end_ms, "item_id": self._item_id})
            self._commit()

    def _commit(self) -> None:
        if self._buffered_bytes < MIN_COMMIT_MS * mulaw.BYTES_PER_MS:
            raise _Refused(
                "input_audio_buffer_commit_empty",
                f"Error committing input audio buffer: buffer too small. Expected at least {MIN_COMMIT_MS}ms of audio, "
                f"but buffer only has {self._buffered_bytes / mulaw.BYTES_PER_MS:.2f}ms of audio.",
            )
        item_id, seconds = self._item_id, self._buffered_bytes / mulaw.RATE_HZ
        due_s = self._due_s()
        self._outbox.drop(lambda message: message.key == item_id and message.due_s > due_s)
        place = {"item_id": item_id, "previous_item_id": self._previous_id}
        self._send("input_audio_buffer.committed", place)
        content = [{"type": "input_audio", "transcript": None}]
        item = {"id": item_id, "type": "message", "status": "completed", "role": "user", "content": content}
        self._send("conversation.item.added", {"previous_item_id": self._previous_id, "item": item})
        if self._model not in LIVE_MODELS:
            self._send_deltas(due_s)
        words = self._ear.take()
        completed = {
            "item_id": item_id, "content_index": 0, "transcript": " ".join(word.text for word in words),
            "usage": {"type": "duration", "seconds": round(seconds, 3)},
        }  # fmt: skip
        self._send("conversation.item.input_audio_transcription.completed", completed, due_s=due_s)
        self._previous_id, self._item_id = item_id, f"item_{uuid4().hex[:20]}"
        self._buffered_bytes, self._sent_words = 0, 0

    def _due_s(self) -> float:
        """Return when the transcript of a commit is complete; some are overtaken by later ones."""
        self._completed += 1
        config = self._world.config.openai
        is_late = config.overtaken_every > 0 and self._completed % config.overtaken_every == 0
        return monotonic() + self._world.timings.final_delay_s + (config.overtaken_by_s if is_late else 0.0)

    def _send(self, kind: str, fields: dict[str, Any], *, due_s: float = 0.0, key: str = "") -> None:
        event = _encode({"type": kind, "event_id": _event_id(), **fields})
        self._outbox.put(event, name=kind, due_s=due_s, key=key)


async def _transcribe(guest: Visit) -> web.StreamResponse:
    refusal = await guest.before(openai_error)
    if refusal is not None:
        return refusal
    request = guest.request
    if not guest.world.accepts_key(guest.world.bearer(request.headers)):
        return guest.refuse(401, openai_error(401, message="Incorrect API key provided."))
    has_model = "model" in request.query
    if request.query.get("intent") != "transcription" and not has_model:
        return guest.refuse(400, openai_error(400, "missing_model", "You must provide a model parameter."))
    link = await guest.upgrade()
    link.error_message = lambda code: error_event(code or "server_error", "The double was told to fail.")
    link.error_close_code = 0
    outbox = Outbox()
    # A model in the address makes a session that converses, which refuses to be made a transcription.
    conversation = Transcription(guest, outbox, is_transcription=not has_model)
    return await hold(guest, link, outbox, conversation)


def routes(world: World) -> list[web.RouteDef]:
    """Return the routes of this double."""
    return [web.get("/v1/realtime", handler(world, Service.OPENAI_REALTIME, _transcribe))]
