"""The thin chat model, beside the contract: what servers of this protocol do differently."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import SecretStr

from voice_agent.errors import ProviderBusy, ProviderError, ProviderMisbehaved, ProviderRefused, ProviderUnavailable
from voice_agent.integrations.langchain.openai_chat import MAX_EVENT_BYTES, OpenAICompatibleChat

Serve = Callable[[bytes], Awaitable[OpenAICompatibleChat]]

TEXT = b'data: {"choices":[{"delta":{"content":"%s"}}]}'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}'
DONE = b"data: [DONE]"


@pytest.fixture
async def serve(session: aiohttp.ClientSession) -> AsyncIterator[Serve]:
    """Return what makes a model whose server answers every request with these bytes, cut into small pieces."""
    runners: list[web.AppRunner] = []

    async def start(answer: bytes) -> OpenAICompatibleChat:
        async def complete(request: web.Request) -> web.StreamResponse:
            await request.read()
            response = web.StreamResponse()
            await response.prepare(request)
            for start in range(0, len(answer), 997):
                await response.write(answer[start : start + 997])
            await response.write_eof()
            return response

        app = web.Application()
        app.router.add_post("/chat/completions", complete)
        runner = web.AppRunner(app, shutdown_timeout=0.2)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return OpenAICompatibleChat(model_name="m", api_key=SecretStr("hush"), base_url=base_url, session=session)

    yield start
    for runner in runners:
        await runner.cleanup()


def lines(*events: bytes, end: bytes = b"\n\n") -> bytes:
    return end.join((*events, b""))


async def said(model: OpenAICompatibleChat) -> str:
    return "".join([str(chunk.content) async for chunk in model.astream([HumanMessage("Hello?")])])


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
async def test_comments_empty_choices_and_other_fields_are_passed_over(serve: Serve, end: bytes) -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}'
    stream = lines(b": ping", b"event: x", TEXT % b"Good ", b"id: 7", TEXT % b"day.", STOP, usage, DONE, end=end)
    model = await serve(stream)
    assert await said(model) == "Good day."
    whole = await model.ainvoke([HumanMessage("Hello?")])
    assert isinstance(whole, AIMessage)
    assert whole.content == "Good day."
    assert whole.usage_metadata == {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}


async def test_the_end_marker_may_lack_but_not_the_end(serve: Serve) -> None:
    assert await said(await serve(lines(TEXT % b"Good day.", STOP))) == "Good day."
    with pytest.raises(ProviderUnavailable, match="cut off"):
        await said(await serve(lines(TEXT % b"Good")))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "slow down", "code": "rate_limit_exceeded"}, ProviderBusy),
        ({"message": "slow down", "type": "requests"}, ProviderBusy),
        ({"message": "pay first", "code": "insufficient_quota"}, ProviderRefused),
        ({"message": "overloaded", "code": 503}, ProviderBusy),
        ({"message": "oops", "type": "server_error"}, ProviderUnavailable),
    ],
)
async def test_an_error_in_the_stream_comes_after_what_was_said(
    serve: Serve, error: dict[str, object], kind: type[ProviderError]
) -> None:
    event = b"data: " + json.dumps({"error": error}).encode()
    model = await serve(lines(TEXT % b"Good", event))
    stream = model.astream([HumanMessage("Hello?")])
    assert (await anext(stream)).content == "Good"
    with pytest.raises(kind):
        await anext(stream)


async def test_an_event_without_end(serve: Serve) -> None:
    """F06, F16."""
    with pytest.raises(ProviderMisbehaved):
        await said(await serve(b"data: " + b"x" * (MAX_EVENT_BYTES + 100_000)))


async def test_the_request(serve: Serve) -> None:
    model = await serve(lines(TEXT % b"Hi", STOP))
    body = json.loads(model._body([HumanMessage("Hello?")], ["END"], {"tools": []}))
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [],
        "stop": ["END"],
    }
    at_home = model.model_copy(update={"base_url": "https://api.openai.com/v1"})
    body = json.loads(at_home._body([HumanMessage("Hello?")], None, {}))
    assert body["stream_options"]["include_obfuscation"] is False


async def test_tool_choice_is_passed_on(serve: Serve) -> None:
    model = await serve(b"")
    tool = {"type": "function", "function": {"name": "book", "description": "", "parameters": {}}}
    bound = model.bind_tools([tool], tool_choice="required")
    assert bound.kwargs["tool_choice"] == "required"  # type: ignore[attr-defined]  # a RunnableBinding


async def test_a_key_is_never_shown(serve: Serve) -> None:
    assert "hush" not in repr(await serve(b""))


async def test_it_is_asynchronous_only(serve: Serve) -> None:
    model = await serve(b"")
    with pytest.raises(NotImplementedError):
        model.invoke([HumanMessage("Hello?")])
