from voice_agent.sandbox.callers import render
from voice_agent.sandbox.callers.judge import BargeIn, Check, Stop, Turn, Verdict


def test_a_verdict_is_a_table_with_everything_that_happened() -> None:
    verdict = Verdict(
        scenario="A booking",
        call_sid="CA1",
        duration_s=61.0,
        turns=(
            Turn(text="hello [there]", ended_s=4.2, outcome="answered", latency_ms=431.0),
            Turn(text="and now", ended_s=9.0, outcome="cut_in", latency_ms=None),
        ),
        barge_ins=(
            BargeIn(text="stop", began_s=12.0, clear_ms=190.0, stop_ms=180.0),
            BargeIn(text="stop", began_s=15.0, clear_ms=None, stop_ms=None),
        ),
        stops=(Stop(cause="mhm", at_s=20.0, resumed_ms=None),),
        underruns_ms=(),
        ended_by="agent",
        checks=(Check("false stops", "at most 0", "1", False), Check("heard", "booked", "no transcript", None)),
    )
    text = render(verdict)
    for part in ("A booking", "hello [there]", "431 ms", "cut in", "'mhm'", "did not go on"):
        assert part in text
    assert "at 12.0 s: `clear` after 190 ms, last heard after 180 ms" in text
    assert "at 15.0 s: the agent did not stop" in text
    assert "MISSED" in text
    assert "not judged" in text
    assert "FAILED: 2 turns in 61 s, voice to voice p50 431 ms, p95 431 ms" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
