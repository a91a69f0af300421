"""A chat model that follows a scripted dialogue: a real LangChain `BaseChatModel` that needs no account.

It is asked and streams like any other: words one by one, tool calls as chunks after them, and agents can be built on
it. What it says is decided by `agents.dialogue` from the messages alone, so it holds no state between calls. A tool's
result is answered with nothing: the script has said its words in the message that called the tool.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import orjson
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolMessage,
    message_chunk_to_message,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from voice_agent.agents.dialogue import Answer, Dialogue, Script, ToolUse

_WORD = re.compile(r"\s*\S+")


class ScriptedDialogueModel(BaseChatModel):
    """A dialogue as a chat model. Raises AgentDefinitionError where the dialogue cannot work."""

    dialogue: Dialogue
    first_word_s: float = 0.0
    """Seconds until the first word, to try an agent at the pace of a hosted model."""

    word_s: float = 0.0
    """Seconds from one word to the next."""

    _script: Script = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Make the dialogue ready to answer."""
        super().model_post_init(context)
        self._script = Script(self.dialogue)

    @property
    def _llm_type(self) -> str:
        return "scripted-dialogue"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,  # noqa: ARG002  # a script decides by itself
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools: of its own, the script calls only those that are offered."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002  # LangChain passes it by name
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  # LangChain passes it by name
        **kwargs: Any,
    ) -> ChatResult:
        whole, *rest = _chunks(self._answer(messages, kwargs.get("tools", ())), _call_ids(messages))
        for chunk in rest:
            whole += chunk
        return ChatResult(generations=[ChatGeneration(message=message_chunk_to_message(whole))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002  # LangChain passes it by name
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  # BaseChatModel reports the tokens
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        pause_s = self.first_word_s
        for chunk in _chunks(self._answer(messages, kwargs.get("tools", ())), _call_ids(messages)):
            if pause_s and chunk.content:
                await asyncio.sleep(pause_s)
            pause_s = self.word_s
            yield ChatGenerationChunk(message=chunk)

    def _answer(self, messages: Sequence[BaseMessage], tools: Sequence[dict[str, Any]]) -> Answer:
        if messages and isinstance(messages[-1], ToolMessage):
            return Answer("")
        answer = self._script.answer(message.text for message in messages if isinstance(message, HumanMessage))
        offered = {tool["function"]["name"] for tool in tools}
        return Answer(answer.text, tuple(use for use in answer.calls if use.tool in offered))


def _call_ids(messages: Sequence[BaseMessage]) -> str:
    """Return what makes the ids of an answer's tool calls unique in its conversation."""
    return f"scripted_{len(messages)}"


def _chunks(answer: Answer, call_ids: str) -> Iterator[AIMessageChunk]:
    for word in _WORD.findall(answer.text):
        yield AIMessageChunk(content=word)
    for index, use in enumerate(answer.calls):
        yield _call_chunk(use, index, f"{call_ids}_{index}")
    yield AIMessageChunk(content="", chunk_position="last")


def _call_chunk(use: ToolUse, index: int, call_id: str) -> AIMessageChunk:
    arguments = orjson.dumps(use.arguments).decode()
    return AIMessageChunk(
        content="",
        tool_call_chunks=[
            {"name": use.tool, "args": arguments, "id": call_id, "index": index, "type": "tool_call_chunk"}
        ],
    )
