"""The recording, opened with the standard library as anybody would; also after a real SIGKILL."""

import os
import signal
import subprocess
import sys
import wave
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.audio import mulaw
from voice_agent.audio.mulaw import interleave
from voice_agent.calls.recorder import (
    BLOCK_SAMPLES,
    LONGEST_SAMPLES,
    MOST_AHEAD_SAMPLES,
    SETTLE_SAMPLES,
    CallRecorder,
    wav_header,
)
from voice_agent.calls.spool import Spool

FRAME = 160
CALLER = b"\x10"
AGENT = b"\x90"
CALLER_VALUE, AGENT_VALUE = (array("h", mulaw.decode(code))[0] for code in (CALLER, AGENT))


class Channels:
    """The two channels of a recording that was read back."""

    def __init__(self, path: Path) -> None:
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8_000)
            self.frames = file.getnframes()
            samples = array("h", file.readframes(self.frames))
        assert len(samples) == 2 * self.frames
        self.caller, self.agent = samples[0::2], samples[1::2]


def record_frames(recorder: CallRecorder, start: int, count: int, code: bytes = CALLER) -> None:
    for number in range(count):
        recorder.write_caller(start + number * FRAME, code * FRAME)


def test_the_caller_is_left_and_the_agent_right_each_in_its_place(tmp_path: Path) -> None:
    with Spool() as spool:
        recorder = CallRecorder(spool, tmp_path / "call.wav")
        record_frames(recorder, 0, 100)
        recorder.write_agent(15_900, AGENT * 300)
        record_frames(recorder, 16_000, 100)
        outcome = recorder.close().result(10)
    recording = Channels(tmp_path / "call.wav")
    assert recording.frames == 32_000
    assert set(recording.caller) == {CALLER_VALUE}
    assert set(recording.agent[:15_900]) == set(recording.agent[16_200:]) == {0}
    assert set(recording.agent[15_900:16_200]) == {AGENT_VALUE}
    assert not outcome.is_truncated
    assert recorder.dropped_samples == 0


def test_gaps_are_silence_even_long_ones_and_cost_no_disk(tmp_path: Path) -> None:
    hour = 3_600 * mulaw.RATE_HZ
    with Spool() as spool:
        recorder = CallRecorder(spool, tmp_path / "call.wav")
        record_frames(recorder, 0, 10)
        record_frames(recorder, hour, 10)
        recorder.close().result(10)
    recording = Channels(tmp_path / "call.wav")
    assert recording.frames == hour + 1_600
    assert set(recording.caller[:1_600]) == set(recording.caller[hour:]) == {CALLER_VALUE}
    assert set(recording.caller[1_600:hour]) == {0}
    assert (tmp_path / "call.wav").stat().st_blocks * 512 < 1_000_000


@pytest.mark.parametrize("end", [0, 1, 3_999, 80_000, 80_123])
def test_the_recording_is_as_long_as_the_call(tmp_path: Path, end: int) -> None:
    """Silence at the end counts too, with no sample of either side in it."""
    with Spool() as spool:
        recorder = CallRecorder(spool, tmp_path / "call.wav")
        recorder.close(end).result(10)
        assert recorder.close() is recorder.close()
    assert Channels(tmp_path / "call.wav").frames == end


def test_late_audio_is_still_placed_within_the_settling_time_and_counted_beyond(tmp_path: Path) -> None:
    with Spool() as spool:
        recorder = CallRecorder(spool, tmp_path / "call.wav")
        record_frames(recorder, 0, 100)
        written = 16_000 - SETTLE_SAMPLES
        recorder.write_agent(written, AGENT * 10)
        assert recorder.dropped_samples == 0
        recorder.write_agent(0, AGENT * 10)
        assert recorder.dropped_samples == 10
        recorder.close().result(10)
    recording = Channels(tmp_path / "call.wav")
    assert recording.agent[written - 1 : written + 11].tolist() == [0, *[AGENT_VALUE] * 10, 0]


def test_what_was_cleared_before_it_was_heard_is_not_in_the_recording(tmp_path: Path) -> None:
    with Spool() as spool:
        recorder = CallRecorder(spool, tmp_path / "call.wav")
        record_frames(recorder, 0, 50)
        recorder.write_agent(8_000, AGENT * 8_000)
        recorder.erase_agent(10_000)
        record_frames(recorder, 8_000, 100)
        recorder.close().result(10)
    recording = Channels(tmp_path / "call.wav")
    assert set(recording.agent[8_000:10_000]) == {AGENT_VALUE}
    assert set(recording.agent[10_000:]) == {0}


