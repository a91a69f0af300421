"""The client connection, against servers that do the unexpected."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import WSMsgType, web

from tests.contracts.eventually import eventually
from voice_agent.errors import ProviderBusy, ProviderError, ProviderRefused, ProviderUnavailable
from voice_agent.integrations import websocket
from voice_agent.integrations.websocket import ProviderSocket, connect, websocket_url


@dataclass
class Client:
    messages: list[bytes] = field(default_factory=list)
    ends: list[ProviderError] = field(default_factory=list)

    async def connect(self, url: str) -> ProviderSocket:
        headers = {"xi-api-key": "hush"}
        return await connect(
            "vendor", url, headers=headers, on_message=self.messages.append, on_closed=self.ends.append
        )


@asynccontextmanager
async def serving(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def test_addresses() -> None:
    assert websocket_url("https://api.example.org/v1") == "wss://api.example.org/v1"
    assert websocket_url("http://127.0.0.1:1") == "ws://127.0.0.1:1"


async def test_messages_go_both_ways_and_a_close_of_ours_is_not_reported() -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(request.headers["xi-api-key"])
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async with serving(echo) as url:
        client = Client()
        socket = await client.connect(url)
        socket.send(b'{"a":1}')
        await eventually(lambda: client.messages == [b"hush", b'{"a":1}'])
        socket.close()
        socket.close()
        socket.send(b"late")
        await asyncio.sleep(0.02)
        assert client.ends == []


@pytest.mark.parametrize("code", [1000, 1008, 4321])
async def test_a_close_of_theirs_is_reported_once_with_its_code(code: int) -> None:
    async def close(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close(code=code, message=b"because")
        return socket

    async with serving(close) as url:
        client = Client()
        socket = await client.connect(url)
        await eventually(lambda: client.ends)
        assert len(client.ends) == 1
        assert isinstance(client.ends[0], ProviderUnavailable)
        assert f"closed with {code} because" in str(client.ends[0])
        socket.close()


async def test_fragments_are_joined() -> None:
    async def fragments(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert request.transport is not None
        request.transport.write(b"\x01\x03abc" + b"\x00\x03def" + b"\x80\x03ghi")
        await socket.receive()
        return socket

    async with serving(fragments) as url:
        client = Client()
        socket = await client.connect(url)
        await eventually(lambda: client.messages == [b"abcdefghi"])
        socket.close()


async def test_a_huge_message_ends_the_connection() -> None:
    async def flood(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("x" * (websocket.MAX_MESSAGE_BYTES + 1))
        await socket.receive()
        return socket

    async with serving(flood) as url:
        client = Client()
        await client.connect(url)
        await eventually(lambda: client.ends)
        assert client.messages == []


async def test_a_message_that_is_huge_in_fragments_ends_it_too() -> None:
    async def flood(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert request.transport is not None
        piece = b"x" * 60_000
        head = b"\x7e" + len(piece).to_bytes(2, "big") + piece
        request.transport.write(b"\x01" + head)
        for _ in range(websocket.MAX_MESSAGE_BYTES // len(piece) + 2):
            request.transport.write(b"\x00" + head)
            await asyncio.sleep(0)
        await socket.receive()
        return socket

    async with serving(flood) as url:
        client = Client()
        await client.connect(url)
        await eventually(lambda: client.ends)
        assert client.messages == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, ProviderRefused), (403, ProviderRefused), (429, ProviderBusy), (500, ProviderUnavailable)],
)
async def test_a_refused_upgrade(status: int, kind: type[ProviderError]) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status, text="no such plan", headers={"Retry-After": "2"})

    async with serving(refuse) as url:
        client = Client()
        with pytest.raises(kind) as caught:
            await client.connect(url)
        assert str(status) in str(caught.value)
        assert "hush" not in str(caught.value)
        if isinstance(caught.value, ProviderBusy):
            assert caught.value.retry_after_s == 2.0


async def test_nobody_listens() -> None:
    with pytest.raises(ProviderUnavailable):
        await Client().connect("ws://127.0.0.1:1/")


async def test_a_peer_that_hangs_up_before_the_upgrade() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProviderUnavailable):
            await Client().connect(f"ws://127.0.0.1:{port}/")


async def test_giving_up_while_connecting_leaves_nothing_open() -> None:
    released = asyncio.Event()

    async def slow(request: web.Request) -> web.WebSocketResponse:
        await released.wait()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        received.append((await socket.receive()).type)
        return socket

    received: list[WSMsgType] = []
    async with serving(slow) as url:
        client = Client()
        connecting = asyncio.create_task(client.connect(url))
        await asyncio.sleep(0.05)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        released.set()
        await eventually(lambda: received)
        assert client.ends == []
