import hashlib
from importlib import resources

import numpy as np
import pytest

from voice_agent.errors import SettingsError
from voice_agent.integrations.local import silero_vad
from voice_agent.integrations.local.silero_vad import MODEL_FILE, SileroVoiceActivityDetector
from voice_agent.pipeline.ports import VoiceActivityDetector

TIME_S = np.arange(16_000) / 8_000


@pytest.fixture(scope="module")
def detector() -> SileroVoiceActivityDetector:
    if not silero_vad.is_installed():
        pytest.skip("needs the extra [vad]")
    return SileroVoiceActivityDetector()


def vowels() -> np.ndarray:
    """Return two seconds of /a/ and /i/ in turns: glottal pulses of a wandering pitch through two formants."""
    pitch_hz = 130 + 25 * np.sin(2 * np.pi * 1.5 * TIME_S)
    pulses = np.diff(np.floor(np.cumsum(pitch_hz) / 8_000), prepend=0.0)
    spectrum = np.fft.rfft(pulses)
    frequency_hz = np.fft.rfftfreq(len(pulses), 1 / 8_000)

    def through(*formants_hz: float) -> np.ndarray:
        gain = sum(1.0 / (1.0 + ((frequency_hz - formant) / 90.0) ** 2) for formant in formants_hz)
        return np.asarray(np.fft.irfft(spectrum * gain, len(pulses)))

    is_open = np.sin(2 * np.pi * 2 * TIME_S) > 0
    sound = np.where(is_open, through(700, 1_200, 2_600), through(300, 2_300, 3_000))
    syllables = 0.5 + 0.5 * np.abs(np.sin(2 * np.pi * 2 * TIME_S))
    return np.asarray(0.5 * sound / np.abs(sound).max() * syllables)


def pcm16(samples: np.ndarray) -> bytes:
    return (samples * 32_767).astype("<i2").tobytes()


def probabilities(detector: VoiceActivityDetector, samples: np.ndarray, frame: int = 160) -> list[float]:
    stream = detector.open()
    audio = pcm16(samples)
    return [stream.process(audio[start : start + 2 * frame]) for start in range(0, len(audio), 2 * frame)]


def test_the_model_is_the_published_one_and_comes_with_its_licence() -> None:
    digest = hashlib.sha256(MODEL_FILE.read_bytes()).hexdigest()
    licence = resources.files("voice_agent.integrations.local") / "models" / "LICENSE-silero-vad"
    assert digest in licence.read_text()
    assert "MIT License" in licence.read_text()


def test_without_onnxruntime_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero_vad, "is_installed", lambda: False)
    with pytest.raises(SettingsError, match=r"VOICE_ACTIVITY.*voice-agent\[vad\]"):
        SileroVoiceActivityDetector()


def test_it_hears_a_voice(detector: SileroVoiceActivityDetector) -> None:
    assert max(probabilities(detector, vowels())) > 0.9


def test_silence_and_noise_are_no_voice(detector: SileroVoiceActivityDetector) -> None:
    noise = 0.2 * np.random.default_rng(1).standard_normal(16_000).clip(-4, 4)
    assert max(probabilities(detector, np.zeros(16_000))) < 0.2
    assert max(probabilities(detector, noise)[10:]) < 0.2


def test_the_first_window_takes_two_frames(detector: SileroVoiceActivityDetector) -> None:
    first, second, *_ = probabilities(detector, vowels())
    assert first == 0.0
    assert second > 0.0


def test_the_length_of_frames_does_not_matter(detector: SileroVoiceActivityDetector) -> None:
    in_frames, at_once = probabilities(detector, vowels()), probabilities(detector, vowels(), frame=16_000)
    # 16,000 samples are 62 windows and a half, so both end on the same one.
    assert in_frames[-1] == at_once[-1]


def test_each_stream_has_its_own_state(detector: SileroVoiceActivityDetector) -> None:
    alone = probabilities(detector, vowels())
    other, stream = detector.open(), detector.open()
    audio = pcm16(vowels())
    together = []
    for start in range(0, len(audio), 320):
        together.append(stream.process(audio[start : start + 320]))
        other.process(audio[-start - 320 : len(audio) - start])
    assert together == alone
