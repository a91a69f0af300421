"""The gate before WebSockets: a real server's messages, without the server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.websockets import WebSocket

from tests.api.world import ApiWorld, api_world
from voice_agent.auth.principal import Permission, Principal, Role
from voice_agent.auth.sockets import NOT_AUTHENTICATED, NOT_PERMITTED, SocketGate
from voice_agent.errors import NotAuthenticated, NotPermitted
from voice_agent.storage.database import Database

READ = Permission.CALLS_READ


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[ApiWorld]:
    async with api_world(sqlite, tmp_path) as world:
        yield world


class Client:
    """The other end: what it sends, and what it is sent."""

    def __init__(self, *offered: str, first: dict[str, Any] | None = None, **headers: str) -> None:
        self.got: list[dict[str, Any]] = []
        self._first = first
        self._connected = False
        sent = {"host": "calls.example.org"} | {name.replace("_", "-").lower(): v for name, v in headers.items()}
        raw = [(name.encode(), value.encode()) for name, value in sent.items()]
        scope = {"type": "websocket", "headers": raw, "subprotocols": list(offered), "client": ("10.0.0.1", 1)}
        self.socket = WebSocket(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        if self._first is None:
            await asyncio.Event().wait()
        return self._first or {}

    async def _send(self, message: Any) -> None:
        self.got.append(dict(message))

    async def enters(self, world: ApiWorld, permission: Permission = READ, **options: Any) -> Principal:
        return (await SocketGate(world.gate, **options).admit(self.socket, permission)).principal

    @property
    def close_code(self) -> int:
        return int(self.got[-1]["code"])


async def token_of(world: ApiWorld) -> str:
    await world.organisation()
    return (await world.signed_in("owner@harbour.test"))["Authorization"].removeprefix("Bearer ")


async def test_a_token_comes_as_subprotocol_header_or_first_message(world: ApiWorld) -> None:
    token = await token_of(world)
    for client in (
        Client("bearer", token),
        Client(Authorization=f"Bearer {token}"),
        Client(first={"type": "websocket.receive", "text": f'{{"token":"{token}"}}'}),
        Client("bearer", token, Origin="https://calls.example.org"),
    ):
        assert (await client.enters(world)).role is Role.OWNER
        assert [message["type"] for message in client.got] == ["websocket.accept"]
    assert client.got[0]["subprotocol"] == "bearer"


async def test_an_api_key_is_good_too(world: ApiWorld) -> None:
    org_id = await world.organisation()
    key = (await world.key(org_id, READ))["X-API-Key"]

    assert (await Client(X_API_Key=key).enters(world)).kind == "api_key"
    refused = Client("bearer", key)
    with pytest.raises(NotPermitted):
        await refused.enters(world, Permission.CALLS_WRITE)
    assert refused.close_code == NOT_PERMITTED


@pytest.mark.parametrize(
    "client",
    [
        lambda: Client("bearer", "garbage"),
        lambda: Client("bearer", first={"type": "websocket.receive", "text": '{"token":"garbage"}'}),
        lambda: Client(Authorization="Basic b3duZXI6cGFzcw=="),
        lambda: Client(first={"type": "websocket.receive", "text": "garbage"}),
        lambda: Client(first={"type": "websocket.receive", "text": '{"token":7}'}),
        lambda: Client(first={"type": "websocket.receive", "text": '{"token":""}'}),
        lambda: Client(first={"type": "websocket.receive", "bytes": b"garbage"}),
    ],
)
async def test_g17_a_socket_of_nobody_is_closed(world: ApiWorld, client: Any) -> None:
    await world.organisation()
    refused = client()
    with pytest.raises(NotAuthenticated):
        await refused.enters(world)
    assert refused.close_code == NOT_AUTHENTICATED


async def test_whoever_says_nothing_is_not_waited_for(world: ApiWorld) -> None:
    silent = Client()
    with pytest.raises(NotAuthenticated):
        await silent.enters(world, first_message_s=0.01)
    assert silent.close_code == NOT_AUTHENTICATED


async def test_whoever_leaves_has_left(world: ApiWorld) -> None:
    with pytest.raises(NotAuthenticated):
        await Client(first={"type": "websocket.disconnect", "code": 1001}).enters(world)


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "", "https://calls.example.org.evil.test"])
async def test_a_page_of_another_origin_is_refused_unread(world: ApiWorld, origin: str) -> None:
    token = await token_of(world)
    page = Client("bearer", token, Origin=origin)
    with pytest.raises(NotPermitted):
        await page.enters(world)
    assert [message["type"] for message in page.got] == ["websocket.close"]


async def test_a_console_elsewhere_is_named(world: ApiWorld) -> None:
    token = await token_of(world)
    page = Client("bearer", token, Origin="http://localhost:3000")

    assert (await page.enters(world, origins={"http://localhost:3000"})).role is Role.OWNER
