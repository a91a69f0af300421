"""How much a short sound is like a voiced one: periodic at the pitch of a human voice.

Vowels are periodic (0.9 and more), coughs, clicks, breath and wind are not (below 0.5). Music is too: this cannot tell
a voice from a melody (`bench.voice_activity`). It decides nothing; `pipeline.barge_in` weighs it.
"""

import numpy as np

from voice_agent.audio.mulaw import RATE_HZ

HIGHEST_PITCH_HZ = 400
LOWEST_PITCH_HZ = 70
"""The fundamental of an adult's speaking voice lies between 75 and 300 Hz; a child's goes up to 400."""

_SHORTEST_LAG = RATE_HZ // HIGHEST_PITCH_HZ
_LONGEST_LAG = RATE_HZ // LOWEST_PITCH_HZ
_COMPARED = 160
_HUM = 1.0
"""Keeps silence from being periodic: the energy of one sample step."""

WINDOW_BYTES = 2 * (_LONGEST_LAG + _COMPARED)
"""Bytes of int16 that `periodicity` looks at: 34 ms."""


def periodicity(pcm16: bytes) -> float:
    """Return the highest normalised autocorrelation at a voice's pitch, -1.0 to 1.0, of the end of `pcm16`.

    The last 20 ms are compared with what sounded 2.5 to 14 ms before. Fewer than WINDOW_BYTES (int16, 8,000 Hz) give
    0.0.
    """
    if len(pcm16) < WINDOW_BYTES:
        return 0.0
    samples = np.frombuffer(pcm16[-WINDOW_BYTES:], dtype="<i2").astype(np.float64)
    now, before = samples[_LONGEST_LAG:], samples[:-_SHORTEST_LAG]
    energy = np.cumsum(before * before)
    energy[_COMPARED:] -= energy[:-_COMPARED].copy()
    products = np.correlate(before, now, "valid")
    likeness = products / np.sqrt(energy[_COMPARED - 1 :] * np.dot(now, now) + _HUM)
    return float(likeness.max())
