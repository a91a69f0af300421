"""Double of ElevenLabs' speech synthesis sockets, `stream-input` and `multi-stream-input`.

Source: elevenlabs-docs fern/apis/api/asyncapi.yml, the types of its Python SDK 2.78, and public reports where the
documents are silent: five contexts and then the death of the socket (pipecat issue 4114), a flush or keep-alive that
creates a context (4126), settings only in a context's first message (4556), `flush_done`. Identifiers of errors
other than `max_active_conversations` and `input_timeout_exceeded` are by analogy with HTTP.
"""

import binascii
from collections.abc import Iterator
from time import monotonic

import msgspec
from aiohttp import web

from voice_agent.audio import mulaw
from voice_agent.sandbox.providers import sound
from voice_agent.sandbox.providers.config import ElevenLabsConfig
from voice_agent.sandbox.providers.elevenlabs_stt import http_error
from voice_agent.sandbox.providers.faults import FaultKind
from voice_agent.sandbox.providers.journal import Service
from voice_agent.sandbox.providers.outbox import Outbox
from voice_agent.sandbox.providers.visit import Visit, handler, hold
from voice_agent.sandbox.providers.world import World

SCHEDULE = (120, 160, 250, 290)
"""Characters that must have come before the n-th generation, without auto_mode."""

TRIGGER_CHARS = 50
"""What `try_trigger_generation` needs at least."""

DIALOGUE_MODELS = frozenset({"eleven_v3", "eleven_v3_conversational", "eleven_v4_turbo", "eleven_v4"})
"""Models that these sockets do not serve."""

DEFAULT_CONTEXT = "default"

HUGE_CHUNK_BYTES = 60_000


class Options(msgspec.Struct, frozen=True):
    """The query of the socket's address."""

    model_id: str = "eleven_multilingual_v2"
    output_format: str = "mp3_44100_128"
    auto_mode: bool = False
    inactivity_timeout: float = 20.0
    sync_alignment: bool = False
    language_code: str = ""


class _GenerationConfig(msgspec.Struct):
    chunk_length_schedule: tuple[int, ...] = SCHEDULE


class ClientMessage(msgspec.Struct):
    """Any message of the client."""

    text: str | None = None
    context_id: str = ""
    context_id_alias: str = msgspec.field(default="", name="contextId")
    voice_settings: dict[str, float | bool | None] | None = None
    generation_config: _GenerationConfig | None = None
    flush: bool = False
    try_trigger_generation: bool = False
    close_context: bool = False
    close_socket: bool = False
    xi_api_key: str = ""
    xi_api_key_alias: str = msgspec.field(default="", name="xi-api-key")


class _Context:
    """A text being spoken."""

    def __init__(self, name: str, first: ClientMessage) -> None:
        self.name = name
        self.voice_settings = first.voice_settings
        self.schedule = first.generation_config.chunk_length_schedule if first.generation_config else SCHEDULE
        self.text = ""
        """What has come and is not being generated yet."""
        self.generations = 0
        self.busy_until_s = 0.0
        """When the last audio of what is being generated will have been sent."""
        self.is_closing = False

    @property
    def speed(self) -> float:
        """The voice's speed, 1.0 by default."""
        return float((self.voice_settings or {}).get("speed") or 1.0)

    @property
    def threshold(self) -> int:
        """Characters that start the next generation."""
        return self.schedule[min(self.generations, len(self.schedule) - 1)]


_decoder = msgspec.json.Decoder(ClientMessage)
_encode = msgspec.json.encode


