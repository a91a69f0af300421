"""The judge on timelines made by hand: every time below is in milliseconds from the answer."""

import pytest

from tests.sandbox.callers.voices import tone_mulaw
from voice_agent.audio.mulaw import silence
from voice_agent.sandbox.callers.caller import Utterance
from voice_agent.sandbox.callers.clips import Kind
from voice_agent.sandbox.callers.judge import Verdict, Words, judge, percentile, speech_of
from voice_agent.sandbox.callers.scenario import Expectations
from voice_agent.sandbox.callers.timeline import Clear, Timeline
from voice_agent.sandbox.carrier.playout import Span


def timeline(
    *,
    length: int,
    agent: list[tuple[int, int]],
    caller: list[tuple[Kind, int, int]],
    clears: list[int] | None = None,
    keys: list[int] | None = None,
    played: list[tuple[int, int]] | None = None,
    by_caller: bool = False,
) -> Timeline:
    """`agent` and `caller` are stretches (from, to); what was played is what the agent said unless given."""
    heard = bytearray(silence(8 * length))
    for start, end in agent:
        heard[8 * start : 8 * end] = tone_mulaw(end - start)
    return Timeline(
        heard=bytes(heard),
        said=silence(8 * length),
        utterances=tuple(
            Utterance(kind=kind, label=f"{kind} {index}", start=8 * start, end=8 * end)
            for index, (kind, start, end) in enumerate(caller)
        ),
        clears=tuple(Clear(8 * clear, 800) for clear in clears or []),
        keys=tuple(8 * key for key in keys or []),
        spans=tuple(Span(8 * start, 8 * end) for start, end in (agent if played is None else played)),
        has_caller_hung_up=by_caller,
    )


def verdict_of(line: Timeline, **expected: object) -> Verdict:
    return judge(line, Expectations(**expected))  # type: ignore[arg-type]


