"""The outline of a recording."""

import math
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.audio.waveform import MOST_PIXELS, outline, samples_per_pixel


def tone(frames: int, left: float, right: float) -> bytes:
    """Two channels of 400 Hz at these amplitudes (1.0 is full scale)."""
    pairs = (math.sin(2 * math.pi * 400 * n / 8_000) for n in range(frames))
    return b"".join(struct.pack("<hh", round(32_767 * left * s), round(32_767 * right * s)) for s in pairs)


def cut(audio: bytes, size: int) -> Iterator[bytes]:
    return (audio[start : start + size] for start in range(0, len(audio), size))


def test_peaks_are_the_lowest_and_highest_of_each_channel() -> None:
    audio = struct.pack("<hh", -32_768, 0) + struct.pack("<hh", 32_767, 256) + bytes(4 * 78)

    peaks = outline([audio], frames=80, rate_hz=8_000).peaks

    assert peaks.data == [-128, 127, 0, 1]
    assert (peaks.length, peaks.channels, peaks.bits, peaks.version) == (1, 2, 8, 2)


def test_a_part_of_a_pixel_at_the_end_is_a_pixel() -> None:
    assert outline([bytes(4 * 81)], frames=81, rate_hz=8_000).peaks.length == 2


def test_levels_are_those_of_what_is_not_silence() -> None:
    audio = tone(8_000, 0.5, 0.0) + bytes(4 * 80_000)

    left, right = outline([audio], frames=88_000, rate_hz=8_000).levels_dbfs

    assert left == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.2 + 0.8)  # the last block is half silence
    assert right is None


def test_a_long_recording_has_no_more_pixels_than_a_screen_can_use() -> None:
    frames = 3_600 * 8_000

    assert math.ceil(frames / samples_per_pixel(frames)) <= MOST_PIXELS
    assert samples_per_pixel(0) == 80


def test_nothing_has_an_outline_too() -> None:
    found = outline([], frames=0, rate_hz=8_000)

    assert (found.peaks.length, found.peaks.data, found.levels_dbfs) == (0, [], (None, None))


@given(size=st.integers(1, 5_000))
def test_where_the_blocks_are_cut_makes_no_difference(size: int) -> None:
    audio = tone(2_000, 0.3, 0.8)

    assert outline(cut(audio, size), frames=2_000, rate_hz=8_000) == outline([audio], frames=2_000, rate_hz=8_000)
