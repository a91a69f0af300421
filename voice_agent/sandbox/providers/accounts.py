"""Doubles of what a check of the configuration asks for: voices, models and the account behind a key.

`/v1/models` is OpenAI's with a bearer key and ElevenLabs' with `xi-api-key`; `/v1beta/models` is Gemini's.
"""

from collections.abc import Callable

import msgspec
from aiohttp import web

from voice_agent.sandbox.providers.completions import openai_error
from voice_agent.sandbox.providers.elevenlabs_stt import http_error
from voice_agent.sandbox.providers.gemini import gemini_error, gemini_key
from voice_agent.sandbox.providers.journal import Service
from voice_agent.sandbox.providers.visit import Handler, Visit, handler
from voice_agent.sandbox.providers.world import World

DEFAULT_VOICES = ("21m00Tcm4TlvDq8ikWAM", "sandbox-voice")
"""What is listed where the configuration names no voices; any other is accepted too."""

ELEVENLABS_MODELS = ("eleven_flash_v2_5", "eleven_turbo_v2_5", "eleven_multilingual_v2", "scribe_v2_realtime")
OPENAI_MODELS = ("gpt-sandbox", "gpt-live-transcribe", "gpt-transcribe")
GEMINI_MODELS = ("gemini-sandbox",)

_encode = msgspec.json.encode
_Body = Callable[[Visit], bytes | None]


def _is_elevenlabs(guest: Visit) -> bool:
    return "xi-api-key" in guest.request.headers


def _answering(error_body: Callable[[int, str], bytes], key_of: Callable[[Visit], str | None], body: _Body) -> Handler:
    """Make a handler: fault, key, then the body; no body is a 404."""

    async def answer(guest: Visit) -> web.StreamResponse:
        refusal = await guest.before(error_body)
        if refusal is not None:
            return refusal
        if not guest.world.accepts_key(key_of(guest)):
            return guest.refuse(401, error_body(401, ""))
        found = body(guest)
        return guest.refuse(404, error_body(404, "")) if found is None else guest.answer(found)

    return answer


def _voices(guest: Visit) -> tuple[str, ...]:
    return guest.world.config.elevenlabs.voices or DEFAULT_VOICES


def _voice(voice_id: str) -> dict[str, str]:
    return {"voice_id": voice_id, "name": f"Voice {voice_id}", "category": "premade"}


def _voice_list(guest: Visit) -> bytes:
    voices = [_voice(voice_id) for voice_id in _voices(guest)]
    return _encode({"voices": voices, "has_more": False, "total_count": len(voices), "next_page_token": None})


def _one_voice(guest: Visit) -> bytes | None:
    voice_id = guest.request.match_info["voice_id"]
    return _encode(_voice(voice_id)) if voice_id in _voices(guest) else None


def _subscription(_: Visit) -> bytes:
    return _encode({"tier": "sandbox", "status": "active", "character_count": 0, "character_limit": 1_000_000})


def _user(guest: Visit) -> bytes:
    return b'{"user_id":"sandbox","is_new_user":false,"subscription":' + _subscription(guest) + b"}"


def _v1_models(guest: Visit) -> bytes:
    if _is_elevenlabs(guest):
        return _encode([{"model_id": model, "name": model} for model in ELEVENLABS_MODELS])
    return _encode({"object": "list", "data": [_openai_model(model) for model in OPENAI_MODELS]})


def _openai_model(model: str) -> dict[str, str | int]:
    return {"id": model, "object": "model", "created": 1_700_000_000, "owned_by": "sandbox"}


def _one_openai_model(guest: Visit) -> bytes:
    return _encode(_openai_model(guest.request.match_info["model"]))


def _gemini_model(model: str) -> dict[str, str | list[str]]:
    methods = ["generateContent", "streamGenerateContent"]
    return {"name": f"models/{model}", "displayName": model, "supportedGenerationMethods": methods}


def _gemini_models(_: Visit) -> bytes:
    return _encode({"models": [_gemini_model(model) for model in GEMINI_MODELS]})


def _one_gemini_model(guest: Visit) -> bytes:
    return _encode(_gemini_model(guest.request.match_info["model"]))


def _elevenlabs_key(guest: Visit) -> str | None:
    return guest.request.headers.get("xi-api-key")


def _openai_key(guest: Visit) -> str | None:
    return guest.world.bearer(guest.request.headers)


def _v1_key(guest: Visit) -> str | None:
    return _elevenlabs_key(guest) if _is_elevenlabs(guest) else _openai_key(guest)


def routes(world: World) -> list[web.RouteDef]:
    """Return the routes of these doubles."""
    elevenlabs = {
        "/v1/voices": _voice_list,
        "/v2/voices": _voice_list,
        "/v1/voices/{voice_id}": _one_voice,
        "/v1/user": _user,
        "/v1/user/subscription": _subscription,
    }
    openai = {"/v1/models": _v1_models, "/v1/models/{model}": _one_openai_model}
    gemini = {"/v1beta/models": _gemini_models, "/v1beta/models/{model}": _one_gemini_model}
    handlers = {path: _answering(http_error, _elevenlabs_key, body) for path, body in elevenlabs.items()}
    handlers |= {path: _answering(openai_error, _v1_key, body) for path, body in openai.items()}
    handlers |= {path: _answering(gemini_error, gemini_key, body) for path, body in gemini.items()}
    return [web.get(path, handler(world, Service.ACCOUNTS, handle)) for path, handle in handlers.items()]
