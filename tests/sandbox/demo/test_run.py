"""What is made of a call that was judged. The call itself: test_end_to_end.py."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.calls.call_world import HEADER, short_call
from voice_agent.calls.record import CallFiles, call_files
from voice_agent.calls.transcript import AgentSaid, Transcript, TranscriptBuilder
from voice_agent.pipeline import actions as act
from voice_agent.sandbox.callers.judge import BargeIn, Stop, Turn, Verdict
from voice_agent.sandbox.demo.run import Demo, broken_promises, heard_of, read_transcript, report_of, summary


@pytest.fixture
def files(tmp_path: Path) -> CallFiles:
    """The files of a call, all there."""
    found = call_files(tmp_path, "CA1")
    found.folder.mkdir(parents=True)
    for path in (found.recording, found.transcript, found.event_log):
        path.write_bytes(b"something")
    return found


def verdict(*, turns: int = 7, stuck: int = 0, stop_ms: float | None = 180.0) -> Verdict:
    answered = [
        Turn(text="hello", ended_s=1.0, outcome="answered", latency_ms=400.0 + 10 * index) for index in range(turns)
    ]
    silent = [Turn(text="hello", ended_s=1.0, outcome="stuck", latency_ms=None)] * stuck
    return Verdict(
        scenario="demo",
        call_sid="CA1",
        duration_s=60.0,
        turns=(*answered, *silent),
        barge_ins=(BargeIn(text="wait", began_s=3.0, clear_ms=stop_ms, stop_ms=stop_ms),),
        stops=(Stop(cause="mhm", at_s=4.0, resumed_ms=900.0), Stop(cause="mhm", at_s=5.0, resumed_ms=100.0)),
        underruns_ms=(20.0, 5.0),
        ended_by="agent",
    )


def test_the_report_is_exactly_what_is_documented(files: CallFiles) -> None:
    assert json.loads(report_of(verdict(), files).as_json()) == {
        "turns": 7,
        "barge_ins": 1,
        "false_stops": 1,
        "stuck": 0,
        "underrun_ms": 25.0,
        "voice_to_voice_ms": {"p50": 430.0, "p95": 460.0},
        "recording": str(files.recording),
        "transcript": str(files.transcript),
        "event_log": str(files.event_log),
    }


def test_paths_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    report = report_of(verdict(), call_files(Path("data"), "CA1"))

    assert report.event_log == str(tmp_path / "data/calls/CA1/events.jsonl")


def test_a_call_that_went_well_breaks_no_promise(files: CallFiles) -> None:
    assert list(broken_promises(report_of(verdict(), files))) == []


def test_every_broken_promise_is_named(files: CallFiles) -> None:
    files.recording.unlink()

    assert list(broken_promises(report_of(verdict(turns=5, stuck=2, stop_ms=None), files))) == [
        "5 turns were answered instead of at least 6.",
        "The interruption did not stop the agent.",
        "2 turns got no answer.",
        f"{files.recording} was not written.",
    ]


def test_a_call_that_never_began_is_no_success(files: CallFiles) -> None:
    nothing = verdict(turns=0)

    report = report_of(nothing, files)

    assert (report.voice_to_voice_ms.p50, report.voice_to_voice_ms.p95) == (None, None)
    assert list(broken_promises(report)) == ["0 turns were answered instead of at least 6."]


def test_the_words_that_were_heard_are_read_from_the_transcript(files: CallFiles) -> None:
    assert read_transcript(files) is None  # no JSON yet

    builder = TranscriptBuilder()
    for event, actions in short_call().decided:
        builder.observe(event, actions)
        for action in actions:
            if isinstance(action, act.TrimHistory):
                builder.heard(action.turn, "It costs thirty euros,")
    written = Transcript(
        call_sid="CA1", started_at=HEADER.started_at, language="en", is_complete=True, entries=builder.entries
    )
    files.transcript.write_bytes(written.as_json())
    (cut,) = [entry for entry in written.entries if isinstance(entry, AgentSaid) and entry.is_interrupted]

    assert read_transcript(files) == written
    assert heard_of(files, cut.turn) == "It costs thirty euros,"
    assert heard_of(files, 99) is None


def test_the_summary_has_every_figure(files: CallFiles) -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(summary(Demo(verdict(), files)))

    for figure in ("7", "180 ms", "25 ms", "430 ms", "460 ms", "60 s"):
        assert figure in capture.get()
