"""G.711 mu-law at 8,000 Hz, mono: the one audio format between the caller and the providers.

One byte is one sample, so lengths in bytes, samples and eighths of a millisecond are the same number. `audioop`
does the conversion: 8 to 10 times faster than a numpy table on 20 ms frames (bench/README.md, "audio").
"""

import warnings

import numpy

with warnings.catch_warnings():
    # 3.11 and 3.12 announce the removal of audioop in 3.13, where audioop-lts takes its name.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

RATE_HZ = 8_000
"""Samples, and bytes, a second."""

BYTES_PER_MS = 8

FRAME_MS = 20
"""Length of the frames that Twilio sends (observed, not documented: any other length must work too)."""

FRAME_BYTES = FRAME_MS * BYTES_PER_MS

SILENCE_BYTE = 0xFF
"""The mu-law code of sample value 0."""

FULL_SCALE = 32_768

_SAMPLES = numpy.frombuffer(audioop.ulaw2lin(bytes(range(256)), 2), numpy.dtype("<i2"))
"""The sample of each code."""


def silence(length_bytes: int) -> bytes:
    """Return `length_bytes` of mu-law silence."""
    return b"\xff" * length_bytes


def decode(mulaw: bytes) -> bytes:
    """Return int16 little-endian PCM of the same number of samples (twice the bytes)."""
    return audioop.ulaw2lin(mulaw, 2)


def encode(pcm16: bytes) -> bytes:
    """Return mu-law of int16 little-endian PCM (half the bytes). An odd byte count raises `audioop.error`."""
    return audioop.lin2ulaw(pcm16, 2)


def interleave(left: bytes, right: bytes) -> bytes:
    """Return two-channel int16 PCM of two mu-law stretches of the same length (four times the bytes of one).

    By table: on whole seconds numpy is several times faster than audioop, on single frames slower.
    """
    stereo = numpy.empty((len(left), 2), numpy.dtype("<i2"))
    stereo[:, 0] = _SAMPLES[numpy.frombuffer(left, numpy.uint8)]
    stereo[:, 1] = _SAMPLES[numpy.frombuffer(right, numpy.uint8)]
    return stereo.tobytes()


def rms(pcm16: bytes) -> int:
    """Return the root mean square of int16 PCM, 0 to 32,768; 0 for an empty fragment."""
    return audioop.rms(pcm16, 2)


def mean(pcm16: bytes) -> int:
    """Return the mean of int16 PCM, its constant level; 0 for an empty fragment."""
    return audioop.avg(pcm16, 2)


def duration_ms(length_bytes: int) -> float:
    """Return how long `length_bytes` of mu-law sound, in milliseconds."""
    return length_bytes / BYTES_PER_MS
