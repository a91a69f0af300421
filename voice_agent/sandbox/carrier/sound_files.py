"""Sound files to mu-law: PCM WAV of any rate, width and number of channels. No other format."""

import io
import wave

import numpy
import soxr  # type: ignore[import-untyped] # ships no types
from numpy.typing import NDArray

from voice_agent.audio.mulaw import RATE_HZ, encode

Samples = NDArray[numpy.float32]
"""Mono, 8,000 Hz, shape (n,), full scale at 1.0."""

_WIDTHS = {1: "u1", 2: "<i2", 4: "<i4"}


def read_wav(content: bytes) -> Samples:
    """Return a PCM WAV file's sound, mixed to mono and resampled. Raises ValueError for anything else."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            width, channels, rate_hz = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"not a PCM WAV file: {error}") from error
    if width not in _WIDTHS:
        raise ValueError(f"{8 * width}-bit samples are not supported")
    whole = numpy.frombuffer(frames, numpy.dtype(_WIDTHS[width])).astype(numpy.float32)
    whole = (whole - 128.0) / 128.0 if width == 1 else whole / float(2 ** (8 * width - 1))
    mono: Samples = whole.reshape(-1, channels).mean(axis=1)
    if rate_hz == RATE_HZ:
        return mono
    resampled: Samples = soxr.resample(mono, rate_hz, RATE_HZ)
    return resampled


def to_mulaw(samples: Samples) -> bytes:
    """Return mu-law of samples at full scale 1.0; louder ones are clipped."""
    scaled = numpy.clip(samples * 32_767.0, -32_768.0, 32_767.0)
    return encode(numpy.rint(scaled).astype("<i2").tobytes())
