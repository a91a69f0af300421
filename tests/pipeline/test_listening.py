import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.voice_activity import FakeVoiceActivityDetector
from voice_agent.audio import mulaw
from voice_agent.pipeline.barge_in import BargeInSettings
from voice_agent.pipeline.events import AnyEvent, SpeechStarted, SpeechStopped, VoiceConfirmed
from voice_agent.pipeline.listening import DOUBT_S, ONSET_FRAMES, PREROLL_FRAMES, Listener

TIME_S = np.arange(8 * 8_000) / 8_000


def tone(length_s: float, amplitude: float = 0.2) -> bytes:
    """Return a periodic sound with the pitch of a voice; its peaks are at `amplitude` of full scale."""
    time_s = TIME_S[: int(length_s * 8_000)]
    samples = amplitude * (np.sin(2 * np.pi * 150 * time_s) + 0.5 * np.sin(2 * np.pi * 300 * time_s))
    return mulaw.encode((samples * mulaw.FULL_SCALE).astype("<i2").tobytes())


def noise(length_s: float, amplitude: float = 0.1) -> bytes:
    samples = amplitude * np.random.default_rng(1).uniform(-1, 1, int(length_s * 8_000))
    return mulaw.encode((samples * mulaw.FULL_SCALE).astype("<i2").tobytes())


def silence(length_s: float) -> bytes:
    return mulaw.silence(int(length_s * 8_000))


class Call:
    """A listener with fakes behind it: `activity` hears speech in everything, `voice` what the test sets."""

    def __init__(self, *, has_voice_model: bool = True) -> None:
        self.activity = FakeVoiceActivityDetector()
        self.voice = FakeVoiceActivityDetector()
        self.listener = Listener(self.activity, self.voice if has_voice_model else None)
        self.activity.streams[0].probability = 1.0
        self.voice_probability = 0.0
        self.heard_bytes = 0

    def hear(self, audio: bytes, *, agent_audible: bool = True) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        for start in range(0, len(audio), mulaw.FRAME_BYTES):
            for stream in self.voice.streams:
                stream.probability = self.voice_probability
            frame = audio[start : start + mulaw.FRAME_BYTES]
            self.heard_bytes += len(frame)
            events += self.listener.hear(frame, self.heard_bytes / mulaw.RATE_HZ, agent_audible)
        return events

    @property
    def judged_frames(self) -> int:
        return sum(stream.frames for stream in self.voice.streams)


def kinds(events: list[AnyEvent]) -> list[type[AnyEvent]]:
    return [type(event) for event in events]


def test_silence_says_nothing_and_asks_no_model() -> None:
    call = Call()
    assert call.hear(silence(2.0)) == []
    assert call.activity.streams[0].frames == 0
    assert call.voice.streams == []


def test_a_voice_over_the_agent_is_confirmed_once_and_dated_to_its_onset() -> None:
    call = Call()
    call.voice_probability = 0.95
    call.hear(silence(1.0))
    events = call.hear(tone(1.0) + silence(0.3))
    assert kinds(events) == [SpeechStarted, VoiceConfirmed, SpeechStopped]
    started, confirmed, stopped = events
    assert isinstance(started, SpeechStarted)
    assert isinstance(confirmed, VoiceConfirmed)
    assert isinstance(stopped, SpeechStopped)
    assert started.began_at == confirmed.began_at == pytest.approx(1.0)
    assert confirmed.at <= 1.2
    assert stopped.ended_at == pytest.approx(2.0, abs=0.021)
    assert stopped.at == pytest.approx(stopped.ended_at + 0.1)


def test_the_voice_model_hears_a_little_silence_first_and_nothing_after_the_verdict() -> None:
    call = Call()
    call.voice_probability = 0.95
    call.hear(silence(1.0) + tone(1.0))
    assert len(call.voice.streams) == 1
    assert PREROLL_FRAMES + ONSET_FRAMES <= call.judged_frames <= PREROLL_FRAMES + ONSET_FRAMES + 6


