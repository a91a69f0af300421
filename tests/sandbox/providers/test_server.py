import asyncio

import aiohttp
import pytest

from voice_agent.sandbox.providers import (
    Dialogue,
    DoublesConfig,
    Fault,
    FaultKind,
    FaultPlan,
    Prompt,
    ProviderDoubles,
    Reply,
    Service,
)  # fmt: skip


async def test_the_environment_points_a_server_at_the_doubles(doubles: ProviderDoubles) -> None:
    environment = doubles.environment()
    assert environment["OPENAI_BASE_URL"] == doubles.openai_base_url == f"{doubles.url}/v1"
    assert environment["ELEVENLABS_BASE_URL"] == environment["GOOGLE_BASE_URL"] == doubles.url
    assert len({environment[f"{name}_API_KEY"] for name in ("OPENAI", "ELEVENLABS", "GOOGLE")}) == 1


async def test_the_key_that_is_wanted_is_the_key_that_is_given() -> None:
    async with await ProviderDoubles.start(DoublesConfig(api_key="mine")) as doubles:
        assert doubles.environment()["OPENAI_API_KEY"] == "mine"


async def ask(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": "seven"}]}
    async with client.post(f"{doubles.openai_base_url}/chat/completions", json=body) as response:
        return (await response.json())["choices"][0]["message"]["content"] if response.status == 200 else ""


async def test_answers_by_a_function(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    def echo(prompt: Prompt) -> Reply:
        return Reply(f"You said {prompt.said}.")

    doubles.converse(echo)
    assert await ask(doubles, client) == "You said seven."
    doubles.converse(Dialogue(replies=(Reply("No."),)))
    assert await ask(doubles, client) == "No."


async def test_plans(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    doubles.plan(Service.OPENAI_CHAT, FaultPlan((Fault(FaultKind.STATUS),), repeat=True))
    assert [await ask(doubles, client), await ask(doubles, client)] == ["", ""]
    doubles.plan_faults(Service.OPENAI_CHAT, None)
    assert await ask(doubles, client)


async def test_closing_ends_what_is_open(client: aiohttp.ClientSession) -> None:
    doubles = await ProviderDoubles.start()
    url = f"{doubles.url}/v1/speech-to-text/realtime?model_id=m"
    async with client.ws_connect(url) as socket:
        await socket.receive()
        closing = asyncio.create_task(doubles.close())
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == aiohttp.WSCloseCode.GOING_AWAY
        await closing
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(doubles.url)
