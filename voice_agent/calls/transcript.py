"""What was said in a call, by whom and when; what was interrupted, and how much of it was heard.

`TranscriptBuilder` watches the same events and actions as the event log, so that a transcript can be made again from
a log. Only one thing is not in them: the words that were heard of an interrupted reply, which the shell works out
from the synthesiser's word timing and passes to `heard`.

The caller's words are those that the agent answered: corrected by a late final transcript, joined where the caller
went on. A backchannel that changed nothing is not in it. Of the agent stands what began to sound; a speculation or a
reply that was withdrawn unheard leaves nothing. The disclosure is an entry of its own, before the greeting.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from voice_agent.calls.event_log import EventLog
from voice_agent.pipeline.actions import (
    AnyAction,
    CancelReply,
    ConfirmReply,
    ResumePlayback,
    ReviseHistory,
    RunTool,
    Speak,
    StartReply,
    StopPlayback,
    TrimHistory,
)
from voice_agent.pipeline.endpointing import normalised
from voice_agent.pipeline.events import (
    AnyEvent,
    CallEnded,
    DigitPressed,
    PlaybackFinished,
    PlaybackStarted,
    SpeechStarted,
    SpeechStopped,
    ToolFinished,
    TranscriptFinal,
    TranscriptUpdated,
)
from voice_agent.pipeline.history import joined


class Entry(msgspec.Struct, tag=True, tag_field="kind", kw_only=True):
    """Something that was said or done. Times are seconds of the call's clock."""

    started_at: float
    ended_at: float


class CallerSaid(Entry, tag="caller"):
    """The caller's words of one turn. `turn` is that of the answer, 0 where the call ended before one."""

    text: str
    turn: int = 0


class AgentSaid(Entry, tag="agent"):
    """One reply or fixed phrase."""

    turn: int
    text: str
    """What was to be said."""

    heard: str | None = None
    """What the caller heard of it; None while it sounds, and where nobody can tell (see the module)."""

    is_interrupted: bool = False


class ToolRan(Entry, tag="tool"):
    """A tool that the agent used."""

    turn: int
    call_id: str
    name: str
    arguments: str
    result: str = ""
    is_error: bool = False


class KeysPressed(Entry, tag="keys"):
    """Keys of the telephone, in one go."""

    digits: str


AnyEntry = CallerSaid | AgentSaid | ToolRan | KeysPressed


def text_of(entry: AnyEntry) -> str:
    """Return what was said or pressed; nothing for a tool."""
    match entry:
        case CallerSaid() | AgentSaid():
            return entry.text
        case KeysPressed():
            return entry.digits
        case ToolRan():
            return ""


def details_of(entry: AnyEntry) -> dict[str, Any] | None:
    """Return what is known of a tool's use; None for anything else."""
    if not isinstance(entry, ToolRan):
        return None
    return {name: getattr(entry, name) for name in ("call_id", "name", "arguments", "result", "is_error")}


