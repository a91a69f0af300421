import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.audio import mulaw
from voice_agent.audio.resample import MulawResampler, Upsampler, to_mulaw


def tone(frequency_hz: float, rate_hz: int, duration_s: float = 0.5) -> bytes:
    at_s = np.arange(int(rate_hz * duration_s)) / rate_hz
    return (10_000 * np.sin(2 * np.pi * frequency_hz * at_s)).astype("<i2").tobytes()


def strongest_hz(pcm16: bytes, rate_hz: int) -> float:
    samples = np.frombuffer(pcm16, "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * rate_hz / len(samples)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100])
def test_a_clip_keeps_its_length_and_its_pitch(rate_hz: int) -> None:
    clip = to_mulaw(tone(440.0, rate_hz), rate_hz)

    assert len(clip) == pytest.approx(4_000, abs=2)
    assert strongest_hz(mulaw.decode(clip), mulaw.RATE_HZ) == pytest.approx(440.0, abs=4.0)


def test_what_the_telephone_cannot_carry_is_filtered_out_rather_than_folded_back() -> None:
    clip = to_mulaw(tone(6_000.0, 22_050), 22_050)

    assert mulaw.rms(mulaw.decode(clip)) < 50


@given(sizes=st.lists(st.integers(1, 3_000), max_size=12))
def test_a_stream_in_pieces_is_the_same_as_the_whole_clip(sizes: list[int]) -> None:
    pcm16 = tone(300.0, 22_050)
    resampler = MulawResampler(22_050)
    at, streamed = 0, b""
    for size in sizes:
        streamed += resampler.feed(pcm16[at : at + 2 * size])
        at += 2 * size
    streamed += resampler.feed(pcm16[at:]) + resampler.finish()

    assert abs(len(streamed) - len(to_mulaw(pcm16, 22_050))) <= 1
    assert strongest_hz(mulaw.decode(streamed), mulaw.RATE_HZ) == pytest.approx(300.0, abs=4.0)


def test_upsampling_doubles_the_samples_and_keeps_the_pitch() -> None:
    clip = to_mulaw(tone(440.0, 8_000), 8_000)

    pcm16 = Upsampler().feed(clip)

    # A sample lies between each two, and none before the first.
    assert len(pcm16) == 4 * len(clip) - 2
    assert strongest_hz(pcm16, 16_000) == pytest.approx(440.0, abs=4.0)


@given(cut=st.integers(0, 4_000))
def test_upsampling_in_pieces_is_the_same_as_in_one(cut: int) -> None:
    clip = to_mulaw(tone(440.0, 8_000), 8_000)
    upsampler = Upsampler()

    assert upsampler.feed(clip[:cut]) + upsampler.feed(clip[cut:]) == Upsampler().feed(clip)
