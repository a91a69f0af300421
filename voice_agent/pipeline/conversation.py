"""The asyncio shell around one call's turn machine.

Everything that happens comes in as an event through `post`, one at a time; every action is performed by starting or
cancelling work, whose results come back as events. There is no queue and no task per event: `post` runs the machine
on the spot, and an event posted while it runs waits its turn in the inbox. One task group owns all the call's tasks.

It decides nothing: that is `turn`. It keeps no audio: that is the loudspeaker.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, Protocol

import msgspec
import structlog

from voice_agent.audio.tones import dtmf
from voice_agent.errors import CarrierError, ProviderError
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.history import History, SpokenReply
from voice_agent.pipeline.lines import LineBook
from voice_agent.pipeline.listening import Listener
from voice_agent.pipeline.ports import (
    CallControl,
    FinalTranscript,
    HeardOptOut,
    InterimTranscript,
    LanguageModel,
    Loudspeaker,
    Message,
    SpeechToText,
    TextDelta,
    TextToSpeech,
    ToolCall,
    ToolMessage,
    Transcript,
    UserMessage,
    Voice,
    Word,
)
from voice_agent.pipeline.tools import ToolRegistry
from voice_agent.pipeline.turn import TurnMachine
from voice_agent.pipeline.turn_settings import TurnSettings
from voice_agent.pipeline.turn_tables import Agent

log = structlog.get_logger(__name__)


class Observer(Protocol):
    """Who wants to know: the event log, the transcript, the latency of turns. Must not block."""

    def on_step(self, event: ev.AnyEvent, actions: tuple[act.AnyAction, ...]) -> None:
        """The machine has taken an event and decided."""
        ...

    def on_heard(self, turn: int, text: str, *, interrupted: bool) -> None:
        """It is settled which words of a turn the caller heard."""
        ...


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """How a conversation hears and speaks."""

    listener: Listener
    stt: SpeechToText
    tts: TextToSpeech
    voice: Voice
    lines: LineBook


class Mind(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversation thinks with."""

    llm: LanguageModel
    instructions: str
    tools: ToolRegistry


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """How a conversation begins; by default now, and from nothing."""

    began_at: float | None = None
    """When the media stream opened, on the event loop's clock: second 0.0 of the call's. None for now."""

    heard: bytes = b""
    """What the caller has said since then."""

    earlier: tuple[Message, ...] = ()
    """What was said before the line was lost."""

    resumed: ev.CallResumed | None = None
    """What was going on then; its `at` is not used. None where the call begins."""

    answered_by: str = ""
    """Who answered, where the carrier has said so already."""


_FROM_NOTHING = Opening()


class _Turn:
    """What the shell holds of one turn of the agent."""

    __slots__ = (
        "calls", "confirmed", "generation", "has_audio", "held", "is_synthesised", "question", "spoken", "tail",
        "trimmed",
    )  # fmt: skip

    def __init__(self, question: str = "", *, confirmed: bool) -> None:
        self.question = question
        self.confirmed = confirmed
        self.generation: asyncio.Task[None] | None = None
        self.spoken = SpokenReply()
        self.calls: dict[str, ToolCall] = {}
        self.held: list[bytes] = []
        """Audio of a speculation."""

        self.has_audio = False
        self.is_synthesised = False
        """Whether the synthesiser has work of this turn, so that its end is the synthesiser's to tell."""

        self.tail = b""
        """Tones that follow the speech."""

        self.trimmed = False


