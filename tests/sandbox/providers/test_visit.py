"""Every kind of fault, on a socket and on a streamed response (F01-F16 of the fault matrix are made of these)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.sandbox.providers.conftest import receive_all
from tests.sandbox.providers.recordings import base64_of, voice
from voice_agent.sandbox.providers import Fault, FaultKind, ProviderDoubles, Service
from voice_agent.sandbox.providers.sound import speak

TEXT = "One two three."

Socket = aiohttp.ClientWebSocketResponse


@pytest.fixture
def tts(doubles: ProviderDoubles) -> str:
    url = f"{doubles.url}/v1/text-to-speech/v/multi-stream-input"
    return f"{url}?model_id=eleven_flash_v2_5&output_format=ulaw_8000&auto_mode=true"


@asynccontextmanager
async def speaking(tts: str, client: aiohttp.ClientSession) -> AsyncIterator[Socket]:
    """Ask for 5 audio messages, the end of a flush and of the context, and the end of the connection."""
    async with client.ws_connect(tts) as socket:
        await socket.send_json({"text": TEXT, "context_id": "t", "flush": True})
        await socket.send_json({"context_id": "t", "close_context": True})
        await socket.send_json({"close_socket": True})
        yield socket


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return ["audio" if "audio" in m else "flush_done" if "type" in m else "final" for m in messages]


WHOLE = ["audio"] * 6 + ["flush_done", "final"]


async def test_a_healthy_socket(tts: str, client: aiohttp.ClientSession) -> None:
    async with speaking(tts, client) as socket:
        assert kinds(await receive_all(socket)) == WHOLE


async def test_slow_connect(doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.SLOW_CONNECT, delay_s=0.1))
    begun_s = time.monotonic()
    async with speaking(tts, client) as socket:
        assert time.monotonic() - begun_s >= 0.1
        assert kinds(await receive_all(socket)) == WHOLE


async def test_refused_connections(doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession) -> None:
    refused = Fault(FaultKind.REFUSE)
    doubles.plan_faults(Service.ELEVENLABS_TTS, refused, refused)  # this client tries a GET twice
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.ws_connect(tts)
    await doubles.quiet()
    assert doubles.journal.last(Service.ELEVENLABS_TTS).ended_by == "double"


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_handshake_status(doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession, status: int) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.STATUS, status=status, retry_after_s=1.5))
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(tts)
    assert caught.value.status == status
    assert caught.value.headers is not None
    assert caught.value.headers["Retry-After"] == "1.5"


async def test_late_first_byte(doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.LATE_FIRST_BYTE, delay_s=0.1))
    async with speaking(tts, client) as socket:
        begun_s = time.monotonic()
        assert kinds(await receive_all(socket)) == WHOLE
        assert time.monotonic() - begun_s >= 0.09


async def test_stall_keeps_the_connection_open(
    doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession
) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.STALL, after_messages=2))
    async with speaking(tts, client) as socket:
        assert kinds([json.loads(await socket.receive_str()) for _ in range(2)]) == ["audio", "audio"]
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.1)
    await doubles.quiet()
    assert doubles.journal.last(Service.ELEVENLABS_TTS).messages_out == 2


@pytest.mark.parametrize("fault", [Fault(FaultKind.RESET, after_messages=2), Fault(FaultKind.CLOSE, after_messages=2)])
async def test_reset_and_drop(doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession, fault: Fault) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, fault)
    async with speaking(tts, client) as socket:
        assert kinds(await receive_all(socket)) == ["audio", "audio"]
        assert socket.close_code == 1006
    await doubles.quiet()
    exchange = doubles.journal.last(Service.ELEVENLABS_TTS)
    assert (exchange.ended_by, exchange.fault, exchange.close_code) == ("double", fault.kind, 1006)


@pytest.mark.parametrize("code", [1008, 1011, 1012])
async def test_a_storm_of_close_codes(
    doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession, code: int
) -> None:
    storm = Fault(FaultKind.CLOSE, after_messages=1, close_code=code)
    doubles.plan_faults(Service.ELEVENLABS_TTS, storm, storm)
    for _ in range(2):
        async with speaking(tts, client) as socket:
            assert kinds(await receive_all(socket)) == ["audio"]
            assert socket.close_code == code
    async with speaking(tts, client) as socket:
        assert kinds(await receive_all(socket)) == WHOLE


async def test_truncate_closes_a_socket_properly(
    doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession
) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.TRUNCATE, after_messages=3))
    async with speaking(tts, client) as socket:
        assert kinds(await receive_all(socket)) == ["audio"] * 3
        assert socket.close_code == 1000


async def test_an_error_in_the_stream(doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.ERROR, after_messages=1, error="quota_exceeded"))
    async with speaking(tts, client) as socket:
        messages = await receive_all(socket)
        assert (messages[1]["error"], messages[1]["code"], socket.close_code) == ("quota_exceeded", 1008, 1008)


async def test_an_error_that_leaves_the_session_open(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.OPENAI_REALTIME, Fault(FaultKind.ERROR, after_messages=1))
    async with client.ws_connect(f"{doubles.openai_base_url}/realtime?intent=transcription") as socket:
        await socket.receive()
        for expected in ("server_error", "invalid_value"):
            await socket.send_json({"type": "dance"})
            assert json.loads(await socket.receive_str())["error"]["code"] == expected


async def test_one_malformed_message(doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.MALFORMED, after_messages=1))
    async with speaking(tts, client) as socket:
        texts = [message.data async for message in socket]
    assert len(texts) == len(WHOLE)
    with pytest.raises(json.JSONDecodeError):
        json.loads(texts[1])
    assert kinds([json.loads(text) for text in texts[2:]]) == WHOLE[2:]


async def test_messages_out_of_order(doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.OUT_OF_ORDER, after_messages=5))
    async with speaking(tts, client) as socket:
        assert kinds(await receive_all(socket)) == ["audio"] * 5 + ["flush_done", "audio", "final"]


async def test_a_huge_answer(doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.HUGE, size_bytes=1_200_000))
    async with speaking(tts, client) as socket:
        assert kinds(await receive_all(socket)).count("audio") == 6 + 20
    assert doubles.journal.last(Service.ELEVENLABS_TTS).audio_out_bytes > 1_200_000


@pytest.mark.parametrize(
    ("kind", "expected_bytes"),
    [
        (FaultKind.WRONG_RATE, 2 * len(speak(TEXT).audio)),
        (FaultKind.ODD_BYTES, len(speak(TEXT).audio) - 6),
        (FaultKind.SILENCE, len(speak(TEXT).audio)),
    ],
)
async def test_spoiled_sound(
    doubles: ProviderDoubles, tts: str, client: aiohttp.ClientSession, kind: FaultKind, expected_bytes: int
) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(kind))
    async with speaking(tts, client) as socket:
        await receive_all(socket)
    assert doubles.journal.last(Service.ELEVENLABS_TTS).audio_out_bytes == expected_bytes


async def test_slow_reading(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.ELEVENLABS_STT, Fault(FaultKind.SLOW_READ, after_messages=1, delay_s=0.1))
    url = f"{doubles.url}/v1/speech-to-text/realtime?model_id=m&audio_format=ulaw_8000"
    async with client.ws_connect(url) as socket:
        await socket.receive()
        await socket.send_json({"message_type": "input_audio_chunk", "audio_base_64": base64_of(voice(1, 400))})
        begun_s = time.monotonic()
        await socket.send_json({"message_type": "commit"})
        assert json.loads(await socket.receive_str())["message_type"] == "committed_transcript"
        assert time.monotonic() - begun_s >= 0.09


async def test_a_huge_transcript(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.ELEVENLABS_STT, Fault(FaultKind.HUGE, size_bytes=500_000))
    url = f"{doubles.url}/v1/speech-to-text/realtime?model_id=m&audio_format=ulaw_8000"
    async with client.ws_connect(url) as socket:
        await socket.receive()
        audio = base64_of(voice(1, 400))
        await socket.send_json({"message_type": "input_audio_chunk", "audio_base_64": audio, "commit": True})
        assert len(await socket.receive_str()) >= 500_000


@asynccontextmanager
async def asking(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, fault: Fault
) -> AsyncIterator[aiohttp.ClientResponse]:
    doubles.plan_faults(Service.OPENAI_CHAT, fault)
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    async with client.post(f"{doubles.openai_base_url}/chat/completions", json=body) as response:
        yield response


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.CLOSE])
async def test_a_response_that_breaks_off(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, kind: FaultKind
) -> None:
    async with asking(doubles, client, Fault(kind, after_messages=3)) as response:
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
            await response.read()
    await doubles.quiet()
    assert doubles.journal.last(Service.OPENAI_CHAT).ended_by == "double"


async def test_a_response_without_its_end_marker(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with asking(doubles, client, Fault(FaultKind.TRUNCATE, after_messages=3)) as response:
        text = await response.text()
    assert text.count("data: ") == 3
    assert "[DONE]" not in text


async def test_a_response_after_so_many_bytes(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with asking(doubles, client, Fault(FaultKind.TRUNCATE, after_bytes=1)) as response:
        assert (await response.text()).count("data: ") == 1


async def test_a_response_that_stalls_until_the_client_leaves(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with asking(doubles, client, Fault(FaultKind.STALL, after_messages=1)) as response:
        await response.content.readany()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readany(), 0.1)
    await doubles.quiet()
    assert doubles.journal.last(Service.OPENAI_CHAT).is_cancelled


async def test_a_malformed_event(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with asking(doubles, client, Fault(FaultKind.MALFORMED, after_messages=2)) as response:
        events = (await response.text()).split("\n\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(events[2].removeprefix("data: "))
    assert json.loads(events[3].removeprefix("data: "))


@pytest.mark.parametrize(("held", "last"), [(15, '"finish_reason":"stop"'), (16, "[DONE]")])
async def test_events_out_of_order_are_all_sent_in_the_end(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, held: int, last: str
) -> None:
    async with asking(doubles, client, Fault(FaultKind.OUT_OF_ORDER, after_messages=held)) as response:
        events = (await response.text()).split("\n\n")
    assert len(events) == 17 + 1
    assert last in events[-2]


async def test_a_huge_reply(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with asking(doubles, client, Fault(FaultKind.HUGE, size_bytes=500_000)) as response:
        assert len(await response.read()) >= 500_000


@pytest.mark.parametrize(
    "fault", [Fault(FaultKind.SLOW_CONNECT, delay_s=0.1), Fault(FaultKind.LATE_FIRST_BYTE, delay_s=0.1)]
)
async def test_a_late_response(doubles: ProviderDoubles, client: aiohttp.ClientSession, fault: Fault) -> None:
    begun_s = time.monotonic()
    async with asking(doubles, client, fault) as response:
        assert (await response.text()).endswith("data: [DONE]\n\n")
    assert time.monotonic() - begun_s >= 0.1


async def test_a_refused_request(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.ClientConnectionError):
        async with asking(doubles, client, Fault(FaultKind.REFUSE)):
            pass
