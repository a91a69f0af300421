"""`provider:model` and settings in, a chat model out."""

import os

import aiohttp
import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_openai import ChatOpenAI

from voice_agent.errors import SettingsError
from voice_agent.integrations.langchain.chat_models import TRACING_VARIABLES, build_chat_model, build_language_model
from voice_agent.integrations.langchain.language_model import LangChainLanguageModel
from voice_agent.integrations.langchain.openai_chat import OpenAICompatibleChat
from voice_agent.settings import Settings


@pytest.mark.parametrize(
    ("name", "uses_responses"),
    [("openai:gpt-6", True), ("openai:gpt-5.6-sol", True), ("openai:gpt-5.2-pro", True), ("openai:x-codex", True)],
)
async def test_models_that_need_the_responses_api(
    settings: Settings, session: aiohttp.ClientSession, name: str, uses_responses: bool
) -> None:
    model = build_chat_model(name, settings, session)
    assert isinstance(model, ChatOpenAI)
    assert model.use_responses_api is uses_responses
    assert model.max_retries == 0
    await LangChainLanguageModel(model, "openai").close()


async def test_all_others_take_the_thin_one(settings: Settings, session: aiohttp.ClientSession) -> None:
    model = build_chat_model("openai:gpt-5-mini", settings, session)
    assert isinstance(model, OpenAICompatibleChat)
    assert (model.model_name, model.base_url) == ("gpt-5-mini", settings.openai.base_url)


async def test_the_sdk_can_be_asked_for(settings: Settings, session: aiohttp.ClientSession) -> None:
    model = build_chat_model("openai-sdk:gpt-6", settings, session)
    assert isinstance(model, ChatOpenAI)
    assert model.use_responses_api is False
    await LangChainLanguageModel(model, "openai").close()


@pytest.mark.parametrize("name", ["", "gpt-6", ":gpt-6", "openai:"])
async def test_a_name_without_provider_or_model(settings: Settings, session: aiohttp.ClientSession, name: str) -> None:
    with pytest.raises(SettingsError, match="provider:model"):
        build_chat_model(name, settings, session)


@pytest.mark.parametrize(("name", "setting"), [("openai:m", "OPENAI_API_KEY"), ("google_genai:m", "GOOGLE_API_KEY")])
async def test_a_missing_key_is_named(session: aiohttp.ClientSession, name: str, setting: str) -> None:
    with pytest.raises(SettingsError, match=setting):
        build_chat_model(name, Settings(), session)


@pytest.mark.parametrize("name", ["nobody:m", "mistralai:m"])
async def test_an_unknown_provider(settings: Settings, session: aiohttp.ClientSession, name: str) -> None:
    with pytest.raises(SettingsError, match=name.partition(":")[0]):
        build_chat_model(name, settings, session)


async def test_transcripts_are_never_traced(
    settings: Settings, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in TRACING_VARIABLES:
        monkeypatch.setenv(variable, "true")
    build_language_model("openai:m", settings, session)
    assert {os.environ[variable] for variable in TRACING_VARIABLES} == {"false"}


async def test_a_model_without_connections_of_its_own_closes_too() -> None:
    await LangChainLanguageModel(FakeListChatModel(responses=["hi"]), "fake").close()
