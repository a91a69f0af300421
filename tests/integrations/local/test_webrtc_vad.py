import numpy as np

from voice_agent.integrations.local.webrtc_vad import WebRtcVoiceActivityDetector
from voice_agent.pipeline.ports import VoiceActivityDetector

TIME_S = np.arange(8_000) / 8_000


def frames(samples: np.ndarray) -> list[bytes]:
    pcm16 = (samples * 32_767).astype("<i2").tobytes()
    return [pcm16[start : start + 320] for start in range(0, len(pcm16), 320)]


def vowel() -> np.ndarray:
    """Return a second of buzzing harmonics that swell and fade five times, as syllables do."""
    buzz = sum(np.sin(2 * np.pi * 140 * harmonic * TIME_S) / harmonic for harmonic in range(1, 20))
    return 0.15 * np.asarray(buzz) * (0.55 + 0.45 * np.sin(2 * np.pi * 5 * TIME_S))


def test_it_implements_the_port() -> None:
    detector: VoiceActivityDetector = WebRtcVoiceActivityDetector()
    assert detector.open().process(bytes(320)) == 0.0


def test_it_tells_a_buzzing_vowel_from_silence() -> None:
    stream = WebRtcVoiceActivityDetector().open()
    assert sum(stream.process(frame) for frame in frames(np.zeros(8_000))) == 0.0
    assert sum(stream.process(frame) for frame in frames(vowel())) > 40


def test_each_call_has_its_own_state() -> None:
    detector = WebRtcVoiceActivityDetector()
    talking, silent = detector.open(), detector.open()
    for frame in frames(vowel()):
        talking.process(frame)
    assert talking.process(bytes(320)) == 1.0, "the detector holds on after speech"
    assert silent.process(bytes(320)) == 0.0
