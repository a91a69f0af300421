"""The socket layer against a real client, both ways that serve it; also the contract with picows' internal class."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode
from websockets.typing import Subprotocol

from tests.media_stream import twilio_messages as twilio
from tests.media_stream.recording_listener import PATH, MediaServer, running
from voice_agent.media_stream.connection import CloseReason
from voice_agent.media_stream.server import SUBPROTOCOL, is_offered

# libuv opens a pipe for signals with its first loop and keeps it as long as the process lives: no leak of a test.
uvloop.new_event_loop().close()


@pytest.fixture(params=[True, False], ids=["picows", "asgi"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[MediaServer]:
    async with running(MediaServer(is_hybrid=request.param)) as server:
        yield server


@pytest.fixture
async def hybrid() -> AsyncIterator[MediaServer]:
    async with running(MediaServer(is_hybrid=True)) as server:
        yield server


async def close_code(client: ClientConnection) -> int:
    """Read until the server closes."""
    try:
        while True:
            await client.recv()
    except ConnectionClosed:
        assert client.close_code is not None
        return client.close_code


async def hold_a_call(server: MediaServer) -> None:
    """Speak, press a key, hear a reply with its marks, hang up."""
    async with connect(server.url, compression=None) as client:
        await client.send(twilio.connected().decode())
        await client.send(twilio.start(parameters={"ticket": "t"}).decode())
        listener = await server.listener()
        for number in range(2, 12):
            await client.send(twilio.media(number).decode())
        await client.send(twilio.dtmf(12, "5").decode())
        assert listener.connection is not None
        listener.connection.play(1, b"\x10" * 800)
        listener.connection.finish(1)
        media, mark = json.loads(await client.recv()), json.loads(await client.recv())
        await client.send(twilio.mark(13, mark["mark"]["name"]).decode())
        await client.send(twilio.stop(14).decode())
        assert await close_code(client) == 1000
    assert len(media["media"]["payload"]) == 1_068
    assert bytes(listener.audio) == b"\x7f" * 1_600
    assert await listener.closed is CloseReason.STOPPED
    assert listener.heard == [
        ("started", twilio.CALL),
        ("playback_started", 1),
        ("digit", "5"),
        ("marked", 1, 100.0),
        ("finished", 1),
        ("closed", CloseReason.STOPPED),
    ]
    assert len(server.clock) == 0


async def test_a_call_from_start_to_stop(server: MediaServer) -> None:
    await hold_a_call(server)


def test_a_call_on_uvloop() -> None:
    async def scenario() -> None:
        async with running(MediaServer(is_hybrid=True)) as server:
            await hold_a_call(server)
            async with connect(f"ws://127.0.0.1:{server.port}/echo") as client:
                await client.send("still uvicorn's")
                assert await client.recv() == "still uvicorn's"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_other_paths_are_served_as_before(server: MediaServer) -> None:
    async with connect(f"ws://127.0.0.1:{server.port}/echo?x=1") as client:
        await client.send("hello")
        assert await client.recv() == "hello"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200")


async def test_the_headers_of_the_upgrade_are_there_for_admission(server: MediaServer) -> None:
    async with connect(server.url, additional_headers={"X-Twilio-Signature": "c2ln"}) as client:
        await client.send(twilio.start().decode())
        listener = await server.listener()
        assert listener.connection is not None
        assert listener.connection.upgrade.path == PATH
        assert listener.connection.upgrade.headers["x-twilio-signature"] == "c2ln"


@pytest.mark.parametrize(("offered", "chosen"), [(SUBPROTOCOL, SUBPROTOCOL), ("chat", None), (None, None)])
async def test_the_subprotocol_is_echoed_only_where_offered(
    server: MediaServer, offered: str | None, chosen: str | None
) -> None:
    subprotocols = None if offered is None else [Subprotocol("other"), Subprotocol(offered)]
    async with connect(server.url, subprotocols=subprotocols) as client:
        assert client.subprotocol == chosen


def test_a_subprotocol_is_one_of_a_list() -> None:
    assert is_offered("chat, audio.twilio.com")
    assert not is_offered("audio.twilio.com.evil")


async def test_compression_is_never_agreed_to(server: MediaServer) -> None:
    async with connect(server.url, compression="deflate") as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


async def test_s01_a_refused_ticket_closes_with_1008_before_anybody_listens(server: MediaServer) -> None:
    async with connect(server.url) as client:
        await client.send(twilio.start(parameters={"ticket": "forged"}).decode())
        assert await close_code(client) == 1008
    assert server.listeners == []


async def test_f27_fifty_bad_frames_close_with_1007(server: MediaServer) -> None:
    async with connect(server.url) as client:
        await client.send(twilio.start().decode())
        listener = await server.listener()
        for _ in range(50):
            await client.send("{")
        assert await close_code(client) == 1007
    assert await listener.closed is CloseReason.BROKEN_PROTOCOL


async def test_f28_a_huge_frame_closes_with_1009(server: MediaServer) -> None:
    async with connect(server.url) as client:
        await client.send(twilio.start().decode())
        listener = await server.listener()
        await client.send("x" * 100_000)
        assert await close_code(client) == 1009
    assert await listener.closed in {CloseReason.BROKEN_PROTOCOL, CloseReason.DISCONNECTED}


async def test_f28_a_frame_at_the_limit_is_taken(server: MediaServer) -> None:
    async with connect(server.url) as client:
        await client.send(twilio.start().decode())
        listener = await server.listener()
        await client.send(twilio.media(2, b"\x01" * 20_000).decode())
        await client.send(twilio.stop(3).decode())
        await close_code(client)
    assert len(listener.audio) == 20_000


async def test_f28_fragments_are_joined_and_limited(hybrid: MediaServer) -> None:
    async with connect(hybrid.url) as client:
        await client.send([twilio.start()[:40].decode(), twilio.start()[40:].decode()])
        listener = await hybrid.listener()
        await client.send([b"bin", b"ary"])
        await client.send(twilio.media(2).decode())
        await client.send(["y" * 30_000] * 3)
        assert await close_code(client) == 1009
    assert bytes(listener.audio) == b"\x7f" * 160
    assert listener.connection is not None
    assert listener.connection.protocol.counts.binary == 1


@pytest.mark.parametrize("opcodes", [[Opcode.CONT], [Opcode.TEXT, Opcode.TEXT]])
async def test_fragments_out_of_order_close_with_1002(hybrid: MediaServer, opcodes: list[Opcode]) -> None:
    async with connect(hybrid.url) as client:
        for opcode in opcodes:
            raw = bytes([opcode, 0x80 | 1]) + b"\0\0\0\0" + b"x"
            client.transport.write(raw)
        assert await close_code(client) == 1002


async def test_f29_binary_frames_and_pings_are_harmless(server: MediaServer) -> None:
    async with connect(server.url) as client:
        await client.send(twilio.start().decode())
        listener = await server.listener()
        for _ in range(10):
            await client.send(b"\x00\xff")
            await (await client.ping())
        await client.send(twilio.stop(2).decode())
        assert await close_code(client) == 1000
    assert listener.connection is not None
    assert listener.connection.protocol.counts.binary >= 10


async def test_a_client_that_closes_ends_the_call(server: MediaServer) -> None:
    async with connect(server.url) as client:
        await client.send(twilio.start().decode())
        listener = await server.listener()
    assert await listener.closed is CloseReason.DISCONNECTED
    assert client.close_code == 1000


async def test_f25_a_reset_ends_the_call(server: MediaServer) -> None:
    client = await connect(server.url)
    await client.send(twilio.start().decode())
    listener = await server.listener()
    raw = client.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()
    assert await listener.closed is CloseReason.DISCONNECTED
    await client.wait_closed()


async def test_our_hang_up_closes_with_1000_and_cuts_off_a_silent_peer(hybrid: MediaServer) -> None:
    async with connect(hybrid.url) as client:
        await client.send(twilio.start().decode())
        listener = await hybrid.listener()
        assert listener.connection is not None
        listener.connection.close()
        assert await close_code(client) == 1000
    assert listener.heard[-1] == ("closed", CloseReason.HUNG_UP)


async def test_f29_a_flood_is_slowed_down_and_survived(hybrid: MediaServer) -> None:
    async with connect(hybrid.url) as client:
        await client.send(twilio.start().decode())
        listener = await hybrid.listener()
        for _ in range(6_000):
            await client.send(b"")
        await client.send(twilio.dtmf(2, "1").decode())
        await client.send(twilio.stop(3).decode())
        assert await close_code(client) == 1000
    assert ("digit", "1") in listener.heard
    assert listener.connection is not None
    assert listener.connection.protocol.counts.throttled > 0


@pytest.mark.parametrize("is_hybrid", [True, False])
async def test_shutting_down_closes_open_streams(*, is_hybrid: bool) -> None:
    server = MediaServer(is_hybrid=is_hybrid)
    async with running(server):
        client = await connect(server.url)
        await client.send(twilio.start().decode())
        listener = await server.listener()
        waiting = asyncio.create_task(close_code(client))
        await asyncio.sleep(0)
    assert await waiting == (1001 if is_hybrid else 1012)
    assert await listener.closed in {CloseReason.SHUTDOWN, CloseReason.DISCONNECTED}


async def test_an_upgrade_through_a_proxy_names_several_connection_options(hybrid: MediaServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hybrid.port)
    writer.write(
        f"GET {PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n".encode()
        + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Long: "
        + b"x" * 4_000
        + b"\r\n\r\n"
    )
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 101")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer


async def test_a_broken_upgrade_is_answered_with_400(hybrid: MediaServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hybrid.port)
    writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 400")
    assert len(hybrid.clock) == 0
