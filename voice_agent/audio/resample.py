"""Sampling rates other than 8,000 Hz: synthesisers' PCM down to mu-law, mu-law up to what recognisers take.

Audio of the providers is never resampled: they are asked for mu-law. This serves the local speech engines, and
recordings that are played as callers. Down-sampling is soxr's band-limited "HQ"; up-sampling is `audioop.ratecv`
(linear interpolation): on pieces of 20 to 100 ms it costs less, and recognition does not tell them apart.
"""

import warnings

import numpy as np
import soxr  # type: ignore[import-untyped]  # has stubs, but no py.typed marker

from voice_agent.audio import mulaw

with warnings.catch_warnings():
    # 3.11 and 3.12 announce the removal of audioop in 3.13, where audioop-lts takes its name.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

_QUALITY = "HQ"


def to_mulaw(pcm16: bytes, rate_hz: int) -> bytes:
    """Return a whole clip of int16 mono PCM at `rate_hz` as mu-law at 8,000 Hz."""
    resampler = MulawResampler(rate_hz)
    return resampler.feed(pcm16) + resampler.finish()


class MulawResampler:
    """One stream of int16 mono PCM at `rate_hz`, to mu-law at 8,000 Hz."""

    def __init__(self, rate_hz: int) -> None:
        self._stream: soxr.ResampleStream | None = None
        if rate_hz != mulaw.RATE_HZ:
            self._stream = soxr.ResampleStream(rate_hz, mulaw.RATE_HZ, 1, dtype="int16", quality=_QUALITY)

    def feed(self, pcm16: bytes) -> bytes:
        """Return what is settled of the audio so far; the filter holds a few milliseconds back."""
        return self._resample(pcm16, is_last=False)

    def finish(self) -> bytes:
        """Return what was held back. Nothing may be fed afterwards."""
        return self._resample(b"", is_last=True)

    def _resample(self, pcm16: bytes, *, is_last: bool) -> bytes:
        if self._stream is None:
            return mulaw.encode(pcm16)
        samples = self._stream.resample_chunk(np.frombuffer(pcm16, dtype="<i2"), last=is_last)
        return mulaw.encode(samples.tobytes())


class Upsampler:
    """One stream of mu-law at 8,000 Hz, to int16 mono PCM at 16,000 Hz."""

    def __init__(self) -> None:
        self._last_sample: tuple[int, tuple[tuple[int, int], ...]] | None = None
        """audioop's own record of where it was; None at the start of a stream."""

    def feed(self, mulaw_audio: bytes) -> bytes:
        """Return twice as many samples (one less at the start of a stream), four times as many bytes."""
        pcm16, self._last_sample = audioop.ratecv(
            mulaw.decode(mulaw_audio), 2, 1, mulaw.RATE_HZ, 2 * mulaw.RATE_HZ, self._last_sample
        )
        return pcm16