def test_a_pause_leaves_silence_on_both_sides(tmp_path: Path) -> None:
    with Spool() as spool:
        recorder = CallRecorder(spool, tmp_path / "call.wav")
        record_frames(recorder, 0, 50)
        recorder.write_agent(7_000, AGENT * 2_000)
        recorder.pause()
        record_frames(recorder, 8_000, 50)
        recorder.write_agent(12_000, AGENT * 800)
        recorder.resume()
        record_frames(recorder, 16_000, 50)
        recorder.close().result(10)
    recording = Channels(tmp_path / "call.wav")
    assert recording.frames == 24_000
    assert set(recording.caller[:8_000]) == set(recording.caller[16_000:]) == {CALLER_VALUE}
    assert set(recording.agent[7_000:8_000]) == {AGENT_VALUE}
    assert set(recording.caller[8_000:16_000]) | set(recording.agent[8_000:16_000]) == {0}


def test_impossible_positions_are_dropped_and_counted(tmp_path: Path) -> None:
    with Spool() as spool:
        recorder = CallRecorder(spool, tmp_path / "call.wav")
        recorder.write_caller(-1, CALLER)
        recorder.write_caller(LONGEST_SAMPLES + 1, CALLER)
        recorder.write_agent(-1, AGENT)
        recorder.write_agent(MOST_AHEAD_SAMPLES, AGENT)
        assert recorder.dropped_samples == 4
        recorder.close().result(10)
        recorder.write_caller(0, CALLER)
        recorder.write_agent(0, AGENT)
        assert recorder.dropped_samples == 6
    assert Channels(tmp_path / "call.wav").frames == 0


def test_a_full_spool_leaves_a_marked_hole_and_nothing_moves(tmp_path: Path) -> None:
    with Spool(capacity_bytes=8) as spool:
        recorder = CallRecorder(spool, tmp_path / "call.wav")
        record_frames(recorder, 0, 100)
        assert recorder.is_truncated
        assert recorder.close().result(10).reason == "spool full"


KILLED = """
import signal, sys, time
from pathlib import Path
from voice_agent.calls.recorder import CallRecorder
from voice_agent.calls.spool import Spool

spool = Spool()
recorder = CallRecorder(spool, Path(sys.argv[1]))
for number in range(600):
    recorder.write_caller(number * 160, b"\\x10" * 160)
    recorder.write_agent(number * 160, b"\\x90" * 160)
while spool.waiting_bytes:
    time.sleep(0.001)
print("recorded", flush=True)
signal.pause()
"""


def test_a_killed_process_leaves_a_recording_up_to_two_seconds_before(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"recorded\n"
        finally:
            os.kill(process.pid, signal.SIGKILL)
    recording = Channels(path)
    assert 96_000 - 2 * mulaw.RATE_HZ <= recording.frames <= 96_000
    assert set(recording.caller) == {CALLER_VALUE}
    assert set(recording.agent) == {AGENT_VALUE}


def test_the_file_is_playable_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    with Spool() as spool:
        recorder = CallRecorder(spool, path)
        lengths = []
        for second in range(4):
            record_frames(recorder, second * 8_000, 50)
            while spool.waiting_bytes:
                pass
            if second:
                lengths.append(Channels(path).frames)
        recorder.close().result(10)
    assert lengths == [
        8_000 * second - SETTLE_SAMPLES - (8_000 - SETTLE_SAMPLES) % BLOCK_SAMPLES for second in (2, 3, 4)
    ]


@given(st.lists(st.tuples(st.booleans(), st.integers(-500, 20_000), st.integers(0, 900)), max_size=25))
def test_any_order_of_writes_gives_a_file_that_opens_and_holds_its_bounds(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[bool, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("recording") / "call.wav"
    with Spool() as spool:
        recorder = CallRecorder(spool, path)
        for is_caller, position, length in writes:
            if is_caller:
                recorder.write_caller(position, CALLER * length)
            else:
                recorder.write_agent(position, AGENT * length)
        recorder.close().result(10)
    recording = Channels(path)
    caller = [(position, length) for is_caller, position, length in writes if is_caller and position >= 0]
    assert recording.frames == max((position + length for position, length in caller), default=0)
    assert set(recording.caller) <= {0, CALLER_VALUE}
    assert set(recording.agent) <= {0, AGENT_VALUE}


def test_the_header_is_the_one_that_the_standard_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "other.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(interleave(CALLER * 5, AGENT * 5))
    content = path.read_bytes()
    assert content == wav_header(5) + interleave(CALLER * 5, AGENT * 5)
