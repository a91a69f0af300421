"""What one call leaves behind, file by file."""

import threading
import wave
from pathlib import Path

import msgspec
import numpy
import pytest

from tests.calls.call_world import HEADER, SETTINGS, short_call
from voice_agent.audio.mulaw import decode
from voice_agent.calls.event_log import read_event_log
from voice_agent.calls.record import CallIdentity, CallRecord, LatencyReport, call_files, call_segments
from voice_agent.calls.replay import replay
from voice_agent.calls.spool import Spool
from voice_agent.calls.transcript import AgentSaid, Transcript, transcript_of
from voice_agent.errors import MediaStreamError
from voice_agent.pipeline import actions as act

CALLER, AGENT = b"\x10" * 160, b"\x20" * 160
IDENTITY = CallIdentity(call_sid="CA1", stream_sid="MZ1", agent="Bench", started_at=HEADER.started_at)


def _record(spool: Spool, data_dir: Path) -> CallRecord:
    return CallRecord(spool, call_files(data_dir, "CA1"), IDENTITY, SETTINGS)


def _recorded(data_dir: Path) -> None:
    """Record the short call, with half a second of sound."""
    with Spool() as spool:
        record = _record(spool, data_dir)
        for event, actions in short_call().decided:
            record.on_step(event, actions)
            for action in actions:
                if isinstance(action, act.TrimHistory):
                    record.on_heard(action.turn, "It costs thirty", interrupted=True)
        record.on_heard(1, "Hello.", interrupted=False)
        for _ in range(25):
            record.hear_caller(CALLER)
            record.hear_agent(AGENT)
        record.close()


def test_every_file_of_a_call_lies_in_its_folder(tmp_path: Path) -> None:
    _recorded(tmp_path)
    files = call_files(tmp_path, "CA1")
    assert {path.name for path in files.folder.iterdir()} == {
        "events.jsonl", "latency.json", "recording.wav", "transcript.json", "transcript.txt",
    }  # fmt: skip
    assert files.folder == tmp_path / "calls" / "CA1"


def test_a_call_that_is_not_recorded_leaves_no_sound_but_all_the_rest(tmp_path: Path) -> None:
    files = call_files(tmp_path, "CA1")
    with Spool() as spool:
        record = CallRecord(spool, files, IDENTITY, SETTINGS, is_recorded=False)
        for _ in range(100):
            record.hear_caller(CALLER)
            record.hear_agent(AGENT)
        record.close()

    assert {path.name for path in files.folder.iterdir()} == {
        "events.jsonl", "latency.json", "transcript.json", "transcript.txt",
    }  # fmt: skip


def test_the_log_replays_and_knows_who_answered(tmp_path: Path) -> None:
    _recorded(tmp_path)
    path = call_files(tmp_path, "CA1").event_log
    assert replay(path).is_same
    header = read_event_log(path).header
    assert (header.call_sid, header.agent, header.started_at) == ("CA1", "Bench", HEADER.started_at)


def test_the_transcript_says_what_was_heard(tmp_path: Path) -> None:
    _recorded(tmp_path)
    transcript = msgspec.json.decode(call_files(tmp_path, "CA1").transcript.read_bytes(), type=Transcript)
    agent = [entry for entry in transcript.entries if isinstance(entry, AgentSaid)]
    assert transcript.is_complete
    assert [entry.heard for entry in agent] == ["Hello.", "Of course. At what time?", "It costs thirty"]
    assert "Hello." in call_files(tmp_path, "CA1").transcript_text.read_text("utf-8")


def test_the_latency_of_every_answered_turn_is_there(tmp_path: Path) -> None:
    _recorded(tmp_path)
    report = msgspec.json.decode(call_files(tmp_path, "CA1").latency.read_bytes(), type=LatencyReport)
    answered = [
        action.turn for _, actions in short_call().decided for action in actions if isinstance(action, act.ConfirmReply)
    ]
    assert [turn.turn for turn in report.turns] == answered
    assert report.speculations == len(answered)


def test_both_sides_are_in_the_recording(tmp_path: Path) -> None:
    _recorded(tmp_path)
    with wave.open(str(call_files(tmp_path, "CA1").recording)) as recording:
        assert (recording.getnchannels(), recording.getframerate()) == (2, 8_000)
        samples = numpy.frombuffer(recording.readframes(recording.getnframes()), "<i2").reshape(-1, 2)
    assert samples[:, 0].tobytes() == decode(CALLER) * 25
    assert samples[:, 1].tobytes() == decode(AGENT) * 25


def test_the_event_log_alone_is_enough_for_the_transcript_of_a_call_that_did_not_end(tmp_path: Path) -> None:
    written = threading.Event()
    with Spool() as spool:
        record = _record(spool, tmp_path)
        for event, actions in short_call().decided[:12]:
            record.on_step(event, actions)
        spool.put_always(written.set)
        assert written.wait(10)
        transcript = transcript_of(read_event_log(call_files(tmp_path, "CA1").event_log))
        record.close()
    assert not transcript.is_complete
    assert transcript.entries


@pytest.mark.parametrize("call_sid", ["", "..", "a/b", "a\0b", "CA1\n", "é", "C" * 65])
def test_a_name_that_is_no_calls_has_no_folder(tmp_path: Path, call_sid: str) -> None:
    with pytest.raises(MediaStreamError):
        call_files(tmp_path, call_sid)


def test_each_media_stream_of_a_call_has_files_of_its_own(tmp_path: Path) -> None:
    with Spool() as spool:
        for segment in (0, 2, 1):
            record = CallRecord(spool, call_files(tmp_path, "CA1", segment), IDENTITY, SETTINGS)
            record.hear_caller(CALLER * 20)
            record.close()
    folder = call_files(tmp_path, "CA1").folder
    assert {path.name for path in folder.iterdir()} >= {
        "events.jsonl", "recording.wav", "events-1.jsonl", "recording-1.wav", "latency-1.json", "transcript-2.txt",
    }  # fmt: skip
    (folder / "events-x.jsonl").write_text("")
    assert [files.segment for files in call_segments(folder)] == [0, 1, 2]
    assert call_segments(tmp_path / "nothing") == []
