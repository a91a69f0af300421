import aiohttp
import openai
import pytest

from voice_agent.sandbox.providers import (
    DoublesConfig,
    ElevenLabsConfig,
    Fault,
    FaultKind,
    ProviderDoubles,
    Service,
)  # fmt: skip

ELEVENLABS = {"xi-api-key": "right", "Authorization": ""}
OPENAI = {"Authorization": "Bearer right"}
GEMINI = {"x-goog-api-key": "right"}


async def get(url: str, headers: dict[str, str]) -> tuple[int, object]:
    async with aiohttp.ClientSession() as client, client.get(url, headers=headers) as response:
        return response.status, await response.json()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/voices", ELEVENLABS), ("/v2/voices", ELEVENLABS), ("/v1/user", ELEVENLABS),
        ("/v1/user/subscription", ELEVENLABS), ("/v1/models", ELEVENLABS), ("/v1/models", OPENAI),
        ("/v1/models/gpt-x", OPENAI), ("/v1beta/models", GEMINI), ("/v1beta/models/gemini-x", GEMINI),
    ],
)  # fmt: skip
async def test_the_right_key_is_answered_and_a_wrong_one_is_not(path: str, headers: dict[str, str]) -> None:
    async with await ProviderDoubles.start(DoublesConfig(api_key="right")) as doubles:
        assert (await get(doubles.url + path, headers))[0] == 200
        wrong = {name: value.replace("right", "wrong") for name, value in headers.items()}
        assert (await get(doubles.url + path, wrong))[0] == 401
        assert doubles.journal.last(Service.ACCOUNTS).status == 401


async def test_voices(doubles: ProviderDoubles) -> None:
    status, voice = await get(f"{doubles.url}/v1/voices/sandbox-voice", ELEVENLABS)
    assert (status, voice) == (200, {"voice_id": "sandbox-voice", "name": "Voice sandbox-voice", "category": "premade"})
    config = DoublesConfig(elevenlabs=ElevenLabsConfig(voices=("mine",)))
    async with await ProviderDoubles.start(config) as strict:
        assert (await get(f"{strict.url}/v1/voices/other", ELEVENLABS))[0] == 404
        _, listed = await get(f"{strict.url}/v1/voices", ELEVENLABS)
        assert isinstance(listed, dict)
        assert [entry["voice_id"] for entry in listed["voices"]] == ["mine"]


async def test_models_differ_by_provider(doubles: ProviderDoubles) -> None:
    async with openai.AsyncOpenAI(api_key="k", base_url=doubles.openai_base_url) as sdk:
        assert "gpt-live-transcribe" in [model.id async for model in sdk.models.list()]
    _, listed = await get(f"{doubles.url}/v1/models", ELEVENLABS)
    assert isinstance(listed, list)
    assert "eleven_flash_v2_5" in [entry["model_id"] for entry in listed]


async def test_accounts_can_fail(doubles: ProviderDoubles) -> None:
    doubles.plan_faults(Service.ACCOUNTS, Fault(FaultKind.STATUS, status=503))
    assert (await get(f"{doubles.url}/v1/user", ELEVENLABS))[0] == 503
    assert (await get(f"{doubles.url}/v1/user", ELEVENLABS))[0] == 200
