"""A `MediaStreamListener` that writes down what it is told, and the server it listens at."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from voice_agent.media_stream.connection import CloseReason, MediaStreamConnection, PlayoutClock
from voice_agent.media_stream.protocol import MAX_FRAME_BYTES, StreamStarted
from voice_agent.media_stream.server import MediaStreamEndpoint, hybrid_protocol, websocket_route

PATH = "/twilio/media"


class RecordingListener:
    """Keeps every call as a tuple, audio joined."""

    def __init__(self, connection: MediaStreamConnection | None = None) -> None:
        self.connection = connection
        self.heard: list[tuple[object, ...]] = []
        self.audio = bytearray()
        self.closed: asyncio.Future[CloseReason] = asyncio.get_running_loop().create_future()
        self.on_digit_do: Callable[[], None] = lambda: None

    def on_started(self, started: StreamStarted) -> None:
        self.heard.append(("started", started.call_sid))

    def on_audio(self, mulaw: bytes) -> None:
        self.audio += mulaw

    def on_digit(self, digit: str) -> None:
        self.heard.append(("digit", digit))
        self.on_digit_do()

    def on_playback_started(self, turn: int) -> None:
        self.heard.append(("playback_started", turn))

    def on_playback_marked(self, turn: int, heard_ms: float) -> None:
        self.heard.append(("marked", turn, heard_ms))

    def on_playback_stopped(self, turn: int, heard_ms: float, remaining_ms: float) -> None:
        self.heard.append(("stopped", turn, heard_ms, remaining_ms))

    def on_playback_finished(self, turn: int) -> None:
        self.heard.append(("finished", turn))

    def on_closed(self, reason: CloseReason) -> None:
        self.heard.append(("closed", reason))
        self.closed.set_result(reason)


class MediaServer:
    """A real server on a free port of the loopback, and the listeners of the streams it admitted."""

    def __init__(self, *, is_hybrid: bool) -> None:
        self.listeners: list[RecordingListener] = []
        self._has_listener = asyncio.Event()
        self.clock = PlayoutClock()
        self.endpoint = MediaStreamEndpoint(PATH, self._admit, clock=self.clock)
        routes = [
            websocket_route(self.endpoint),
            WebSocketRoute("/echo", _echo),
            Route("/health", lambda _request: PlainTextResponse("well")),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            host="127.0.0.1",
            port=0,
            ws=hybrid_protocol(self.endpoint) if is_hybrid else "websockets-sansio",
            ws_max_size=MAX_FRAME_BYTES,
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            log_level="error",
            lifespan="off",
        )
        self.server = uvicorn.Server(config)

    def _admit(self, started: StreamStarted, connection: MediaStreamConnection) -> RecordingListener | None:
        if started.parameters.get("ticket") == "forged":
            return None
        listener = RecordingListener(connection)
        self.listeners.append(listener)
        self._has_listener.set()
        return listener

    @property
    def port(self) -> int:
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}{PATH}"

    async def listener(self) -> RecordingListener:
        """Return the listener of the latest stream, once one has been admitted."""
        await self._has_listener.wait()
        return self.listeners[-1]


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


@asynccontextmanager
async def running(server: MediaServer) -> AsyncIterator[MediaServer]:
    """Run the server inside the test's own loop, without taking over the process's signals."""
    server.server.config.load()
    server.server.lifespan = server.server.config.lifespan_class(server.server.config)
    await server.server.startup()
    try:
        yield server
    finally:
        await server.server.shutdown()