class Refusal(Exception):
    """What kills the socket: the provider's id of the error and its message."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


class Synthesis:
    """One socket. `is_multi`: contexts by name, else a single one that ends with an empty text."""

    def __init__(self, guest: Visit, options: Options, outbox: Outbox, *, is_multi: bool) -> None:
        self._guest = guest
        self._config = guest.world.config.elevenlabs
        self._options = options
        self._outbox = outbox
        self._is_multi = is_multi
        self._is_admitted = guest.world.accepts_key(guest.request.headers.get("xi-api-key"))
        self._is_closing = False
        self._contexts: dict[str, _Context] = {}
        self._last_message_s = monotonic()
        outbox.on_last = self._context_ended

    def receive(self, text: str) -> None:
        """Take a message of the client."""
        self._last_message_s = monotonic()
        try:
            message = _decoder.decode(text)
        except (msgspec.DecodeError, ValueError) as error:
            self._die("invalid_message", f"Invalid message: {error}")
            return
        self._guest.exchange.note("in", _name_of(message), text)
        try:
            self._take(message)
        except Refusal as refusal:
            self._die(refusal.error, str(refusal))

    def idle_after_s(self) -> float | None:
        """Return when the socket dies of the client's silence."""
        return self._last_message_s + min(180.0, self._options.inactivity_timeout)

    def idle(self) -> None:
        """Die as the server does."""
        self._die("input_timeout_exceeded", "Have not received a new text input within the timeout.")

    def _take(self, message: ClientMessage) -> None:
        if not self._is_admitted:
            self._admit(message)
        if message.close_socket:
            self._close_socket()
            return
        name = message.context_id or message.context_id_alias
        if not name and (not self._is_multi or message.text not in (None, "")):
            name = DEFAULT_CONTEXT
        if not name:
            return
        if message.close_context and name not in self._contexts:
            return
        context = self._context(name, message)
        if not context.is_closing:
            self._take_text(context, message)

    def _admit(self, message: ClientMessage) -> None:
        key = message.xi_api_key or message.xi_api_key_alias
        if not key and not self._guest.request.headers.get("xi-api-key"):
            raise Refusal("authentication_required", "Neither a header nor the first message carries an API key.")
        if not self._guest.world.accepts_key(key):
            raise Refusal("invalid_api_key", "Invalid API key")
        self._is_admitted = True

    def _context(self, name: str, message: ClientMessage) -> _Context:
        context = self._contexts.get(name)
        if context is None:
            if len(self._contexts) >= self._config.max_contexts:
                raise Refusal(
                    "max_active_conversations",
                    f"Maximum simultaneous contexts exceeded ({self._config.max_contexts}).",
                )
            context = self._contexts[name] = _Context(name, message)
            if not 0.7 <= context.speed <= 1.2:
                raise Refusal("invalid_voice_settings", "speed must be between 0.7 and 1.2")
        elif message.voice_settings is not None and message.voice_settings != context.voice_settings:
            raise Refusal("invalid_voice_settings", "voice_settings can only be given in a context's first message")
        return context

    def _take_text(self, context: _Context, message: ClientMessage) -> None:
        text = message.text or ""
        if text.strip():
            context.text += text
        is_end = not self._is_multi and message.text == ""
        due = self._options.auto_mode or len(context.text) >= context.threshold
        due = due or (message.try_trigger_generation and len(context.text) >= TRIGGER_CHARS)
        if context.text and (due or message.flush or is_end):
            self._generate(context)
        if message.flush and self._is_multi:
            done = {"type": "flush_done", self._context_field: context.name}
            self._outbox.put(_encode(done), name="flush_done", due_s=context.busy_until_s)
        if message.close_context or is_end:
            self._finish(context)
        if is_end:
            self._is_closing = True

    def _generate(self, context: _Context) -> None:
        """Schedule the audio of the waiting text behind what the context is already saying."""
        timings, output_format = self._guest.world.timings, self._options.output_format
        said = sound.speak(context.text, context.speed)
        context.text = ""
        context.generations += 1
        due_s = max(monotonic() + timings.first_audio_s, context.busy_until_s)
        name = "audio"
        for piece in self._pieces(said):
            audio = sound.spoil(sound.encode(piece.audio, output_format), output_format, self._guest.sound_fault)
            payload = self._audio_message(context, audio, piece.timing)
            self._outbox.put(payload, name=name, due_s=due_s, key=context.name, audio_bytes=len(audio))
            due_s += len(piece.audio) / mulaw.RATE_HZ / timings.audio_speed
            name = ""
        context.busy_until_s = due_s

    def _pieces(self, said: sound.Sound) -> Iterator[sound.Sound]:
        fault = self._guest.fault
        yield from sound.chunks(said, self._guest.world.timings.chunk_ms)
        if fault is not None and fault.kind is FaultKind.HUGE and said.audio:
            silent = sound.Sound(said.audio[:1] * HUGE_CHUNK_BYTES, sound.Timing((), (), ()))
            for _ in range(fault.size_bytes // HUGE_CHUNK_BYTES):
                yield silent

    def _finish(self, context: _Context) -> None:
        """Send the final message behind the audio; until then the context counts as open."""
        context.is_closing = True
        final_field = "isFinal" if self._config.spelling == "camel" else "is_final"
        final: dict[str, str | bool | None] = {"audio": None, final_field: True}
        if self._is_multi:
            final = {final_field: True, self._context_field: context.name}
        self._outbox.put(
            _encode(final), name="final", due_s=max(monotonic(), context.busy_until_s), key=context.name, is_last=True
        )

    def _close_socket(self) -> None:
        self._is_closing = True
        for context in self._contexts.values():
            if not context.is_closing:
                if context.text:
                    self._generate(context)
                self._finish(context)
        if not self._contexts:
            self._outbox.close(1000)

    def _context_ended(self, name: str) -> None:
        self._contexts.pop(name, None)
        if self._is_closing and not self._contexts:
            self._outbox.close(1000)

    def _die(self, error: str, message: str) -> None:
        """Say why, then close with 1008: every context dies with the socket."""
        self._outbox.drop(lambda _: True)
        self._outbox.put(error_message(error, message), name=error)
        self._outbox.close(1008)

    @property
    def _context_field(self) -> str:
        return "contextId" if self._config.spelling == "camel" else "context_id"

    def _audio_message(self, context: _Context, audio: bytes, timing: sound.Timing) -> bytes:
        """Build the JSON by hand: it is mostly base64 already."""
        parts = [b'{"audio":"', binascii.b2a_base64(audio, newline=False), b'"']
        if self._is_multi:
            parts.append(f',"{self._context_field}":'.encode() + _encode(context.name))
        else:
            parts.append(b',"isFinal":null')
        alignment = alignment_json(timing, self._config)
        parts += [b',"normalizedAlignment":', alignment, b',"alignment":', alignment, b"}"]
        return b"".join(parts)


def alignment_json(timing: sound.Timing, config: ElevenLabsConfig) -> bytes:
    """Return the sockets' character timing, relative to the chunk."""
    if config.alignment == "none" or not timing.chars:
        return b"null"
    stem = "char" if config.alignment == "chunk" else "chars"
    return _encode(
        {
            "chars": timing.chars,
            f"{stem}StartTimesMs": timing.starts_ms,
            f"{stem}DurationsMs": timing.durations_ms,
        }
    )


def error_message(error: str, message: str) -> bytes:
    """Return what the sockets say before they close with 1008."""
    return _encode({"message": message, "error": error, "code": 1008})


def _name_of(message: ClientMessage) -> str:
    if message.close_socket:
        return "close_socket"
    if message.close_context:
        return "close_context"
    if not (message.text or "").strip():
        return "flush" if message.flush else "keep_alive" if message.text is not None else "message"
    return "text"


def _options(guest: Visit) -> Options:
    """Read the query. Raises Refusal."""
    query = guest.request.query
    try:
        options = msgspec.convert(dict(query), Options, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal("invalid_request", str(error)) from error
    if options.output_format not in sound.FORMATS_HZ:
        raise Refusal("output_format_not_supported", f"The double cannot make {options.output_format}.")
    if options.model_id in DIALOGUE_MODELS:
        raise Refusal("unsupported_model", f"{options.model_id} is not available on this socket.")
    if options.language_code and options.model_id == "eleven_multilingual_v2":
        raise Refusal("unsupported_language", "eleven_multilingual_v2 does not take a language_code.")
    voices = guest.world.config.elevenlabs.voices
    if voices and guest.request.match_info["voice_id"] not in voices:
        raise Refusal("voice_not_found", "A voice with this id was not found.")
    return options


async def _synthesise(guest: Visit, *, is_multi: bool) -> web.StreamResponse:
    refusal = await guest.before(http_error)
    if refusal is not None:
        return refusal
    link = await guest.upgrade()
    link.error_message = lambda error: error_message(error or "internal_error", "The double was told to fail.")
    outbox = Outbox()
    try:
        options = _options(guest)
    except Refusal as problem:
        guest.exchange.note("out", problem.error, str(problem))
        guest.exchange.ended_by = "double"
        await link.send(error_message(problem.error, str(problem)))
        await link.socket.close(code=1008)
        return link.socket
    return await hold(guest, link, outbox, Synthesis(guest, options, outbox, is_multi=is_multi))


def routes(world: World) -> list[web.RouteDef]:
    """Return the routes of this double."""

    async def single(guest: Visit) -> web.StreamResponse:
        return await _synthesise(guest, is_multi=False)

    async def multi(guest: Visit) -> web.StreamResponse:
        return await _synthesise(guest, is_multi=True)

    voice = "/v1/text-to-speech/{voice_id}"
    return [
        web.get(f"{voice}/stream-input", handler(world, Service.ELEVENLABS_TTS, single)),
        web.get(f"{voice}/multi-stream-input", handler(world, Service.ELEVENLABS_TTS, multi)),
    ]
