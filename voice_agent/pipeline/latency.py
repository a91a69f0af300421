"""Where the time of a turn went: from the caller's last speech sample to the first sample of the answer.

`LatencyTracker` watches the events and actions of the turn machine and needs nothing else, so a recorded log gives
the same figures as the live call. It times replies to speech only: a greeting, an idle prompt, an answer to keys or
to words too soft for voice activity have no last speech sample to count from. What was said over a locked turn had to
wait for that turn's end, which is nobody's latency: the answer to it is not timed.

How the total is split
----------------------
Speculation makes the stages overlap, so durations of stages do not add up. What is reported instead is the
**critical path**: walking back from the first sound, each milestone is charged to what it waited for last. The parts
are never negative and add up to the total.

    sound      waited for the later of: audio ready, turn taken                                        -> ours
    audio      first audio of the synthesiser, waited for the first text sent to it                    -> tts
    text       first clause complete, waited for the model (a filler counts as the text it stands for) -> llm
               of which tools, from the first RunTool to the last ContinueReply before that text       -> tools
    asked, or  StartReply or ConfirmReply; waited for a final transcript: up to its commit             -> endpointing
    taken          and from the commit to the final                                                    -> stt
               waited for an interim transcript                                                        -> stt
               waited for anything else (voice activity, a deadline of ours)                           -> endpointing

So a turn whose answer was ready before the endpoint is all endpointing (and ours): a faster model would not have
made it faster.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from voice_agent.pipeline.actions import (
    AnyAction,
    CancelReply,
    CommitTranscript,
    ConfirmReply,
    ContinueReply,
    RunTool,
    Speak,
    StartReply,
    TrimHistory,
)
from voice_agent.pipeline.events import (
    AnyEvent,
    PlaybackFinished,
    PlaybackStarted,
    SpeechStarted,
    SpeechStopped,
    SynthesisStarted,
    TranscriptFinal,
    TranscriptUpdated,
)


class TurnLatency(msgspec.Struct, frozen=True, kw_only=True):
    """One answered turn. The parts are shares of the critical path and add up to `voice_to_voice_ms`."""

    turn: int
    voice_to_voice_ms: float
    """Last speech sample of the caller to the first sample of the answer on its way to the caller."""

    endpointing_ms: float
    stt_ms: float
    llm_ms: float
    tools_ms: float
    tts_ms: float
    ours_ms: float
    speculated: bool
    """Whether the reply was begun before the turn was taken."""

    discarded: int
    """Speculations that were begun for this turn and thrown away."""

    filled: bool = False
    """Whether a filler was heard first."""

    interrupted: bool = False
    """Whether the caller cut the answer; known only later, see `LatencyTracker.turns`."""

    @property
    def parts(self) -> dict[str, Any]:
        """Everything but which turn it is and its total."""
        fields = msgspec.structs.asdict(self)
        return {name: value for name, value in fields.items() if name not in {"turn", "voice_to_voice_ms"}}


class LatencySummary(msgspec.Struct, frozen=True, kw_only=True):
    """The turns of one call, or of many."""

    turns: int
    p50_ms: float
    p95_ms: float
    """Of voice-to-voice; 0 without turns."""

    interrupted: int
    discarded: int
    """Speculations thrown away."""


def summarise(turns: Sequence[TurnLatency]) -> LatencySummary:
    """Return the figures of `turns` together."""
    totals = [turn.voice_to_voice_ms for turn in turns]
    return LatencySummary(
        turns=len(turns),
        p50_ms=percentile(totals, 50),
        p95_ms=percentile(totals, 95),
        interrupted=sum(turn.interrupted for turn in turns),
        discarded=sum(turn.discarded for turn in turns),
    )


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the nearest-rank percentile, 0 < percent <= 100: always one of `values`; 0.0 where there are none."""
    ranked = sorted(values)
    if not ranked:
        return 0.0
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]


class _Moment(msgspec.Struct, frozen=True):
    """When an action was decided, and what the machine had waited for."""

    at: float
    is_interim: bool
    is_final: bool
    committed_at: float
    """When the last commit before it was asked for."""


class _Reply(msgspec.Struct):
    """The milestones of a reply under way, seconds of the call's clock; None for not yet."""

    asked: _Moment
    discarded: int
    taken: _Moment | None = None
    ended_at: float | None = None
    """The caller's last speech sample, as it was known when the turn was taken."""

    text_at: float | None = None
    audio_at: float | None = None
    tools_from: float | None = None
    tools_until: float | None = None
    filled: bool = False


