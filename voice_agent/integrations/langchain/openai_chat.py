"""A thin chat model for everything that speaks OpenAI's /chat/completions: aiohttp and msgspec behind LangChain's seam.

An eighth of ChatOpenAI's CPU for a token and 5 ms less to the first one (bench/README.md, "language models"). Only what
a conversation needs: streamed text, tools, usage. Source: OpenAI API reference, "Chat Completions: streaming"
(https://platform.openai.com/docs/api-reference/chat-streaming), and the types of its Python SDK.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar

import aiohttp
import msgspec
import structlog
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, SecretStr

from voice_agent.errors import ProviderError, ProviderMisbehaved, ProviderUnavailable
from voice_agent.integrations.failures import from_exception, from_status

log = structlog.get_logger(__name__)

MAX_EVENT_BYTES = 1024 * 1024
"""An event is a few tokens; more than this is not one."""

TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=3.0, sock_read=20.0)
"""The last resort behind the deadlines of `pipeline.fallback`, so that no connection hangs for ever."""


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolDelta(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_ToolDelta] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Failure(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Failure | None = None


_EVENT = msgspec.json.Decoder(_Event)


class OpenAICompatibleChat(BaseChatModel):
    """A streaming chat model over /chat/completions. Asynchronous only; its session belongs to whoever made it."""

    provider: ClassVar[str] = "openai"
    model_name: str
    api_key: SecretStr = Field(repr=False)
    base_url: str
    session: aiohttp.ClientSession = Field(exclude=True, repr=False)

    @property
    def _llm_type(self) -> str:
        return "openai-compatible-chat"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools; see BaseChatModel."""
        if tool_choice:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("this model is asynchronous: use ainvoke or astream")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        del run_manager  # BaseChatModel.astream reports the tokens
        body = self._body(messages, stop, kwargs)
        headers = {
            "Authorization": f"Bearer {self.api_key.get_secret_value()}",
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
        }
        url = f"{self.base_url}/chat/completions"
        is_complete = False
        try:
            async with self.session.post(url, data=body, headers=headers, timeout=TIMEOUT) as response:
                if response.status != 200:
                    raise await _refusal(self.provider, response)
                async for events in _batches(self.provider, response.content):
                    is_complete = is_complete or any(choice.finish_reason for e in events for choice in e.choices)
                    yield ChatGenerationChunk(message=_chunk(self.provider, events))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise from_exception(self.provider, error) from error
        if not is_complete:
            raise ProviderUnavailable(self.provider, "the reply was cut off")

    async def warm_up(self) -> None:
        """Leave an open connection in the session's pool: names, TCP and TLS take 50 to 300 ms over the internet."""
        headers = {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}
        try:
            async with self.session.head(f"{self.base_url}/models", headers=headers, timeout=TIMEOUT):
                pass
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.debug("warm_up_failed", provider=self.provider, error=type(error).__name__)

    def _body(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> bytes:
        stream_options = {"include_usage": True}
        if "//api.openai.com" in self.base_url:
            # Padding against traffic analysis doubles the bytes; compatible servers may not know the option.
            stream_options["include_obfuscation"] = False
        body = {
            "model": self.model_name,
            "messages": convert_to_openai_messages(messages),
            "stream": True,
            "stream_options": stream_options,
            **options,
        }
        if stop:
            body["stop"] = stop
        return msgspec.json.encode(body)


async def _batches(provider: str, content: aiohttp.StreamReader) -> AsyncIterator[list[_Event]]:
    """Yield the events of each read together: when the loop is late, many tokens cost little more than one."""
    buffer = b""
    async for received in content.iter_any():
        *lines, buffer = (buffer + received).split(b"\n")
        if len(buffer) > MAX_EVENT_BYTES:
            raise ProviderMisbehaved(provider, "an event without end")
        events: list[_Event] = []
        try:
            events.extend(_decode(provider, payload) for payload in map(_payload, lines) if payload)
        except ProviderError:
            # What came before it in the same read has been said.
            yield events
            raise
        if events:
            yield events


def _payload(line: bytes) -> bytes:
    """Return a line's JSON. Comments (":", a keep-alive), other fields and the end marker have none."""
    payload = line[5:].strip() if line.startswith(b"data:") else b""
    return b"" if payload == b"[DONE]" else payload


def _decode(provider: str, payload: bytes) -> _Event:
    try:
        event = _EVENT.decode(payload)
    except msgspec.MsgspecError as error:
        raise ProviderMisbehaved(provider, f"an event that cannot be read: {error}") from error
    if event.error is not None:
        raise _stream_failure(provider, event.error)
    return event


def _chunk(provider: str, events: list[_Event]) -> AIMessageChunk:
    text: list[str] = []
    fragments = []
    usage: UsageMetadata | None = None
    for event in events:
        for choice in event.choices[:1]:
            text.append(choice.delta.content or "")
            fragments += [
                tool_call_chunk(name=f.function.name, args=f.function.arguments, id=f.id, index=f.index)
                for f in choice.delta.tool_calls or ()
            ]
        if event.usage is not None:
            spent, made = event.usage.prompt_tokens, event.usage.completion_tokens
            usage = UsageMetadata(input_tokens=spent, output_tokens=made, total_tokens=spent + made)
    return AIMessageChunk(
        content="".join(text),
        tool_call_chunks=fragments,
        usage_metadata=usage,
        response_metadata={"model_provider": provider},
    )


async def _refusal(provider: str, response: aiohttp.ClientResponse) -> ProviderError:
    body = await response.content.read(MAX_EVENT_BYTES)
    try:
        failure = _EVENT.decode(body).error or _Failure()
    except msgspec.MsgspecError:
        failure = _Failure(message=body[:200].decode("utf-8", "replace"))
    return from_status(
        provider, response.status, failure.message or "", code=str(failure.code or ""), headers=response.headers
    )


def _stream_failure(provider: str, failure: _Failure) -> ProviderError:
    """Return the error of a stream that had begun with 200; most servers name it, some give the status as a number."""
    code = failure.code
    if isinstance(code, int) and 400 <= code <= 599:
        return from_status(provider, code, failure.message or "")
    status = 429 if code == "rate_limit_exceeded" or failure.type == "requests" else 500
    return from_status(provider, status, failure.message or "", code=str(code or ""))
