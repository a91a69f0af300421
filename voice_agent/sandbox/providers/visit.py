"""One connection or request at a double: journal, faults and the two ways out, a socket or a streamed response."""

import asyncio
import socket as sockets
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Protocol

from aiohttp import WSMsgType, web

from voice_agent.sandbox.providers.faults import Fault, FaultKind, Gate, Step, garble
from voice_agent.sandbox.providers.journal import Exchange, Service
from voice_agent.sandbox.providers.outbox import Outbox, Outgoing
from voice_agent.sandbox.providers.world import World

MAX_MESSAGE_BYTES = 16 * 1024 * 1024

JSON = "application/json"


class Severed(Exception):
    """A fault has ended this connection; nothing more can be said."""


def reset(request: web.Request) -> None:
    """Drop the client with a TCP reset."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


class Visit:
    """What a handler needs of one request."""

    def __init__(self, world: World, request: web.Request, exchange: Exchange, fault: Fault | None) -> None:
        self.world = world
        self.request = request
        self.exchange = exchange
        self.fault = fault
        self.response: web.StreamResponse | None = None
        """What has been begun, and must be what the handler returns."""

    @property
    def sound_fault(self) -> FaultKind | None:
        """The fault's kind, for what is applied to the content and not to messages."""
        return self.fault.kind if self.fault else None

    async def before(self, error_body: Callable[[int, str], bytes]) -> web.Response | None:
        """Apply what goes wrong before an answer begins; returns the answer where that is all there is.

        `error_body` gives the provider's JSON for an HTTP status. Raises Severed.
        """
        fault = self.fault
        if fault is None:
            return None
        if fault.kind is FaultKind.SLOW_CONNECT:
            await asyncio.sleep(fault.delay_s)
        elif fault.kind is FaultKind.REFUSE:
            reset(self.request)
            raise Severed
        elif fault.kind is FaultKind.STATUS:
            headers = {} if fault.retry_after_s is None else {"Retry-After": f"{fault.retry_after_s:g}"}
            return self.refuse(fault.status, error_body(fault.status, fault.error), headers)
        return None

    def refuse(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
        """Answer with an error."""
        self.exchange.note("out", f"http {status}", body.decode())
        self.exchange.ended_by = "double"
        self.exchange.status = status
        return web.Response(status=status, body=body, content_type=JSON, headers=headers)

    def answer(self, body: bytes) -> web.Response:
        """Answer with JSON, all at once."""
        self.exchange.messages_out += 1
        self.exchange.ended_by = "complete"
        self.exchange.status = 200
        return web.Response(body=body, content_type=JSON)

    async def stream(self, content_type: str, headers: dict[str, str] | None = None) -> "ResponseLink":
        """Begin a streamed response."""
        response = web.StreamResponse(headers={"Content-Type": content_type, **(headers or {})})
        await response.prepare(self.request)
        self.exchange.status = 200
        self.response = response
        return ResponseLink(self, response)

    async def upgrade(self) -> "SocketLink":
        """Accept a WebSocket."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=2.0)
        await socket.prepare(self.request)
        self.exchange.status = 101
        self.response = socket
        return SocketLink(self, socket)


@asynccontextmanager
async def visit(request: web.Request, world: World, service: Service) -> AsyncIterator[Visit]:
    """Keep the journal of one request and its fault."""
    fault = world.faults.take(service)
    exchange = world.journal.open(service, request.path_qs)
    exchange.fault = fault.kind if fault else ""
    try:
        with world.visited():
            yield Visit(world, request, exchange, fault)
    except Severed:
        exchange.ended_by = "double"
        raise
    except (asyncio.CancelledError, ConnectionResetError):
        if not exchange.ended_by:
            exchange.ended_by = "client"
            exchange.is_cancelled = exchange.status != 101
        raise
    finally:
        exchange.closed_s = monotonic()


Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


def handler(world: World, service: Service, handle: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Wrap a double's handler into a visit; a severed or abandoned connection ends quietly."""

    async def serve(request: web.Request) -> web.StreamResponse:
        guest = None
        try:
            async with visit(request, world, service) as guest:
                return await handle(guest)
        except (Severed, ConnectionResetError):
            # What has begun has to be returned, also over a connection that is gone.
            return (guest and guest.response) or web.Response()

    return serve


class _Link:
    """A way out that meets the connection's fault."""

    def __init__(self, guest: Visit) -> None:
        self._visit = guest
        self._gate = Gate(guest.fault)
        self._held: bytes | None = None
        self.error_message: Callable[[str], bytes] = lambda error: error.encode()
        """The provider's own message for an error in the stream, whole."""

    async def send(self, payload: bytes) -> None:
        """Send a message unless the fault plan decides otherwise. Raises Severed."""
        fault = self._visit.fault
        step = self._gate.judge(payload)
        if step is Step.SEND or fault is None:
            await self._send(payload)
            if self._held is not None:
                held, self._held = self._held, None
                await self._send(held)
            return
        self._visit.exchange.note("note", f"fault {fault.kind}")
        if step is Step.DELAY:
            await asyncio.sleep(fault.delay_s)
            await self._send(payload)
        elif step is Step.HOLD:
            self._held = payload
        elif step is Step.GARBLE:
            await self._send(garble(payload))
        elif step is Step.SWALLOW:
            await asyncio.Event().wait()
        elif await self._end(step, fault):
            raise Severed

    async def _send(self, payload: bytes) -> None:
        raise NotImplementedError

    async def _end(self, step: Step, fault: Fault) -> bool:
        """End the connection; returns False where the provider would go on."""
        raise NotImplementedError

    def _drop(self, *, with_reset: bool) -> None:
        request = self._visit.request
        if with_reset:
            reset(request)
        elif request.transport is not None:
            request.transport.close()


class ResponseLink(_Link):
    """A streamed HTTP response."""

    def __init__(self, guest: Visit, response: web.StreamResponse) -> None:
        super().__init__(guest)
        self._response = response

    async def finish(self) -> web.StreamResponse:
        """End the response properly."""
        if self._held is not None:
            await self._send(self._held)
        await self._response.write_eof()
        self._visit.exchange.ended_by = "complete"
        return self._response

    async def _send(self, payload: bytes) -> None:
        self._visit.exchange.messages_out += 1
        await self._response.write(payload)

    async def _end(self, step: Step, fault: Fault) -> bool:
        if step is Step.ERROR:
            await self._send(self.error_message(fault.error))
        if step in (Step.ERROR, Step.TRUNCATE):
            await self._response.write_eof()
        else:
            self._drop(with_reset=step is Step.RESET)
        return True


class SocketLink(_Link):
    """A WebSocket; `transmit` is what its outbox sends through."""

    def __init__(self, guest: Visit, socket: web.WebSocketResponse) -> None:
        super().__init__(guest)
        self.socket = socket
        self.error_close_code = 1008
        """How the provider closes after an error of its own; 0: it goes on, the error replaces one message."""

    async def transmit(self, message: Outgoing) -> None:
        """Send, or close the connection. Raises Severed."""
        if message.close_code:
            self._visit.exchange.ended_by = "double"
            await self.socket.close(code=message.close_code)
            raise Severed
        await self.send(message.payload)
        exchange = self._visit.exchange
        exchange.audio_out_bytes += message.audio_bytes
        if message.name:
            exchange.note("out", message.name, "" if message.audio_bytes else message.payload.decode())

    async def _send(self, payload: bytes) -> None:
        self._visit.exchange.messages_out += 1
        await self.socket.send_frame(payload, WSMsgType.TEXT)

    async def _end(self, step: Step, fault: Fault) -> bool:
        code = fault.close_code
        if step is Step.ERROR:
            await self._send(self.error_message(fault.error))
            code = self.error_close_code
            if not code:
                return False
        elif step is Step.TRUNCATE:
            code = 1000
        self._visit.exchange.ended_by = "double"
        if step is Step.RESET or code == 1006:
            self._drop(with_reset=step is Step.RESET)
        else:
            await self.socket.close(code=code)
        return True


class Conversation(Protocol):
    """A provider's side of one socket: told what the client says, answers through its outbox."""

    def receive(self, text: str) -> None:
        """Take a text message."""

    def idle_after_s(self) -> float | None:
        """Return the `monotonic` moment at which silence of the client ends the connection."""

    def idle(self) -> None:
        """That moment has come."""


async def hold(guest: Visit, link: SocketLink, outbox: Outbox, conversation: Conversation) -> web.StreamResponse:
    """Run a socket until one side ends it."""
    sender = asyncio.create_task(_send_all(link, outbox))
    watch = asyncio.create_task(_watch_idle(conversation))
    guest.world.sockets.add(link.socket)
    try:
        await _receive_all(guest, link, conversation)
    finally:
        guest.world.sockets.discard(link.socket)
        guest.exchange.close_code = int(link.socket.close_code or 1006)
        guest.exchange.ended_by = guest.exchange.ended_by or "client"
        for task in (sender, watch):
            task.cancel()
        await asyncio.gather(sender, watch, return_exceptions=True)
    return link.socket


async def _receive_all(guest: Visit, link: SocketLink, conversation: Conversation) -> None:
    fault = guest.fault
    slow_after = fault.after_messages if fault and fault.kind is FaultKind.SLOW_READ else -1
    async for message in link.socket:
        if guest.exchange.messages_in == slow_after and fault is not None:
            await asyncio.sleep(fault.delay_s)
        guest.exchange.messages_in += 1
        if message.type is WSMsgType.TEXT:
            conversation.receive(message.data)
        else:
            guest.exchange.note("in", message.type.name.lower())


async def _send_all(link: SocketLink, outbox: Outbox) -> None:
    try:
        await outbox.run(link.transmit)
    except (Severed, ConnectionResetError):
        pass


async def _watch_idle(conversation: Conversation) -> None:
    while (until_s := conversation.idle_after_s()) is not None:
        wait_s = until_s - monotonic()
        if wait_s <= 0:
            conversation.idle()
            return
        await asyncio.sleep(wait_s)
