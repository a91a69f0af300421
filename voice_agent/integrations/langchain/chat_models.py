"""The factory of chat models: `provider:model` and the settings in, a LangChain chat model out.

    openai:NAME        our thin streaming model; ChatOpenAI with the Responses API where the model needs it
    openai-sdk:NAME    ChatOpenAI over chat completions, whatever the name
    google_genai:NAME  ChatGoogleGenerativeAI
    anything else      LangChain's init_chat_model; its integration package must be installed

There is no default model: names are withdrawn too often. Building imports the vendor's SDK (1.4 s the first time), so
build before the first call.
"""

import os
from collections.abc import Callable

import aiohttp
from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from voice_agent.errors import SettingsError
from voice_agent.integrations.langchain.language_model import LangChainLanguageModel
from voice_agent.integrations.langchain.openai_chat import OpenAICompatibleChat
from voice_agent.settings import Settings

TIMEOUT_S = 20.0
"""For SDKs that would otherwise wait ten minutes; the turn's own deadlines are shorter."""

TRACING_VARIABLES = ("LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING", "LANGCHAIN_TRACING")

RESPONSES_ONLY = ("gpt-6", "gpt-5.6-sol")
"""Models that take tools over the Responses API only, beside "codex" and the "-pro" ones (langchain-openai 1.7)."""


def build_language_model(name: str, settings: Settings, session: aiohttp.ClientSession) -> LangChainLanguageModel:
    """Return the LanguageModel port for `provider:model`. See `build_chat_model`."""
    return LangChainLanguageModel(build_chat_model(name, settings, session), provider=name.partition(":")[0])


def build_chat_model(name: str, settings: Settings, session: aiohttp.ClientSession) -> BaseChatModel:
    """Return the chat model for `provider:model`.

    `session` is the process's one HTTP client; it must outlive the model. Raises SettingsError where the name or its
    key is missing, or the provider is unknown.
    """
    _forbid_tracing()
    provider, colon, model = name.partition(":")
    if not (colon and provider and model):
        raise SettingsError(f"LANGUAGE_MODEL must be provider:model, such as openai:MODEL, not {name!r}")
    return _BUILDERS.get(provider, _any_model)(name, settings, session)


def _forbid_tracing() -> None:
    """Keep calls private: a developer's LangSmith variables would send every transcript to a third party."""
    for variable in TRACING_VARIABLES:
        os.environ[variable] = "false"


def _openai(name: str, settings: Settings, session: aiohttp.ClientSession) -> BaseChatModel:
    model = name.partition(":")[2]
    if _needs_responses_api(model):
        return _chat_openai(model, settings, use_responses_api=True)
    return OpenAICompatibleChat(
        model_name=model,
        api_key=_present("OPENAI_API_KEY", settings.openai.api_key),
        base_url=settings.openai.base_url,
        session=session,
    )


def _openai_sdk(name: str, settings: Settings, session: aiohttp.ClientSession) -> BaseChatModel:
    del session
    return _chat_openai(name.partition(":")[2], settings, use_responses_api=False)


def _needs_responses_api(model: str) -> bool:
    return model.startswith(RESPONSES_ONLY) or "codex" in model or (model.startswith("gpt-5") and "-pro" in model)


def _chat_openai(model: str, settings: Settings, *, use_responses_api: bool) -> BaseChatModel:
    from langchain_openai import ChatOpenAI
    from openai import DefaultAsyncHttpx2Client

    return ChatOpenAI(
        # Its own: the one that langchain-openai keeps for all instances could not be closed with this one.
        http_async_client=DefaultAsyncHttpx2Client(timeout=TIMEOUT_S),
        model=model,
        api_key=_present("OPENAI_API_KEY", settings.openai.api_key),
        base_url=settings.openai.base_url,
        max_retries=0,
        timeout=TIMEOUT_S,
        stream_chunk_timeout=TIMEOUT_S,
        stream_usage=True,
        use_responses_api=use_responses_api,
    )


def _google(name: str, settings: Settings, session: aiohttp.ClientSession) -> BaseChatModel:
    del session
    from langchain_google_genai import ChatGoogleGenerativeAI

    # One "retry" is Google's word for a single attempt; the default of six is 34 s of dead air on a 429.
    return ChatGoogleGenerativeAI(
        model=name.partition(":")[2],
        api_key=_present("GOOGLE_API_KEY", settings.google.api_key),
        base_url=settings.google.base_url,
        max_retries=1,
        timeout=TIMEOUT_S,
    )


def _any_model(name: str, settings: Settings, session: aiohttp.ClientSession) -> BaseChatModel:
    del settings, session
    from langchain.chat_models import init_chat_model

    try:
        return init_chat_model(name, max_retries=0, timeout=TIMEOUT_S)
    except (ImportError, ValueError) as error:
        raise SettingsError(f"LANGUAGE_MODEL {name!r}: {error}") from error


def _present(setting: str, key: SecretStr) -> SecretStr:
    if not key.get_secret_value():
        raise SettingsError(f"{setting} is not set")
    return key


_BUILDERS: dict[str, Callable[[str, Settings, aiohttp.ClientSession], BaseChatModel]] = {
    "openai": _openai,
    "openai-sdk": _openai_sdk,
    "google_genai": _google,
}
