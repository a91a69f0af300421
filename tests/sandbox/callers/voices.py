"""A synthesiser for tests: every character of a text is 10 ms of one tone."""

import wave
from pathlib import Path

import numpy

from voice_agent.sandbox.carrier.sound_files import Samples, to_mulaw

MS_PER_CHARACTER = 10


def tone(milliseconds: int, level: float = 0.3) -> Samples:
    time_s = numpy.arange(milliseconds * 8) / 8_000
    return numpy.asarray(level * numpy.cos(2 * numpy.pi * 400 * time_s), numpy.float32)


def tone_mulaw(milliseconds: int, level: float = 0.3) -> bytes:
    return to_mulaw(tone(milliseconds, level))


def synthesise(text: str, language: str) -> bytes:
    assert language in ("en", "es")
    return tone_mulaw(MS_PER_CHARACTER * len(text))


def write_wav(path: Path, samples: numpy.ndarray, *, rate_hz: int, channels: int = 1, width: int = 2) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate_hz, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