class EntryChange(NamedTuple):
    """An entry that came to be, became another, or was withdrawn."""

    number: int
    """Which one: counted in the order in which they came to be. It stays the entry's for good."""

    entry: AnyEntry | None
    """How it stands now; None where it was withdrawn."""


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """A call's transcript, as it is stored."""

    call_sid: str
    started_at: datetime
    language: str
    is_complete: bool
    """Whether the call has ended; false in what is written while it goes on."""

    entries: tuple[AnyEntry, ...]

    def as_json(self) -> bytes:
        """Return it as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def as_text(self) -> bytes:
        """Return it for people: one line for each entry, UTF-8."""
        return "".join(f"[{_clock(entry.started_at)}] {_sentence(entry)}\n" for entry in self.entries).encode()


class TranscriptBuilder:
    """Builds one call's transcript as it happens. Give `observe` every event with the actions it caused, in order."""

    def __init__(self) -> None:
        self._entries: dict[int, AnyEntry] = {}
        """By number."""
        self._count = 0
        """Entries that there have been."""
        self._changed: set[int] = set()
        self._agent: dict[int, tuple[int, AgentSaid]] = {}
        """Replies that began to sound, by turn, with their numbers."""
        self._speaking: dict[int, str] = {}
        """Text of replies that have not begun to sound, by turn."""
        self._questions: dict[int, str] = {}
        self._withdrawn: set[int] = set()
        """Turns whose reply went unheard: the caller's words may come again, together with more."""
        self._finals: list[str] = []
        self._interim = ""
        self._locked: int | None = None
        """The turn of the disclosure: what is said over it is answered after it."""
        self._is_sounding = False
        """Whether a reply sounds that the caller may interrupt."""
        self._is_over_agent = False
        """Whether the caller's last sound began over a reply that it has not stopped for good."""
        self._began_at: float | None = None
        self._ended_at: float | None = None
        self.is_complete = False

    @property
    def entries(self) -> tuple[AnyEntry, ...]:
        """What has been said so far, by the time it began."""
        return tuple(sorted(self._entries.values(), key=lambda entry: entry.started_at))

    def heard(self, turn: int, text: str) -> None:
        """Note how much of an interrupted reply the caller heard: call it on TrimHistory, after `observe`."""
        if entry := self._said(turn):
            entry.heard = text.strip()

    def observe(self, event: AnyEvent, actions: Iterable[AnyAction]) -> None:
        """Take one event and its actions."""
        self._note_event(event)
        for action in actions:
            self._note_action(event.at, action)
        if isinstance(event, CallEnded):
            self._end(event.at)

    def take_changes(self) -> list[EntryChange]:
        """Return which entries are not as they were when this was asked last, by number."""
        if not self._changed:
            return []
        changes = [EntryChange(number, self._entries.get(number)) for number in sorted(self._changed)]
        self._changed.clear()
        return changes

    def _add(self, entry: AnyEntry) -> int:
        number = self._count
        self._count += 1
        self._entries[number] = entry
        self._changed.add(number)
        return number

    def _said(self, turn: int) -> AgentSaid | None:
        """Return the entry of a reply, which is about to be changed; None where it has not begun to sound."""
        if turn not in self._agent:
            return None
        number, entry = self._agent[turn]
        self._changed.add(number)
        return entry

    # --- events -----------------------------------------------------------------------------------------------
    def _note_event(self, event: AnyEvent) -> None:
        match event:
            case SpeechStarted():
                self._begin_caller(event)
            case SpeechStopped():
                self._ended_at = event.ended_at
            case TranscriptUpdated():
                self._interim = event.text
            case TranscriptFinal():
                self._finals.append(event.text)
                self._interim = ""
            case PlaybackStarted():
                self._begin_agent(event)
            case PlaybackFinished():
                self._finish_agent(event.turn, event.at)
            case ToolFinished():
                self._finish_tool(event)
            case DigitPressed():
                self._press(event)

    def _begin_caller(self, event: SpeechStarted) -> None:
        if self._is_over_agent:
            self._forget_speech()  # of a sound that interrupted nothing
        self._is_over_agent = self._is_sounding
        self._began_at = event.began_at if self._began_at is None else self._began_at
        self._ended_at = None

    def _begin_agent(self, event: PlaybackStarted) -> None:
        if event.turn in self._speaking and event.turn not in self._agent:
            text = self._speaking.pop(event.turn)
            entry = AgentSaid(started_at=event.at, ended_at=event.at, turn=event.turn, text=text)
            self._agent[event.turn] = self._add(entry), entry
            self._is_sounding = event.turn != self._locked

    def _finish_agent(self, turn: int, at: float) -> None:
        self._is_sounding = False
        if entry := self._said(turn):
            entry.ended_at = at
            entry.text = entry.heard = entry.text.strip()

    def _finish_tool(self, event: ToolFinished) -> None:
        for number, entry in reversed(self._entries.items()):
            if isinstance(entry, ToolRan) and (entry.turn, entry.call_id) == (event.turn, event.call_id):
                entry.ended_at, entry.result, entry.is_error = event.at, event.result, event.is_error
                self._changed.add(number)
                return

    def _press(self, event: DigitPressed) -> None:
        number, last = next(reversed(self._entries.items()), (0, None))
        if isinstance(last, KeysPressed):
            last.digits += event.digit
            last.ended_at = event.at
            self._changed.add(number)
        else:
            self._add(KeysPressed(started_at=event.at, ended_at=event.at, digits=event.digit))

    # --- actions ----------------------------------------------------------------------------------------------
    def _note_action(self, at: float, action: AnyAction) -> None:
        match action:
            case StartReply():
                self._questions[action.turn] = action.text
                if action.confirmed:
                    self._take_turn(action.turn, at)
            case ConfirmReply():
                self._take_turn(action.turn, at)
            case ReviseHistory():
                self._revise(action)
            case Speak():
                self._speak(action)
            case RunTool():
                self._add(_tool_run(action, at))
            case StopPlayback() | ResumePlayback():
                self._switch(at, action)
            case TrimHistory():
                self._interrupt(action.turn)
            case CancelReply():
                self._cancel(action.turn)

    def _speak(self, action: Speak) -> None:
        if action.is_locked:
            self._locked = action.turn
        elif action.is_line and self._locked is not None and action.turn == self._locked + 1:
            self._is_over_agent = True  # the greeting answers whatever was said over the disclosure
        if entry := self._said(action.turn):
            entry.text = joined(entry.text, action.text)
        else:
            self._speaking[action.turn] = joined(self._speaking.get(action.turn, ""), action.text)

    def _switch(self, at: float, action: StopPlayback | ResumePlayback) -> None:
        self._is_sounding = isinstance(action, ResumePlayback)
        if self._is_sounding:
            self._forget_speech()  # of a sound that turned out to be no interruption
        elif entry := self._said(action.turn):
            entry.ended_at = at

    def _take_turn(self, turn: int, at: float) -> None:
        """The caller's words of a turn are settled; they replace those of a turn that was taken back."""
        text = self._questions.pop(turn, "")
        if not text:
            return
        began_at = at if self._began_at is None else self._began_at
        if (number := self._taken_back(text)) is not None:
            began_at = self._entries.pop(number).started_at
            self._changed.add(number)
        ended_at = at if self._ended_at is None else max(self._ended_at, began_at)
        self._add(CallerSaid(started_at=began_at, ended_at=ended_at, text=text, turn=turn))
        self._forget_speech()

    def _taken_back(self, text: str) -> int | None:
        """Return the number of the entry that `text` says again: the caller went on before any answer was heard."""
        for number, entry in reversed(self._entries.items()):
            if isinstance(entry, CallerSaid):
                return number if entry.turn in self._withdrawn and text.startswith(entry.text) else None
            if isinstance(entry, AgentSaid) and entry.turn not in self._withdrawn:
                return None
        return None

    def _revise(self, action: ReviseHistory) -> None:
        for number, entry in reversed(self._entries.items()):
            if isinstance(entry, CallerSaid) and entry.turn == action.turn:
                entry.text = action.text
                self._changed.add(number)
                return

    def _interrupt(self, turn: int) -> None:
        if entry := self._said(turn):
            entry.is_interrupted = True

    def _cancel(self, turn: int) -> None:
        """A reply is withdrawn. What began to sound remains, as interrupted; of the rest nothing does."""
        self._is_over_agent = False
        self._speaking.pop(turn, None)
        self._questions.pop(turn, None)
        entry = self._said(turn)
        if entry is None or not entry.is_interrupted:
            self._withdrawn.add(turn)
        if entry is not None and not entry.is_interrupted:
            entry.is_interrupted, entry.heard = True, ""

    def _end(self, at: float) -> None:
        """Keep what the caller said last, if nobody answered it."""
        self.is_complete = True
        text = " ".join(text for text in [*self._finals, self._interim] if normalised(text))
        said = " ".join(normalised(entry.text) for entry in self.entries if isinstance(entry, CallerSaid))
        if text and not said.endswith(normalised(text)):
            began_at = at if self._began_at is None else self._began_at
            ended_at = at if self._ended_at is None else max(self._ended_at, began_at)
            self._add(CallerSaid(started_at=began_at, ended_at=ended_at, text=text))

    def _forget_speech(self) -> None:
        self._began_at = self._ended_at = None
        self._finals.clear()
        self._interim = ""


