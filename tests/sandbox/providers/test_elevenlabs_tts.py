"""Message by message against the ElevenLabs API reference, with the traps that its users have reported."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.sandbox.providers.conftest import receive, receive_all
from voice_agent.sandbox.providers import DoublesConfig, ElevenLabsConfig, ProviderDoubles, Service, Timings
from voice_agent.sandbox.providers.sound import speak

TEXT = "Hello there, how are you? "

Socket = aiohttp.ClientWebSocketResponse


def configured(**elevenlabs: Any) -> DoublesConfig:
    return DoublesConfig(timings=Timings.instant(), elevenlabs=ElevenLabsConfig(**elevenlabs))


@asynccontextmanager
async def synthesis(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, query: str = "&auto_mode=true", *, multi: bool = True
) -> AsyncIterator[Socket]:
    name = "multi-stream-input" if multi else "stream-input"
    url = f"{doubles.elevenlabs_base_url}/v1/text-to-speech/v1/{name}?model_id=eleven_flash_v2_5{query}"
    async with client.ws_connect(url if "output_format" in url else f"{url}&output_format=ulaw_8000") as socket:
        yield socket


def sound_of(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(message["audio"]) for message in messages if message.get("audio"))


async def one_turn(socket: Socket, text: str = TEXT, **first: object) -> list[dict[str, Any]]:
    """Speak one context to its end."""
    await socket.send_json({"text": " ", "context_id": "t1", **first})
    await socket.send_json({"text": text, "context_id": "t1", "flush": True})
    await socket.send_json({"context_id": "t1", "close_context": True})
    messages: list[dict[str, Any]] = []
    while not messages or not (messages[-1].get("isFinal") or messages[-1].get("is_final")):
        messages.append(await receive(socket))
    return messages


async def test_a_turn_in_a_context(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with synthesis(doubles, client) as socket:
        messages = await one_turn(socket)
    assert sound_of(messages) == speak(TEXT).audio
    assert messages[-2:] == [{"type": "flush_done", "contextId": "t1"}, {"isFinal": True, "contextId": "t1"}]
    assert all(message["contextId"] == "t1" for message in messages)
    for message in messages[:-2]:
        assert message["alignment"] == message["normalizedAlignment"]
        assert len(message["alignment"]["charStartTimesMs"]) == len(message["alignment"]["charDurationsMs"])
        assert max(message["alignment"]["charStartTimesMs"]) < 200
    assert "".join(char for message in messages[:-2] for char in message["alignment"]["chars"]) == TEXT


async def test_the_newer_spelling_and_the_older_alignment(client: aiohttp.ClientSession) -> None:
    async with (
        await ProviderDoubles.start(configured(spelling="snake", alignment="legacy")) as doubles,
        synthesis(doubles, client) as socket,
    ):
        messages = await one_turn(socket)
    assert messages[-1] == {"is_final": True, "context_id": "t1"}
    assert set(messages[0]["alignment"]) == {"chars", "charsStartTimesMs", "charsDurationsMs"}


async def test_alignment_may_be_null(client: aiohttp.ClientSession) -> None:
    async with (
        await ProviderDoubles.start(configured(alignment="none")) as doubles,
        synthesis(doubles, client) as socket,
    ):
        messages = await one_turn(socket)
    assert messages[0]["alignment"] is None
    assert sound_of(messages) == speak(TEXT).audio


async def test_formats(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with synthesis(doubles, client, "&auto_mode=true&output_format=pcm_16000") as socket:
        assert len(sound_of(await one_turn(socket))) == 4 * len(speak(TEXT).audio)


async def test_speed(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with synthesis(doubles, client) as socket:
        assert sound_of(await one_turn(socket, voice_settings={"speed": 1.2})) == speak(TEXT, 1.2).audio


async def test_nothing_is_spoken_before_120_characters_without_flush(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with synthesis(doubles, client, "") as socket:
        await socket.send_json({"text": "a" * 119, "context_id": "t1"})
        await socket.send_json({"text": "", "context_id": "t1"})
        await socket.send_json({"text": "b" * 5, "context_id": "t1", "try_trigger_generation": True})
        first = await receive(socket)
        assert "".join(first["alignment"]["chars"]) == "aaaa"
        assert doubles.journal.last(Service.ELEVENLABS_TTS).named("keep_alive")
        await socket.send_json({"text": "c" * 20, "context_id": "t2"})
        await socket.send_json({"text": "", "context_id": "t2", "flush": True})
        messages: list[dict[str, Any]] = []
        while not messages or messages[-1].get("type") != "flush_done":
            messages.append(await receive(socket))
    assert messages[-1]["contextId"] == "t2"
    assert sound_of(messages).endswith(speak("c" * 20).audio)


async def test_a_schedule_of_its_own(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    schedule = {"chunk_length_schedule": [50, 60]}
    async with synthesis(doubles, client, "") as socket:
        await socket.send_json({"text": " ", "context_id": "t", "generation_config": schedule})
        await socket.send_json({"text": "a" * 50, "context_id": "t"})
        await socket.send_json({"text": "b" * 59, "context_id": "t"})
        await socket.send_json({"context_id": "t", "close_context": True})
        messages: list[dict[str, Any]] = []
        while not messages or not messages[-1].get("isFinal"):
            messages.append(await receive(socket))
    assert sound_of(messages) == speak("a" * 50).audio, "what was not flushed is lost at close_context"


async def test_the_sixth_context_kills_the_socket(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with synthesis(doubles, client) as socket:
        for number in range(5):
            await socket.send_json({"text": " ", "context_id": f"t{number}"})
        await socket.send_json({"text": "", "context_id": "a keep-alive creates it", "flush": True})
        last = (await receive_all(socket))[-1]
        assert (last["error"], last["code"], socket.close_code) == ("max_active_conversations", 1008, 1008)


async def test_a_context_counts_until_its_final_message(client: aiohttp.ClientSession) -> None:
    config = DoublesConfig(timings=Timings(first_audio_s=20.0), elevenlabs=ElevenLabsConfig(max_contexts=1))
    async with await ProviderDoubles.start(config) as doubles, synthesis(doubles, client) as socket:
        await socket.send_json({"text": TEXT, "context_id": "t1"})
        await socket.send_json({"context_id": "t1", "close_context": True})
        await socket.send_json({"text": TEXT, "context_id": "t2"})
        assert [message["error"] for message in await receive_all(socket)] == ["max_active_conversations"]


async def test_an_id_may_be_used_again_after_its_final_message(client: aiohttp.ClientSession) -> None:
    async with (
        await ProviderDoubles.start(configured(max_contexts=1)) as doubles,
        synthesis(doubles, client) as socket,
    ):
        first = await one_turn(socket)
        assert sound_of(await one_turn(socket, voice_settings={"speed": 1.0})) == sound_of(first)


@pytest.mark.parametrize("settings", [{"speed": 1.1}, {"stability": 0.5}])
async def test_settings_come_first_or_unchanged(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, settings: dict[str, float]
) -> None:
    async with synthesis(doubles, client) as socket:
        await socket.send_json({"text": " ", "context_id": "t", "voice_settings": {"speed": 1.0}})
        await socket.send_json({"text": TEXT, "context_id": "t", "voice_settings": {"speed": 1.0}})
        await socket.send_json({"text": TEXT, "context_id": "t", "voice_settings": settings})
        assert (await receive_all(socket))[-1]["error"] == "invalid_voice_settings"
        assert socket.close_code == 1008


async def test_close_socket_says_everything_first(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with synthesis(doubles, client, "") as socket:
        await socket.send_json({"text": "Half a sentence ", "context_id": "t"})
        await socket.send_json({"close_socket": True})
        messages = await receive_all(socket)
        assert sound_of(messages) == speak("Half a sentence ").audio
        assert messages[-1] == {"isFinal": True, "contextId": "t"}
        assert socket.close_code == 1000


async def test_close_socket_with_nothing_open(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with synthesis(doubles, client) as socket:
        await socket.send_json({"text": ""})
        await socket.send_json({"context_id": "never opened", "close_context": True})
        await socket.send_json({"close_socket": True})
        assert await receive_all(socket) == []
        assert socket.close_code == 1000


async def test_an_idle_socket_dies(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with synthesis(doubles, client, "&auto_mode=true&inactivity_timeout=0.05") as socket:
        assert [message["error"] for message in await receive_all(socket)] == ["input_timeout_exceeded"]
        assert socket.close_code == 1008


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("&output_format=mp3_44100_128", "output_format_not_supported"),
        ("&model_id=eleven_v3", "unsupported_model"),
        ("&inactivity_timeout=soon", "invalid_request"),
    ],
)
async def test_a_bad_query_kills_the_socket(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, query: str, error: str
) -> None:
    url = f"{doubles.elevenlabs_base_url}/v1/text-to-speech/v/multi-stream-input?{query[1:]}&output_format=ulaw_8000"
    async with client.ws_connect(url) as socket:
        assert [message["error"] for message in await receive_all(socket)] == [error]
        assert socket.close_code == 1008


async def test_an_unknown_voice_and_a_bad_message(client: aiohttp.ClientSession) -> None:
    async with (
        await ProviderDoubles.start(configured(voices=("v1",))) as doubles,
        synthesis(doubles, client) as socket,
    ):
        await socket.send_str("{")
        assert [message["error"] for message in await receive_all(socket)] == ["invalid_message"]
        url = f"{doubles.elevenlabs_base_url}/v1/text-to-speech/v2/stream-input?output_format=ulaw_8000"
        async with client.ws_connect(url) as socket:
            assert [message["error"] for message in await receive_all(socket)] == ["voice_not_found"]


async def test_the_key_may_come_with_the_first_message(doubles: ProviderDoubles) -> None:
    async with aiohttp.ClientSession() as client:
        async with synthesis(doubles, client) as socket:
            await socket.send_json({"text": " ", "context_id": "t1", "xi_api_key": "k"})
            assert sound_of(await one_turn(socket)) == speak(TEXT).audio
        async with synthesis(doubles, client) as socket:
            await socket.send_json({"text": " ", "context_id": "t1"})
            assert [message["error"] for message in await receive_all(socket)] == ["authentication_required"]


async def test_a_wrong_key(client: aiohttp.ClientSession) -> None:
    async with (
        await ProviderDoubles.start(DoublesConfig(api_key="right")) as doubles,
        synthesis(doubles, client) as socket,
    ):
        await socket.send_json({"text": " ", "context_id": "t1"})
        assert [message["error"] for message in await receive_all(socket)] == ["invalid_api_key"]


async def test_a_single_context_ends_with_an_empty_text(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with synthesis(doubles, client, "", multi=False) as socket:
        await socket.send_json({"text": " ", "voice_settings": {"speed": 1.0}})
        await socket.send_json({"text": "One moment. ", "flush": True})
        await socket.send_json({"text": " "})
        await socket.send_json({"text": "Thank you. "})
        await socket.send_json({"text": ""})
        messages = await receive_all(socket)
        assert socket.close_code == 1000
    assert sound_of(messages) == speak("One moment. ").audio + speak("Thank you. ").audio
    assert messages[0]["isFinal"] is None
    assert "contextId" not in messages[0]
    assert messages[-1] == {"audio": None, "isFinal": True}


async def test_audio_keeps_its_order_at_ten_times_real_time(client: aiohttp.ClientSession) -> None:
    timings = Timings(first_audio_s=0.0, audio_speed=200.0)
    async with (
        await ProviderDoubles.start(DoublesConfig(timings=timings)) as doubles,
        synthesis(doubles, client) as socket,
    ):
        await socket.send_json({"text": "First. ", "context_id": "t1"})
        await socket.send_json({"text": "Second. ", "context_id": "t1"})
        await socket.send_json({"context_id": "t1", "close_context": True})
        await socket.send_json({"close_socket": True})
        messages = await receive_all(socket)
        exchange = doubles.journal.last(Service.ELEVENLABS_TTS)
    whole = speak("First. ").audio + speak("Second. ").audio
    assert sound_of(messages) == whole
    assert exchange.audio_out_bytes == len(whole)
    assert len(exchange.named("audio")) == 2
    assert exchange.closed_s - exchange.opened_s >= len(whole) / 8_000 / 200 - 0.01