class LatencyTracker:
    """Times one call. Give `observe` every event with the actions it caused, in order."""

    def __init__(self) -> None:
        self._turns: dict[int, TurnLatency] = {}
        self._replies: dict[int, _Reply] = {}
        self._ended_at: float | None = None
        self._committed_at = 0.0
        self._discarded = 0
        self._locked = 0
        """The turn that could not be interrupted; 0 for none."""
        self.speculations = 0
        """Replies begun before their turn was taken, in the whole call."""

        self.discarded = 0
        """How many of these were thrown away."""

    @property
    def turns(self) -> tuple[TurnLatency, ...]:
        """What has been timed so far, with what became of each turn."""
        return tuple(self._turns.values())

    def observe(self, event: AnyEvent, actions: Iterable[AnyAction]) -> TurnLatency | None:
        """Take one event and its actions; return the timing of the turn whose answer has just begun to sound."""
        if isinstance(event, SpeechStarted):
            self._ended_at = None
        elif isinstance(event, SpeechStopped):
            self._ended_at = event.ended_at
        elif isinstance(event, PlaybackFinished) and event.turn == self._locked:
            self._ended_at = None
        elif isinstance(event, SynthesisStarted) and (reply := self._replies.get(event.turn)):
            reply.audio_at = event.at if reply.audio_at is None else reply.audio_at
        for action in actions:
            self._note(event, action)
        return self._time(event) if isinstance(event, PlaybackStarted) else None

    def _note(self, event: AnyEvent, action: AnyAction) -> None:
        match action:
            case CommitTranscript():
                self._committed_at = event.at
            case StartReply():
                self._begin(event, action)
            case ConfirmReply():
                self._take(action.turn, self._moment(event))
            case CancelReply():
                self._cancel(action.turn)
            case TrimHistory():
                self._interrupt(action.turn)
            case Speak(is_locked=True, turn=turn):
                self._locked = turn
            case Speak() | RunTool() | ContinueReply():
                if reply := self._replies.get(action.turn):
                    _note_progress(reply, action, event.at)

    def _moment(self, event: AnyEvent) -> _Moment:
        return _Moment(
            event.at, isinstance(event, TranscriptUpdated), isinstance(event, TranscriptFinal), self._committed_at
        )

    def _begin(self, event: AnyEvent, action: StartReply) -> None:
        moment = self._moment(event)
        self._replies[action.turn] = _Reply(moment, self._discarded)
        if action.confirmed:
            self._take(action.turn, moment)
        else:
            self.speculations += 1

    def _take(self, turn: int, moment: _Moment) -> None:
        if reply := self._replies.get(turn):
            reply.taken = moment
            reply.ended_at = self._ended_at
            reply.discarded = self._discarded
            self._discarded = 0

    def _cancel(self, turn: int) -> None:
        reply = self._replies.pop(turn, None)
        if reply is not None and reply.taken is None:
            self._discarded += 1
            self.discarded += 1

    def _interrupt(self, turn: int) -> None:
        if turn in self._turns:
            self._turns[turn] = msgspec.structs.replace(self._turns[turn], interrupted=True)

    def _time(self, event: PlaybackStarted) -> TurnLatency | None:
        reply = self._replies.pop(event.turn, None)
        if reply is None or reply.taken is None or reply.ended_at is None:
            return None
        self._turns[event.turn] = timed = _split(event, reply, reply.taken, reply.ended_at)
        return timed


def _note_progress(reply: _Reply, action: Speak | RunTool | ContinueReply, at: float) -> None:
    if reply.text_at is not None:
        return
    if isinstance(action, Speak):
        reply.text_at = at
        reply.filled = action.is_aside
    elif isinstance(action, RunTool):
        reply.tools_from = at if reply.tools_from is None else reply.tools_from
    else:
        reply.tools_until = at


def _split(event: PlaybackStarted, reply: _Reply, taken: _Moment, ended_at: float) -> TurnLatency:
    """Walk back along the critical path. Milestones before `ended_at` (a pause that went on) count as at it."""
    text_at = event.at if reply.text_at is None else reply.text_at
    audio_at = text_at if reply.audio_at is None else reply.audio_at
    ready_at = max(taken.at, audio_at, ended_at)
    llm_s = tools_s = tts_s = 0.0
    origin = taken
    if audio_at > max(taken.at, ended_at):
        tts_s = audio_at - max(text_at, ended_at)
        # A tool runs only once the turn is taken: then what came before the taking was hidden behind it.
        if text_at > taken.at and reply.tools_from is not None:
            tools_s = (text_at if reply.tools_until is None else reply.tools_until) - reply.tools_from
        origin = taken if tools_s and reply.tools_from == taken.at else reply.asked
        llm_s = max(text_at, ended_at) - max(origin.at, ended_at) - tools_s
    endpointing_s, stt_s = _charge(origin, ended_at)
    return TurnLatency(
        turn=event.turn,
        voice_to_voice_ms=(event.at - ended_at) * 1_000,
        endpointing_ms=endpointing_s * 1_000,
        stt_ms=stt_s * 1_000,
        llm_ms=llm_s * 1_000,
        tools_ms=tools_s * 1_000,
        tts_ms=tts_s * 1_000,
        ours_ms=(event.at - ready_at) * 1_000,
        speculated=reply.asked is not taken,
        discarded=reply.discarded,
        filled=reply.filled,
    )


def _charge(moment: _Moment, ended_at: float) -> tuple[float, float]:
    """Return how long a decision waited for endpointing and for STT, in seconds from the last speech sample."""
    waited_s = max(0.0, moment.at - ended_at)
    if moment.is_interim:
        return 0.0, waited_s
    if moment.is_final:
        stt_s = min(waited_s, max(0.0, moment.at - moment.committed_at))
        return waited_s - stt_s, stt_s
    return waited_s, 0.0
