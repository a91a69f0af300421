"""Double of OpenAI's chat completions, `/v1/chat/completions`, streamed and whole.

Source: the OpenAI API reference ("Chat Completions") and the types of openai-python 3.54.
"""

from time import monotonic, time
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp import web

from voice_agent.sandbox.providers.completions import fragments, openai_error, paced
from voice_agent.sandbox.providers.dialogue import Prompt, Reply
from voice_agent.sandbox.providers.journal import Service
from voice_agent.sandbox.providers.visit import ResponseLink, Visit, handler
from voice_agent.sandbox.providers.world import World


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _Function(msgspec.Struct, frozen=True):
    name: str = ""
    arguments: str = ""


class _ToolCall(msgspec.Struct):
    id: str
    function: _Function = _Function()
    type: str = "function"


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str = ""

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class ChatRequest(msgspec.Struct):
    """What the double reads of a request; the rest is accepted and ignored."""

    model: str
    messages: list[_Message]
    stream: bool = False
    stream_options: _StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None

    def prompt(self) -> Prompt:
        """Return the request in the doubles' own terms."""
        names = {call.id: call.function.name for message in self.messages for call in message.tool_calls or ()}
        last = self.messages[-1] if self.messages else _Message("user")
        is_tool = last.role == "tool"
        return Prompt(
            user_texts=tuple(message.text for message in self.messages if message.role == "user"),
            tool=names.get(last.tool_call_id, "unknown") if is_tool else "",
            tool_result=last.text if is_tool else "",
            instructions="\n".join(m.text for m in self.messages if m.role in ("system", "developer")),
        )


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


_decoder = msgspec.json.Decoder(ChatRequest)
_encode = msgspec.json.encode


def _usage(prompt: Prompt, reply: Reply) -> _Usage:
    spoken = len(reply.tokens) + 8 * len(reply.tools)
    return _Usage(prompt.tokens, spoken, prompt.tokens + spoken)


def _call_id(number: int) -> str:
    return f"call_{uuid4().hex[:20]}{number}"


class _Chunks:
    """The events of one stream; the frame around each delta is made once."""

    def __init__(self, model: str) -> None:
        frame = {"id": f"chatcmpl-{uuid4().hex[:24]}", "object": "chat.completion.chunk", "created": int(time())}
        self._head = b"data: " + _encode(frame)[:-1] + b',"model":' + _encode(model)
        self._head += b',"service_tier":"default","system_fingerprint":"fp_double","choices":['

    def delta(self, delta: bytes, finish_reason: str | None = None) -> bytes:
        return b"".join(
            (
                self._head,
                b'{"index":0,"delta":',
                delta,
                b',"logprobs":null,"finish_reason":',
                _encode(finish_reason),
                b'}],"usage":null}\n\n',
            )
        )

    def text(self, token: str) -> bytes:
        return self.delta(b'{"content":' + _encode(token) + b"}")

    def tool(self, number: int, fields: bytes) -> bytes:
        return self.delta(b'{"tool_calls":[{"index":%d,%s}]}' % (number, fields))

    def usage(self, usage: _Usage) -> bytes:
        return self._head + b'],"usage":' + _encode(usage) + b"}\n\n"


async def _stream(guest: Visit, request: ChatRequest, reply: Reply, asked_s: float) -> web.StreamResponse:
    link = await guest.stream("text/event-stream; charset=utf-8")
    link.error_message = lambda code: b"data: " + openai_error(500, code) + b"\n\n"
    chunks = _Chunks(request.model)
    is_first = True
    async for token in paced(guest, reply, asked_s):
        if is_first:
            await link.send(chunks.delta(b'{"role":"assistant","content":"","refusal":null}'))
            guest.exchange.note("out", "first_token")
            is_first = False
        if token:
            await link.send(chunks.text(token))
    await _stream_tools(link, chunks, reply)
    await link.send(chunks.delta(b"{}", "tool_calls" if reply.tools else "stop"))
    if request.stream_options is not None and request.stream_options.include_usage:
        await link.send(chunks.usage(_usage(request.prompt(), reply)))
    if guest.world.config.openai.sends_done:
        await link.send(b"data: [DONE]\n\n")
    return await link.finish()


async def _stream_tools(link: ResponseLink, chunks: _Chunks, reply: Reply) -> None:
    for number, tool in enumerate(reply.tools):
        call = _ToolCall(_call_id(number), _Function(tool.name))
        await link.send(chunks.tool(number, _encode(call)[1:-1]))
        for fragment in fragments(tool.arguments):
            await link.send(chunks.tool(number, b'"function":{"arguments":' + _encode(fragment) + b"}"))


def _whole(request: ChatRequest, reply: Reply) -> bytes:
    calls = [_ToolCall(_call_id(n), _Function(tool.name, tool.arguments)) for n, tool in enumerate(reply.tools)]
    message = {"role": "assistant", "content": reply.text or None, "refusal": None}
    choice = {
        "index": 0,
        "message": message | ({"tool_calls": calls} if calls else {}),
        "logprobs": None,
        "finish_reason": "tool_calls" if calls else "stop",
    }
    return _encode(
        {
            "id": f"chatcmpl-{uuid4().hex[:24]}",
            "object": "chat.completion",
            "created": int(time()),
            "model": request.model,
            "choices": [choice],
            "usage": _usage(request.prompt(), reply),
        }
    )


async def _complete(guest: Visit) -> web.StreamResponse:
    asked_s = monotonic()
    refusal = await guest.before(openai_error)
    if refusal is not None:
        return refusal
    if not guest.world.accepts_key(guest.world.bearer(guest.request.headers)):
        return guest.refuse(401, openai_error(401, message="Incorrect API key provided."))
    body = await guest.request.read()
    guest.exchange.note("in", "request", body.decode(errors="replace"))
    try:
        request = _decoder.decode(body)
    except msgspec.DecodeError as error:
        return guest.refuse(400, openai_error(400, message=str(error)))
    reply = guest.world.reply(request.prompt())
    if request.stream:
        return await _stream(guest, request, reply, asked_s)
    async for _ in paced(guest, reply, asked_s):
        pass
    return guest.answer(_whole(request, reply))


def routes(world: World) -> list[web.RouteDef]:
    """Return the routes of this double."""
    return [web.post("/v1/chat/completions", handler(world, Service.OPENAI_CHAT, _complete))]
