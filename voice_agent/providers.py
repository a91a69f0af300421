"""Which vendor serves which port, by the settings: with `app`, the only place that names concrete vendors.

Building is cheap, except that it imports a vendor's SDK; connections are opened by the calls. `Providers.open` is to be
run before the first call, so that nothing is imported, connected or loaded for the first time while somebody waits.
"""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import entry_points
from typing import Any

import aiohttp
import msgspec
import structlog

from voice_agent.agents.dialogue import Dialogue
from voice_agent.agents.files import Agent
from voice_agent.agents.model import AgentDefinition, filled, values_for
from voice_agent.calls import call_tools
from voice_agent.errors import AgentDefinitionError, SettingsError
from voice_agent.integrations.elevenlabs.service import ElevenLabsService
from voice_agent.integrations.langchain.chat_models import build_language_model
from voice_agent.integrations.langchain.language_model import LangChainLanguageModel, load_machinery
from voice_agent.integrations.local import silero_vad
from voice_agent.integrations.local.espeak import EspeakTextToSpeech
from voice_agent.integrations.local.pocketsphinx import LocalSpeechToText
from voice_agent.integrations.local.scripted_model import ScriptedDialogueModel
from voice_agent.integrations.local.webrtc_vad import WebRtcVoiceActivityDetector
from voice_agent.integrations.openai.transcription import OpenAITranscription
from voice_agent.pipeline.conversation import Mind, Speech
from voice_agent.pipeline.fallback import FallbackLanguageModel
from voice_agent.pipeline.lines import LineBook
from voice_agent.pipeline.listening import Listener
from voice_agent.pipeline.ports import (
    LanguageModel,
    SpeechToText,
    TextToSpeech,
    Voice,
    VoiceActivityDetector,
)
from voice_agent.pipeline.speech_fallback import FallbackSpeechToText, FallbackTextToSpeech
from voice_agent.pipeline.tools import BUILT_IN_TOOLS, Tool, ToolRegistry, built_in_tools
from voice_agent.pipeline.turn_settings import TurnSettings
from voice_agent.settings import Settings
from voice_agent.storage.cache import CacheService

log = structlog.get_logger(__name__)


