import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.pipeline.events import SpeechStarted, SpeechStopped
from voice_agent.pipeline.segmentation import SILENCE_DB, NoiseFloor, SegmentationSettings, Segmenter

FRAME_S = 0.02
VOICE = (1.0, -20.0)
SILENCE = (0.0, -70.0)
HANGOVER = (1.0, -68.0)
"""The model still says speech, but nothing sounds any more."""


def play(
    segmenter: Segmenter, *parts: tuple[tuple[float, float], int], floor_db: float = -70.0
) -> list[SpeechStarted | SpeechStopped]:
    """Feed `(probability, level)` for so many frames, one part after the other, from time 0."""
    events = []
    frame = 0
    for (probability, level_db), frames in parts:
        for _ in range(frames):
            frame += 1
            event = segmenter.step(round(frame * FRAME_S, 6), FRAME_S, probability, level_db, floor_db)
            if event is not None:
                events.append(event)
    return events


def times(event: SpeechStarted | SpeechStopped) -> tuple[float, float]:
    return event.at, event.began_at if isinstance(event, SpeechStarted) else event.ended_at


def test_silence_is_no_speech() -> None:
    assert play(Segmenter(), (SILENCE, 100)) == []


def test_speech_starts_after_its_onset_and_is_dated_to_its_first_sample() -> None:
    assert play(Segmenter(), (SILENCE, 10), (VOICE, 5)) == [SpeechStarted(at=0.26, began_at=0.2)]


def test_a_click_shorter_than_the_onset_is_no_speech() -> None:
    assert play(Segmenter(), (SILENCE, 10), (VOICE, 2), (SILENCE, 10), (VOICE, 2), (SILENCE, 10)) == []


def test_speech_stops_at_the_first_pause_and_is_dated_to_its_last_sample() -> None:
    events = play(Segmenter(), (VOICE, 10), (SILENCE, 20))
    assert events[1:] == [SpeechStopped(at=0.3, ended_at=0.2)]


def test_the_hangover_of_the_model_does_not_move_the_end() -> None:
    events = play(Segmenter(), (VOICE, 10), (HANGOVER, 8), (SILENCE, 20))
    assert events[1:] == [SpeechStopped(at=0.3, ended_at=0.2)]


def test_a_stop_consonant_is_no_pause() -> None:
    events = play(Segmenter(), (VOICE, 10), (SILENCE, 4), (VOICE, 10), (SILENCE, 10))
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped]
    assert events[1] == SpeechStopped(at=0.58, ended_at=0.48)


def test_a_second_stretch_has_its_own_beginning() -> None:
    events = play(Segmenter(), (VOICE, 10), (SILENCE, 10), (VOICE, 10))
    assert times(events[2]) == pytest.approx((0.46, 0.4))


def test_a_room_that_rings_on_under_the_loudest_frame_is_not_voiced() -> None:
    ringing = (1.0, VOICE[1] - SegmentationSettings().range_db - 1.0)
    assert play(Segmenter(), (VOICE, 10), (ringing, 5))[1:] == [SpeechStopped(at=0.3, ended_at=0.2)]


def test_the_loudest_frame_of_one_stretch_does_not_deafen_the_next() -> None:
    loud, soft = (1.0, -5.0), (1.0, -40.0)
    events = play(Segmenter(), (loud, 10), (SILENCE, 10), (soft, 10))
    assert times(events[2]) == pytest.approx((0.46, 0.4))


def test_what_hardly_stands_over_the_background_is_no_speech() -> None:
    assert play(Segmenter(), ((1.0, -36.0), 50), floor_db=-40.0) == []
    assert len(play(Segmenter(), ((1.0, -34.0), 50), floor_db=-40.0)) == 1


def test_frames_that_the_model_loses_in_noise_keep_a_stretch_going_where_they_are_loud() -> None:
    lost_loud, lost_soft = (0.0, -28.0), (0.0, -34.0)
    assert len(play(Segmenter(), (VOICE, 10), (lost_loud, 50), floor_db=-40.0)) == 1
    assert len(play(Segmenter(), (VOICE, 10), (lost_soft, 50), floor_db=-40.0)) == 2
    assert play(Segmenter(), (lost_loud, 50), floor_db=-40.0) == [], "they never start one"


def test_a_stretch_can_be_ended_from_outside() -> None:
    segmenter = Segmenter()
    play(segmenter, (VOICE, 10))
    assert segmenter.stop(0.2) == SpeechStopped(at=0.2, ended_at=0.2)
    assert not segmenter.is_speaking


def test_the_budgets_are_settings() -> None:
    segmenter = Segmenter(SegmentationSettings(onset_s=0.1, pause_s=0.2))
    assert play(segmenter, (VOICE, 10), (SILENCE, 20)) == [
        SpeechStarted(at=0.1, began_at=0.0),
        SpeechStopped(at=0.4, ended_at=0.2),
    ]


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.4, 0.5, 1.0]), st.floats(-75.0, 0.0)), max_size=200))
def test_stretches_alternate_and_lie_in_time(frames: list[tuple[float, float]]) -> None:
    events = play(Segmenter(), *(((probability, level_db), 1) for probability, level_db in frames))
    assert all(isinstance(event, SpeechStarted) for event in events[::2])
    assert all(isinstance(event, SpeechStopped) for event in events[1::2])
    edges = [event.began_at if isinstance(event, SpeechStarted) else event.ended_at for event in events]
    assert edges == sorted(edges)
    assert all(edge < event.at for edge, event in zip(edges, events, strict=True))


def follow(floor: NoiseFloor, level_db: float, probability: float, frames: int, spoken_s: float = 0.0) -> float:
    for _ in range(frames):
        floor.follow(level_db, probability, spoken_s)
    return floor.level_db


def test_the_floor_reaches_a_steady_noise_within_a_second_and_a_half() -> None:
    assert follow(NoiseFloor(), -40.0, 0.0, 75) > -41.0


def test_the_floor_falls_to_silence_but_not_at_once() -> None:
    floor = NoiseFloor()
    floor.learn(-40.0)
    assert follow(floor, -70.0, 0.0, 5) > -42.0
    assert follow(floor, -70.0, 0.0, 200) == -70.0


def test_an_onset_does_not_lift_the_floor() -> None:
    assert follow(NoiseFloor(), -20.0, 1.0, 3) == SILENCE_DB


def test_a_sentence_hardly_lifts_the_floor_and_endless_sound_does() -> None:
    sentence = follow(NoiseFloor(), -20.0, 1.0, 100, spoken_s=1.0)
    endless = follow(NoiseFloor(), -20.0, 1.0, 100, spoken_s=NoiseFloor.LONGEST_BREATH_S)
    assert sentence < SILENCE_DB + 3.0
    assert endless > SILENCE_DB + 6.0


def test_what_was_learnt_never_lowers_the_floor() -> None:
    floor = NoiseFloor()
    floor.learn(-30.0)
    floor.learn(-50.0)
    assert floor.level_db == -30.0
