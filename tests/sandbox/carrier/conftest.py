from collections.abc import AsyncIterator

import pytest

from tests.sandbox.carrier.calling import speak
from tests.sandbox.carrier.server import FakeServer
from voice_agent.sandbox.carrier import Carrier


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    runner = await fake.start()
    yield fake
    await runner.cleanup()


@pytest.fixture
async def carrier() -> AsyncIterator[Carrier]:
    async with Carrier() as running:
        yield running


@pytest.fixture
async def speaking_carrier() -> AsyncIterator[Carrier]:
    """Its `<Say>` is one tone a language, 1 ms a character."""
    async with Carrier(synthesise=speak) as running:
        yield running
