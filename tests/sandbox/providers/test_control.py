"""The doubles of another process are taught, scripted, broken and questioned over HTTP."""

import aiohttp
import pytest

from tests.sandbox.providers.conftest import receive
from tests.sandbox.providers.recordings import base64_of, voice
from voice_agent.sandbox.providers import DoublesConfig, ProviderDoubles, Timings

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


async def said(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> str:
    async with client.post(f"{doubles.openai_base_url}/chat/completions", json=CHAT) as response:
        content: str = (await response.json())["choices"][0]["message"]["content"]
        return content


async def test_phrases(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    audio = base64_of(voice(1, 400))
    entry = {"audio": audio, "text": "good morning", "word_ends_ms": [200, 400]}
    async with client.post(f"{doubles.url}/sandbox/phrases", json={"phrases": [entry]}) as response:
        assert await response.json() == {"phrases": 1}
    url = f"{doubles.url}/v1/speech-to-text/realtime?model_id=m&audio_format=ulaw_8000"
    async with client.ws_connect(url) as socket:
        await receive(socket)
        await socket.send_json({"message_type": "input_audio_chunk", "audio_base_64": audio, "commit": True})
        assert (await receive(socket))["text"] == "good morning"


async def test_a_dialogue(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    dialogue = {"rules": [{"contains": "hello", "reply": {"text": "Hello yourself."}}]}
    async with client.post(f"{doubles.url}/sandbox/dialogue", json=dialogue) as response:
        assert response.status == 204
    assert await said(doubles, client) == "Hello yourself."


async def test_faults(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    plans = {"openai_chat": {"faults": [{"kind": "status", "status": 503}], "repeat": True}}
    async with client.post(f"{doubles.url}/sandbox/faults", json=plans) as response:
        assert response.status == 204
    async with client.post(f"{doubles.openai_base_url}/chat/completions", json=CHAT) as response:
        assert response.status == 503
    async with client.delete(f"{doubles.url}/sandbox/faults") as response:
        assert response.status == 204
    assert await said(doubles, client)


async def test_timings(client: aiohttp.ClientSession) -> None:
    async with await ProviderDoubles.start(DoublesConfig(timings=Timings(first_token_s=60.0))) as doubles:
        timings = {"first_token_s": 0.0, "token_s": 0.0}
        async with client.post(f"{doubles.url}/sandbox/timings", json=timings) as response:
            assert response.status == 204
        assert await said(doubles, client)


async def test_the_journal(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    await said(doubles, client)
    await said(doubles, client)
    async with client.get(
        f"{doubles.url}/sandbox/journal", params={"service": "openai_chat", "after": "1"}
    ) as response:
        page = await response.json()
    assert [exchange["number"] for exchange in page["exchanges"]] == [2]
    assert page["exchanges"][0]["ended_by"] == "complete"
    assert page["now_s"] >= page["exchanges"][0]["closed_s"]
    async with client.get(f"{doubles.url}/sandbox/journal", params={"service": "gemini"}) as response:
        assert (await response.json())["exchanges"] == []
    async with client.delete(f"{doubles.url}/sandbox/journal") as response:
        assert response.status == 204
    assert doubles.journal.exchanges() == []


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("phrases", {"phrases": [{"audio": "AAAA", "text": "two words", "word_ends_ms": [1]}]}),
        ("phrases", {"clips": []}),
        ("dialogue", {"rule": []}),
        ("faults", {"openai_chat": {"faults": [{"kind": "earthquake"}]}}),
        ("faults", {"bank": {"faults": []}}),
        ("timings", {"first_token": 1}),
    ],
)
async def test_what_cannot_be_read_is_refused_with_the_reason(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, path: str, payload: dict[str, object]
) -> None:
    async with client.post(f"{doubles.url}/sandbox/{path}", json=payload) as response:
        assert response.status == 422
        assert (await response.json())["error"]


@pytest.mark.parametrize("query", ["service=bank", "after=x"])
async def test_a_bad_question_to_the_journal(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, query: str
) -> None:
    async with client.get(f"{doubles.url}/sandbox/journal?{query}") as response:
        assert response.status == 422
