"""By raw HTTP, by the official SDK and by LangChain."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.sandbox.providers.conftest import sse
from voice_agent.sandbox.providers import (
    Dialogue,
    DoublesConfig,
    Fault,
    FaultKind,
    OpenAIConfig,
    ProviderDoubles,
    Reply,
    Rule,
    Service,
    Timings,
    ToolRequest,
)

BOOKING = Dialogue(
    rules=(Rule(Reply("Sure.", (ToolRequest("book", '{"day":"friday"}'), ToolRequest("note"))), contains="book"),),
    replies=(Reply("Good morning, dear caller."),),
)
TOOL = {"type": "function", "function": {"name": "book", "description": "Book", "parameters": {"type": "object"}}}


def body(text: str, **fields: object) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "stream": True, **fields}


@pytest.fixture
def url(doubles: ProviderDoubles) -> str:
    doubles.converse(BOOKING)
    return f"{doubles.openai_base_url}/chat/completions"


@pytest.fixture
async def model(url: str) -> AsyncIterator[ChatOpenAI]:
    chat = ChatOpenAI(
        model="m", base_url=url.removesuffix("/chat/completions"), api_key=SecretStr("k"), stream_usage=True,
        max_retries=0, use_responses_api=False,
    )  # fmt: skip
    yield chat
    await chat.root_async_client.close()


async def test_a_stream_of_text(url: str, client: aiohttp.ClientSession) -> None:
    async with client.post(url, json=body("hello", stream_options={"include_usage": True})) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        *events, done = sse(await response.text())
    assert done == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    *deltas, usage = chunks
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 4
    assert deltas[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    texts = [chunk["choices"][0]["delta"].get("content") for chunk in deltas[1:-1]]
    assert texts == ["Good", " morning,", " dear", " caller."]
    assert [chunk["choices"][0]["finish_reason"] for chunk in deltas] == [None] * 5 + ["stop"]


async def test_tool_calls_come_in_fragments(url: str, client: aiohttp.ClientSession) -> None:
    async with client.post(url, json=body("book it")) as response:
        events = sse(await response.text())[:-1]
    choices = [json.loads(event)["choices"][0] for event in events]
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    first = [call for call in calls if call["index"] == 0]
    assert first[0]["function"] == {"name": "book", "arguments": ""}
    assert first[0]["id"].startswith("call_")
    assert all("id" not in call and "name" not in call["function"] for call in first[1:])
    assert "".join(call["function"]["arguments"] for call in first) == '{"day":"friday"}'
    assert [call["function"]["name"] for call in calls if "id" in call] == ["book", "note"]
    assert choices[-1]["finish_reason"] == "tool_calls"


async def test_without_stream_options_there_is_no_usage(url: str, client: aiohttp.ClientSession) -> None:
    async with client.post(url, json=body("hello")) as response:
        events = sse(await response.text())[:-1]
    assert all(json.loads(event)["choices"] for event in events)


async def test_the_done_marker_may_be_missing(client: aiohttp.ClientSession) -> None:
    config = DoublesConfig(timings=Timings.instant(), openai=OpenAIConfig(sends_done=False))
    async with (
        await ProviderDoubles.start(config) as doubles,
        client.post(f"{doubles.openai_base_url}/chat/completions", json=body("hello")) as response,
    ):
        assert "[DONE]" not in await response.text()


async def test_a_whole_answer(url: str, client: aiohttp.ClientSession) -> None:
    async with client.post(url, json=body("book it", stream=False)) as response:
        answer = await response.json()
    message = answer["choices"][0]["message"]
    assert message["content"] == "Sure."
    assert message["tool_calls"][0]["function"] == {"name": "book", "arguments": '{"day":"friday"}'}
    assert answer["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("headers", "payload", "status", "code"),
    [({"Authorization": "Basic k"}, body("x"), 401, "invalid_api_key"), ({}, {"model": "m"}, 400, None)],
)
async def test_refusals(
    url: str,
    client: aiohttp.ClientSession,
    headers: dict[str, str],
    payload: dict[str, Any],
    status: int,
    code: str | None,
) -> None:
    async with client.post(url, json=payload, headers=headers) as response:
        assert response.status == status
        assert (await response.json())["error"]["code"] == code


async def test_langchain_streams_text_and_usage(model: ChatOpenAI) -> None:
    total: BaseMessage = AIMessageChunk(content="")
    async for chunk in model.astream("hello"):
        total = total + chunk  # type: ignore[assignment] # LangChain types the sum as a prompt template
    assert isinstance(total, AIMessageChunk)
    assert total.text == "Good morning, dear caller."
    assert total.usage_metadata is not None
    assert total.usage_metadata["output_tokens"] == 4


async def test_langchain_calls_a_tool_and_hears_its_result(model: ChatOpenAI) -> None:
    bound = model.bind_tools([TOOL])
    asked = await bound.ainvoke("book it")
    assert asked.tool_calls[0]["args"] == {"day": "friday"}
    results = [ToolMessage("ok", tool_call_id=call["id"] or "", name=call["name"]) for call in asked.tool_calls]
    answer = await bound.ainvoke([HumanMessage("book it"), asked, *results])
    assert answer.text == "All right, that is done."


@pytest.mark.usefixtures("url")
async def test_the_official_sdk_meets_errors_of_every_kind(doubles: ProviderDoubles) -> None:
    async with openai.AsyncOpenAI(api_key="k", base_url=doubles.openai_base_url, max_retries=0) as sdk:
        for status, kind in ((401, openai.AuthenticationError), (429, openai.RateLimitError)):
            doubles.plan_faults(Service.OPENAI_CHAT, Fault(FaultKind.STATUS, status=status, retry_after_s=2))
            with pytest.raises(kind) as caught:
                await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
            assert caught.value.response.headers["Retry-After"] == "2"
        doubles.plan_faults(Service.OPENAI_CHAT, Fault(FaultKind.ERROR, after_messages=3))
        stream = await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True)
        with pytest.raises(openai.APIError, match="told to fail"):
            async for _ in stream:
                pass


async def test_a_client_that_leaves_is_a_cancelled_stream(client: aiohttp.ClientSession) -> None:
    config = DoublesConfig(timings=Timings(first_token_s=0.0, token_s=30.0))
    async with await ProviderDoubles.start(config) as doubles:
        async with client.post(f"{doubles.openai_base_url}/chat/completions", json=body("hello")) as response:
            await response.content.readany()
        await doubles.quiet()
        exchange = doubles.journal.last(Service.OPENAI_CHAT)
        assert exchange.is_cancelled
        assert exchange.ended_by == "client"
        assert exchange.named("first_token")
        assert json.loads(exchange.named("request")[0].text)["messages"][0]["content"] == "hello"
