"""OpenAI's double, and settings that lead to it."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from voice_agent.sandbox.providers import DoublesConfig, OpenAIConfig, ProviderDoubles, Timings
from voice_agent.settings import OpenAISettings

KEY = "oa-test-4711"


@pytest.fixture
async def doubles() -> AsyncIterator[ProviderDoubles]:
    openai = OpenAIConfig(overtaken_every=2, overtaken_by_s=0.05)
    async with await ProviderDoubles.start(
        DoublesConfig(api_key=KEY, timings=Timings.instant(), openai=openai)
    ) as running:
        yield running


@pytest.fixture
def settings(doubles: ProviderDoubles) -> OpenAISettings:
    return OpenAISettings(api_key=SecretStr(KEY), base_url=doubles.openai_base_url)
