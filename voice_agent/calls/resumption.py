"""A call whose line was lost, put together again from its event log. Pure.

How it works
------------
Each media stream of a call has a log, a segment. `restored` walks through the segments, builds the same history of
messages as the conversation did, and finds out what was going on when the last of them broke off:

    the disclosure was not heard to its end                            it is said again, and then the greeting
    the caller had said something, and the answer was not whole        it is answered (`question`)
    the agent's words were whole, but not heard to their end           it repeats them from that sentence on (`unheard`)
    the agent had asked something, and nothing was said since          it asks again (`unheard`)
    the caller was speaking, or it was nobody's turn                   the agent says that it is back, and listens

An answer that the model had not finished is asked for anew, and what was heard of it is forgotten: half an answer
helps nobody. Tools that have run stay in the history, because their effects do; of one that was running nobody knows
whether it had an effect, and the model is told so.

How much of a reply was heard the log knows by marks and stops, in milliseconds. The words are estimated from the pace
of the replies before; the estimate is cut to the sentence: rather is one heard twice than missed.
"""

import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from voice_agent.calls.event_log import EventLog, EventLogHeader
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.endpointing import has_words, is_backchannel, normalised
from voice_agent.pipeline.history import History, joined
from voice_agent.pipeline.ports import Message, ToolCall, ToolMessage

CHARS_PER_MS = 0.015
"""The pace of speech where none was heard yet: 180 words a minute."""

PACE_MS = 3_000.0
"""Speech that has to be heard for its own pace to count as much as that."""

OUTCOME_UNKNOWN = "The connection was lost while this was running. Whether it took effect is not known."
"""What the model is told of a tool that had not returned."""

