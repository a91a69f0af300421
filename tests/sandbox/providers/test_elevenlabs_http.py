import base64
import json

import aiohttp
import pytest

from voice_agent.sandbox.providers import (
    DoublesConfig,
    ElevenLabsConfig,
    Fault,
    FaultKind,
    ProviderDoubles,
    Service,
    Timings,
)
from voice_agent.sandbox.providers.sound import speak

TEXT = "Good morning, how can I help?"


def url(doubles: ProviderDoubles, rest: str = "/stream", query: str = "output_format=ulaw_8000") -> str:
    return f"{doubles.elevenlabs_base_url}/v1/text-to-speech/v1{rest}?{query}"


@pytest.mark.parametrize("rest", ["", "/stream"])
async def test_raw_sound(doubles: ProviderDoubles, client: aiohttp.ClientSession, rest: str) -> None:
    async with client.post(url(doubles, rest), json={"text": TEXT, "voice_settings": {"speed": 1.1}}) as response:
        assert response.status == 200
        assert response.headers["maximum-concurrent-requests"]
        assert await response.read() == speak(TEXT, 1.1).audio
    exchange = doubles.journal.last(Service.ELEVENLABS_TTS_HTTP)
    assert exchange.audio_out_bytes == len(speak(TEXT, 1.1).audio)
    assert exchange.ended_by == "complete"


async def test_sound_with_timestamps_in_seconds(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with client.post(url(doubles, "/stream/with-timestamps"), json={"text": TEXT}) as response:
        lines = [json.loads(line) async for line in response.content]
    assert b"".join(base64.b64decode(line["audio_base64"]) for line in lines) == speak(TEXT).audio
    assert "".join(char for line in lines for char in line["alignment"]["characters"]) == TEXT
    first = lines[0]["alignment"]
    assert first["character_start_times_seconds"][:2] == [0.0, 0.06]
    assert first["character_end_times_seconds"][0] == 0.06


@pytest.mark.parametrize(
    ("body", "query", "status", "name"),
    [
        ({"text": TEXT}, "output_format=mp3_44100_128", 400, "output_format_not_supported"),
        ({"words": TEXT}, "output_format=ulaw_8000", 422, "invalid_request"),
        (
            {"text": TEXT, "model_id": "eleven_v3", "previous_text": "x"},
            "output_format=ulaw_8000",
            400,
            "unsupported_model",
        ),
    ],
)
async def test_refusals(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, body: dict[str, str], query: str, status: int, name: str
) -> None:
    async with client.post(url(doubles, query=query), json=body) as response:
        assert response.status == status
        assert (await response.json())["detail"]["status"] == name


async def test_keys_and_voices(client: aiohttp.ClientSession) -> None:
    config = DoublesConfig(api_key="right", elevenlabs=ElevenLabsConfig(voices=("v2",)), timings=Timings.instant())
    async with await ProviderDoubles.start(config) as doubles:
        async with client.post(url(doubles), json={"text": TEXT}) as response:
            assert response.status == 401
        async with client.post(url(doubles), json={"text": TEXT}, headers={"xi-api-key": "right"}) as response:
            assert response.status == 404
            assert (await response.json())["detail"]["status"] == "voice_not_found"


@pytest.mark.parametrize("rest", ["/stream", "/stream/with-timestamps"])
async def test_a_huge_answer(doubles: ProviderDoubles, client: aiohttp.ClientSession, rest: str) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS_HTTP, Fault(FaultKind.HUGE, size_bytes=600_000))
    async with client.post(url(doubles, rest), json={"text": "x"}) as response:
        assert len(await response.read()) >= 600_000


async def test_spoiled_sound(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS_HTTP, Fault(FaultKind.SILENCE))
    async with client.post(url(doubles), json={"text": TEXT}) as response:
        assert set(await response.read()) == {0xFF}
