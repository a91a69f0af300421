"""A conversation with every port faked, and a hand on its clock."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tests.contracts.eventually import eventually
from tests.fakes.call_control import FakeCallControl
from tests.fakes.language_model import FakeLanguageModel, Step
from tests.fakes.loudspeaker import FakeLoudspeaker
from tests.fakes.speech_to_text import FakeSpeechToText, FakeTranscriptionStream
from tests.fakes.text_to_speech import FakeSynthesisStream, FakeTextToSpeech
from tests.fakes.voice_activity import FakeVoiceActivityDetector, FakeVoiceActivityStream
from tests.pipeline.turn_world import settings_for_tests
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.conversation import Conversation, Mind, Opening, Speech
from voice_agent.pipeline.lines import LineBook
from voice_agent.pipeline.listening import Listener
from voice_agent.pipeline.ports import Voice
from voice_agent.pipeline.tools import ToolRegistry, built_in_tools
from voice_agent.pipeline.turn_settings import TurnSettings
from voice_agent.storage.cache import InProcessCache

TARGETS = {"office": "+15550001111"}


class Notes:
    """An Observer that keeps everything."""

    def __init__(self) -> None:
        self.steps: list[tuple[ev.AnyEvent, tuple[act.AnyAction, ...]]] = []
        self.heard: list[tuple[int, str, bool]] = []

    def on_step(self, event: ev.AnyEvent, actions: tuple[act.AnyAction, ...]) -> None:
        self.steps.append((event, actions))

    def on_heard(self, turn: int, text: str, *, interrupted: bool) -> None:
        self.heard.append((turn, text, interrupted))

    def events(self, kind: type[ev.Event]) -> list[ev.AnyEvent]:
        return [event for event, _ in self.steps if isinstance(event, kind)]

    def actions(self, kind: type[act.Action]) -> list[act.AnyAction]:
        return [action for _, actions in self.steps for action in actions if isinstance(action, kind)]


class World:
    """One conversation; made by `holding`, inside a running loop."""

    def __init__(
        self, scripts: Iterable[Iterable[Step] | str], turn_settings: TurnSettings, *, tts_is_automatic: bool
    ) -> None:
        self.settings = turn_settings
        self.notes = Notes()
        self.llm = FakeLanguageModel(*scripts)
        self.stt = FakeSpeechToText()
        self.tts = FakeTextToSpeech(is_automatic=tts_is_automatic)
        self.control = FakeCallControl()
        self.detector = FakeVoiceActivityDetector()
        self.book = LineBook(FakeTextToSpeech(), Voice("v"), InProcessCache(clock=lambda: 0.0), provider="fake")
        self.ear = FakeLoudspeaker(lambda event: self.conversation.post(event), lambda: self.conversation.now)
        self._at = 0.0

    def begin(self) -> None:
        """Open the conversation."""
        self.conversation = Conversation(
            self.settings,
            Speech(listener=Listener(self.detector), stt=self.stt, tts=self.tts, voice=Voice("v"), lines=self.book),
            Mind(
                llm=self.llm,
                instructions="You are kind.",
                tools=ToolRegistry(built_in_tools(("end_call", "transfer_call", "send_dtmf"), TARGETS)),
            ),
            loudspeaker=self.ear,
            control=self.control,
            observer=self.notes,
        )

    @property
    def recognition(self) -> FakeTranscriptionStream:
        return self.stt.streams[-1]

    @property
    def synthesis(self) -> FakeSynthesisStream:
        return self.tts.streams[-1]

    @property
    def activity(self) -> FakeVoiceActivityStream:
        return self.detector.streams[-1]

    @property
    def at(self) -> float:
        """The present on the call's clock, ahead of the real one by what was skipped."""
        self._at = max(self._at, self.conversation.now)
        return self._at

    def pass_time(self, seconds: float) -> None:
        """Skip time: the machine is woken at its end, as if the loop's clock had gone on."""
        self._at = self.at + seconds
        self.conversation.post(ev.DeadlinePassed(at=self._at))

    async def greeted(self) -> None:
        """The greeting is heard."""
        await eventually(lambda: 1 in self.ear.finished)
        self.ear.hear_all(1)

    def speech(self) -> None:
        """The caller has spoken for a second and pauses now."""
        at = self.at
        self.conversation.post(ev.SpeechStarted(at=at, began_at=at))
        self._at = at + 1.0
        self.conversation.post(ev.SpeechStopped(at=self._at, ended_at=self._at))

    def say(self, text: str) -> None:
        """The caller says `text`; its interim transcript is there at once."""
        self.speech()
        self.recognition.interim(text)

    async def ask(self, text: str) -> int:
        """The caller says `text` and is done; return the turn of the answer, once it sounds."""
        turn = self.finish(text)
        await eventually(lambda: turn in self.ear.played)
        return turn

    def finish(self, text: str) -> int:
        """The caller says `text` and the turn is taken; return the turn of the answer."""
        self.say(text)
        self.pass_time(0.3)
        self.recognition.final(text)
        self.pass_time(1.2)
        return self.newest_turn

    @property
    def newest_turn(self) -> int:
        started = self.notes.actions(act.StartReply)
        assert isinstance(started[-1], act.StartReply)
        return started[-1].turn

    def voice(self) -> None:
        """The caller's voice is heard over the agent."""
        at = self.at
        self.conversation.post(ev.SpeechStarted(at=at, began_at=at))
        self.conversation.post(ev.VoiceConfirmed(at=at, began_at=at))

    def end(self) -> None:
        self.conversation.post(ev.CallEnded(at=self.at, reason="stopped"))


@asynccontextmanager
async def holding(
    *scripts: Iterable[Step] | str,
    turn_settings: TurnSettings | None = None,
    tts_is_automatic: bool = True,
    has_lines: bool = True,
    is_warm: bool = True,
    opening: Opening | None = None,
) -> AsyncIterator[World]:
    """Hold a conversation whose model answers by `scripts`; it has ended, and left nothing, when this returns."""
    world = World(scripts, turn_settings or settings_for_tests(), tts_is_automatic=tts_is_automatic)
    if has_lines:
        await world.book.prepare(world.settings.lines.all())
    if not is_warm:
        world.llm.is_warm.clear()
    world.begin()
    task = asyncio.create_task(world.conversation.run(opening or Opening()))
    await eventually(lambda: world.notes.steps)
    try:
        yield world
    finally:
        world.end()
        async with asyncio.timeout(10):
            await task
    assert world.recognition.is_closed
    assert world.synthesis.is_closed
    assert all(request.is_closed for request in world.llm.requests)
