"""Any LangChain chat model as the LanguageModel port.

Text is passed on as it comes, tool calls once they are whole. It does not retry, fall back or run tools: deadlines and
the second model are `pipeline.fallback`'s, tools the conversation's.

Cancel the task that consumes a reply to end it: that closes the provider's connection within milliseconds. Leaving the
loop by `break` does not, and with Gemini not even closing the iterator does (measured with langchain-google-genai 4.4).
"""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages import ToolCall as LangChainToolCall
from langchain_core.messages import ToolMessage as LangChainToolMessage

from voice_agent.errors import ProviderMisbehaved
from voice_agent.integrations.failures import from_exception
from voice_agent.integrations.langchain.openai_chat import OpenAICompatibleChat
from voice_agent.pipeline.ports import (
    AgentMessage,
    Message,
    ReplyPart,
    TextDelta,
    ToolCall,
    ToolDefinition,
    UserMessage,
)

MAX_REPLY_CHARS = 20_000
"""Twenty minutes of speech: a model that says more is running away."""


class LangChainLanguageModel:
    """The LanguageModel port over a chat model; `provider` names it in errors."""

    def __init__(self, model: BaseChatModel, provider: str) -> None:
        self._model = model
        self._provider = provider

    async def reply(
        self, *, instructions: str, messages: Sequence[Message], tools: Sequence[ToolDefinition]
    ) -> AsyncGenerator[ReplyPart]:
        """Stream a reply: text first, then tool calls. Raises ProviderError."""
        calls = _ToolCalls()
        length = 0
        try:
            model = self._model.bind_tools([_tool(tool) for tool in tools]) if tools else self._model
            stream = cast(AsyncGenerator[BaseMessage, None], model.astream(_history(instructions, messages)))
            async with aclosing(stream):
                async for chunk in stream:
                    calls.add(chunk)
                    # `text` drops what is not to be said: thoughts, signatures, tool blocks.
                    text = chunk.content if isinstance(chunk.content, str) else chunk.text
                    length += len(text)
                    if length > MAX_REPLY_CHARS:
                        raise ProviderMisbehaved(self._provider, "a reply without end")
                    if text:
                        yield TextDelta(str(text))
            for call in calls.whole():
                yield call
        except Exception as error:
            raise from_exception(self._provider, error) from error

    async def warm_up(self) -> None:
        """Open a connection where the model is ours; LangChain's own models offer no way."""
        if isinstance(self._model, OpenAICompatibleChat):
            await self._model.warm_up()

    async def close(self) -> None:
        """Close the connections that the model keeps for itself. Safe to call twice.

        Call it on the loop that used them. Models over the process's shared session have none.
        """
        # ChatGoogleGenerativeAI closes its client; ChatOpenAI is given one by the factory.
        owner = self._model if hasattr(self._model, "aclose") else getattr(self._model, "http_async_client", None)
        if owner is not None:
            await owner.aclose()


async def load_machinery() -> None:
    """Hold one reply with a model that is no model: LangChain imports and builds 25 ms worth at its first."""
    model = LangChainLanguageModel(GenericFakeChatModel(messages=iter(["ready"])), provider="none")
    async for _ in model.reply(instructions="", messages=[UserMessage(text="?")], tools=[]):
        pass


class _ToolCalls:
    """The tool calls of one reply, from their fragments."""

    def __init__(self) -> None:
        self._calls: list[dict[str, str]] = []
        self._by_index: dict[int | str, dict[str, str]] = {}
        self._fields: dict[str, dict[str, Any]] = {}

    def add(self, chunk: BaseMessage) -> None:
        """Take what a chunk has of them."""
        if isinstance(chunk, AIMessageChunk):
            for fragment in chunk.tool_call_chunks:
                call = self._call(fragment["index"])
                call["id"] += fragment["id"] or ""
                call["name"] += fragment["name"] or ""
                call["arguments"] += fragment["args"] or ""
        elif isinstance(chunk, AIMessage):
            # A model that cannot stream answers with one whole message.
            for whole in chunk.tool_calls:
                self._call(None).update(id=whole["id"] or "", name=whole["name"], arguments=json.dumps(whole["args"]))
        for key, value in chunk.additional_kwargs.items():
            if isinstance(value, dict):
                self._fields.setdefault(key, {}).update(value)

    def whole(self) -> Iterator[ToolCall]:
        """Yield the calls in their order."""
        for call in self._calls:
            call_id = call["id"] or f"call_{uuid4().hex}"
            # Adapters keep what belongs to a call in mappings by its id: Gemini's thought signatures, for one.
            fields = {key: by_id[call_id] for key, by_id in self._fields.items() if call_id in by_id}
            yield ToolCall(call_id, call["name"], call["arguments"] or "{}", fields)

    def _call(self, index: int | str | None) -> dict[str, str]:
        """Return the call that a fragment continues; without an index each fragment is a whole call (Gemini)."""
        if index is not None and index in self._by_index:
            return self._by_index[index]
        call = {"id": "", "name": "", "arguments": ""}
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _history(instructions: str, messages: Sequence[Message]) -> list[BaseMessage]:
    history: list[BaseMessage] = [SystemMessage(instructions)] if instructions else []
    for message in messages:
        match message:
            case UserMessage(text):
                history.append(HumanMessage(text))
            case AgentMessage(text, tool_calls):
                history.append(_agent_message(text, tool_calls))
            case tool_message:
                history.append(
                    LangChainToolMessage(tool_message.result, tool_call_id=tool_message.call_id, name=tool_message.name)
                )
    return history


def _agent_message(text: str, tool_calls: Sequence[ToolCall]) -> AIMessage:
    fields: dict[str, dict[str, Any]] = {}
    for call in tool_calls:
        for key, value in call.provider_fields.items():
            fields.setdefault(key, {})[call.call_id] = value
    return AIMessage(
        text,
        tool_calls=[
            LangChainToolCall(name=call.name, args=_arguments(call.arguments), id=call.call_id) for call in tool_calls
        ],
        additional_kwargs=fields,
    )


def _arguments(text: str) -> dict[str, Any]:
    """Return a call's arguments for the history; unusable ones were refused then, and are empty now."""
    try:
        arguments: object = json.loads(text)
    except ValueError:
        return {}
    return dict(arguments) if isinstance(arguments, Mapping) else {}
