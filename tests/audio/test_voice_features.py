import numpy as np
import pytest
from numpy.typing import NDArray

from voice_agent.audio.voice_features import WINDOW_BYTES, periodicity

TIME_S = np.arange(WINDOW_BYTES // 2) / 8_000


def pcm16(samples: NDArray[np.float64]) -> bytes:
    return samples.astype("<i2").tobytes()


@pytest.mark.parametrize("pitch_hz", [80, 120, 210, 300, 390])
def test_a_voice_is_periodic_at_every_pitch(pitch_hz: int) -> None:
    voice = sum(np.sin(2 * np.pi * harmonic * pitch_hz * TIME_S) / harmonic for harmonic in (1, 2, 3))
    assert periodicity(pcm16(6_000 * np.asarray(voice))) > 0.95


def test_noise_is_not_periodic() -> None:
    random = np.random.default_rng(1)
    found = [periodicity(pcm16(3_000 * random.standard_normal(len(TIME_S)))) for _ in range(100)]
    assert max(found) < 0.5


def test_it_does_not_depend_on_the_level() -> None:
    voice = np.sin(2 * np.pi * 150 * TIME_S) + 0.5 * np.random.default_rng(2).standard_normal(len(TIME_S))
    assert periodicity(pcm16(400 * voice)) == pytest.approx(periodicity(pcm16(8_000 * voice)), abs=0.01)


def test_it_is_the_normalised_autocorrelation() -> None:
    samples = np.random.default_rng(3).integers(-9_000, 9_000, len(TIME_S)).astype(np.float64)
    now = samples[114:]
    shifted = [samples[114 - lag : 274 - lag] for lag in range(20, 115)]
    expected = max(np.dot(now, old) / np.sqrt(np.dot(now, now) * np.dot(old, old)) for old in shifted)
    assert periodicity(pcm16(samples)) == pytest.approx(expected)


def test_silence_and_too_short_a_sound_are_not_periodic() -> None:
    assert periodicity(bytes(WINDOW_BYTES)) == 0.0
    assert periodicity(b"\x01\x02" * 100) == 0.0


def test_only_the_end_is_looked_at() -> None:
    voice = pcm16(6_000 * np.sin(2 * np.pi * 200 * TIME_S))
    noise = pcm16(6_000 * np.random.default_rng(4).standard_normal(400))
    assert periodicity(noise + voice) == periodicity(voice)
