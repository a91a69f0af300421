"""Doubles that answer at once, and a client for them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from voice_agent.sandbox.providers import DoublesConfig, ProviderDoubles, Timings

INSTANT = DoublesConfig(timings=Timings.instant())


@pytest.fixture
async def doubles() -> AsyncIterator[ProviderDoubles]:
    async with await ProviderDoubles.start(INSTANT) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"xi-api-key": "k", "Authorization": "Bearer k", "x-goog-api-key": "k"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


async def receive_all(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    """Return what comes until the socket is closed."""
    return [json.loads(message.data) async for message in socket if message.type is aiohttp.WSMsgType.TEXT]


async def receive(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """Return the next message."""
    decoded: dict[str, Any] = json.loads(await socket.receive_str(timeout=10))
    return decoded


def sse(body: str, line_end: str = "\n") -> list[str]:
    """Return the data of the events of a stream."""
    events = body.split(line_end * 2)
    assert events.pop() == ""
    return [line.removeprefix("data: ") for event in events for line in event.split(line_end) if line[:6] == "data: "]
