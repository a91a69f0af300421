"""Sounds for these tests: seeded noise stands for a voice, since recognition is by bytes alone."""

import base64

import numpy as np

from voice_agent.audio import mulaw


def voice(seed: int, length_ms: int) -> bytes:
    """Return a loud sound that no other seed gives, mu-law."""
    samples = np.random.default_rng(seed).normal(0.0, 4_000.0, length_ms * mulaw.BYTES_PER_MS)
    return mulaw.encode(samples.astype("<i2").tobytes())


def base64_of(audio: bytes) -> str:
    """Return base64 as JSON carries it."""
    return base64.b64encode(audio).decode()
