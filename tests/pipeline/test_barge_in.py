import pytest

from voice_agent.pipeline.barge_in import BargeInDetector, BargeInSettings

FRAME_S = 0.02


def frames_until_voice(
    detector: BargeInDetector, *, probability: float | None, periodicity: float = 0.0, level_db: float = -20.0
) -> int | None:
    """Return how many equal frames it takes, None where a second of them does not do."""
    for frame in range(1, 51):
        if detector.hear(FRAME_S, level_db, periodicity, probability):
            return frame
    return None


def test_a_sure_model_confirms_in_a_tenth_of_a_second() -> None:
    assert frames_until_voice(BargeInDetector(), probability=0.99) == 3
    assert frames_until_voice(BargeInDetector(), probability=0.8) == 5


def test_what_is_periodic_as_well_is_confirmed_sooner() -> None:
    assert frames_until_voice(BargeInDetector(), probability=0.8, periodicity=1.0) == 4


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.3])
def test_music_is_periodic_and_yet_no_voice(probability: float) -> None:
    assert frames_until_voice(BargeInDetector(), probability=probability, periodicity=1.0) is None


def test_a_model_that_does_not_know_confirms_nothing() -> None:
    assert frames_until_voice(BargeInDetector(), probability=0.5) is None


def test_no_single_window_decides() -> None:
    detector = BargeInDetector()
    assert not detector.hear(BargeInSettings().window_s, -20.0, 1.0, 1.0)


def test_a_cough_before_a_word_is_forgotten() -> None:
    detector = BargeInDetector()
    assert frames_until_voice(detector, probability=0.01) is None
    assert frames_until_voice(detector, probability=0.99) == 3


def test_without_a_model_a_periodic_sound_is_a_voice_and_noise_is_not() -> None:
    assert frames_until_voice(BargeInDetector(), probability=None, periodicity=0.95) is not None
    assert frames_until_voice(BargeInDetector(), probability=None, periodicity=0.5) is None


@pytest.mark.parametrize("probability", [None, 0.99])
def test_what_rings_out_after_a_bang_speaks_for_nothing(probability: float | None) -> None:
    detector = BargeInDetector()
    detector.hear(FRAME_S, -10.0, 0.0, None if probability is None else 0.0)
    ringing_db = -10.0 - BargeInSettings().decay_db - 1.0
    assert frames_until_voice(detector, probability=probability, periodicity=1.0, level_db=ringing_db) is None


def test_after_background_more_evidence_is_needed() -> None:
    detector = BargeInDetector()
    detector.begin(is_suspicious=True)
    assert frames_until_voice(detector, probability=0.99) == 3
    detector.begin(is_suspicious=True)
    assert frames_until_voice(detector, probability=0.8) == 6


def test_a_new_stretch_begins_without_evidence() -> None:
    detector = BargeInDetector()
    detector.hear(FRAME_S, -20.0, 0.0, 0.99)
    assert detector.evidence > 0.0
    detector.begin()
    assert detector.evidence == 0.0


def test_a_stretch_without_a_verdict_is_background_with_its_mean_level() -> None:
    detector = BargeInDetector()
    for frame in range(40):
        assert not detector.is_background
        detector.hear(FRAME_S, -20.0 if frame % 2 else -30.0, 0.0, 0.01)
    assert detector.is_background
    assert detector.level_db == pytest.approx(-25.0)


def test_a_voice_is_no_background_however_long_it_speaks() -> None:
    detector = BargeInDetector()
    for _ in range(100):
        detector.hear(FRAME_S, -20.0, 0.0, 0.99)
    assert not detector.is_background


def test_nothing_heard_has_the_level_of_silence() -> None:
    assert BargeInDetector().level_db == -75.0