class SharedProviders:
    """What the calls of all agents share: connections, the models of voice activity, the local voice's thread."""

    def __init__(
        self, settings: Settings, cache: CacheService, disclosures: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        """`cache` keeps what was synthesised, also for other processes.

        `disclosures` are sentences that laws may have said in a call, by language: they are synthesised ahead.
        """
        self.settings = settings
        self.cache = cache
        self.disclosures = disclosures or {}
        self._exit = AsyncExitStack()

    async def open(self) -> None:
        """Load and connect everything. Raises SettingsError for what is not installed."""
        self.session = await self._exit.enter_async_context(_http_session())
        self.activity = WebRtcVoiceActivityDetector()
        self.voice_activity = _voice_activity(self.settings)
        if self.settings.text_to_speech == "local":
            self.local_voice = EspeakTextToSpeech()
            self._exit.push_async_callback(self.local_voice.close)
        await load_machinery()
        log.info(
            "shared_providers_ready",
            speech_to_text=self.settings.speech_to_text,
            text_to_speech=self.settings.text_to_speech,
            voice_activity="webrtc" if self.voice_activity is None else "silero",
        )

    async def close(self) -> None:
        """Release what was opened; every agent's providers are closed before. Safe to call twice."""
        await self._exit.aclose()


class Providers:
    """Everything that the calls of one agent share. Open it before its first call, close it after the last."""

    def __init__(self, shared: SharedProviders, agent: Agent) -> None:
        """`shared` is open when this is opened.

        Raises SettingsError or AgentDefinitionError for a choice that this agent cannot be run with.
        """
        _check_choices(shared.settings, agent)
        self._shared = shared
        self._settings = shared.settings
        self._agent = agent
        self._exit = AsyncExitStack()
        self._tools = _tools(agent)

    async def open(self) -> None:
        """Build what is the agent's own, and have its fixed lines ready."""
        settings, agent = self._settings, self._agent
        self._stt = _speech_to_text(settings, agent)
        self._tts = _text_to_speech(self._shared, agent)
        self._voice = _voice(settings, agent, agent.definition.voice or settings.elevenlabs.voice_id)
        self._llm = _language_model(settings, agent, self._shared.session)
        if isinstance(self._stt, LocalSpeechToText):
            # It has a process of its own, which loads its model now and not while the first caller speaks.
            self._exit.push_async_callback(self._stt.close)
            await self._stt.start()
        await self._llm.warm_up()
        self._lines = LineBook(self._tts, self._voice, self._shared.cache, provider=settings.text_to_speech)
        await self._lines.prepare(self._variants(values_for(agent.definition, {}, is_outbound=False)))
        log.info("agent_ready", agent=agent.definition.name, language_model=_model_name(settings, agent) or "scripted")

    async def close(self) -> None:
        """Release what was opened. Safe to call twice."""
        await self._exit.aclose()

    async def lines(self, definition: AgentDefinition) -> LineBook:
        """Return the lines of one call, synthesised; those that no variable changes are ready already.

        `definition` is the agent's with its variables filled in.
        """
        book = self._lines.for_one_call()
        await book.prepare(_spoken(definition))
        return book

    async def foresee(self, values: Mapping[str, str]) -> None:
        """Have the lines of a call to come synthesised, whichever country it reaches: `lines` finds them."""
        await self._lines.for_one_call().prepare(self._variants(values))

    def _variants(self, values: Mapping[str, str]) -> list[str]:
        definition = self._agent.definition
        countries = ["", *(locale.partition("-")[2] for locale in definition.first_lines)]
        required = ("", *self._shared.disclosures.get(definition.language, ()))
        return [
            text
            for country in countries
            for line in required
            for text in _spoken(filled(definition, values, country=country, disclosure=line))
        ]

    def turn_settings(self, definition: AgentDefinition) -> TurnSettings:
        """Return the numbers of one call; `definition` is the agent's with its variables filled in."""
        settings = TurnSettings(
            lines=definition.lines,
            disclosure=definition.disclosure,
            language=definition.language,
            endpointing=definition.endpointing_settings,
            idle_s=definition.limits.idle_s,
            duration_s=definition.limits.longest_s(self._settings.calls.cost_per_minute),
        )
        if self._settings.speech_to_text == "local":
            settings = msgspec.structs.replace(settings, interrupting_words=None)
        return settings

    def speech(self, lines: LineBook) -> Speech:
        """Return fresh ears, the shared voice and its own `lines` for one call."""
        return Speech(
            listener=Listener(self._shared.activity, self._shared.voice_activity),
            stt=self._stt,
            tts=self._tts,
            voice=self._voice,
            lines=lines,
        )

    def mind(self, definition: AgentDefinition, more: tuple[Tool[Any], ...] = ()) -> Mind:
        """Return what one call thinks with; `definition` is the agent's with its variables filled in.

        `more` are tools that know which call it is.
        """
        return Mind(
            llm=self._llm,
            instructions=definition.prompt,
            tools=ToolRegistry((*self._tools, *more)),
        )


def _spoken(definition: AgentDefinition) -> tuple[str, ...]:
    lines = definition.lines.completed(definition.language).all()
    return (definition.disclosure, *lines) if definition.disclosure else lines


def _http_session() -> aiohttp.ClientSession:
    """Return the process's one HTTP client: connections are kept, so that a turn finds one open."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=120.0)
    return aiohttp.ClientSession(connector=connector)


def _voice_activity(settings: Settings) -> VoiceActivityDetector | None:
    """Return Silero where it was asked for or can be had; None leaves WebRTC's detector alone."""
    wanted = settings.pipeline.voice_activity
    if wanted == "webrtc" or (wanted == "auto" and not silero_vad.is_installed()):
        return None
    return silero_vad.SileroVoiceActivityDetector()


def _voice(settings: Settings, agent: Agent, voice_id: str) -> Voice:
    language = agent.definition.language
    if settings.text_to_speech == "local":
        return Voice(voice_id=agent.definition.voice, language=language)
    return Voice(voice_id=voice_id, model=settings.elevenlabs.tts_model, language=language)


# --- what needs a script --------------------------------------------------------------------------------------
def _check_choices(settings: Settings, agent: Agent) -> None:
    """Refuse, before anything is opened, what only the first call would find out."""
    if settings.speech_to_text == "local":
        _dialogue_for_ears(agent)
    if not _model_name(settings, agent):
        _dialogue_for_mind(agent)


def _dialogue_for_ears(agent: Agent) -> Dialogue:
    if agent.dialogue is None:
        raise SettingsError("SPEECH_TO_TEXT=local recognises only what a dialogue expects, and this agent has none")
    return agent.dialogue


def _dialogue_for_mind(agent: Agent) -> Dialogue:
    if agent.dialogue is None:
        raise SettingsError("LANGUAGE_MODEL is needed: this agent has no scripted dialogue")
    return agent.dialogue


def _model_name(settings: Settings, agent: Agent) -> str:
    return agent.definition.model or settings.pipeline.language_model


# --- speech recognition -----------------------------------------------------------------------------------------
_SPEECH_TO_TEXT: dict[str, Callable[[Settings, Agent], SpeechToText]] = {
    "elevenlabs": lambda settings, _: ElevenLabsService(settings.elevenlabs).speech_to_text(),
    "openai": lambda settings, _: OpenAITranscription(settings.openai),
    "local": lambda _, agent: LocalSpeechToText(_dialogue_for_ears(agent)),
}


def _speech_to_text(settings: Settings, agent: Agent) -> SpeechToText:
    """Return the chosen recogniser, with the other account's as its backup where there is one."""
    primary = _SPEECH_TO_TEXT[settings.speech_to_text](settings, agent)
    has_key = {"elevenlabs": settings.elevenlabs.has_key, "openai": settings.openai.has_key}
    backups = [name for name, is_there in has_key.items() if is_there and name != settings.speech_to_text]
    if settings.speech_to_text == "local" or not backups:
        return primary
    return FallbackSpeechToText(primary, _SPEECH_TO_TEXT[backups[0]](settings, agent))


# --- speech synthesis -------------------------------------------------------------------------------------------
def _text_to_speech(shared: SharedProviders, agent: Agent) -> TextToSpeech:
    settings = shared.settings
    if settings.text_to_speech == "local":
        return shared.local_voice
    primary = ElevenLabsService(settings.elevenlabs).text_to_speech()
    fallback = agent.definition.fallback_voice or settings.elevenlabs.fallback_voice_id
    backup_voice = _voice(settings, agent, fallback) if fallback else None
    return FallbackTextToSpeech(primary, primary, backup_voice=backup_voice)


# --- language models --------------------------------------------------------------------------------------------
def _language_model(settings: Settings, agent: Agent, session: aiohttp.ClientSession) -> LanguageModel:
    name = _model_name(settings, agent)
    if not name:
        return LangChainLanguageModel(ScriptedDialogueModel(dialogue=_dialogue_for_mind(agent)), provider="scripted")
    fallback = agent.definition.fallback_model or settings.pipeline.fallback_model
    primary = build_language_model(name, settings, session)
    backup = build_language_model(fallback, settings, session) if fallback else None
    return FallbackLanguageModel(primary, backup)


# --- tools ------------------------------------------------------------------------------------------------------
def _tools(agent: Agent) -> tuple[Tool[Any], ...]:
    """Return the agent's tools: ours, and those that installed packages offer as entry points `voice_agent.tools`.

    An entry point is a `Tool`. Raises AgentDefinitionError for a name that nobody offers.
    """
    definition = agent.definition
    named = [name for name in definition.tools if name not in call_tools.NAMES]
    own = [name for name in named if name in BUILT_IN_TOOLS]
    offered = {point.name: point for point in entry_points(group="voice_agent.tools")}
    unknown = [name for name in named if name not in BUILT_IN_TOOLS and name not in offered]
    if unknown:
        raise AgentDefinitionError(f"{definition.name}: tools: nobody offers {', '.join(unknown)}")
    installed = tuple(offered[name].load() for name in named if name in offered and name not in own)
    return (*built_in_tools(own, definition.transfer_targets), *installed)
