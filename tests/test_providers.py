"""Which vendor serves which port, by settings and agent; the whole of it opened once, with nothing but this machine."""

import gc
from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec
import pytest
from pydantic import SecretStr

from voice_agent import providers
from voice_agent.agents.files import Agent, load_agent
from voice_agent.agents.model import Limits, Variable, filled
from voice_agent.errors import AgentDefinitionError, SettingsError
from voice_agent.integrations.elevenlabs.speech_to_text import ElevenLabsSpeechToText
from voice_agent.integrations.langchain.language_model import LangChainLanguageModel
from voice_agent.integrations.local.espeak import EspeakTextToSpeech
from voice_agent.integrations.local.pocketsphinx import LocalSpeechToText
from voice_agent.integrations.openai.transcription import OpenAITranscription
from voice_agent.pipeline.endpointing import PROFILES
from voice_agent.pipeline.fallback import FallbackLanguageModel
from voice_agent.pipeline.speech_fallback import FallbackSpeechToText, FallbackTextToSpeech
from voice_agent.pipeline.tools import Tool, ToolResult
from voice_agent.providers import Providers, SharedProviders
from voice_agent.settings import (
    AREAS,
    ElevenLabsSettings,
    OpenAISettings,
    PipelineSettings,
    Settings,
    variable_name,
)
from voice_agent.storage.cache import InProcessCache


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for area in AREAS.values():
        for field in area.model_fields:
            monkeypatch.delenv(variable_name(area, field), raising=False)


@pytest.fixture
def agent() -> Agent:
    """The demo's receptionist: no model, a script."""
    return load_agent()


def _changed(agent: Agent, **changes: object) -> Agent:
    return msgspec.structs.replace(agent, definition=msgspec.structs.replace(agent.definition, **changes))


def _cache() -> InProcessCache:
    return InProcessCache(clock=lambda: 0.0)


def _settings(*, elevenlabs: bool = False, openai: bool = False, model: str = "") -> Settings:
    key = SecretStr("k" * 20)
    return Settings(
        elevenlabs=ElevenLabsSettings(api_key=key) if elevenlabs else ElevenLabsSettings(),
        openai=OpenAISettings(api_key=key) if openai else OpenAISettings(),
        pipeline=PipelineSettings(voice_activity="webrtc", language_model=model),
    )


def _shared(settings: Settings) -> SharedProviders:
    return SharedProviders(settings, _cache())


async def test_with_no_account_everything_is_local_and_ready(agent: Agent) -> None:
    shared = _shared(_settings())
    await shared.open()
    opened = Providers(shared, agent)
    await opened.open()
    try:
        lines = await opened.lines(agent.definition)
        speech, mind = opened.speech(lines), opened.mind(agent.definition)
        assert isinstance(speech.stt, LocalSpeechToText)
        assert isinstance(speech.tts, EspeakTextToSpeech)
        assert isinstance(mind.llm, LangChainLanguageModel)
        assert [line for line in agent.definition.lines.all() if speech.lines.find(line) is None] == []
        assert mind.instructions == agent.definition.prompt
        assert [tool.name for tool in mind.tools.definitions] == ["end_call"]
        assert opened.speech(lines).listener is not speech.listener
    finally:
        await opened.close()
        await opened.close()
        await shared.close()
        await shared.close()
        gc.collect()


def test_the_turn_machine_is_told_what_the_agent_says(agent: Agent) -> None:
    patient = _changed(agent, profile="patient")
    told = Providers(_shared(_settings()), patient).turn_settings(patient.definition)
    assert told.endpointing == PROFILES["patient"]
    assert told.lines == agent.definition.lines
    assert (told.idle_s, told.duration_s) == (agent.definition.limits.idle_s, agent.definition.limits.duration_s)


def test_a_call_that_may_cost_little_ends_early(agent: Agent) -> None:
    cheap = _changed(agent, limits=Limits(duration_s=900.0, cost_usd=0.30))
    told = Providers(_shared(_settings()), cheap).turn_settings(cheap.definition)
    assert told.duration_s == 110.0  # two minutes at $0.15, less the goodbye


async def test_lines_by_name_are_made_ahead_for_every_country_and_not_kept_with_the_agents(agent: Agent) -> None:
    personal = _changed(
        agent,
        lines=msgspec.structs.replace(agent.definition.lines, greeting="Hello {{name}}."),
        first_lines={"en-IE": "Hiya {{name}}."},
        disclosure="A machine calls {{name}}.",
        variables={"name": Variable(default="there")},
    )
    shared = _shared(_settings())
    await shared.open()
    opened = Providers(shared, personal)
    await opened.open()
    try:
        await opened.foresee({"name": "Ana"})
        use = filled(personal.definition, {"name": "Ana"}, country="IE")
        lines = await opened.lines(use)
        assert lines.find("Hiya Ana.") is not None
        assert lines.find(opened.turn_settings(use).disclosure) is not None
        assert lines.find("Hiya there.") is not None
        assert (await opened.lines(filled(personal.definition, {"name": "there"}))).find("Hiya Ana.") is None
    finally:
        await opened.close()
        await shared.close()
        gc.collect()


def test_one_account_serves_alone_and_two_stand_in_for_each_other(agent: Agent) -> None:
    alone = providers._speech_to_text(_settings(elevenlabs=True), agent)
    assert isinstance(alone, ElevenLabsSpeechToText)
    assert isinstance(providers._speech_to_text(_settings(openai=True), agent), OpenAITranscription)
    assert isinstance(providers._speech_to_text(_settings(elevenlabs=True, openai=True), agent), FallbackSpeechToText)


def test_elevenlabs_speaks_with_a_voice_to_fall_back_on(agent: Agent) -> None:
    settings = _settings(elevenlabs=True)
    voice = providers._text_to_speech(_shared(settings), _changed(agent, fallback_voice="other"))
    assert isinstance(voice, FallbackTextToSpeech)


async def test_a_model_is_the_agents_else_the_servers_and_has_a_fallback(agent: Agent) -> None:
    settings = _settings(openai=True, model="openai:the-servers")
    async with providers._http_session() as session:
        for each in (agent, _changed(agent, model="openai:the-agents", fallback_model="openai:another")):
            assert isinstance(providers._language_model(settings, each, session), FallbackLanguageModel)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (_settings(), "SPEECH_TO_TEXT=local"),
        (_settings(elevenlabs=True), "LANGUAGE_MODEL"),
    ],
)
def test_what_an_agent_cannot_be_run_with_is_refused_before_the_first_call(
    agent: Agent, settings: Settings, named: str
) -> None:
    scriptless = msgspec.structs.replace(agent, dialogue=None)
    with pytest.raises(SettingsError, match=named):
        Providers(_shared(settings), scriptless)


def test_a_tool_that_nobody_offers_is_named(agent: Agent) -> None:
    with pytest.raises(AgentDefinitionError, match="fly"):
        Providers(_shared(_settings()), _changed(agent, tools=("end_call", "fly")))


class _Nothing(msgspec.Struct):
    """No arguments."""


async def _book(_: _Nothing) -> ToolResult:
    return ToolResult(text="booked")


BOOK = Tool("book", "Book a table.", _Nothing, _book)


def test_a_tool_of_an_installed_package_stands_beside_our_own(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(name="book", value="tests.test_providers:BOOK", group="voice_agent.tools")
    monkeypatch.setattr(providers, "entry_points", lambda *, group: [point] if group == point.group else [])
    tools = providers._tools(_changed(agent, tools=("book", "end_call")))
    assert {tool.definition.name for tool in tools} == {"book", "end_call"}
