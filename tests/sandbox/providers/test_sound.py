import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.audio import mulaw
from voice_agent.sandbox.providers import sound
from voice_agent.sandbox.providers.faults import FaultKind

sound.warm_up()


def samples(audio: bytes) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    return np.frombuffer(mulaw.decode(audio), dtype="<i2")


@given(st.text(max_size=80), st.floats(0.7, 1.2))
def test_timing_covers_the_sound(text: str, speed: float) -> None:
    said = sound.speak(text, speed)
    timing = said.timing
    if not any(map(str.isalnum, text)):
        assert said.audio == b""
        return
    assert "".join(timing.chars) == text
    ends = [start + length for start, length in zip(timing.starts_ms, timing.durations_ms, strict=True)]
    assert [0, *ends[:-1]] == list(timing.starts_ms)
    assert ends[-1] * mulaw.BYTES_PER_MS == len(said.audio)


@pytest.mark.parametrize("text", ["Hello", " hello", "...¿qué?", "7"])
def test_the_first_sample_is_audible(text: str) -> None:
    assert abs(int(samples(sound.speak(text).audio)[0])) > 3_000


def test_the_same_text_sounds_the_same_and_another_does_not() -> None:
    assert sound.speak("one, two").audio == sound.speak("one, two").audio != sound.speak("one, twa").audio


def test_punctuation_is_a_pause_and_speed_shortens_everything() -> None:
    said = sound.speak("a. b")
    assert said.timing.durations_ms == (60, 240, 60, 60)
    assert not samples(said.audio[60 * 8 : 300 * 8]).any()
    assert len(sound.speak("hello", 1.2).audio) == 5 * 50 * 8


@given(st.text("abc ,.", min_size=1, max_size=60), st.integers(20, 500))
def test_chunks_join_to_the_whole_with_times_of_their_own(text: str, chunk_ms: int) -> None:
    said = sound.speak(text)
    pieces = list(sound.chunks(said, chunk_ms))
    assert b"".join(piece.audio for piece in pieces) == said.audio
    assert all(len(piece.audio) == chunk_ms * 8 for piece in pieces[:-1])
    starts = [at * chunk_ms + start for at, piece in enumerate(pieces) for start in piece.timing.starts_ms]
    assert starts == list(said.timing.starts_ms)
    assert [char for piece in pieces for char in piece.timing.chars] == list(said.timing.chars)
    assert all(start >= 0 for piece in pieces for start in piece.timing.starts_ms)


@pytest.mark.parametrize(("output_format", "rate_hz"), sound.FORMATS_HZ.items())
def test_formats_have_the_length_of_their_rate(output_format: str, rate_hz: int) -> None:
    audio = sound.speak("hello").audio
    width = 1 if output_format == "ulaw_8000" else 2
    assert len(sound.encode(audio, output_format)) == pytest.approx(len(audio) / 8_000 * rate_hz * width, abs=2)


@pytest.mark.parametrize("output_format", ["ulaw_8000", "pcm_16000"])
def test_spoiled_sound(output_format: str) -> None:
    audio = sound.encode(sound.speak("hello").audio, output_format)
    silent = sound.spoil(audio, output_format, FaultKind.SILENCE)
    assert len(silent) == len(audio)
    assert len(set(silent)) == 1
    assert len(sound.spoil(audio, output_format, FaultKind.ODD_BYTES)) == len(audio) - 1
    assert len(sound.spoil(audio, output_format, FaultKind.WRONG_RATE)) == 2 * len(audio)
    assert sound.spoil(audio, output_format, FaultKind.STALL) is audio
    assert sound.spoil(audio, output_format, None) is audio
