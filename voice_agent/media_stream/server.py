"""The WebSocket layer of the media stream, two ways behind one `MediaStreamEndpoint`.

`hybrid_protocol(endpoint)` returns a class for uvicorn's `ws=`: upgrades of the media path are served by picows in the
same process and on the same port, everything else by uvicorn's own protocol. It takes a third of the processor time of
an ASGI socket (measured in bench/wire.py, decided in docs/decisions/0003). `websocket_route(endpoint)` is the same
stream as a plain Starlette route: for other ASGI servers, and where picows cannot be installed. Mount it in any case;
the hybrid simply comes before it.

Run uvicorn with `ws=hybrid_protocol(endpoint), ws_max_size=MAX_FRAME_BYTES, ws_per_message_deflate=False`.

Compression is never offered: base64 of mu-law hardly shrinks, costs 2.5 times the processor time and invites bombs.
`WSProtocol` is picows' internal class, hence the pinned minor version; tests/media_stream/test_server.py is the
contract with it.
"""

import asyncio
import logging
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from voice_agent.media_stream.connection import (
    Admit,
    CloseReason,
    MediaSocket,
    MediaStreamConnection,
    PlayoutClock,
    Upgrade,
)
from voice_agent.media_stream.playback import PlaybackSettings
from voice_agent.media_stream.protocol import MAX_FRAME_BYTES, PROTOCOL_ERROR, TOO_BIG

if TYPE_CHECKING:

    class WSProtocol(asyncio.BufferedProtocol):
        """What is used of picows' class, which ships no types."""

        transport: WSTransport

        def __init__(self, *options: object) -> None: ...

        def get_buffer(self, sizehint: int) -> memoryview:
            """Return where the next bytes go."""

else:
    from picows.picows import WSProtocol

SUBPROTOCOL = "audio.twilio.com"
"""Reports disagree on whether Twilio offers it: it is echoed where it is offered, and only there."""

SEND_BUFFER_BYTES = 16 * 1024
"""The kernel's part of what a slow reader can hold back (Linux doubles it): about 3 s of audio, not minutes."""

READ_BUFFER_BYTES = 2_048
"""Picows' least; five of Twilio's frames. It grows where it must, up to the frame limit."""

HANDSHAKE_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0
"""Time for the peer to answer a close frame before it is cut off."""


class MediaStreamEndpoint:
    """Where media streams come in: a path, who is admitted, and the clock that drives them all."""

    def __init__(
        self, path: str, admit: Admit, *, clock: PlayoutClock, settings: PlaybackSettings | None = None
    ) -> None:
        self.path = path
        self.clock = clock
        self._admit = admit
        self._settings = settings

    def connect(self, media_socket: MediaSocket, upgrade: Upgrade) -> MediaStreamConnection:
        """Return a connection for a socket that has just been opened."""
        return MediaStreamConnection(
            media_socket, upgrade, admit=self._admit, clock=self.clock, settings=self._settings
        )


# --- picows inside uvicorn --------------------------------------------------------------------------------------
_picows_log = logging.getLogger("voice_agent.media_stream.picows")
_picows_log.setLevel(logging.WARNING)

_TEXT, _BINARY, _CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION
_PING, _CLOSE = WSMsgType.PING, WSMsgType.CLOSE


