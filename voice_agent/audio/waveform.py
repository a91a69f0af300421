"""The outline of a recording: peaks for a drawing and the level of each channel. Pure.

Peaks have the form of BBC audiowaveform's JSON, version 2 (https://github.com/bbc/audiowaveform, doc/DataFormat.md):
for each pixel and channel the lowest and the highest sample, scaled to 8 bits. Players read it without the audio.
"""

import math
from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

MOST_PIXELS = 20_000
"""Bounds the size of the peaks of a long call: about 300 kB. A screen has 4,000."""

FINEST_SAMPLES_PER_PIXEL = 80
"""10 ms: finer than anybody zooms."""

SILENCE_DBFS = -50.0
"""Blocks below are no speech and do not count into a level: line noise of a telephone lies at -60 to -55."""

BLOCK_SAMPLES = 3_200
"""Over which a level is measured: 400 ms, as in ITU-R BS.1770's gating."""

FULL_SCALE = 32_768.0


class Peaks(msgspec.Struct, frozen=True, kw_only=True):
    """audiowaveform's JSON, version 2."""

    sample_rate: int
    samples_per_pixel: int
    length: int
    """Pixels."""

    data: list[int]
    """For each pixel, for each channel: lowest and highest sample, -128 to 127."""

    version: int = 2
    channels: int = 2
    bits: int = 8


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """What `outline` finds."""

    peaks: Peaks
    levels_dbfs: tuple[float | None, ...]
    """By channel: level of what is not silence, in dB of full scale; None where all is silence."""


def samples_per_pixel(frames: int) -> int:
    """Return how many samples a pixel stands for, so that `frames` make at most `MOST_PIXELS`."""
    return max(FINEST_SAMPLES_PER_PIXEL, math.ceil(frames / MOST_PIXELS))


def outline(blocks: Iterable[bytes], *, frames: int, rate_hz: int, channels: int = 2) -> Outline:
    """Return the outline of PCM16 audio with interleaved channels.

    `blocks` may be cut anywhere; `frames` is the number of samples of each channel, from which the resolution follows.
    """
    per_pixel = samples_per_pixel(frames)
    pixels = _Pixels(per_pixel, channels)
    level = _Level(channels)
    pending = b""
    frame_bytes = 2 * channels
    for block in blocks:
        pending += block
        whole = len(pending) - len(pending) % frame_bytes
        samples = np.frombuffer(pending[:whole], dtype="<i2").reshape(-1, channels)
        pixels.add(samples)
        level.add(samples)
        pending = pending[whole:]
    data = pixels.finish()
    peaks = Peaks(
        sample_rate=rate_hz,
        samples_per_pixel=per_pixel,
        length=len(data) // (2 * channels),
        data=data,
        channels=channels,
    )
    return Outline(peaks=peaks, levels_dbfs=level.finish())


Samples = npt.NDArray[np.int16]
"""Shape (n, channels)."""


class _Blocks:
    """Cuts samples into blocks of one length and keeps the rest for the next time."""

    def __init__(self, length: int, channels: int) -> None:
        self._length = length
        self._rest: Samples = np.empty((0, channels), dtype="<i2")

    def cut(self, samples: Samples) -> Samples:
        """Return the whole blocks, shape (blocks, length, channels)."""
        joined = np.concatenate((self._rest, samples))
        whole = len(joined) - len(joined) % self._length
        self._rest = joined[whole:]
        return joined[:whole].reshape(-1, self._length, joined.shape[1])

    def take_rest(self) -> Samples:
        """Return what is left, as one block or none: shape (0 or 1, n, channels)."""
        return self._rest[np.newaxis] if len(self._rest) else self._rest.reshape(0, 1, self._rest.shape[1])


class _Pixels:
    def __init__(self, per_pixel: int, channels: int) -> None:
        self._blocks = _Blocks(per_pixel, channels)
        self._data: list[int] = []

    def add(self, samples: Samples) -> None:
        self._draw(self._blocks.cut(samples))

    def finish(self) -> list[int]:
        self._draw(self._blocks.take_rest())
        return self._data

    def _draw(self, blocks: Samples) -> None:
        if len(blocks):
            extremes = np.stack((blocks.min(axis=1), blocks.max(axis=1)), axis=-1) >> 8
            self._data += extremes.reshape(-1).tolist()


class _Level:
    def __init__(self, channels: int) -> None:
        self._blocks = _Blocks(BLOCK_SAMPLES, channels)
        self._power = np.zeros(channels)
        self._count = np.zeros(channels)

    def add(self, samples: Samples) -> None:
        self._measure(self._blocks.cut(samples))

    def finish(self) -> tuple[float | None, ...]:
        self._measure(self._blocks.take_rest())
        return tuple(
            round(10 * math.log10(power / count), 1) if count else None
            for power, count in zip(self._power.tolist(), self._count.tolist(), strict=True)
        )

    def _measure(self, blocks: Samples) -> None:
        power = np.square(blocks.astype(np.float64) / FULL_SCALE).mean(axis=1)
        audible = power >= 10 ** (SILENCE_DBFS / 10)
        self._power += np.where(audible, power, 0.0).sum(axis=0)
        self._count += audible.sum(axis=0)
