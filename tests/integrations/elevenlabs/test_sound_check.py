"""What may be heard by a caller, and what may not (F15, F16)."""

import numpy as np
import pytest

from voice_agent.audio import mulaw
from voice_agent.integrations.elevenlabs.sound_check import SoundCheck
from voice_agent.sandbox.providers import sound

TEXT = "Good morning, this is the restaurant at the harbour, how can I help you today?"


def speech(level: float = 4_000.0, rate_hz: int = mulaw.RATE_HZ) -> bytes:
    """Two seconds of something with a voice's spectrum and pauses, int16."""
    at = np.arange(2 * rate_hz) / rate_hz
    wave = sum(np.sin(2 * np.pi * 130 * n * at) / n for n in range(1, 15))
    return (level * wave * np.clip(np.sin(2 * np.pi * 3 * at), 0, 1)).astype("<i2").tobytes()


@pytest.mark.parametrize("level", [300.0, 4_000.0, 9_000.0])
def test_speech_is_fit(level: float) -> None:
    check = SoundCheck()
    audio = mulaw.encode(speech(level))
    for start in range(0, len(audio), 1_600):
        assert check.fault(audio[start : start + 1_600], 200.0, len(TEXT)) == ""
    assert check.is_audible
    assert check.fault_at_end() == ""


def test_what_a_double_says_is_fit() -> None:
    check = SoundCheck()
    for piece in sound.chunks(sound.speak(TEXT), 200):
        timing = piece.timing
        aligned_ms = timing.starts_ms[-1] + timing.durations_ms[-1] if timing.chars else 0.0
        assert check.fault(piece.audio, aligned_ms, len(TEXT)) == ""


@pytest.mark.parametrize("level", [1_000.0, 4_000.0])
def test_pcm_is_noise_to_the_ear(level: float) -> None:
    assert SoundCheck().fault(speech(level), 0.0, len(TEXT)) == "PCM, not mu-law"


@pytest.mark.parametrize("magic", [b"ID3\x04", b"RIFF\x24\x10", b"\xff\xfb\x90"])
def test_containers(magic: bytes) -> None:
    assert SoundCheck().fault(magic + mulaw.encode(speech()), 0.0, len(TEXT)) == "a container, not mu-law"


def test_a_container_is_looked_for_at_the_beginning_only() -> None:
    check = SoundCheck()
    audio = mulaw.encode(speech())
    check.fault(audio[:1_600], 200.0, len(TEXT))
    assert check.fault(b"\xff\xfb" + audio[1_600:3_198], 200.0, len(TEXT)) == ""


def test_twice_the_sample_rate() -> None:
    audio = mulaw.encode(speech(rate_hz=16_000))
    assert SoundCheck().fault(audio[:3_200], 200.0, len(TEXT)) == "another sample rate"


def test_silence_is_a_fault_after_a_second_or_at_the_end() -> None:
    check = SoundCheck()
    assert check.fault(mulaw.silence(4_000), 500.0, len(TEXT)) == ""
    assert not check.is_audible
    assert check.fault_at_end() == "nothing but silence"
    assert check.fault(mulaw.silence(4_000), 500.0, len(TEXT)) == "nothing but silence"


def test_a_constant_level() -> None:
    assert SoundCheck().fault(b"\x20" * 1_600, 200.0, len(TEXT)) == "a constant level"


def test_audio_without_end() -> None:
    check, audio = SoundCheck(), mulaw.encode(speech())
    faults = [check.fault(audio, 2_000.0, 10) for _ in range(10)]
    assert faults[:3] == ["", "", ""]
    assert faults[-1] == "audio without end"
