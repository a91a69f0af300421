"""Invariants of the turn machine over random calls: any events, in any order, from a careless world."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.turn_world import LINES
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.turn import TurnMachine
from voice_agent.pipeline.turn_settings import TurnSettings
from voice_agent.pipeline.turn_tables import Agent, Phase, User

NEVER_S = 1e6

WORDS = st.sampled_from(
    ["", "mhm", "okay", "yes", "I'd like a table", "no wait", "my number is", "555 12", "and", ".",
     "stop calling me", "leave a message after the tone"]
)  # fmt: skip
REPLIES = st.sampled_from(["Sure, ", "I can ", "do that. ", "What day ", "suits you?", "", "1,000 ", "…"])

VERDICTS = {-1: "machine_start", 0: "human", 1: "machine_end_beep"}

Detail = tuple[str, str, int]
"""Words of the caller, text of a reply, and a shift whose meaning is the event's."""

Step = tuple[str, float, Detail]
"""What happens, how many seconds later, with which detail. Turn numbers are chosen when the step is played."""


def _plain(*kinds: str, words: str = "I'd like a table", reply: str = "I can do that. ") -> list[Step]:
    return [(kind, 0.1, (words, reply, 0)) for kind in kinds]


_GREETED = _plain("play", "played")
_SPECULATING = [*_GREETED, *_plain("speech", "stop", "interim")]
_THINKING = [*_SPECULATING, ("deadline", 1.0, ("", "", 0))]
_TOOL = [*_THINKING, *_plain("text", "tool", "done")]
_SPEAKING = [*_THINKING, *_plain("text", "play")]
_SAID = [*_THINKING, *_plain("text", "done", "play", "mark")]
_STOPPED = [*_SPEAKING, *_plain("speech", "voice", "stopped")]
_BEGINNINGS: tuple[list[Step], ...] = ([], _GREETED, _SPECULATING, _THINKING, _TOOL, _SPEAKING, _SAID, _STOPPED)


@st.composite
def _events(draw: st.DrawFn) -> list[Step]:
    """Draw a call: a beginning that leads into some state, and anything after it."""
    kinds = st.sampled_from(
        ["start", "speech", "voice", "stop", "interim", "final", "text", "tool", "done", "fail", "tool_done", "synth",
         "synth_fail", "play", "mark", "stopped", "played", "digit", "deadline", "lost", "close",
         "verdict", "nine", "recorded", "wait"]
    )  # fmt: skip
    detail = st.tuples(WORDS, REPLIES, st.integers(-1, 1))
    step = st.tuples(kinds, st.sampled_from([0.0, 0.01, 0.1, 0.2, 0.5, 2.0, 9.0]), detail)
    return [*draw(st.sampled_from(_BEGINNINGS)), *draw(st.lists(step, max_size=40))]


def _event(kind: str, at: float, detail: Detail, machine: TurnMachine) -> ev.AnyEvent:  # noqa: C901
    words, reply, shift = detail
    turn = machine.turn + (shift if shift < 0 else 0)
    match kind:
        case "start":
            return ev.CallStarted(at=at)
        case "speech":
            return ev.SpeechStarted(at=at, began_at=at - 0.06)
        case "voice":
            return ev.VoiceConfirmed(at=at, began_at=at - 0.18)
        case "stop":
            return ev.SpeechStopped(at=at, ended_at=at - 0.1)
        case "interim":
            return ev.TranscriptUpdated(at=at, text=words)
        case "final":
            return ev.TranscriptFinal(at=at, text=words)
        case "text":
            return ev.ReplyText(at=at, turn=turn, text=reply)
        case "tool":
            name = "end_call" if shift > 0 else "look_up"
            return ev.ReplyToolCalled(at=at, turn=turn, call_id="c1", name=name, arguments="{}")
        case "done":
            return ev.ReplyFinished(at=at, turn=turn)
        case "fail":
            return ev.ReplyFailed(at=at, turn=turn, reason="ProviderUnavailable")
        case "tool_done":
            return ev.ToolFinished(at=at, turn=turn, call_id="c1", result="ok", hang_up=shift > 0)
        case "synth":
            return ev.SynthesisStarted(at=at, turn=turn)
        case "synth_fail":
            return ev.SynthesisFailed(at=at, turn=turn, reason="ProviderUnavailable")
        case "play":
            return ev.PlaybackStarted(at=at, turn=turn)
        case "mark":
            return ev.PlaybackMarked(at=at, turn=turn, heard_ms=500.0 * (1 + shift))
        case "stopped":
            return ev.PlaybackStopped(at=at, turn=turn, heard_ms=400.0, remaining_ms=500.0 * (1 + shift))
        case "played":
            return ev.PlaybackFinished(at=at, turn=turn)
        case "digit":
            return ev.DigitPressed(at=at, digit="5" if shift < 1 else "#")
        case "nine":
            return ev.DigitPressed(at=at, digit="9")
        case "verdict":
            return ev.AnsweredBy(at=at, answered_by=VERDICTS[shift])
        case "recorded":
            return ev.OptOutRecorded(at=at, is_committed=True)
        case "close":
            return ev.EndRequested(at=at, reason="shutdown")
        case "lost":
            return ev.TranscriptionFailed(at=at, reason="ProviderUnavailable")
        case _:
            return ev.DeadlinePassed(at=at)


