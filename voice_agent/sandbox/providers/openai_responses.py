"""Double of OpenAI's Responses API, `/v1/responses`, streamed and whole.

Source: the OpenAI API reference ("Responses", streaming events) and the types of openai-python 3.54. Some models are
reachable here only, and LangChain's ChatOpenAI comes here by itself for some names.
"""

from collections.abc import Mapping
from time import monotonic, time
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp import web

from voice_agent.sandbox.providers.completions import fragments, openai_error, paced
from voice_agent.sandbox.providers.dialogue import Prompt, Reply, ToolRequest
from voice_agent.sandbox.providers.journal import Service
from voice_agent.sandbox.providers.visit import ResponseLink, Visit, handler
from voice_agent.sandbox.providers.world import World

Json = Mapping[str, object]


class _Part(msgspec.Struct):
    text: str = ""


class _Item(msgspec.Struct):
    type: str = "message"
    role: str = ""
    content: str | list[_Part] | None = None
    call_id: str = ""
    name: str = ""
    output: str | list[_Part] = ""

    @property
    def text(self) -> str:
        return _joined(self.content or "")


def _joined(content: str | list[_Part]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


class ResponsesRequest(msgspec.Struct):
    """What the double reads of a request; the rest is accepted and ignored."""

    model: str
    input: str | list[_Item] = ""
    instructions: str | None = None
    stream: bool = False
    tools: list[dict[str, Any]] = []

    def prompt(self) -> Prompt:
        """Return the request in the doubles' own terms."""
        items = [_Item(role="user", content=self.input)] if isinstance(self.input, str) else self.input
        names = {item.call_id: item.name for item in items if item.type == "function_call"}
        last = items[-1] if items else _Item()
        is_tool = last.type == "function_call_output"
        system = [item.text for item in items if item.role in ("system", "developer")]
        return Prompt(
            user_texts=tuple(item.text for item in items if item.role == "user"),
            tool=names.get(last.call_id, "unknown") if is_tool else "",
            tool_result=_joined(last.output) if is_tool else "",
            instructions="\n".join([self.instructions or "", *system]).strip(),
        )


_decoder = msgspec.json.Decoder(ResponsesRequest)
_encode = msgspec.json.encode


class _Answer:
    """One response object and the events that build it."""

    def __init__(self, request: ResponsesRequest) -> None:
        self._request = request
        self._id = f"resp_{uuid4().hex}"
        self._sequence = 0
        self.output: list[Json] = []

    def event(self, kind: str, fields: Json) -> bytes:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return b"event: " + kind.encode() + b"\ndata: " + _encode(event) + b"\n\n"

    def response(self, status: str, prompt: Prompt, reply: Reply | None = None) -> Json:
        usage = None
        if reply is not None:
            spoken = len(reply.tokens) + 8 * len(reply.tools)
            usage = {
                "input_tokens": prompt.tokens,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": spoken,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": prompt.tokens + spoken,
            }
        return {
            "id": self._id, "object": "response", "created_at": int(time()), "status": status, "error": None,
            "incomplete_details": None, "instructions": self._request.instructions, "metadata": {},
            "model": self._request.model, "output": self.output, "parallel_tool_calls": True, "temperature": 1.0,
            "tool_choice": "auto", "tools": self._request.tools, "top_p": 1.0, "usage": usage,
        }  # fmt: skip


def _message(item_id: str, text: str, status: str) -> Json:
    content = [_text_part(text)] if status == "completed" else []
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def _text_part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(item_id: str, call_id: str, tool: ToolRequest, arguments: str, status: str) -> Json:
    return {
        "id": item_id, "type": "function_call", "status": status, "call_id": call_id, "name": tool.name,
        "arguments": arguments,
    }  # fmt: skip


async def _stream_text(guest: Visit, link: ResponseLink, answer: _Answer, reply: Reply, asked_s: float) -> None:
    item_id = f"msg_{uuid4().hex}"
    place: dict[str, object] = {"item_id": item_id, "output_index": 0, "content_index": 0}
    is_first = True
    async for token in paced(guest, reply, asked_s):
        if not token:
            return
        if is_first:
            item = {"output_index": 0, "item": _message(item_id, "", "in_progress")}
            await link.send(answer.event("response.output_item.added", item))
            await link.send(answer.event("response.content_part.added", {**place, "part": _text_part("")}))
            guest.exchange.note("out", "first_token")
            is_first = False
        await link.send(answer.event("response.output_text.delta", {**place, "delta": token, "logprobs": []}))
    done = _message(item_id, reply.text, "completed")
    answer.output.append(done)
    await link.send(answer.event("response.output_text.done", {**place, "text": reply.text, "logprobs": []}))
    await link.send(answer.event("response.content_part.done", {**place, "part": _text_part(reply.text)}))
    await link.send(answer.event("response.output_item.done", {"output_index": 0, "item": done}))


async def _stream_tool(link: ResponseLink, answer: _Answer, tool: ToolRequest) -> None:
    item_id, call_id = f"fc_{uuid4().hex}", f"call_{uuid4().hex}"
    index = len(answer.output)
    place: dict[str, object] = {"item_id": item_id, "output_index": index}
    begun = {"output_index": index, "item": _call(item_id, call_id, tool, "", "in_progress")}
    await link.send(answer.event("response.output_item.added", begun))
    for fragment in fragments(tool.arguments):
        await link.send(answer.event("response.function_call_arguments.delta", {**place, "delta": fragment}))
    finished = {**place, "name": tool.name, "arguments": tool.arguments}
    await link.send(answer.event("response.function_call_arguments.done", finished))
    done = _call(item_id, call_id, tool, tool.arguments, "completed")
    answer.output.append(done)
    await link.send(answer.event("response.output_item.done", {"output_index": index, "item": done}))


async def _stream(guest: Visit, request: ResponsesRequest, reply: Reply, asked_s: float) -> web.StreamResponse:
    link = await guest.stream("text/event-stream; charset=utf-8")
    answer, prompt = _Answer(request), request.prompt()
    failure = {"code": "server_error", "message": "The double was told to fail.", "param": None}
    link.error_message = lambda code: answer.event("error", {**failure, "code": code or "server_error"})
    begun = {"response": answer.response("in_progress", prompt)}
    await link.send(answer.event("response.created", begun))
    await link.send(answer.event("response.in_progress", begun))
    await _stream_text(guest, link, answer, reply, asked_s)
    for tool in reply.tools:
        await _stream_tool(link, answer, tool)
    await link.send(answer.event("response.completed", {"response": answer.response("completed", prompt, reply)}))
    return await link.finish()


def _whole(request: ResponsesRequest, reply: Reply) -> bytes:
    answer = _Answer(request)
    if reply.text:
        answer.output.append(_message(f"msg_{uuid4().hex}", reply.text, "completed"))
    for tool in reply.tools:
        call_id = f"call_{uuid4().hex}"
        answer.output.append(_call(f"fc_{uuid4().hex}", call_id, tool, tool.arguments, "completed"))
    return _encode(answer.response("completed", request.prompt(), reply))


async def _respond(guest: Visit) -> web.StreamResponse:
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
    return [web.post("/v1/responses", handler(world, Service.OPENAI_RESPONSES, _respond))]