_SENTENCE_END = re.compile(r"[.!?…]+[\"'”»)]*\s+(?=[^a-z])")


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A call as it stood when its line was lost."""

    messages: tuple[Message, ...]
    """The conversation before, as the language model wants it."""

    event: ev.CallResumed
    """What the turn machine begins with."""


class _Reply:
    """A turn of the agent that is under way."""

    def __init__(self, question: str = "", *, is_confirmed: bool) -> None:
        self.question = question
        self.is_confirmed = is_confirmed
        self.is_locked = False
        """Whether it is the disclosure."""
        self.is_generating = bool(question)
        self.text = ""
        self.other_chars = 0
        """Of what sounds before the text and is no part of it: fillers, and the line that says that we are back."""
        self.waiting: dict[str, str] = {}
        """Tools that are running: their names by the ids of the calls."""
        self.has_run_tools = False
        self.is_trimmed = False
        self.last: act.HangUp | act.TransferCall | None = None
        self.started_at: float | None = None
        self.heard_ms = 0.0
        self.total_ms = 0.0
        """Of its audio, where a stop has told; 0 where nothing has."""

    @property
    def is_whole(self) -> bool:
        """Whether all that it was to say is known."""
        return self.last is not None or not (self.is_generating or self.waiting)

    def heard_chars(self, chars_per_ms: float) -> int:
        """Return how much of the text was heard, to a word."""
        if self.total_ms:
            chars_per_ms = (self.other_chars + len(self.text)) / self.total_ms
        count = max(0.0, self.heard_ms * chars_per_ms - self.other_chars)
        return len(self.text) if count >= len(self.text) else self.text.rfind(" ", 0, int(count) + 1) + 1


class _Segment:
    """Walks through one log."""

    def __init__(self, header: EventLogHeader, earlier: Sequence[Message]) -> None:
        self._language = header.settings.language
        self._lines = header.settings.lines.completed(self._language)
        self._history = History(earlier)
        self._replies: dict[int, _Reply] = {}
        self._turn = 0
        """Of the reply under way, or the last one."""
        self._finals: list[str] = []
        self._interim = ""
        self._is_speaking = False
        self._is_over_agent = False
        self._answered = ""
        self._asked = ""
        """The last sentence of the last reply heard to its end, where it was a question; or a greeting that is due."""
        self._said_chars = 0
        self._said_ms = 0.0
        self._last: act.HangUp | act.TransferCall | None = None
        self._is_disclosed = False
        self._opted_out = ""
        """In which words the caller asked not to be called any more, until that was written down."""

    def step(self, event: ev.AnyEvent, actions: Sequence[act.AnyAction]) -> None:
        """Take one event and what was decided on it."""
        self._note_event(event)
        for action in actions:
            self._note_action(action)

    # --- events -----------------------------------------------------------------------------------------------
    def _note_event(self, event: ev.AnyEvent) -> None:
        match event:
            case ev.CallResumed():
                self._resume(event)
            case ev.SpeechStarted():
                self._is_speaking, self._is_over_agent = True, self._is_sounding()
            case ev.SpeechStopped():
                self._is_speaking = False
            case ev.TranscriptUpdated(text=text):
                self._interim = text.strip()
            case ev.OptOutRecorded():
                self._opted_out = ""
            case ev.TranscriptFinal(text=text):
                self._finals.append(text.strip() or self._interim)
                self._interim = ""
            case _:
                self._note_reply_event(event)

    def _note_reply_event(self, event: ev.AnyEvent) -> None:
        reply = self._replies.get(getattr(event, "turn", 0))
        if reply is None:
            return
        match event:
            case ev.ReplyFinished() | ev.ReplyFailed():
                reply.is_generating = False
            case ev.ToolFinished():
                self._finish_tool(reply, event)
            case ev.PlaybackStarted(at=at):
                reply.started_at = at
            case ev.PlaybackMarked(heard_ms=heard_ms):
                reply.heard_ms = max(reply.heard_ms, heard_ms)
            case ev.PlaybackStopped(heard_ms=heard_ms, remaining_ms=remaining_ms):
                reply.heard_ms = heard_ms
                reply.total_ms = 0.0 if reply.is_generating else heard_ms + remaining_ms
            case ev.PlaybackFinished(turn=turn, at=at):
                self._finish(turn, reply, at)

    def _resume(self, event: ev.CallResumed) -> None:
        """Begin with what an earlier segment left to do."""
        self._is_disclosed = event.is_disclosed
        self._opted_out = event.opted_out
        if event.question:
            self._finals.append(event.question)
        if event.transfer_to:
            self._last = act.TransferCall(target=event.transfer_to)
        elif event.hang_up:
            self._last = act.HangUp(reason="agent")

    def _is_sounding(self) -> bool:
        reply = self._replies.get(self._turn)
        return reply is not None and reply.started_at is not None

    def _finish_tool(self, reply: _Reply, event: ev.ToolFinished) -> None:
        name = reply.waiting.pop(event.call_id, None)
        if name is None:
            return
        self._history.answer_tool(event.turn, ToolMessage(call_id=event.call_id, name=name, result=event.result))
        if event.transfer_to:
            reply.last = act.TransferCall(target=event.transfer_to)
        elif event.hang_up and reply.last is None:
            reply.last = act.HangUp(reason="agent")

    def _finish(self, turn: int, reply: _Reply, at: float) -> None:
        """A reply was heard to its end."""
        del self._replies[turn]
        if reply.started_at is not None:
            self._said_chars += len(reply.text)
            self._said_ms += 1_000.0 * (at - reply.started_at)
        sentence = reply.text[_sentence_start(reply.text, len(reply.text)) :].strip()
        self._asked = sentence if sentence.endswith("?") else ""
        self._last = reply.last
        if reply.is_locked:
            self._is_disclosed = True
            self._asked = self._lines.greeting
        if self._is_over_agent and is_backchannel(self._words(), self._language):
            self._forget_words()

    # --- actions ----------------------------------------------------------------------------------------------
    def _note_action(self, action: act.AnyAction) -> None:
        match action:
            case act.StartReply(turn=turn, text=text, confirmed=confirmed):
                self._begin(turn, _Reply(text, is_confirmed=confirmed))
            case act.Speak():
                self._speak(action)
            case act.HangUp() | act.TransferCall():
                self._last = action
            case act.ResumePlayback():
                self._forget_words()
            case act.RecordOptOut(words=words):
                self._opted_out = words
            case _:
                self._note_reply_action(action)

    def _note_reply_action(self, action: act.AnyAction) -> None:
        turn = getattr(action, "turn", 0)
        reply = self._replies.get(turn)
        if reply is None:
            return
        match action:
            case act.ConfirmReply():
                reply.is_confirmed = True
                self._begin(turn, reply)
                if reply.text:
                    self._history.say(turn, reply.text)
            case act.ContinueReply():
                reply.is_generating = True
            case act.ReviseHistory(text=text):
                self._history.revise(turn, text)
                self._answered = text
            case act.RunTool(call_id=call_id, name=name, arguments=arguments):
                reply.has_run_tools = True
                reply.waiting[call_id] = name
                self._history.call_tool(turn, ToolCall(call_id=call_id, name=name, arguments=arguments))
            case act.TrimHistory():
                self._trim(turn, reply)
            case act.CancelReply():
                self._cancel(turn, reply)

    def _begin(self, turn: int, reply: _Reply) -> None:
        """A reply begins; once its turn is real, the caller's words are its own."""
        self._replies[turn] = reply
        is_first, self._turn = not self._turn, turn
        if reply.is_confirmed:
            self._history.begin(turn, reply.question)
            self._answered = reply.question or self._answered
            self._asked = ""
            if not reply.question and self._last is not None:
                reply.last, self._last = self._last, None
            if reply.question or not is_first:  # a disclosure answers nothing that an earlier stream left
                self._forget_words()

    def _speak(self, action: act.Speak) -> None:
        if action.turn not in self._replies:
            self._begin(action.turn, _Reply(is_confirmed=True))
        reply = self._replies[action.turn]
        if action.is_aside or (action.is_line and action.text == self._lines.resumption):
            reply.other_chars += len(action.text)
            return
        reply.text = joined(reply.text, action.text)
        reply.is_locked = reply.is_locked or action.is_locked
        lines = self._lines
        is_last = action.is_line and action.text in (lines.goodbye, lines.closing, lines.failure, lines.opted_out)
        if is_last or action.is_message:
            reply.last = reply.last or act.HangUp(reason="agent")
        if reply.is_confirmed:
            self._history.say(action.turn, action.text)

    def _trim(self, turn: int, reply: _Reply) -> None:
        reply.is_trimmed = True
        self._history.trim(turn, reply.text[: reply.heard_chars(self._chars_per_ms())].strip())

    def _cancel(self, turn: int, reply: _Reply) -> None:
        """A reply is withdrawn; where nothing of it was heard, what it answered is unanswered again."""
        del self._replies[turn]
        if reply.is_confirmed and not reply.is_trimmed:
            self._history.drop(turn)
            if reply.question:
                self._answered = ""
                self._finals.insert(0, reply.question)

    # --- the end ----------------------------------------------------------------------------------------------
    def result(self, elapsed_s: float) -> Restored:
        """Return the call as it stands now."""
        reply = self._replies.get(self._turn)
        if reply is None or not reply.is_confirmed:
            event = self._nobodys_turn()
        elif reply.is_locked:
            event = self._not_disclosed()
        elif reply.is_whole or not reply.question:
            event = self._cut_short(reply)
        else:
            event = self._left_unanswered(reply)
        event = msgspec.structs.replace(
            event, elapsed_s=elapsed_s, is_disclosed=self._is_disclosed, opted_out=self._opted_out
        )
        return Restored(messages=self._history.messages(), event=event)

    def _nobodys_turn(self) -> ev.CallResumed:
        words = self._words()
        is_question = has_words(words) and not self._is_speaking and not self._is_restated(words)
        return _resumed(self._last, question=words if is_question else "", unheard="" if words else self._asked)

    def _not_disclosed(self) -> ev.CallResumed:
        """All of it is said again; what the caller has said over it is still to be answered."""
        self._history.drop(self._turn)
        words = self._words()
        is_question = has_words(words) and not self._is_speaking
        return _resumed(None, question=words if is_question else "")

    def _cut_short(self, reply: _Reply) -> ev.CallResumed:
        heard = reply.heard_chars(self._chars_per_ms())
        begin = _sentence_start(reply.text, heard)
        if heard < len(reply.text):
            self._trim(self._turn, reply)
        return _resumed(reply.last, unheard=reply.text[begin:].strip())

    def _left_unanswered(self, reply: _Reply) -> ev.CallResumed:
        if reply.has_run_tools:
            for call_id, name in reply.waiting.items():
                answer = ToolMessage(call_id=call_id, name=name, result=OUTCOME_UNKNOWN)
                self._history.answer_tool(self._turn, answer)
            self._trim(self._turn, reply)
        else:
            self._history.drop(self._turn)
        return _resumed(None, question=reply.question)

    # --- the caller's words -----------------------------------------------------------------------------------
    def _words(self) -> str:
        return " ".join(text for text in (*self._finals, self._interim) if text)

    def _is_restated(self, words: str) -> bool:
        """Whether the words are those of a turn that was answered: its final transcript came late."""
        return normalised(self._answered).endswith(normalised(words))

    def _forget_words(self) -> None:
        self._finals.clear()
        self._interim = ""

    def _chars_per_ms(self) -> float:
        return (self._said_chars + CHARS_PER_MS * PACE_MS) / (self._said_ms + PACE_MS)