class _Judge:
    """Follows the actions of one call and holds them against the rules that no call may break."""

    def __init__(self) -> None:
        self.live: set[int] = set()
        self.confirmed: set[int] = set()
        self.stopped: set[int] = set()
        self.finished: set[int] = set()
        self.locked: set[int] = set()
        """Turns of a disclosure that was not heard to its end yet."""
        self.is_closing = False
        """Whether a disclosure was cut: then the call has to end."""
        self.newest = 0
        self.is_over = False

    def see(self, action: act.AnyAction) -> None:
        tidies_up = isinstance(action, act.CancelReply | act.StopPlayback | act.TrimHistory | act.RecordOptOut)
        assert not self.is_over or tidies_up
        match action:
            case act.StartReply(turn=turn, confirmed=confirmed):
                assert turn > self.newest
                assert not self.locked
                assert not self.is_closing
                self._open(turn, confirmed=confirmed)
            case act.Speak(turn=turn, is_line=is_line, is_locked=is_locked):
                if is_locked:
                    self.locked.add(turn)
                if turn not in self.live:
                    assert is_line
                    assert not self.locked - {turn}
                    assert turn > self.newest
                    self._open(turn, confirmed=True)
                assert turn not in self.finished
            case act.ConfirmReply(turn=turn):
                assert turn in self.live - self.confirmed
                self.confirmed.add(turn)
            case act.RunTool(turn=turn) | act.ContinueReply(turn=turn) | act.FinishSpeaking(turn=turn):
                assert turn in self.confirmed & self.live
                if isinstance(action, act.FinishSpeaking):
                    self.finished.add(turn)
            case act.CancelReply(turn=turn):
                assert turn in self.live
                self.live.discard(turn)
                self._cut(turn)
            case act.HangUp() | act.TransferCall():
                self.is_over = True
            case _:
                self._see_playback(action)

    def _see_playback(self, action: act.AnyAction) -> None:
        match action:
            case act.StopPlayback(turn=turn):
                assert turn in self.confirmed & self.live
                assert turn not in self.stopped
                self.stopped.add(turn)
                self._cut(turn)
            case act.ResumePlayback(turn=turn):
                assert turn in self.stopped & self.live
                self.stopped.discard(turn)
            case act.TrimHistory(turn=turn):
                assert turn in self.live

    def _cut(self, turn: int) -> None:
        if turn in self.locked:
            self.locked.discard(turn)
            self.is_closing = True

    def _open(self, turn: int, *, confirmed: bool) -> None:
        self.newest = turn
        self.live = {turn}  # a turn that was heard to its end needs no cancelling
        self.stopped.clear()
        if confirmed:
            self.confirmed.add(turn)


ENDS_A_DISCLOSURE = ("CallEnded", "EndRequested", "TranscriptionFailed", "SynthesisFailed")
CUTS_A_DISCLOSURE = (*ENDS_A_DISCLOSURE, "AnsweredBy", "DeadlinePassed", "ToolFinished", "TranscriptFinal")
"""Those of a campaign's call: a machine answers, or a key, a tool or late words say that no call is wanted."""

DISCLOSURES = st.sampled_from(["", "This is an automated call."])
CAMPAIGNS = st.sampled_from(
    [
        TurnSettings(lines=LINES),
        TurnSettings(lines=LINES.completed("en"), hears_opt_out=True, on_machine="speak", machine_message="Call us.",
                     awaits_verdict=True),
        TurnSettings(lines=LINES.completed("en"), hears_opt_out=True, on_machine="hang_up", awaits_verdict=True),
    ]
)  # fmt: skip


