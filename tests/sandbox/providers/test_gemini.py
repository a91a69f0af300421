"""By raw HTTP, and by LangChain over google-genai."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from pydantic import SecretStr

from tests.sandbox.providers.conftest import sse
from voice_agent.sandbox.providers import (
    Dialogue,
    DoublesConfig,
    Fault,
    FaultKind,
    ProviderDoubles,
    Reply,
    Rule,
    Service,
    Timings,
    ToolRequest,
)  # fmt: skip

# google-genai subclasses aiohttp's session, which aiohttp discourages.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

BOOKING = Dialogue(
    rules=(Rule(Reply("Sure thing.", (ToolRequest("book", '{"day":"friday"}'),)), contains="book"),),
    replies=(Reply("Good morning."),),
)
TOOL = {"type": "function", "function": {"name": "book", "description": "Book", "parameters": {"type": "object"}}}


def body(text: str) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], "systemInstruction": {"parts": [{"text": "a"}]}}


@pytest.fixture
def url(doubles: ProviderDoubles) -> str:
    doubles.converse(BOOKING)
    return f"{doubles.google_base_url}/v1beta/models/gemini-x"


@pytest.fixture
async def model(doubles: ProviderDoubles, url: str) -> AsyncIterator[ChatGoogleGenerativeAI]:
    assert url
    chat = ChatGoogleGenerativeAI(
        model="gemini-x", base_url=doubles.google_base_url, api_key=SecretStr("k"), max_retries=1
    )
    yield chat
    assert chat.client is not None
    await chat.client.aio.aclose()
    chat.client.close()


async def test_lines_end_with_crlf_and_usage_adds_up(url: str, client: aiohttp.ClientSession) -> None:
    async with client.post(f"{url}:streamGenerateContent?alt=sse", json=body("hello")) as response:
        chunks = [json.loads(event) for event in sse(await response.text(), "\r\n")]
    parts = [chunk["candidates"][0]["content"]["parts"] for chunk in chunks]
    assert parts == [[{"text": "Good"}], [{"text": " morning."}]]
    assert [chunk["usageMetadata"]["candidatesTokenCount"] for chunk in chunks] == [1, 2]
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [None, "STOP"]
    assert {chunk["modelVersion"] for chunk in chunks} == {"gemini-x"}


async def test_function_calls_come_whole_and_without_an_id(url: str, client: aiohttp.ClientSession) -> None:
    async with client.post(f"{url}:streamGenerateContent?alt=sse", json=body("book it")) as response:
        last = json.loads(sse(await response.text(), "\r\n")[-1])["candidates"][0]
    assert last["content"]["parts"] == [{"functionCall": {"name": "book", "args": {"day": "friday"}}}]
    assert last["finishReason"] == "STOP"


async def test_a_whole_answer(url: str, client: aiohttp.ClientSession) -> None:
    async with client.post(f"{url}:generateContent", json=body("book it")) as response:
        answer = await response.json()
    assert len(answer["candidates"][0]["content"]["parts"]) == 2


async def test_langchain_streams_text_and_usage(model: ChatGoogleGenerativeAI) -> None:
    chunks = [chunk async for chunk in model.astream("hello")]
    assert "".join(chunk.text for chunk in chunks) == "Good morning."
    usages = [chunk.usage_metadata for chunk in chunks if isinstance(chunk, AIMessageChunk) and chunk.usage_metadata]
    assert sum(usage["output_tokens"] for usage in usages) == 2


async def test_langchain_calls_a_tool_and_hears_its_result(model: ChatGoogleGenerativeAI) -> None:
    bound = model.bind_tools([TOOL])
    asked = await bound.ainvoke("book it")
    assert asked.tool_calls[0]["args"] == {"day": "friday"}
    result = ToolMessage("ok", tool_call_id=asked.tool_calls[0]["id"] or "", name="book")
    assert (await bound.ainvoke([HumanMessage("book it"), asked, result])).text == "All right, that is done."


async def test_errors_have_googles_form(doubles: ProviderDoubles, url: str, client: aiohttp.ClientSession) -> None:
    doubles.plan_faults(Service.GEMINI, Fault(FaultKind.STATUS, status=429), Fault(FaultKind.ERROR, after_messages=1))
    async with client.post(f"{url}:streamGenerateContent?alt=sse", json=body("hello")) as response:
        assert response.status == 429
        assert (await response.json())["error"]["status"] == "RESOURCE_EXHAUSTED"
    async with client.post(f"{url}:streamGenerateContent?alt=sse", json=body("hello")) as response:
        assert json.loads(sse(await response.text(), "\r\n")[-1])["error"]["status"] == "INTERNAL"
    async with client.post(f"{url}:generateContent", data="{}") as response:
        assert response.status == 400


async def test_keys(client: aiohttp.ClientSession) -> None:
    async with await ProviderDoubles.start(DoublesConfig(api_key="right", timings=Timings.instant())) as doubles:
        url = f"{doubles.google_base_url}/v1beta/models/gemini-x:generateContent"
        for headers, query, status in (
            ({"x-goog-api-key": ""}, "", 403),
            ({"x-goog-api-key": "wrong"}, "", 400),
            ({"x-goog-api-key": "right"}, "", 200),
            ({"x-goog-api-key": ""}, "?key=right", 200),
        ):
            async with client.post(url + query, json=body("hello"), headers=headers) as response:
                assert response.status == status