def test_speech_is_joined_over_short_pauses() -> None:
    line = timeline(length=4_000, agent=[(100, 500), (800, 1_000), (2_000, 2_500)], caller=[])
    assert [(start // 8, -(-end // 8)) for start, end in speech_of(line.heard)] == [(100, 1_000), (2_000, 2_500)]
    assert len(speech_of(line.heard, [8 * 600])) == 3
    assert len(speech_of(line.heard, [8 * 300, 8 * 50, 8 * 3_000])) == 2
    assert speech_of(silence(800)) == []


def test_latency_is_from_the_last_sample_said_to_the_first_one_heard() -> None:
    line = timeline(
        length=10_000,
        agent=[(0, 1_000), (3_480, 5_000), (8_000, 9_000)],
        caller=[("turn", 2_000, 3_000), ("turn", 6_000, 7_000)],
    )
    verdict = verdict_of(line)
    assert verdict.latencies_ms == pytest.approx((480.0, 1_000.0), abs=0.2)
    assert [turn.outcome for turn in verdict.turns] == ["answered", "answered"]
    assert (verdict.answered_turns, verdict.stuck, verdict.ended_by) == (2, 0, "agent")


def test_no_answer_in_ten_seconds_is_stuck_and_going_on_before_is_not() -> None:
    line = timeline(
        length=30_000, agent=[(0, 500)], caller=[("turn", 1_000, 2_000), ("turn", 6_000, 7_000)], by_caller=True
    )
    verdict = verdict_of(line)
    assert [turn.outcome for turn in verdict.turns] == ["went_on", "stuck"]
    assert (verdict.stuck, verdict.ended_by) == (1, "caller")
    late = timeline(length=30_000, agent=[(14_000, 15_000)], caller=[("turn", 1_000, 2_000)])
    assert verdict_of(late).stuck == 1


def test_an_agent_that_answers_into_the_turn_cuts_in() -> None:
    line = timeline(length=8_000, agent=[(2_500, 4_000)], caller=[("turn", 2_000, 3_000)])
    verdict = verdict_of(line)
    assert [turn.outcome for turn in verdict.turns] == ["cut_in"]
    assert verdict.latencies_ms == ()


def test_a_barge_in_is_timed_to_the_clear_and_to_the_last_sample() -> None:
    line = timeline(
        length=8_000,
        agent=[(1_000, 3_230), (4_500, 5_500)],
        caller=[("interruption", 3_000, 4_000)],
        clears=[3_230],
    )
    verdict = verdict_of(line, barge_ins=1, max_barge_in_ms=250)
    (barge_in,) = verdict.barge_ins
    assert barge_in.clear_ms == 230.0
    assert barge_in.stop_ms == pytest.approx(230.0, abs=0.5)
    assert verdict.stops == ()
    assert verdict.latencies_ms == pytest.approx((500.0,), abs=0.2)
    assert verdict.has_passed


def test_an_agent_that_does_not_stop_misses_the_expectation() -> None:
    line = timeline(length=8_000, agent=[(1_000, 6_000)], caller=[("interruption", 3_000, 4_000)])
    verdict = verdict_of(line, barge_ins=1, max_barge_in_ms=250)
    assert verdict.barge_ins[0].stop_ms is None
    assert [(check.name, check.is_met) for check in verdict.checks if check.is_met is False] == [
        ("barge-ins", False),
        ("barge-in stop", False),
    ]
    assert not verdict.has_passed


def test_an_interruption_of_silence_is_no_barge_in() -> None:
    line = timeline(length=8_000, agent=[(1_000, 2_000), (5_000, 6_000)], caller=[("interruption", 3_000, 4_000)])
    assert verdict_of(line).barge_ins == ()


@pytest.mark.parametrize(("resumes_at", "is_false"), [(2_600, False), (4_000, True), (None, True)])
def test_a_stop_for_a_noise_is_false_unless_the_agent_goes_on_soon(resumes_at: int | None, is_false: bool) -> None:
    agent = [(1_000, 2_200)] + ([] if resumes_at is None else [(resumes_at, resumes_at + 1_000)])
    line = timeline(length=20_000, agent=agent, caller=[("backchannel", 2_000, 2_500)], clears=[2_200])
    verdict = verdict_of(line)
    (stop,) = verdict.stops
    assert (stop.cause, stop.is_false) == ("backchannel 0", is_false)
    assert stop.resumed_ms == (None if resumes_at is None else pytest.approx(resumes_at - 2_200, abs=0.5))
    assert verdict.has_passed is not is_false


def test_a_stop_without_any_sound_is_blamed_on_the_background() -> None:
    line = timeline(length=6_000, agent=[(1_000, 2_000)], caller=[], clears=[2_000])
    assert verdict_of(line).stops[0].cause == "the background"


def test_a_key_may_stop_the_agent() -> None:
    line = timeline(length=6_000, agent=[(1_000, 2_000)], caller=[], clears=[2_000], keys=[1_950])
    assert verdict_of(line).stops == ()
    late = timeline(length=6_000, agent=[(1_000, 2_000)], caller=[], clears=[2_000], keys=[900, 2_001])
    assert len(verdict_of(late).stops) == 1


def test_a_clear_of_nothing_stops_nobody() -> None:
    line = timeline(length=6_000, agent=[(1_000, 2_000)], caller=[])
    empty = Timeline(**{name: getattr(line, name) for name in line.__struct_fields__} | {"clears": (Clear(40_000, 0),)})
    assert verdict_of(empty).stops == ()


def test_underruns_are_the_gaps_that_nothing_explains() -> None:
    line = timeline(
        length=30_000,
        agent=[],
        caller=[("turn", 9_100, 9_500), ("interruption", 13_000, 13_100)],
        clears=[13_100],
        played=[
            (1_000, 2_000),
            (2_040, 3_000),  # 40 ms of nothing
            (5_000, 6_000),  # another reply
            (6_000, 9_000),
            (9_800, 13_100),  # the caller spoke
            (13_300, 14_000),  # cut
            (14_000, 15_000),
            (15_500, 16_000),  # 500 ms of nothing
        ],
    )
    verdict = verdict_of(line)
    assert verdict.underruns_ms == (40.0, 500.0)
    assert [check.found for check in verdict.checks if check.name == "underruns"] == ["540 ms"]
    assert not verdict.has_passed


def test_words_are_compared_without_case_and_punctuation() -> None:
    line = timeline(length=1_000, agent=[], caller=[])
    expected = Expectations(heard=("that's RIGHT", "book"), understood=("Tuesday",))
    checks = judge(line, expected, words=Words("Thats right, booked!", "on tuesday.")).checks
    assert [(check.wanted, check.is_met) for check in checks[:3]] == [
        ("that's RIGHT", True),
        ("book", False),
        ("Tuesday", True),
    ]


def test_words_that_nobody_wrote_down_are_not_judged() -> None:
    verdict = judge(timeline(length=1_000, agent=[], caller=[]), Expectations(heard=("a",)))
    assert verdict.checks[0].is_met is None
    assert verdict.has_passed


@pytest.mark.parametrize(
    ("expected", "is_met"),
    [
        ({"min_turns": 1}, True),
        ({"min_turns": 2}, False),
        ({"max_latency_ms": 500}, True),
        ({"max_latency_ms": 400}, False),
        ({"ended_by": "agent"}, True),
        ({"ended_by": "caller"}, False),
        ({"barge_ins": 0}, True),
        ({"max_barge_in_ms": 100}, False),
    ],
)
def test_each_expectation(expected: dict[str, object], is_met: bool) -> None:
    line = timeline(length=9_000, agent=[(3_480, 5_000)], caller=[("turn", 2_000, 3_000)])
    assert verdict_of(line, **expected).has_passed is is_met


def test_percentiles_are_by_nearest_rank() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 3.0, 5.0, 5.0]
    assert percentile([], 0.5) is None
