"""ElevenLabs' double, and settings that lead to it."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from voice_agent.sandbox.providers import DoublesConfig, ProviderDoubles, Timings
from voice_agent.settings import ElevenLabsSettings

KEY = "el-test-4711"


@pytest.fixture
async def doubles() -> AsyncIterator[ProviderDoubles]:
    config = DoublesConfig(api_key=KEY, timings=Timings.instant())
    async with await ProviderDoubles.start(config) as running:
        yield running


@pytest.fixture
def settings(doubles: ProviderDoubles) -> ElevenLabsSettings:
    return ElevenLabsSettings(api_key=SecretStr(KEY), base_url=doubles.elevenlabs_base_url)
