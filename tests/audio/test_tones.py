import numpy as np
import pytest

from voice_agent.audio import mulaw
from voice_agent.audio.tones import GAP_MS, HIGH_HZ, KEYS, LOW_HZ, TONE_MS, dtmf


def level(audio: bytes, frequency_hz: float) -> float:
    samples = np.frombuffer(mulaw.decode(audio), "<i2").astype(float)
    phase = 2j * np.pi * frequency_hz * np.arange(len(samples)) / mulaw.RATE_HZ
    return float(abs(np.mean(samples * np.exp(phase))))


@pytest.mark.parametrize("key", sorted(KEYS))
def test_each_key_is_heard_as_its_two_frequencies(key: str) -> None:
    audio = dtmf(key, tone_ms=100, gap_ms=0)

    low = max(LOW_HZ, key=lambda frequency_hz: level(audio, frequency_hz))
    high = max(HIGH_HZ, key=lambda frequency_hz: level(audio, frequency_hz))

    assert (low, high) == KEYS[key]


def test_the_keypad_is_that_of_the_recommendation() -> None:
    assert KEYS["1"] == (697, 1_209)
    assert KEYS["5"] == (770, 1_336)
    assert KEYS["0"] == (941, 1_336)
    assert KEYS["D"] == (941, 1_633)
    assert len(KEYS) == 16


def test_tones_and_gaps_have_their_lengths() -> None:
    audio = dtmf("12")
    one = (TONE_MS + GAP_MS) * mulaw.BYTES_PER_MS

    assert len(audio) == 2 * one
    assert audio[TONE_MS * mulaw.BYTES_PER_MS : one] == mulaw.silence(GAP_MS * mulaw.BYTES_PER_MS)


def test_no_tone_is_clipped() -> None:
    samples = np.frombuffer(mulaw.decode(dtmf("D", gap_ms=0)), "<i2")

    assert 8_000 < int(np.abs(samples.astype(int)).max()) < 24_000


def test_nothing_is_silence() -> None:
    assert dtmf("") == b""


def test_other_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="no telephone key: E x"):
        dtmf("1xE")