def restored(logs: Sequence[EventLog], now: datetime) -> Restored:
    """Return the call whose segments these are, in order; without any, a call of which nothing is known."""
    found = Restored(messages=(), event=ev.CallResumed(at=0.0, elapsed_s=0.0))
    for log in logs:
        segment = _Segment(log.header, found.messages)
        for logged in log.entries:
            if isinstance(logged.event, ev.CallEnded):
                break  # what is decided then only tidies up
            segment.step(logged.event, logged.actions)
        elapsed_s = max(0.0, (now - logs[0].header.started_at).total_seconds())
        if log.entries:  # else that stream broke off before it could take up anything
            found = segment.result(elapsed_s)
    return found


def _resumed(last: act.HangUp | act.TransferCall | None, *, question: str = "", unheard: str = "") -> ev.CallResumed:
    return ev.CallResumed(
        at=0.0,
        elapsed_s=0.0,
        question=question,
        unheard=unheard,
        hang_up=isinstance(last, act.HangUp),
        transfer_to=last.target if isinstance(last, act.TransferCall) else "",
    )


def _sentence_start(text: str, position: int) -> int:
    """Return where the sentence at `position` begins; at a sentence's very end that is the sentence before."""
    starts = [0, *(found.end() for found in _SENTENCE_END.finditer(text))]
    return max(start for start in starts if start < max(1, position))
