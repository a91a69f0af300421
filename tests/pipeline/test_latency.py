"""Where the time of a turn is charged to: hand-made calls, and the sum of the parts for any of them."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.latency import LatencyTracker, TurnLatency, percentile, summarise

Step = tuple[ev.AnyEvent, Sequence[act.AnyAction]]

SPEECH_ENDS: Step = (ev.SpeechStopped(at=10.2, ended_at=10.0), ())
COMMIT: Step = (ev.DeadlinePassed(at=10.2), [act.CommitTranscript()])


def timed(*steps: Step) -> TurnLatency:
    tracker = LatencyTracker()
    for event, actions in steps:
        tracker.observe(event, actions)
    assert len(tracker.turns) == 1
    return tracker.turns[0]


def parts(turn: TurnLatency) -> list[int]:
    """Endpointing, STT, LLM, tools, TTS, ours."""
    return [
        round(ms) for ms in (turn.endpointing_ms, turn.stt_ms, turn.llm_ms, turn.tools_ms, turn.tts_ms, turn.ours_ms)
    ]


def start(turn: int = 2, *, confirmed: bool) -> act.StartReply:
    return act.StartReply(turn=turn, text="hello", confirmed=confirmed)


def speak(turn: int = 2) -> act.Speak:
    return act.Speak(turn=turn, text="Hi. ")


def test_without_speculation_the_stages_stand_in_a_row() -> None:
    turn = timed(
        SPEECH_ENDS,
        COMMIT,
        (ev.TranscriptFinal(at=10.3, text="hello"), [start(confirmed=True)]),
        (ev.ReplyText(at=10.45, turn=2, text="Hi."), ()),
        (ev.ReplyText(at=10.5, turn=2, text=" "), [speak()]),
        (ev.ReplyText(at=10.55, turn=2, text="What now? "), [speak()]),
        (ev.SynthesisStarted(at=10.58, turn=2), ()),
        (ev.PlaybackStarted(at=10.585, turn=2), ()),
    )
    assert turn.voice_to_voice_ms == pytest.approx(585)
    assert parts(turn) == [200, 100, 200, 0, 80, 5]
    assert not turn.speculated


def test_a_speculation_that_is_ready_before_the_endpoint_is_all_endpointing() -> None:
    turn = timed(
        (ev.TranscriptUpdated(at=10.15, text="hello"), ()),
        (SPEECH_ENDS[0], [start(confirmed=False)]),
        (ev.ReplyText(at=10.35, turn=2, text="Hi. "), [speak()]),
        (ev.SynthesisStarted(at=10.43, turn=2), ()),
        (ev.DeadlinePassed(at=10.6), [act.ConfirmReply(turn=2)]),
        (ev.PlaybackStarted(at=10.61, turn=2), ()),
    )
    assert parts(turn) == [600, 0, 0, 0, 0, 10]
    assert turn.speculated


def test_a_turn_that_waits_for_its_final_transcript_is_charged_to_recognition() -> None:
    turn = timed(
        SPEECH_ENDS,
        COMMIT,
        (ev.TranscriptUpdated(at=10.25, text="hello"), [start(confirmed=False)]),
        (ev.ReplyText(at=10.3, turn=2, text="Hi. "), [speak()]),
        (ev.SynthesisStarted(at=10.35, turn=2), ()),
        (ev.TranscriptFinal(at=10.5, text="hello"), [act.ConfirmReply(turn=2)]),
        (ev.PlaybackStarted(at=10.5, turn=2), ()),
    )
    assert parts(turn) == [200, 300, 0, 0, 0, 0]


def test_a_speculation_that_comes_late_is_charged_from_the_words_it_answers() -> None:
    turn = timed(
        SPEECH_ENDS,
        (ev.TranscriptUpdated(at=10.25, text="hello"), [start(confirmed=False)]),
        (ev.DeadlinePassed(at=10.3), [act.ConfirmReply(turn=2)]),
        (ev.ReplyText(at=10.45, turn=2, text="Hi. "), [speak()]),
        (ev.SynthesisStarted(at=10.53, turn=2), ()),
        (ev.PlaybackStarted(at=10.54, turn=2), ()),
    )
    assert parts(turn) == [0, 250, 200, 0, 80, 10]


def test_tools_are_charged_apart_from_the_model() -> None:
    turn = timed(
        SPEECH_ENDS,
        (ev.DeadlinePassed(at=10.3), [start(confirmed=True)]),
        (ev.ReplyToolCalled(at=10.5, turn=2, call_id="a", name="look", arguments="{}"), ()),
        (ev.ReplyFinished(at=10.5, turn=2), [act.RunTool(turn=2, call_id="a", name="look", arguments="{}")]),
        (ev.ToolFinished(at=10.9, turn=2, call_id="a", result="yes"), [act.ContinueReply(turn=2)]),
        (ev.ReplyText(at=11.0, turn=2, text="Hi. "), [speak()]),
        (ev.SynthesisStarted(at=11.1, turn=2), ()),
        (ev.PlaybackStarted(at=11.1, turn=2), ()),
    )
    assert parts(turn) == [300, 0, 300, 400, 100, 0]


def test_a_tool_prepared_by_a_speculation_waits_for_the_turn() -> None:
    turn = timed(
        (SPEECH_ENDS[0], [start(confirmed=False)]),
        (ev.ReplyFinished(at=10.3, turn=2), ()),
        (
            ev.DeadlinePassed(at=10.4),
            [act.ConfirmReply(turn=2), act.RunTool(turn=2, call_id="a", name="look", arguments="{}")],
        ),
        (ev.ToolFinished(at=10.5, turn=2, call_id="a", result="yes"), [act.ContinueReply(turn=2)]),
        (ev.ReplyText(at=10.7, turn=2, text="Hi. "), [speak()]),
        (ev.SynthesisStarted(at=10.8, turn=2), ()),
        (ev.PlaybackStarted(at=10.8, turn=2), ()),
    )
    assert parts(turn) == [400, 0, 200, 100, 100, 0]


def test_a_filler_counts_as_the_first_sound_and_is_told() -> None:
    filler = act.Speak(turn=2, text="One moment.", is_line=True, is_aside=True)
    turn = timed(
        SPEECH_ENDS,
        (ev.DeadlinePassed(at=10.3), [start(confirmed=True)]),
        (ev.DeadlinePassed(at=11.8), [filler]),
        (ev.SynthesisStarted(at=11.8, turn=2), ()),
        (ev.PlaybackStarted(at=11.81, turn=2), ()),
        (ev.ReplyText(at=12.0, turn=2, text="Hi. "), [speak()]),
        (ev.PlaybackStarted(at=12.5, turn=2), ()),
    )
    assert parts(turn) == [300, 0, 1500, 0, 0, 10]
    assert turn.filled


def test_discarded_speculations_are_counted_for_the_turn_and_for_the_call() -> None:
    tracker = LatencyTracker()
    steps: list[Step] = [
        (SPEECH_ENDS[0], [start(2, confirmed=False)]),
        (ev.TranscriptUpdated(at=10.3, text="hello you"), [act.CancelReply(turn=2), start(4, confirmed=False)]),
        (ev.TranscriptFinal(at=10.4, text="hello you two"), [act.CancelReply(turn=4), start(6, confirmed=True)]),
        (ev.ReplyText(at=10.5, turn=6, text="Hi. "), [speak(6)]),
        (ev.SynthesisStarted(at=10.6, turn=6), ()),
    ]
    for event, actions in steps:
        assert tracker.observe(event, actions) is None
    turn = tracker.observe(ev.PlaybackStarted(at=10.6, turn=6), ())
    assert turn is not None
    assert (turn.discarded, tracker.discarded, tracker.speculations) == (2, 2, 2)


def test_an_interruption_is_noted_when_it_comes() -> None:
    tracker = LatencyTracker()
    steps: list[Step] = [
        SPEECH_ENDS,
        (ev.DeadlinePassed(at=10.3), [start(confirmed=True), speak()]),
        (ev.PlaybackStarted(at=10.5, turn=2), ()),
        (ev.VoiceConfirmed(at=11.0, began_at=10.9), [act.StopPlayback(turn=2)]),
        (ev.TranscriptUpdated(at=11.3, text="wait"), [act.TrimHistory(turn=2), act.CancelReply(turn=2)]),
    ]
    for event, actions in steps:
        tracker.observe(event, actions)
    assert [turn.interrupted for turn in tracker.turns] == [True]
    assert tracker.discarded == 0


def test_only_answers_to_speech_are_timed() -> None:
    tracker = LatencyTracker()
    steps: list[Step] = [
        (ev.CallStarted(at=0.0), [act.Speak(turn=1, text="Hello.", is_line=True)]),
        (ev.PlaybackStarted(at=0.1, turn=1), ()),
        (ev.DigitPressed(at=3.0, digit="#"), [start(confirmed=True)]),
        (ev.PlaybackStarted(at=3.5, turn=2), ()),
        (ev.SpeechStarted(at=5.1, began_at=5.0), ()),
        (ev.DeadlinePassed(at=9.0), [start(3, confirmed=True)]),
        (ev.PlaybackStarted(at=9.5, turn=3), ()),
    ]
    for event, actions in steps:
        assert tracker.observe(event, actions) is None
    assert tracker.turns == ()


def test_actions_of_unknown_replies_change_nothing() -> None:
    tracker = LatencyTracker()
    strays: list[act.AnyAction] = [act.ConfirmReply(turn=9), act.CancelReply(turn=9), act.TrimHistory(turn=9), speak(9)]
    tracker.observe(ev.DeadlinePassed(at=1.0), strays)
    assert tracker.observe(ev.SynthesisStarted(at=1.0, turn=9), ()) is None
    assert tracker.observe(ev.PlaybackStarted(at=1.0, turn=9), ()) is None
    assert (tracker.turns, tracker.discarded) == ((), 0)


GAP = st.floats(0, 3)


@given(
    st.lists(GAP, min_size=6, max_size=6),
    st.permutations(["asked", "taken", "text"]),
    st.booleans(),
    st.sampled_from("fid"),
)
def test_the_parts_are_never_negative_and_add_up(
    gaps: list[float], order: list[str], with_tools: bool, cause: str
) -> None:
    """Whatever comes first: the reply is asked for before or after the turn is taken, or at once."""
    at = 10.0
    tracker = LatencyTracker()
    tracker.observe(ev.SpeechStopped(at=at + gaps[0], ended_at=at), [act.CommitTranscript()])
    at += gaps[0] + gaps[1]
    cause_of: dict[str, ev.AnyEvent] = {
        "f": ev.TranscriptFinal(at=at, text="x"),
        "i": ev.TranscriptUpdated(at=at, text="x"),
        "d": ev.DeadlinePassed(at=at),
    }
    speculated = order.index("asked") < order.index("taken")
    tracker.observe(cause_of[cause], [start(confirmed=not speculated)])
    tool = act.RunTool(turn=2, call_id="a", name="x", arguments="{}")
    steps: list[Step] = []
    if speculated:
        steps.append((ev.DeadlinePassed(at=0.0), [act.ConfirmReply(turn=2), *([tool] if with_tools else [])]))
    elif with_tools:
        steps.append((ev.ReplyFinished(at=0.0, turn=2), [tool]))
    if with_tools:
        steps.append((ev.ToolFinished(at=0.0, turn=2, call_id="a", result=""), [act.ContinueReply(turn=2)]))
    position = 0 if speculated and not with_tools and order.index("text") < order.index("taken") else len(steps)
    steps.insert(position, (ev.ReplyText(at=0.0, turn=2, text="Hi. "), [speak()]))
    steps.insert(position + 1, (ev.SynthesisStarted(at=0.0, turn=2), []))
    for gap, (event, actions) in zip(gaps[2:] * 2, steps, strict=False):
        at += gap
        tracker.observe(msgspec.structs.replace(event, at=at), actions)
    turn = tracker.observe(ev.PlaybackStarted(at=at + gaps[5], turn=2), ())
    assert turn is not None
    shares = (turn.endpointing_ms, turn.stt_ms, turn.llm_ms, turn.tools_ms, turn.tts_ms, turn.ours_ms)
    assert min(shares) >= -1e-6
    assert sum(shares) == pytest.approx(turn.voice_to_voice_ms)


def test_what_was_said_over_a_locked_turn_is_not_timed_and_what_goes_on_after_it_is() -> None:
    tracker = LatencyTracker()
    begun: Step = (ev.CallStarted(at=0.0), [act.Speak(turn=1, text="Recorded.", is_line=True, is_locked=True)])
    steps: list[Step] = [
        begun,
        (ev.SpeechStopped(at=2.1, ended_at=2.0), ()),
        (ev.PlaybackFinished(at=4.0, turn=1), [start(confirmed=True), speak()]),
        (ev.PlaybackStarted(at=4.1, turn=2), ()),
        (ev.PlaybackFinished(at=5.0, turn=2), ()),
        (ev.SpeechStarted(at=6.0, began_at=5.9), ()),
        (ev.SpeechStopped(at=7.1, ended_at=7.0), [start(3, confirmed=True), speak(3)]),
        (ev.PlaybackStarted(at=7.4, turn=3), ()),
    ]
    for event, actions in steps:
        tracker.observe(event, actions)
    assert [(turn.turn, round(turn.voice_to_voice_ms)) for turn in tracker.turns] == [(3, 400)]
    cut = LatencyTracker()
    for event, actions in (begun, steps[5], (ev.PlaybackFinished(at=6.5, turn=1), ()), *steps[6:]):
        cut.observe(event, actions)
    assert [turn.turn for turn in cut.turns] == [3]


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, 0.0),
        ([7.0], 50, 7.0),
        ([7.0], 95, 7.0),
        ([3.0, 1.0, 2.0, 4.0], 50, 2.0),
        (list(range(1, 21)), 95, 19),
        ([1.0, 2.0], 100, 2.0),
    ],
)
def test_percentiles_are_by_nearest_rank(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_a_summary_counts_and_ranks() -> None:
    base = timed(
        SPEECH_ENDS,
        (ev.DeadlinePassed(at=10.3), [start(confirmed=True), speak()]),
        (ev.PlaybackStarted(at=10.5, turn=2), ()),
    )
    summary = summarise([base, base])
    assert (summary.turns, summary.interrupted, summary.discarded) == (2, 0, 0)
    assert summary.p50_ms == summary.p95_ms == pytest.approx(500)