def test_the_voice_model_is_not_asked_while_the_agent_is_silent() -> None:
    call = Call()
    events = call.hear(silence(1.0) + tone(1.0), agent_audible=False)
    assert kinds(events) == [SpeechStarted, VoiceConfirmed]
    assert call.voice.streams == []


def test_without_a_voice_model_a_periodic_sound_over_the_agent_is_a_voice() -> None:
    call = Call(has_voice_model=False)
    assert kinds(call.hear(silence(1.0) + tone(0.6) + silence(0.3))) == [SpeechStarted, VoiceConfirmed, SpeechStopped]


def test_without_a_voice_model_noise_over_the_agent_is_none() -> None:
    call = Call(has_voice_model=False)
    assert kinds(call.hear(silence(1.0) + noise(0.6) + silence(0.3))) == [SpeechStarted, SpeechStopped]


def test_a_sound_that_is_no_voice_becomes_background_and_is_not_heard_again() -> None:
    call = Call()
    call.hear(silence(1.0))
    events = call.hear(noise(3.0))
    assert kinds(events) == [SpeechStarted, SpeechStopped]
    assert events[1].at == pytest.approx(1.0 + BargeInSettings().rejected_s, abs=0.05)


def test_a_voice_over_learnt_background_is_confirmed() -> None:
    call = Call()
    call.hear(silence(1.0) + noise(2.0, amplitude=0.05))
    call.voice_probability = 0.95
    assert kinds(call.hear(tone(1.0, amplitude=0.3))) == [SpeechStarted, VoiceConfirmed]


def test_background_from_before_the_agent_spoke_is_no_interruption() -> None:
    call = Call()
    call.hear(silence(1.0) + tone(0.5), agent_audible=False)
    assert VoiceConfirmed not in kinds(call.hear(tone(2.0)))


def test_a_stretch_without_verdict_is_shown_to_the_voice_model_when_the_agent_begins_to_speak() -> None:
    call = Call()
    call.hear(silence(1.0) + noise(0.3), agent_audible=False)
    assert call.voice.streams == []
    call.voice_probability = 0.95
    assert kinds(call.hear(noise(0.3))) == [VoiceConfirmed]


def test_what_sounds_like_no_voice_while_the_agent_is_silent_gets_a_second_opinion() -> None:
    call = Call()
    call.voice_probability = 0.95
    events = call.hear(silence(1.0) + noise(1.5), agent_audible=False)
    assert kinds(events) == [SpeechStarted, VoiceConfirmed]


def test_endless_music_that_passed_for_a_voice_is_doubted_and_ends_the_stretch() -> None:
    call = Call()
    events = call.hear(silence(1.0) + tone(4.0), agent_audible=False)
    assert kinds(events) == [SpeechStarted, VoiceConfirmed, SpeechStopped]
    assert events[2].at == pytest.approx(events[1].at + DOUBT_S + BargeInSettings().rejected_s, abs=0.05)


def test_a_long_sentence_that_is_doubted_is_not_confirmed_twice() -> None:
    call = Call()
    call.voice_probability = 0.95
    assert kinds(call.hear(silence(1.0) + tone(5.0), agent_audible=False)) == [SpeechStarted, VoiceConfirmed]
    assert len(call.voice.streams) >= 2


def test_without_a_voice_model_nothing_is_doubted() -> None:
    call = Call(has_voice_model=False)
    assert kinds(call.hear(silence(1.0) + tone(5.0))) == [SpeechStarted, VoiceConfirmed]


SOUND = silence(0.5) + tone(0.5) + silence(0.4) + noise(0.3) + silence(0.4)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 700), max_size=60))
def test_any_media_length_gives_the_same_events(lengths: list[int]) -> None:
    whole = Call(has_voice_model=False).hear(SOUND)
    listener = Call(has_voice_model=False).listener
    events: list[AnyEvent] = []
    position = 0
    for length in [*lengths, len(SOUND)]:
        chunk = SOUND[position : position + length]
        position += len(chunk)
        events += listener.hear(chunk, position / mulaw.RATE_HZ, True)
    assert len(whole) == 5
    assert kinds(events) == kinds(whole)
    assert [event.at for event in events] == pytest.approx([event.at for event in whole])
