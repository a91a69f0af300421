"""By raw HTTP, and by LangChain, which parses the events strictly by the official SDK's types."""

import json
from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.sandbox.providers.conftest import sse
from voice_agent.sandbox.providers import (
    Dialogue,
    Fault,
    FaultKind,
    ProviderDoubles,
    Reply,
    Rule,
    Service,
    ToolRequest,
)  # fmt: skip

BOOKING = Dialogue(
    rules=(Rule(Reply("Sure.", (ToolRequest("book", '{"day":"friday"}'),)), contains="book"),),
    replies=(Reply("Good morning."),),
)
TOOL = {"type": "function", "function": {"name": "book", "description": "Book", "parameters": {"type": "object"}}}


@pytest.fixture
def url(doubles: ProviderDoubles) -> str:
    doubles.converse(BOOKING)
    return f"{doubles.openai_base_url}/responses"


@pytest.fixture
async def model(doubles: ProviderDoubles, url: str) -> AsyncIterator[ChatOpenAI]:
    assert url
    chat = ChatOpenAI(
        model="m", base_url=doubles.openai_base_url, api_key=SecretStr("k"), max_retries=0, use_responses_api=True
    )
    yield chat
    await chat.root_async_client.close()


async def test_the_events_of_a_text(url: str, client: aiohttp.ClientSession) -> None:
    async with client.post(url, json={"model": "m", "input": "hello", "stream": True}) as response:
        events = [json.loads(event) for event in sse(await response.text())]
    assert [event["type"] for event in events] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
        "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [event["sequence_number"] for event in events] == list(range(10))
    finished = events[-1]["response"]
    assert finished["status"] == "completed"
    assert finished["output"][0]["content"][0]["text"] == "Good morning."
    assert finished["usage"]["output_tokens"] == 2


async def test_langchain_streams_text(model: ChatOpenAI) -> None:
    texts = [chunk.text async for chunk in model.astream("hello")]
    assert "".join(texts) == "Good morning."
    assert len([text for text in texts if text]) == 2


@pytest.mark.parametrize("streamed", [True, False])
async def test_langchain_calls_a_tool_and_hears_its_result(model: ChatOpenAI, streamed: bool) -> None:
    bound = model.model_copy(update={"streaming": streamed}).bind_tools([TOOL])
    asked = await bound.ainvoke("book it")
    assert asked.text == "Sure."
    assert [call["args"] for call in asked.tool_calls] == [{"day": "friday"}]
    result = ToolMessage("ok", tool_call_id=asked.tool_calls[0]["id"] or "", name="book")
    assert (await bound.ainvoke([HumanMessage("book it"), asked, result])).text == "All right, that is done."


async def test_an_error_in_the_stream(doubles: ProviderDoubles, url: str, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.OPENAI_RESPONSES, Fault(FaultKind.ERROR, after_messages=5, error="rate_limit_exceeded"))
    async with client.post(url, json={"model": "m", "input": "hello", "stream": True}) as response:
        last = json.loads(sse(await response.text())[-1])
    assert (last["type"], last["code"]) == ("error", "rate_limit_exceeded")
    async with openai.AsyncOpenAI(api_key="k", base_url=doubles.openai_base_url, max_retries=0) as sdk:
        doubles.plan_faults(Service.OPENAI_RESPONSES, Fault(FaultKind.STATUS, status=503))
        with pytest.raises(openai.InternalServerError):
            await sdk.responses.create(model="m", input="hello")


@pytest.mark.parametrize(("headers", "payload", "status"), [({"Authorization": ""}, "{}", 401), ({}, "{}", 400)])
async def test_refusals(
    url: str, client: aiohttp.ClientSession, headers: dict[str, str], payload: str, status: int
) -> None:
    async with client.post(url, data=payload, headers=headers) as response:
        assert response.status == status
