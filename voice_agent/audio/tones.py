"""Telephone key tones (DTMF) as mu-law: each key is the sum of one low and one high sine wave.

Frequencies: ITU-T Recommendation Q.23. Lengths and levels: receivers after Q.24 take tones and gaps from 40 ms on
(70 ms in some networks), so 100 ms of each is safe; the high group is 2 dB louder, because lines lose more of it.
"""

import numpy as np

from voice_agent.audio import mulaw

LOW_HZ = (697, 770, 852, 941)
HIGH_HZ = (1_209, 1_336, 1_477, 1_633)
KEYPAD = ("123A", "456B", "789C", "*0#D")
"""Rows are LOW_HZ, columns HIGH_HZ."""

KEYS = {
    key: (low_hz, high_hz)
    for low_hz, row in zip(LOW_HZ, KEYPAD, strict=True)
    for high_hz, key in zip(HIGH_HZ, row, strict=True)
}

TONE_MS = 100
GAP_MS = 100

_LOW_AMPLITUDE = 0.22 * mulaw.FULL_SCALE
_HIGH_AMPLITUDE = _LOW_AMPLITUDE * 10 ** (2 / 20)
_RAMP_MS = 3
"""Raised edges, so that a tone does not begin and end with a click."""


def dtmf(digits: str, *, tone_ms: int = TONE_MS, gap_ms: int = GAP_MS) -> bytes:
    """Return the tones of `digits` (0-9, *, #, A-D), each followed by a gap, as mu-law.

    Raises ValueError for any other key.
    """
    if unknown := sorted(set(digits) - KEYS.keys()):
        raise ValueError(f"no telephone key: {' '.join(unknown)}")
    gap = mulaw.silence(gap_ms * mulaw.BYTES_PER_MS)
    return b"".join(_tone(*KEYS[digit], tone_ms) + gap for digit in digits)


def _tone(low_hz: int, high_hz: int, tone_ms: int) -> bytes:
    length = tone_ms * mulaw.BYTES_PER_MS
    phase = 2 * np.pi * np.arange(length) / mulaw.RATE_HZ
    wave = _LOW_AMPLITUDE * np.sin(low_hz * phase) + _HIGH_AMPLITUDE * np.sin(high_hz * phase)
    ramp = min(_RAMP_MS * mulaw.BYTES_PER_MS, length // 2)
    envelope = np.interp(np.arange(length), (0, ramp, length - ramp, length), (0, 1, 1, 0))
    return mulaw.encode((wave * envelope).astype("<i2").tobytes())
