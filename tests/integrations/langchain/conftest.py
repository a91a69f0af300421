"""The doubles of OpenAI and Gemini, settings that lead to them, and any chat model of ours as a contract's subject."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import aiohttp
import pytest

from tests.contracts.eventually import eventually
from tests.contracts.language_model import Thinking, Trouble
from voice_agent.integrations.langchain.chat_models import build_language_model
from voice_agent.sandbox.providers import (
    DoublesConfig,
    Fault,
    FaultKind,
    ProviderDoubles,
    Reply,
    Service,
    Timings,
    ToolRequest,
)
from voice_agent.settings import GoogleSettings, OpenAISettings, Settings

KEY = "llm-test-4711"

FAULTS = {
    Trouble.WRONG_KEY: Fault(FaultKind.STATUS, status=401),
    Trouble.RATE_LIMIT: Fault(FaultKind.STATUS, status=429, retry_after_s=0.5),
    Trouble.SERVER_ERROR: Fault(FaultKind.STATUS, status=500),
    Trouble.RESET: Fault(FaultKind.REFUSE),
    Trouble.RESET_MIDWAY: Fault(FaultKind.RESET, after_messages=6),
    Trouble.MALFORMED: Fault(FaultKind.MALFORMED, after_messages=6),
    Trouble.CUT_OFF: Fault(FaultKind.CLOSE, after_messages=6),
    Trouble.ERROR_MIDWAY: Fault(FaultKind.ERROR, after_messages=6),
}


@pytest.fixture
async def doubles() -> AsyncIterator[ProviderDoubles]:
    config = DoublesConfig(api_key=KEY, timings=Timings(first_token_s=0.0, token_s=0.002))
    async with await ProviderDoubles.start(config) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client
    await asyncio.sleep(0)


@pytest.fixture
def settings(doubles: ProviderDoubles) -> Settings:
    return Settings(
        openai=OpenAISettings.model_validate({"api_key": KEY, "base_url": doubles.openai_base_url}),
        google=GoogleSettings.model_validate({"api_key": KEY, "base_url": doubles.google_base_url}),
    )


ThinkingWith = Callable[[str, Service], Thinking]


@pytest.fixture
async def thinking_with(
    doubles: ProviderDoubles, settings: Settings, session: aiohttp.ClientSession
) -> AsyncIterator[ThinkingWith]:
    """Return what makes a contract's subject of `provider:model` and the service behind it."""
    made = []

    def make(name: str, service: Service) -> Thinking:
        def answer(text: str, tools: Sequence[tuple[str, str]]) -> None:
            requests = tuple(ToolRequest(tool, arguments) for tool, arguments in tools)
            doubles.converse(lambda _: Reply(text, requests))

        async def was_cancelled() -> bool:
            await eventually(lambda: doubles.journal.last(service).closed_s)
            return doubles.journal.last(service).is_cancelled

        def last_request() -> str:
            return doubles.journal.last(service).named("request")[-1].text

        port = build_language_model(name, settings, session)
        made.append(port)
        return Thinking(
            port,
            answer,
            lambda trouble: doubles.plan_faults(service, FAULTS[trouble]),
            lambda: doubles.plan_faults(service, Fault(FaultKind.STALL, after_messages=6)),
            was_cancelled,
            last_request,
        )

    yield make
    for port in made:
        await port.close()
        await port.close()


@pytest.fixture(autouse=True)
def _no_keys_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
