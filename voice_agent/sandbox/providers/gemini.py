"""Double of Gemini's `generateContent` and `streamGenerateContent?alt=sse`.

Source: the Gemini API reference ("generateContent"), and what google-genai 2.34 sends and reads. Unlike OpenAI's,
SSE lines end with CRLF, function calls come whole and without an id, usage is cumulative on every chunk and no
marker ends the stream.
"""

from time import monotonic
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp import web

from voice_agent.sandbox.providers.completions import paced
from voice_agent.sandbox.providers.dialogue import Prompt, Reply
from voice_agent.sandbox.providers.journal import Service
from voice_agent.sandbox.providers.visit import Visit, handler
from voice_agent.sandbox.providers.world import World


class _FunctionResponse(msgspec.Struct):
    name: str = ""
    response: dict[str, Any] | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str = ""
    function_response: _FunctionResponse | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] = []
    role: str = "user"

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)

    @property
    def answer(self) -> _FunctionResponse | None:
        return next((part.function_response for part in self.parts if part.function_response is not None), None)


class GeminiRequest(msgspec.Struct, rename="camel"):
    """What the double reads of a request; the rest is accepted and ignored."""

    contents: list[_Content]
    system_instruction: _Content | None = None

    def prompt(self) -> Prompt:
        """Return the request in the doubles' own terms."""
        tool = self.contents[-1].answer if self.contents else None
        return Prompt(
            user_texts=tuple(c.text for c in self.contents if c.role == "user" and c.answer is None),
            tool=tool.name if tool else "",
            tool_result=msgspec.json.encode(tool.response).decode() if tool else "",
            instructions=self.system_instruction.text if self.system_instruction else "",
        )


_decoder = msgspec.json.Decoder(GeminiRequest)
_encode = msgspec.json.encode

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


def gemini_error(status: int, error: str = "", message: str = "The double was told to fail.") -> bytes:
    """Return Google's error body for an HTTP status."""
    name = error or _STATUSES.get(status, "INTERNAL")
    return _encode({"error": {"code": status, "message": message, "status": name}})


def gemini_key(guest: Visit) -> str | None:
    """Return the key of a request, from the header or the query."""
    return guest.request.headers.get("x-goog-api-key") or guest.request.query.get("key")


class _Chunks:
    """The chunks of one answer, with the usage so far."""

    def __init__(self, model: str, prompt: Prompt) -> None:
        self._tail = b',"modelVersion":' + _encode(model) + b',"responseId":' + _encode(uuid4().hex) + b"}"
        self._asked = prompt.tokens
        self._spoken = 0

    def chunk(self, parts: list[bytes], *, tokens: int, is_last: bool) -> bytes:
        self._spoken += tokens
        usage = {
            "promptTokenCount": self._asked,
            "candidatesTokenCount": self._spoken,
            "totalTokenCount": self._asked + self._spoken,
        }
        return b"".join((
            b'{"candidates":[{"index":0,"content":{"role":"model","parts":[', b",".join(parts), b"]}",
            b',"finishReason":"STOP"' if is_last else b"", b'}],"usageMetadata":', _encode(usage), self._tail,
        ))  # fmt: skip


def _text_part(text: str) -> bytes:
    return b'{"text":' + _encode(text) + b"}"


def _tool_parts(reply: Reply) -> list[bytes]:
    return [
        b'{"functionCall":{"name":%s,"args":%s}}' % (_encode(tool.name), tool.arguments.encode())
        for tool in reply.tools
    ]


async def _stream(guest: Visit, chunks: _Chunks, reply: Reply, asked_s: float) -> web.StreamResponse:
    """Send one token a chunk; the tools, whole, and the end of the answer come with the last chunk."""
    link = await guest.stream("text/event-stream")
    link.error_message = lambda error: b"data: " + gemini_error(500, error) + b"\r\n\r\n"
    tools = _tool_parts(reply)
    left = len(reply.tokens)
    async for token in paced(guest, reply, asked_s):
        left -= 1
        is_last = left <= 0 and not tools
        if token:
            chunk = chunks.chunk([_text_part(token)], tokens=1, is_last=is_last)
            await link.send(b"data: " + chunk + b"\r\n\r\n")
            if left == len(reply.tokens) - 1:
                guest.exchange.note("out", "first_token")
    if tools:
        await link.send(b"data: " + chunks.chunk(tools, tokens=8 * len(tools), is_last=True) + b"\r\n\r\n")
    return await link.finish()


async def _generate(guest: Visit, *, is_streamed: bool) -> web.StreamResponse:
    asked_s = monotonic()
    refusal = await guest.before(gemini_error)
    if refusal is not None:
        return refusal
    key = gemini_key(guest)
    if not key:
        return guest.refuse(403, gemini_error(403, message="Method doesn't allow unregistered callers."))
    if not guest.world.accepts_key(key):
        return guest.refuse(400, gemini_error(400, message="API key not valid. Please pass a valid API key."))
    body = await guest.request.read()
    guest.exchange.note("in", "request", body.decode(errors="replace"))
    try:
        prompt = _decoder.decode(body).prompt()
    except msgspec.DecodeError as error:
        return guest.refuse(400, gemini_error(400, message=str(error)))
    reply = guest.world.reply(prompt)
    chunks = _Chunks(guest.request.match_info["model"], prompt)
    if is_streamed:
        return await _stream(guest, chunks, reply, asked_s)
    async for _ in paced(guest, reply, asked_s):
        pass
    parts = ([_text_part(reply.text)] if reply.text else []) + _tool_parts(reply)
    return guest.answer(chunks.chunk(parts, tokens=len(reply.tokens), is_last=True))


def routes(world: World) -> list[web.RouteDef]:
    """Return the routes of this double."""

    async def streamed(guest: Visit) -> web.StreamResponse:
        return await _generate(guest, is_streamed=True)

    async def whole(guest: Visit) -> web.StreamResponse:
        return await _generate(guest, is_streamed=False)

    model = "/v1beta/models/{model}"
    return [
        web.post(f"{model}:streamGenerateContent", handler(world, Service.GEMINI, streamed)),
        web.post(f"{model}:generateContent", handler(world, Service.GEMINI, whole)),
    ]