class _PicowsSocket(WSListener):
    """One media socket: picows' listener on one side, our `MediaSocket` on the other."""

    def __init__(self, endpoint: MediaStreamEndpoint, upgrade: Upgrade) -> None:
        self.connection: MediaStreamConnection | None = None
        self.is_closing = False
        self._endpoint = endpoint
        self._upgrade = upgrade
        self._fragments: list[bytes] = []
        self._fragments_bytes = 0
        self._fragmented: WSMsgType | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    # --- picows' side
    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._stream = transport.underlying_transport
        self.connection = self._endpoint.connect(self, self._upgrade)
        self._receive = self.connection.receive

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is _TEXT and frame.fin and self._fragmented is None:
            self._receive(frame.get_payload_as_bytes())
        else:
            self._receive_other(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
        if self.connection is not None:
            is_ours = transport.is_close_frame_sent and not self.is_closing
            self.connection.lost(CloseReason.BROKEN_PROTOCOL if is_ours else CloseReason.DISCONNECTED)

    def pause_writing(self) -> None:
        """Do nothing: the connection asks for `unsent_bytes` before it writes."""

    def resume_writing(self) -> None:
        """Do nothing, likewise."""

    def _receive_other(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take all that Twilio does not send: fragments, binary and control frames."""
        kind = frame.msg_type
        if kind is _CLOSE:
            self.is_closing = True
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif kind is _PING:
            self._receive_nothing()
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind in (_TEXT, _BINARY, _CONTINUATION):
            self._assemble(frame, kind)

    def _assemble(self, frame: WSFrame, kind: WSMsgType) -> None:
        """Join the fragments of a message (RFC 6455, section 5.4), never more than the limit."""
        if (kind is _CONTINUATION) is not (self._fragmented is not None):
            self.close(PROTOCOL_ERROR, "fragments out of order")
            return
        self._fragmented = self._fragmented or kind
        self._fragments.append(frame.get_payload_as_bytes())
        self._fragments_bytes += frame.payload_size
        if self._fragments_bytes > MAX_FRAME_BYTES:
            self.close(TOO_BIG, "message too big")
        elif frame.fin:
            message, whole = self._fragmented, b"".join(self._fragments)
            self._fragments, self._fragments_bytes, self._fragmented = [], 0, None
            if message is _TEXT:
                self._receive(whole)
            else:
                self._receive_nothing()

    def _receive_nothing(self) -> None:
        if self.connection is not None:
            self.connection.receive_binary()

    # --- the connection's side
    def send(self, message: bytes) -> None:
        """Write a text frame."""
        self._transport.send(_TEXT, message)

    def unsent_bytes(self) -> int:
        """Return how much the kernel has not taken."""
        return self._stream.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Read no more for now."""
        if not self._stream.is_closing():
            self._stream.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._stream.is_closing():
            self._stream.resume_reading()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; cut off a peer that does not answer it."""
        if self.is_closing or self._transport.is_disconnected:
            return
        self.is_closing = True
        self._transport.send_close(cast(WSCloseCode, code), reason)
        loop = asyncio.get_running_loop()
        self._close_timer = loop.call_later(CLOSE_TIMEOUT_S, self._transport.disconnect, False)

    def abort(self) -> None:
        """Cut the connection."""
        self.is_closing = True
        self._transport.disconnect(graceful=False)


class _PicowsProtocol(WSProtocol):
    """picows' parser as one of uvicorn's connections."""

    def __init__(self, endpoint: MediaStreamEndpoint, server_state: ServerState) -> None:
        self._endpoint = endpoint
        self._connections = cast("set[object]", server_state.connections)
        self._socket: _PicowsSocket | None = None
        super().__init__(
            None, None, False,  # host, path, is_client_side
            self._answer, _picows_log,
            True,  # disconnect_on_exception
            None,  # handshake timeout: uvicorn has read the whole request already
            False, None, None, WSAutoPingStrategy.PING_WHEN_IDLE, False,  # no pings; pongs are sent at our own pace
            MAX_FRAME_BYTES, None, READ_BUFFER_BYTES,
        )  # fmt: skip

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join uvicorn's connections, which get `shutdown` when the server stops."""
        self._connections.add(self)
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave uvicorn's connections."""
        self._connections.discard(self)
        super().connection_lost(exc)

    def buffer_updated(self, nbytes: int) -> None:
        """Parse; read no more of a peer that picows has given up, which would fill the buffer until it is cut off."""
        super().buffer_updated(nbytes)
        if self.transport.is_close_frame_sent and self._socket is not None and not self._socket.is_closing:
            self._socket.pause_reading()

    def shutdown(self) -> None:
        """Close with 1001: the server is stopping."""
        if self._socket is not None and self._socket.connection is not None:
            self._socket.connection.shut_down()
        else:
            self.transport.disconnect()

    def feed(self, received: bytes) -> None:
        """Take bytes that another protocol has read."""
        while received:
            buffer = self.get_buffer(-1)
            taken = min(len(buffer), len(received))
            buffer[:taken] = received[:taken]
            self.buffer_updated(taken)
            received = received[taken:]

    def _answer(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        headers = {name.lower(): value for name, value in request.headers.items()}
        offered = headers.get("sec-websocket-protocol", "")
        # picows wants this header to be this word alone; proxies send "keep-alive, Upgrade", uvicorn has checked it.
        request.headers["Connection"] = "upgrade"
        self._socket = _PicowsSocket(self._endpoint, Upgrade(request.path.decode("latin-1"), headers))
        chosen = {"Sec-WebSocket-Protocol": SUBPROTOCOL} if is_offered(offered) else None
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(chosen), self._socket)


class _HybridProtocol(asyncio.Protocol):
    """What uvicorn hands an upgraded socket to: looks at the path, hands it on, and steps aside."""

    endpoint: MediaStreamEndpoint

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._chosen: _PicowsProtocol | WebSocketsSansIOProtocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take the request, which uvicorn puts together again and hands over in one piece."""
        chosen = self._chosen
        if chosen is None:
            chosen = self._chosen = self._choose(data)
            chosen.connection_made(self._transport)
            # uvicorn sets *this* protocol once we return.
            asyncio.get_running_loop().call_soon(self._transport.set_protocol, chosen)
        if isinstance(chosen, _PicowsProtocol):
            chosen.feed(data)
        else:
            chosen.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._chosen is not None:
            self._chosen.connection_lost(exc)

    def _choose(self, request: bytes) -> "_PicowsProtocol | WebSocketsSansIOProtocol":
        _, target, _ = request.split(b" ", 2)
        if target.partition(b"?")[0] == self.endpoint.path.encode():
            return _PicowsProtocol(self.endpoint, self._server_state)
        return WebSocketsSansIOProtocol(self._config, self._server_state, self._app_state)


def hybrid_protocol(endpoint: MediaStreamEndpoint) -> type[asyncio.Protocol]:
    """Return a class for uvicorn's `ws=` that serves the endpoint's path by picows and all others as uvicorn would."""
    return type("HybridProtocol", (_HybridProtocol,), {"endpoint": endpoint})


# --- any ASGI server --------------------------------------------------------------------------------------------
class _AsgiSocket:
    """A `MediaSocket` over Starlette's: what is written at once waits here for the task that awaits the sending.

    The kernel's buffer is out of reach behind ASGI, so that a slow reader is found later than with picows: after
    minutes of audio rather than seconds.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._wake = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._close: tuple[int, str] | None = None
        self.aborted = asyncio.Event()

    def send(self, message: bytes) -> None:
        """Queue a text frame."""
        if self._close is None:
            self._unsent.append(message)
            self._unsent_bytes += len(message)
            self._wake.set()

    def unsent_bytes(self) -> int:
        """Return how much the server below has not taken."""
        return self._unsent_bytes

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Read again."""
        self._may_read.set()

    def close(self, code: int, reason: str) -> None:
        """Close once everything queued is written."""
        self._close = self._close or (code, reason)
        self._may_read.set()
        self._wake.set()

    def abort(self) -> None:
        """End the route's function; ASGI knows no harder way."""
        self.aborted.set()

    async def write_all(self) -> None:
        """Write what is queued until the socket is closed, by either side."""
        try:
            while self._close is None or self._unsent:
                await self._wake.wait()
                self._wake.clear()
                while self._unsent:
                    message = self._unsent.popleft()
                    await self._websocket.send_text(message.decode())
                    self._unsent_bytes -= len(message)
            await self._websocket.close(*self._close)
        except (WebSocketDisconnect, RuntimeError):
            # Starlette's words for a peer that has gone. The reader has seen it too.
            return

    async def read_all(self, connection: MediaStreamConnection) -> None:
        """Read until the peer closes."""
        while True:
            await self._may_read.wait()
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                connection.receive_binary()
            else:
                connection.receive(text.encode())


def websocket_route(endpoint: MediaStreamEndpoint) -> WebSocketRoute:
    """Return the endpoint as a route for any Starlette or FastAPI application."""

    async def serve(websocket: WebSocket) -> None:
        offered = websocket.headers.get("sec-websocket-protocol", "")
        await websocket.accept(subprotocol=SUBPROTOCOL if is_offered(offered) else None)
        media_socket = _AsgiSocket(websocket)
        connection = endpoint.connect(media_socket, Upgrade(websocket.url.path, dict(websocket.headers.items())))
        tasks: list[asyncio.Task[object]] = [
            asyncio.create_task(media_socket.read_all(connection)),
            asyncio.create_task(media_socket.write_all()),
            asyncio.create_task(media_socket.aborted.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connection.lost()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in done:
            task.result()

    return WebSocketRoute(endpoint.path, serve)


def is_offered(header: str) -> bool:
    """Return whether a `Sec-WebSocket-Protocol` header offers Twilio's sub-protocol."""
    return SUBPROTOCOL in (offered.strip() for offered in header.split(","))
