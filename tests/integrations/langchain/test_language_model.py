"""Every chat model that we build obeys the contract of LanguageModel; and what the port's adapter does by itself."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from tests.contracts.language_model import LanguageModelContract, Thinking
from tests.integrations.langchain.conftest import ThinkingWith
from voice_agent.errors import ProviderMisbehaved
from voice_agent.integrations.langchain.language_model import MAX_REPLY_CHARS, LangChainLanguageModel
from voice_agent.pipeline.ports import AgentMessage, Message, ReplyPart, TextDelta, ToolCall, ToolMessage, UserMessage
from voice_agent.sandbox.providers import Service


class TestOpenAI(LanguageModelContract):
    @pytest.fixture
    def thinking(self, thinking_with: ThinkingWith) -> Thinking:
        return thinking_with("openai:gpt-sandbox", Service.OPENAI_CHAT)


class TestOpenAISdk(LanguageModelContract):
    @pytest.fixture
    def thinking(self, thinking_with: ThinkingWith) -> Thinking:
        return thinking_with("openai-sdk:gpt-sandbox", Service.OPENAI_CHAT)


class TestOpenAIResponses(LanguageModelContract):
    @pytest.fixture
    def thinking(self, thinking_with: ThinkingWith) -> Thinking:
        return thinking_with("openai:gpt-6-sandbox", Service.OPENAI_RESPONSES)


# google-genai 2.34 derives from aiohttp's session, which warns when its client is made; langchain-core 1.7 asks its
# HTTP errors for a body without awaiting the answer.
@pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning",
    "ignore:coroutine 'ClientResponse.json' was never awaited:RuntimeWarning",
)
class TestGoogle(LanguageModelContract):
    @pytest.fixture
    def thinking(self, thinking_with: ThinkingWith) -> Thinking:
        return thinking_with("google_genai:gemini-sandbox", Service.GEMINI)


class ChunkModel(BaseChatModel):
    """Streams given chunks and keeps the messages it was asked with."""

    chunks: list[AIMessageChunk]
    asked: list[list[BaseMessage]] = []

    @property
    def _llm_type(self) -> str:
        return "chunks"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        del stop, run_manager, kwargs
        self.asked.append(messages)
        for chunk in self.chunks:
            yield ChatGenerationChunk(message=chunk)


async def reply(model: BaseChatModel, *messages: Message) -> list[ReplyPart]:
    port = LangChainLanguageModel(model, "test")
    return [part async for part in port.reply(instructions="", messages=messages, tools=())]


async def test_content_blocks_are_spoken_and_thoughts_are_not() -> None:
    chunks = [
        AIMessageChunk(content=[{"type": "thinking", "thinking": "hmm"}]),
        AIMessageChunk(content=[{"type": "text", "text": "Good "}, {"type": "text", "text": "day."}]),
        AIMessageChunk(content="Bye."),
    ]
    assert await reply(ChunkModel(chunks=chunks)) == [TextDelta("Good day."), TextDelta("Bye.")]


async def test_fragments_are_joined_by_index_and_calls_without_one_stay_apart() -> None:
    chunks = [
        AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(name="a", args='{"x"', id="1", index=0)]),
        AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(name="b", args="", id="2", index=1)]),
        AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(name=None, args=":1}", id=None, index=0)]),
        AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(name="c", args="{}", id="3", index=None)]),
        AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(name="c", args="{}", id="4", index=None)]),
    ]
    assert await reply(ChunkModel(chunks=chunks)) == [
        ToolCall("1", "a", '{"x":1}'),
        ToolCall("2", "b", "{}"),
        ToolCall("3", "c", "{}"),
        ToolCall("4", "c", "{}"),
    ]


async def test_thought_signatures_go_back_with_their_call() -> None:
    key = "__gemini_function_call_thought_signatures__"
    chunk = AIMessageChunk(
        content="",
        tool_call_chunks=[tool_call_chunk(name="book", args="{}", id="c1", index=None)],
        additional_kwargs={key: {"c1": "c2lnbmVk"}, "function_call": {"name": "book"}},
    )
    model = ChunkModel(chunks=[chunk])
    (call,) = await reply(model, UserMessage("Book it."))
    assert call == ToolCall("c1", "book", "{}", {key: "c2lnbmVk"})
    assert isinstance(call, ToolCall)
    await reply(model, UserMessage("Book it."), AgentMessage("", (call,)), ToolMessage("c1", "book", "done"))
    sent = model.asked[1][1]
    assert isinstance(sent, AIMessage)
    assert sent.additional_kwargs == {key: {"c1": "c2lnbmVk"}}
    assert sent.tool_calls[0]["id"] == "c1"


async def test_a_reply_without_end_is_cut() -> None:
    """F16, for words."""
    model = ChunkModel(chunks=[AIMessageChunk(content="na " * 1_000)] * (MAX_REPLY_CHARS // 3_000 + 2))
    with pytest.raises(ProviderMisbehaved):
        await reply(model, UserMessage("Hello?"))


async def test_an_empty_stream_is_an_error_of_ours() -> None:
    with pytest.raises(ProviderMisbehaved):
        await reply(ChunkModel(chunks=[]), UserMessage("Hello?"))
