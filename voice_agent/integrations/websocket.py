"""A WebSocket client for provider connections: picows, reduced to what an adapter needs.

`send` is synchronous and costs one masked copy and one write to the kernel: no task, queue or timer for a frame.
What it does not do: reconnect (`transcription` and each adapter decide that), or compress (mu-law in base64 hardly
shrinks and costs 2.5 times the CPU, bench/README.md).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from functools import cache

from picows import WSCloseCode, WSError, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport, ws_connect

from voice_agent.errors import ProviderError, ProviderUnavailable
from voice_agent.integrations.failures import from_exception, from_status

CONNECT_S = 4.0
"""Name lookup, TCP, TLS and upgrade together; a healthy provider takes 0.1 to 0.4 s."""

PING_IDLE_S = 10.0
PING_REPLY_S = 5.0
"""A connection that answers no ping is dead, whatever TCP believes."""

MAX_MESSAGE_BYTES = 2 * 1024 * 1024
"""25 times the base64 of ten seconds of audio; more is a fault (bounds the memory of a call)."""


def websocket_url(base_url: str) -> str:
    """Return an http(s) address with the scheme of its WebSockets."""
    return "ws" + base_url.removeprefix("http")


class ProviderSocket(WSListener):
    """One open connection. `on_message` gets each text message; `on_closed` the end of it, once, unless we closed."""

    def __init__(
        self, provider: str, on_message: Callable[[bytes], None], on_closed: Callable[[ProviderError], None]
    ) -> None:
        self._provider = provider
        self._on_message = on_message
        self._on_closed: Callable[[ProviderError], None] | None = on_closed
        self._transport: WSTransport | None = None
        self._fragments = bytearray()
        self._aftermath: asyncio.Task[None] | None = None
        self.has_opened = False
        """Whether the upgrade has succeeded, even where the connection is gone again."""

    def send(self, message: bytes) -> None:
        """Send a text message. After the connection has ended it does nothing."""
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, message)

    def close(self) -> None:
        """Close the connection and report nothing more. Safe to call twice."""
        self._on_closed = None
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()
            self._transport = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Called by picows, possibly after whoever was connecting has given up."""
        self.has_opened = True
        if self._on_closed is None:
            transport.disconnect(graceful=False)
        else:
            self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Called by picows for every frame, continuation frames included."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._receive(transport, frame)

    def _receive(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._on_closed is None:
            return
        # picows announces a frame above its limit, and delivers it all the same.
        if len(self._fragments) + frame.payload_size > MAX_MESSAGE_BYTES:
            transport.send_close(WSCloseCode.MESSAGE_TOO_BIG)
            transport.disconnect()
            return
        payload = frame.get_payload_as_bytes()
        if frame.fin and not self._fragments:
            self._on_message(payload)
            return
        self._fragments += payload
        if frame.fin:
            whole, self._fragments = bytes(self._fragments), bytearray()
            self._on_message(whole)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Called by picows, also after our own `close`."""
        self._transport = None
        self._aftermath = asyncio.get_running_loop().create_task(_take_exception(transport))
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed(ProviderUnavailable(self._provider, _farewell(transport)))

    def pause_writing(self) -> None:
        """The kernel's buffer is full: the provider is slow. Audio queues in the transport; pings find a dead peer."""

    def resume_writing(self) -> None:
        """The kernel's buffer has drained."""


async def _take_exception(transport: WSTransport) -> None:
    """Take what picows keeps of a broken protocol, which asyncio would complain about; `on_closed` has told it."""
    with contextlib.suppress(WSError):
        await transport.wait_disconnected()


async def connect(
    provider: str,
    url: str,
    *,
    headers: Mapping[str, str],
    on_message: Callable[[bytes], None],
    on_closed: Callable[[ProviderError], None],
) -> ProviderSocket:
    """Open a WebSocket to `url` (ws or wss). Raises ProviderError: Refused for a wrong key, Unavailable otherwise.

    `on_message` must not raise: an exception in it closes the connection.
    """
    socket = ProviderSocket(provider, on_message, on_closed)
    try:
        async with asyncio.timeout(CONNECT_S):
            await ws_connect(
                lambda: socket,
                url,
                ssl_context=_tls() if url.startswith("wss") else None,
                websocket_handshake_timeout=CONNECT_S,
                enable_auto_ping=True,
                auto_ping_idle_timeout=PING_IDLE_S,
                auto_ping_reply_timeout=PING_REPLY_S,
                max_frame_size=MAX_MESSAGE_BYTES,
                max_redirects=0,
                extra_headers=dict(headers),
            )
    except asyncio.CancelledError:
        socket.close()
        raise
    except WSHandshakeError as error:
        raise _handshake_failure(provider, error) from error
    except (OSError, TimeoutError, WSError) as error:
        socket.close()
        raise from_exception(provider, error) from error
    if not socket.has_opened:
        # picows returns as if all were well where the peer hangs up before it has answered the upgrade.
        socket.close()
        raise ProviderUnavailable(provider, "connection lost during the handshake")
    return socket


@cache
def _tls() -> ssl.SSLContext:
    """One context for all connections: loading the certificates takes 20 to 40 ms."""
    return ssl.create_default_context()


def _handshake_failure(provider: str, error: WSHandshakeError) -> ProviderError:
    if error.response is None:
        return ProviderUnavailable(provider, f"no WebSocket handshake: {error}")
    body = (error.raw_body or b"")[:200].decode("utf-8", "replace")
    return from_status(provider, int(error.response.status), body, headers=error.response.headers)


def _farewell(transport: WSTransport) -> str:
    handshake = transport.close_handshake
    received = handshake.recv if handshake is not None else None
    if received is None:
        return "connection lost"
    return f"closed with {received.code:d} {received.reason or ''}".strip()
