"""What is made of a call that was judged. The call itself: test_end_to_end.py."""

import hashlib
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.calls.call_world import HEADER, short_call
from tests.sandbox.demo.api_server import detail, listed, wav
from voice_agent.calls.record import CallFiles, call_files
from voice_agent.calls.transcript import Transcript, TranscriptBuilder
from voice_agent.sandbox.callers.judge import BargeIn, Stop, Turn, Verdict
from voice_agent.sandbox.demo.api import CallOverApi, examine
from voice_agent.sandbox.demo.run import Demo, broken_promises, read_transcript, report_of, summary

SOUND = wav()


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


def seen(files: CallFiles, **changes: object) -> CallOverApi:
    """The call over the API, whose recording was copied to where it came from."""
    return CallOverApi(call=detail(SOUND, **changes), recording=listed(SOUND), copy=examine(SOUND, files.recording))


def test_the_report_is_exactly_what_is_documented(files: CallFiles) -> None:
    assert json.loads(report_of(verdict(), files, seen(files)).as_json()) == {
        "turns": 7,
        "barge_ins": 1,
        "false_stops": 1,
        "stuck": 0,
        "underrun_ms": 25.0,
        "voice_to_voice_ms": {"p50": 430.0, "p95": 460.0},
        "recording": str(files.recording),
        "transcript": str(files.transcript),
        "event_log": str(files.event_log),
        "api": {
            "call_id": "c1",
            "direction": "inbound",
            "state": "ended",
            "outcome": "human",
            "duration_s": 80,
            "agent": "Harbour",
            "transcript_lines": 4,
            "interrupted_lines": 1,
            "turns_timed": 3,
            "voice_to_voice_p50_ms": 500.0,
            "recording": {
                "path": str(files.recording),
                "channels": 2,
                "rate_hz": 8_000,
                "duration_s": 2.0,
                "size_bytes": len(SOUND),
                "sha256": hashlib.sha256(SOUND).hexdigest(),
            },
            "loudness_db": {"caller": None, "agent": -20.5},
        },
    }


def test_paths_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    report = report_of(verdict(), call_files(Path("data"), "CA1"))

    assert report.event_log == str(tmp_path / "data/calls/CA1/events.jsonl")


def test_a_call_that_went_well_breaks_no_promise(files: CallFiles) -> None:
    assert list(broken_promises(report_of(verdict(), files, seen(files)))) == []


def test_a_call_that_the_api_did_not_show_is_no_success(files: CallFiles) -> None:
    report = report_of(verdict(), files)

    assert report.recording == str(files.recording)
    assert report.api is None
    assert list(broken_promises(report, "no such call")) == ["The API did not show the call: no such call."]


def test_an_interruption_has_to_be_stored(files: CallFiles) -> None:
    report = report_of(verdict(), files, seen(files, transcript=[], turns=[]))

    assert report.api is not None
    assert report.api.voice_to_voice_p50_ms is None
    assert list(broken_promises(report)) == ["The stored transcript does not say that a reply was interrupted."]


def test_every_broken_promise_is_named(files: CallFiles) -> None:
    files.recording.unlink()

    assert list(broken_promises(report_of(verdict(turns=5, stuck=2, stop_ms=None), files, seen(files)))) == [
        "5 turns were answered instead of at least 6.",
        "The interruption did not stop the agent.",
        "2 turns got no answer.",
        f"{files.recording} was not written.",
    ]


def test_a_call_that_never_began_is_no_success(files: CallFiles) -> None:
    nothing = verdict(turns=0)

    report = report_of(nothing, files, seen(files))

    assert (report.voice_to_voice_ms.p50, report.voice_to_voice_ms.p95) == (None, None)
    assert list(broken_promises(report)) == ["0 turns were answered instead of at least 6."]


def test_a_transcript_is_read_once_it_is_there(files: CallFiles) -> None:
    assert read_transcript(files) is None  # no JSON yet

    builder = TranscriptBuilder()
    for event, actions in short_call().decided:
        builder.observe(event, actions)
    written = Transcript(
        call_sid="CA1", started_at=HEADER.started_at, language="en", is_complete=True, entries=builder.entries
    )
    files.transcript.write_bytes(written.as_json())

    assert read_transcript(files) == written


def test_the_summary_has_every_figure(files: CallFiles) -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(summary(Demo(verdict(), files, None)))

    for figure in ("7", "180 ms", "25 ms", "430 ms", "460 ms", "60 s"):
        assert figure in capture.get()