class Conversation:
    """One call's conversation. Feed it with `hear` and `post`; `run` lasts as long as the call."""

    def __init__(
        self,
        settings: TurnSettings,
        speech: Speech,
        mind: Mind,
        loudspeaker: Loudspeaker,
        control: CallControl,
        observer: Observer,
    ) -> None:
        self.history = History()
        self._machine = TurnMachine(settings)
        self._mind = mind
        self._lines = speech.lines
        self._listener = speech.listener
        self._loudspeaker = loudspeaker
        self._control = control
        self._observer = observer
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._began = loop.time()
        self._inbox: deque[ev.AnyEvent] = deque()
        self._is_running = False
        self._turns: dict[int, _Turn] = {}
        self._heard_ms: dict[int, float] = {}
        self._group: asyncio.TaskGroup | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._abandonable: set[asyncio.Task[None]] = set()
        """Tasks of no use to a call that has ended. Hanging up and transferring are not among them."""

        self._ended = asyncio.Event()
        self._transcription = speech.stt.open(language=settings.language, on_transcript=self._on_transcript)
        self._synthesis = speech.tts.open(voice=speech.voice, listener=self)
        self._perform: dict[type, Callable[[Any], None]] = {
            act.CommitTranscript: self._commit_transcript,
            act.StartReply: self._start_reply,
            act.ConfirmReply: self._confirm_reply,
            act.ContinueReply: self._continue_reply,
            act.CancelReply: self._cancel_reply,
            act.Speak: self._speak,
            act.FinishSpeaking: self._finish_speaking,
            act.StopPlayback: self._stop_playback,
            act.ResumePlayback: self._resume_playback,
            act.TrimHistory: self._trim_history,
            act.ReviseHistory: self._revise_history,
            act.RunTool: self._run_tool,
            act.SendDigits: self._send_digits,
            act.TransferCall: self._transfer_call,
            act.RecordOptOut: self._record_opt_out,
            act.HangUp: self._hang_up,
        }

    @property
    def now(self) -> float:
        """Seconds on the call's clock."""
        return self._loop.time() - self._began

    # --- in ---------------------------------------------------------------------------------------------------
    def hear(self, mulaw: bytes) -> None:
        """Take the caller's audio, any length. Hot path: no await, no task."""
        self._transcription.send(mulaw)
        audible = self._machine.agent in (Agent.SPEAKING, Agent.THINKING)
        for event in self._listener.hear(mulaw, self.now, audible):
            self.post(event)

    def post(self, event: ev.AnyEvent) -> None:
        """Run the machine on an event, and perform what it decides, in order."""
        if isinstance(event, ev.PlaybackMarked | ev.PlaybackStopped):
            # Known at once: a StopPlayback and the TrimHistory that needs its answer can come in one breath.
            self._heard_ms[event.turn] = event.heard_ms
        self._inbox.append(event)
        if self._is_running:
            return
        self._is_running = True
        try:
            while self._inbox:
                self._step(self._inbox.popleft())
        finally:
            self._is_running = False
        self._arm()

    def _step(self, event: ev.AnyEvent) -> None:
        if isinstance(event, ev.PlaybackFinished):
            self._settle_heard(event.turn)
        actions = self._machine.handle(event)
        self._observer.on_step(event, actions)
        for action in actions:
            self._perform[type(action)](action)
        if isinstance(event, ev.CallEnded):
            self._ended.set()

    def _arm(self) -> None:
        """Keep one timer, at the machine's deadline. A timer that is early is left: it re-arms itself."""
        deadline = self._machine.deadline
        if deadline is None:
            return
        when = self._began + deadline
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        deadline = self._machine.deadline
        if deadline is not None and deadline <= self.now:
            self.post(ev.DeadlinePassed(at=self.now))
        else:
            self._arm()

    # --- life -------------------------------------------------------------------------------------------------
    async def run(self, opening: Opening = _FROM_NOTHING) -> None:
        """Hold the conversation until CallEnded was posted; then end everything that belongs to it."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._spawn_abandonable(self._mind.llm.warm_up(), "warm-up")
                self._open(opening)
                await self._ended.wait()
                for task in self._abandonable:
                    task.cancel()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            await asyncio.gather(self._transcription.close(), self._synthesis.close())

    def _open(self, opening: Opening) -> None:
        if opening.began_at is not None:
            self._began = opening.began_at
        self.history = History(opening.earlier)
        resumed = opening.resumed
        begun = ev.CallStarted(at=self.now) if resumed is None else msgspec.structs.replace(resumed, at=self.now)
        self.post(begun)
        if opening.answered_by:
            self.post(ev.AnsweredBy(at=self.now, answered_by=opening.answered_by))
        if opening.heard:
            self.hear(opening.heard)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if self._group is None:
            raise RuntimeError("the conversation is not running")
        return self._group.create_task(work, name=name)

    def _spawn_abandonable(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._spawn(work, name)
        self._abandonable.add(task)
        task.add_done_callback(self._abandonable.discard)

    # --- from the providers -----------------------------------------------------------------------------------
    def _on_transcript(self, transcript: Transcript) -> None:
        if isinstance(transcript, InterimTranscript):
            self.post(ev.TranscriptUpdated(at=self.now, text=transcript.text))
        elif isinstance(transcript, FinalTranscript):
            self.post(ev.TranscriptFinal(at=self.now, text=transcript.text))
        else:
            log.warning("transcription lost", error=str(transcript.error))
            self.post(ev.TranscriptionFailed(at=self.now, reason=type(transcript.error).__name__))

    def on_audio(self, turn: int, mulaw: bytes, words: tuple[Word, ...]) -> None:
        """Take synthesised audio (SynthesisListener)."""
        state = self._turns.get(turn)
        if state is None:
            return
        self._note_audio(turn, state)
        state.spoken.add_audio(mulaw, words)
        self._play(turn, state, mulaw)

    def on_finished(self, turn: int) -> None:
        """Take the end of a turn's audio (SynthesisListener)."""
        state = self._turns.get(turn)
        if state is not None:
            self._end_audio(turn, state)

    def on_failed(self, turn: int, error: ProviderError) -> None:
        """Take the failure of a turn's synthesis (SynthesisListener)."""
        log.warning("synthesis failed", turn=turn, error=str(error))
        self.post(ev.SynthesisFailed(at=self.now, turn=turn, reason=type(error).__name__))

    def _note_audio(self, turn: int, state: _Turn) -> None:
        if not state.has_audio:
            state.has_audio = True
            self.post(ev.SynthesisStarted(at=self.now, turn=turn))

    def _play(self, turn: int, state: _Turn, mulaw: bytes) -> None:
        if state.confirmed:
            self._loudspeaker.play(turn, mulaw)
        else:
            state.held.append(mulaw)

    def _end_audio(self, turn: int, state: _Turn) -> None:
        if state.tail:
            state.spoken.add_line(state.tail, (), is_aside=True)
            self._loudspeaker.play(turn, state.tail)
        self._loudspeaker.finish(turn)

    # --- actions ----------------------------------------------------------------------------------------------
    def _commit_transcript(self, _: act.CommitTranscript) -> None:
        self._transcription.commit()

    def _start_reply(self, action: act.StartReply) -> None:
        state = self._turns[action.turn] = _Turn(action.text, confirmed=action.confirmed)
        messages = (*self.history.messages(), UserMessage(text=action.text))
        if action.confirmed:  # else the words enter the history when the turn is real
            self.history.begin(action.turn, action.text)
        state.generation = self._spawn(self._generate(action.turn, state, messages), f"reply-{action.turn}")

    def _confirm_reply(self, action: act.ConfirmReply) -> None:
        state = self._turns[action.turn]
        state.confirmed = True
        self.history.begin(action.turn, state.question)
        if state.spoken.text:
            self.history.say(action.turn, state.spoken.text)
        held, state.held = state.held, []
        for mulaw in held:
            self._loudspeaker.play(action.turn, mulaw)

    def _continue_reply(self, action: act.ContinueReply) -> None:
        state = self._turns[action.turn]
        work = self._generate(action.turn, state, self.history.messages())
        state.generation = self._spawn(work, f"reply-{action.turn}")

    async def _generate(self, turn: int, state: _Turn, messages: tuple[Message, ...]) -> None:
        parts = self._mind.llm.reply(
            instructions=self._mind.instructions, messages=messages, tools=self._mind.tools.definitions
        )
        try:
            async with aclosing(parts):
                async for part in parts:
                    if isinstance(part, TextDelta):
                        self.post(ev.ReplyText(at=self.now, turn=turn, text=part.text))
                    else:
                        state.calls[part.call_id] = part
                        self._post_tool_call(turn, part)
        except ProviderError as error:
            log.warning("reply failed", turn=turn, error=str(error))
            self.post(ev.ReplyFailed(at=self.now, turn=turn, reason=type(error).__name__))
        except Exception:
            # The boundary of a generation: whatever an adapter raises must not end the call.
            log.exception("reply failed", turn=turn)
            self.post(ev.ReplyFailed(at=self.now, turn=turn, reason="unexpected"))
        else:
            self.post(ev.ReplyFinished(at=self.now, turn=turn))

    def _post_tool_call(self, turn: int, call: ToolCall) -> None:
        self.post(
            ev.ReplyToolCalled(at=self.now, turn=turn, call_id=call.call_id, name=call.name, arguments=call.arguments)
        )

    def _cancel_reply(self, action: act.CancelReply) -> None:
        state = self._turns.pop(action.turn, None)
        if state is None:
            return
        if state.generation is not None:
            state.generation.cancel()
        self._synthesis.cancel(action.turn)
        self._loudspeaker.discard(action.turn)
        if not state.trimmed:
            self.history.drop(action.turn)

    def _speak(self, action: act.Speak) -> None:
        state = self._turns.get(action.turn)
        if state is None:  # a line is a turn of its own
            state = self._turns[action.turn] = _Turn(confirmed=True)
            self.history.begin(action.turn)
        if not action.is_aside:
            state.spoken.add_text(action.text)
            if state.confirmed:
                self.history.say(action.turn, action.text)
        line = self._lines.find(action.text) if action.is_line else None
        if line is None:
            state.is_synthesised = True
            self._synthesis.speak(action.turn, action.text)
        else:
            self._note_audio(action.turn, state)
            state.spoken.add_line(line.mulaw, line.words, is_aside=action.is_aside)
            self._play(action.turn, state, line.mulaw)

    def _finish_speaking(self, action: act.FinishSpeaking) -> None:
        state = self._turns[action.turn]
        if state.is_synthesised:
            self._synthesis.finish(action.turn)
        else:
            self._end_audio(action.turn, state)

    def _stop_playback(self, action: act.StopPlayback) -> None:
        self._loudspeaker.stop(action.turn)

    def _resume_playback(self, action: act.ResumePlayback) -> None:
        heard_ms = self._heard_ms.get(action.turn, 0.0)
        self._loudspeaker.resume(action.turn, self._turns[action.turn].spoken.word_start_ms(heard_ms))

    def _trim_history(self, action: act.TrimHistory) -> None:
        state = self._turns.get(action.turn)
        if state is None:
            return
        heard = state.spoken.heard_text(self._heard_ms.get(action.turn, 0.0))
        state.trimmed = True
        self.history.trim(action.turn, heard)
        self._observer.on_heard(action.turn, heard, interrupted=True)

    def _settle_heard(self, turn: int) -> None:
        state = self._turns.pop(turn, None)
        if state is not None:
            self._heard_ms.pop(turn, None)
            self._observer.on_heard(turn, state.spoken.text, interrupted=False)

    def _revise_history(self, action: act.ReviseHistory) -> None:
        self.history.revise(action.turn, action.text)

    def _run_tool(self, action: act.RunTool) -> None:
        state = self._turns[action.turn]
        self.history.call_tool(action.turn, state.calls.pop(action.call_id))
        self._spawn_abandonable(self._use_tool(action), f"tool-{action.name}")

    async def _use_tool(self, action: act.RunTool) -> None:
        result = await self._mind.tools.run(action.name, action.arguments)
        answer = ToolMessage(call_id=action.call_id, name=action.name, result=result.text)
        self.history.answer_tool(action.turn, answer)
        self.post(
            ev.ToolFinished(
                at=self.now,
                turn=action.turn,
                call_id=action.call_id,
                result=result.text,
                is_error=result.is_error,
                hang_up=result.hang_up,
                transfer_to=result.transfer_to,
                digits=result.digits,
                opt_out=result.opt_out,
            )
        )

    def _send_digits(self, action: act.SendDigits) -> None:
        self._turns[action.turn].tail += dtmf(action.digits)

    def _transfer_call(self, action: act.TransferCall) -> None:
        self._spawn(self._transfer(action.target), "transfer")

    async def _transfer(self, target: str) -> None:
        try:
            await self._control.transfer(target)
        except CarrierError as error:
            log.error("transfer failed", error=str(error), code=error.code)
            await self._control.hang_up("failed_transfer")

    def _record_opt_out(self, action: act.RecordOptOut) -> None:
        heard = HeardOptOut(words=action.words, how=action.how, second=self.now)
        self._spawn(self._write_opt_out(heard), "opt-out")

    async def _write_opt_out(self, heard: HeardOptOut) -> None:
        is_committed = await self._control.record_opt_out(heard)
        if not self._ended.is_set():  # nothing follows the end in the log
            self.post(ev.OptOutRecorded(at=self.now, is_committed=is_committed))

    def _hang_up(self, action: act.HangUp) -> None:
        log.info("agent hangs up", reason=action.reason)
        self._spawn(self._control.hang_up(action.reason), "hang-up")
