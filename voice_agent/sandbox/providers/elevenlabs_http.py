"""Double of ElevenLabs' speech synthesis over HTTP: `/stream`, `/stream/with-timestamps` and the whole file.

Source: the ElevenLabs API reference ("Text to Speech") and its Python SDK 2.78. Character times are in seconds here,
under other names than on the sockets, and relative to the chunk, as there.
"""

import asyncio
import binascii
from time import monotonic

import msgspec
from aiohttp import web

from voice_agent.audio import mulaw
from voice_agent.sandbox.providers import sound
from voice_agent.sandbox.providers.elevenlabs_stt import http_error
from voice_agent.sandbox.providers.faults import FaultKind
from voice_agent.sandbox.providers.journal import Service
from voice_agent.sandbox.providers.visit import ResponseLink, Visit, handler
from voice_agent.sandbox.providers.world import World

HUGE_CHUNK_BYTES = 60_000

HEADERS = {"current-concurrent-requests": "1", "maximum-concurrent-requests": "30"}


class _VoiceSettings(msgspec.Struct, frozen=True):
    speed: float | None = None


class SpeechRequest(msgspec.Struct):
    """What the double reads of a request; the rest is accepted and ignored."""

    text: str
    model_id: str = "eleven_multilingual_v2"
    voice_settings: _VoiceSettings | None = None
    previous_text: str | None = None
    next_text: str | None = None

    @property
    def speed(self) -> float:
        """The voice's speed, 1.0 by default."""
        return (self.voice_settings and self.voice_settings.speed) or 1.0


class _Alignment(msgspec.Struct):
    characters: tuple[str, ...]
    character_start_times_seconds: list[float]
    character_end_times_seconds: list[float]


_decoder = msgspec.json.Decoder(SpeechRequest)


class _Refused(Exception):
    """The request is answered with an HTTP error."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = http_error(status, error, message)


async def _admit(guest: Visit) -> tuple[SpeechRequest, str]:
    """Return the request and its output format. Raises _Refused."""
    request = guest.request
    if not guest.world.accepts_key(request.headers.get("xi-api-key")):
        raise _Refused(401, "invalid_api_key", "Invalid API key")
    voices = guest.world.config.elevenlabs.voices
    if voices and request.match_info["voice_id"] not in voices:
        raise _Refused(404, "voice_not_found", "A voice with this id was not found.")
    output_format = request.query.get("output_format", "mp3_44100_128")
    if output_format not in sound.FORMATS_HZ:
        raise _Refused(400, "output_format_not_supported", f"The double cannot make {output_format}.")
    body = await request.read()
    guest.exchange.note("in", "request", body.decode(errors="replace"))
    try:
        speech = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise _Refused(422, "invalid_request", str(error)) from error
    if speech.model_id == "eleven_v3" and (speech.previous_text or speech.next_text):
        raise _Refused(400, "unsupported_model", "eleven_v3 does not take previous_text or next_text.")
    return speech, output_format


async def _send_paced(guest: Visit, link: ResponseLink, speech: SpeechRequest, timed: bool, output_format: str) -> None:
    timings = guest.world.timings
    due_s = monotonic() + timings.first_audio_s
    for piece in sound.chunks(sound.speak(speech.text, speech.speed), timings.chunk_ms):
        await asyncio.sleep(max(0.0, due_s - monotonic()))
        audio = sound.spoil(sound.encode(piece.audio, output_format), output_format, guest.sound_fault)
        await link.send(_timed_line(audio, piece.timing) if timed else audio)
        if not guest.exchange.audio_out_bytes:
            guest.exchange.note("out", "audio")
        guest.exchange.audio_out_bytes += len(audio)
        due_s += len(piece.audio) / mulaw.RATE_HZ / timings.audio_speed
    if guest.fault is not None and guest.fault.kind is FaultKind.HUGE:
        filler = mulaw.silence(HUGE_CHUNK_BYTES)
        line = _timed_line(filler, sound.Timing((), (), ())) if timed else filler
        for _ in range(guest.fault.size_bytes // HUGE_CHUNK_BYTES):
            await link.send(line)


def _timed_line(audio: bytes, timing: sound.Timing) -> bytes:
    alignment = _Alignment(
        timing.chars,
        [start_ms / 1000 for start_ms in timing.starts_ms],
        [
            (start_ms + length_ms) / 1000
            for start_ms, length_ms in zip(timing.starts_ms, timing.durations_ms, strict=True)
        ],
    )
    line = {
        "audio_base64": binascii.b2a_base64(audio, newline=False).decode(),
        "alignment": alignment,
        "normalized_alignment": alignment,
    }
    return msgspec.json.encode(line) + b"\n"


async def _speak(guest: Visit, *, timed: bool) -> web.StreamResponse:
    refusal = await guest.before(http_error)
    if refusal is not None:
        return refusal
    try:
        speech, output_format = await _admit(guest)
    except _Refused as refused:
        return guest.refuse(refused.status, refused.body)
    content_type = "application/json" if timed else "audio/basic"
    link = await guest.stream(content_type, HEADERS)
    await _send_paced(guest, link, speech, timed, output_format)
    return await link.finish()


def routes(world: World) -> list[web.RouteDef]:
    """Return the routes of this double."""

    async def plain(guest: Visit) -> web.StreamResponse:
        return await _speak(guest, timed=False)

    async def timed(guest: Visit) -> web.StreamResponse:
        return await _speak(guest, timed=True)

    voice = "/v1/text-to-speech/{voice_id}"
    service = Service.ELEVENLABS_TTS_HTTP
    return [
        web.post(voice, handler(world, service, plain)),
        web.post(f"{voice}/stream", handler(world, service, plain)),
        web.post(f"{voice}/stream/with-timestamps", handler(world, service, timed)),
    ]