def transcript_of(log: EventLog) -> Transcript:
    """Return the transcript of a recorded call; what was heard of interrupted replies is not in a log."""
    builder = TranscriptBuilder()
    for logged in log.entries:
        builder.observe(logged.event, logged.actions)
    header = log.header
    return Transcript(
        call_sid=header.call_sid,
        started_at=header.started_at,
        language=header.settings.language,
        is_complete=builder.is_complete,
        entries=builder.entries,
    )


def _tool_run(action: RunTool, at: float) -> ToolRan:
    return ToolRan(
        started_at=at,
        ended_at=at,
        turn=action.turn,
        call_id=action.call_id,
        name=action.name,
        arguments=action.arguments,
    )


def _clock(at: float) -> str:
    minutes, tenths = divmod(round(at * 10), 600)
    return f"{minutes:02d}:{tenths / 10:04.1f}"


def _sentence(entry: AnyEntry) -> str:
    match entry:
        case CallerSaid():
            return f"Caller: {entry.text}"
        case AgentSaid(is_interrupted=True):
            heard = "(unknown)" if entry.heard is None else entry.heard or "(nothing)"
            return f"Agent: {entry.text.strip()} [interrupted; heard: {heard}]"
        case AgentSaid():
            return f"Agent: {entry.text.strip()}"
        case ToolRan():
            outcome = " failed" if entry.is_error else ""
            return f"Tool: {entry.name}({entry.arguments}){outcome} -> {entry.result}"
        case KeysPressed():
            return f"Keys: {entry.digits}"
