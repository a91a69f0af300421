"""One process that serves: its socket, its web server, its log, and how it ends.

The first SIGTERM or SIGINT drains (`calls.drain`): the process goes on until its last call has ended. The second one
ends it at once. `python -m voice_agent.serving` is one of several processes behind a port (`supervisor`): it reads the
settings itself, so that no secret crosses a pipe.
"""

import asyncio
import gc
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from voice_agent.app import Server, create_app
from voice_agent.calls.drain import Drain
from voice_agent.media_stream.protocol import MAX_FRAME_BYTES
from voice_agent.media_stream.server import hybrid_protocol
from voice_agent.process import READY, OnListening, configure_logging, end_with_stdin, listen
from voice_agent.settings import Settings, load_settings


def serve(settings: Settings, *, on_listening: OnListening | None = None) -> None:
    """Serve in this process until it has drained."""
    listener, base_url = listen(settings.server)
    serve_on(listener, base_url, settings, on_listening=on_listening)


def serve_on(
    listener: socket.socket, base_url: str, settings: Settings, *, on_listening: OnListening | None = None
) -> None:
    """Serve on a socket that other processes may listen on too, until this one has drained."""
    configure_logging(settings.server.log_level)
    app = create_app(settings, base_url)
    server: Server = app.state.server
    config = uvicorn.Config(
        app,
        ws=hybrid_protocol(server.endpoint),
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
        # Longer than proxies keep theirs: a connection closed under a webhook on its way loses the call.
        timeout_keep_alive=75,
    )
    drain = Drain(server.calls, drain_s=settings.server.drain_s)
    DrainingServer(config, drain, lambda: on_listening(base_url) if on_listening else None).run(sockets=[listener])
    gc.freeze()  # or the interpreter would collect, several times over, what ends with the process: a second


class DrainingServer(uvicorn.Server):
    """uvicorn that says when it is ready, and lets calls end before it does."""

    def __init__(self, config: uvicorn.Config, drain: Drain, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            self._loop = asyncio.get_running_loop()
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's shape
        """Take a signal: drain, the second time end."""
        if self._loop is None:
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self._drain.begin)

    async def on_tick(self, counter: int) -> bool:
        """Tell whether to end, ten times a second."""
        return await super().on_tick(counter) or self._drain.is_over

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is open still, and end."""
        await self._drain.close()
        await super().shutdown(sockets)


def work(descriptor: int, base_url: str) -> None:
    """Be one of several processes on a socket that the parent has opened; end with the parent."""
    threading.Thread(target=end_with_stdin, name="stdin", daemon=True).start()
    serve_on(socket.socket(fileno=descriptor), base_url, load_settings(), on_listening=_announce_ready)


def _announce_ready(_: str) -> None:
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    work(int(sys.argv[1]), sys.argv[2])
