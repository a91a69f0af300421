from tests.sandbox.callers.voices import tone_mulaw
from voice_agent.audio.mulaw import FRAME_BYTES, silence
from voice_agent.sandbox.callers.ear import PAUSE_MS, Ear


def hear(ear: Ear, mulaw: bytes) -> None:
    for start in range(0, len(mulaw), FRAME_BYTES):
        ear.hear(mulaw[start : start + FRAME_BYTES])


def test_speech_has_a_beginning_a_length_and_an_end() -> None:
    ear = Ear()
    hear(ear, silence(1_600))
    assert (ear.speech_began, ear.spoken_ms, ear.quiet_ms) == (None, 0.0, 200.0)
    hear(ear, tone_mulaw(300))
    assert (ear.speech_began, ear.spoken_ms, ear.quiet_ms) == (1_600, 300.0, 0.0)
    hear(ear, silence(PAUSE_MS * 8))
    assert (ear.spoken_ms, ear.quiet_ms, ear.speech_ended) == (0.0, PAUSE_MS, 4_000)


def test_a_short_pause_belongs_to_the_same_speech() -> None:
    ear = Ear()
    hear(ear, tone_mulaw(300) + silence(8 * 300) + tone_mulaw(300))
    assert (ear.speech_began, ear.spoken_ms) == (0, 900.0)
    hear(ear, silence(8 * 600) + tone_mulaw(20))
    assert ear.speech_began == 8 * 1_500


def test_an_answer_that_comes_at_once_is_a_new_stretch() -> None:
    ear = Ear()
    hear(ear, tone_mulaw(300) + silence(8 * 100))
    ear.expect_answer()
    assert ear.spoken_ms == 0.0
    hear(ear, silence(8 * 40) + tone_mulaw(100))
    assert (ear.speech_began, ear.spoken_ms) == (8 * 440, 100.0)


def test_faint_noise_is_no_speech() -> None:
    ear = Ear()
    hear(ear, tone_mulaw(500, level=0.002))
    assert ear.speech_began is None