@settings(max_examples=500)
@given(_events(), DISCLOSURES, CAMPAIGNS)
def test_no_call_breaks_the_rules(steps: list[Step], disclosure: str, campaign: TurnSettings) -> None:
    machine = TurnMachine(msgspec.structs.replace(campaign, disclosure=disclosure))
    judge = _Judge()
    at = 0.0
    for action in machine.handle(ev.CallStarted(at=0.0)):
        judge.see(action)
    for kind, later, detail in steps:
        at += later
        event = _event(kind, at, detail, machine)
        turn_before, was_closing = machine.turn, judge.is_closing
        if isinstance(event, ev.PlaybackFinished) and machine.agent is Agent.SPEAKING:
            judge.locked.discard(event.turn)
        actions = machine.handle(event)
        for action in actions:
            judge.see(action)
        assert machine.turn >= turn_before
        if judge.is_closing and not was_closing:
            assert type(event).__name__ in (CUTS_A_DISCLOSURE if campaign.hears_opt_out else ENDS_A_DISCLOSURE)
        if isinstance(event, ev.DeadlinePassed):
            assert machine.deadline is None or machine.deadline > at
        if machine.agent is Agent.IDLE:
            judge.stopped.clear()
    machine.handle(ev.CallEnded(at=at, reason="stopped"))
    assert machine.phase is Phase.ENDED
    assert machine.agent is Agent.IDLE
    assert machine.deadline is None
    assert machine.handle(ev.SpeechStarted(at=at + 1, began_at=at + 1)) == ()


def _live_on(machine: TurnMachine, at: float) -> float:
    """Let the world go on by one step: the model fails, tools return, lines are heard, else time passes."""
    turn = machine.turn
    if machine.agent is Agent.THINKING:
        if not machine.handle(ev.ReplyFailed(at=at, turn=turn, reason="x")):
            machine.handle(ev.ToolFinished(at=at, turn=turn, call_id="c1", result="ok"))
            machine.handle(ev.PlaybackStarted(at=at, turn=machine.turn))
    elif machine.agent is Agent.SPEAKING:
        machine.handle(ev.ToolFinished(at=at, turn=turn, call_id="c1", result="ok"))
        machine.handle(ev.ReplyFinished(at=at, turn=turn))
        machine.handle(ev.PlaybackFinished(at=at, turn=turn))
    else:
        assert machine.deadline is not None
        at = max(at, machine.deadline)
        machine.handle(ev.DeadlinePassed(at=at))
    return at


@settings(max_examples=300)
@given(_events())
def test_what_is_said_over_a_disclosure_is_answered(steps: list[Step]) -> None:
    """Whatever happens during it: real words that are known at its end are the caller's turn."""
    machine = TurnMachine(TurnSettings(lines=LINES, disclosure="It is recorded."))
    at = 0.0
    machine.handle(ev.CallStarted(at=at))
    machine.handle(ev.PlaybackStarted(at=at, turn=1))
    for kind, later, detail in steps:
        at += min(later, 2.0)
        if kind in ("played", "close", "lost", "synth_fail"):
            continue
        machine.handle(_event(kind, at, detail, machine))
        machine.handle(ev.PlaybackMarked(at=at, turn=1, heard_ms=at))
    machine.handle(ev.TranscriptFinal(at=at, text="What does it cost?"))
    actions = list(machine.handle(ev.PlaybackFinished(at=at, turn=1)))
    if machine.user is User.SPEAKING:
        actions += machine.handle(ev.SpeechStopped(at=at, ended_at=at))
    while machine.deadline is not None and not any(isinstance(action, act.StartReply) for action in actions):
        at = max(at, machine.deadline)
        actions += machine.handle(ev.DeadlinePassed(at=at))
    started = [action for action in actions if isinstance(action, act.StartReply)]
    assert "What does it cost?" in started[0].text


@settings(max_examples=300)
@given(_events(), DISCLOSURES, CAMPAIGNS)
def test_every_call_left_alone_comes_to_an_end(steps: list[Step], disclosure: str, campaign: TurnSettings) -> None:
    """Dead air is a defect: from any point, with a silent caller and working playback, the agent says goodbye.

    The longest duration ends no call here: none may need it.
    """
    machine = TurnMachine(msgspec.structs.replace(campaign, disclosure=disclosure, duration_s=NEVER_S))
    at = 0.0
    machine.handle(ev.CallStarted(at=at))
    for kind, later, detail in steps:
        at += later
        machine.handle(_event(kind, at, detail, machine))
    if machine.user is User.SPEAKING:
        machine.handle(ev.SpeechStopped(at=at, ended_at=at))
    for _ in range(200):
        if machine.phase in (Phase.ENDING, Phase.ENDED):
            break
        at = _live_on(machine, at)
    assert machine.phase in (Phase.ENDING, Phase.ENDED)
    assert at < NEVER_S


def test_lines_list_every_phrase() -> None:
    assert set(LINES.all()) >= {LINES.greeting, LINES.goodbye, LINES.failure}
