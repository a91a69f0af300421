from collections import deque

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from voice_agent.media_stream.playback import (
    MARK_OVERDUE_S,
    MAX_QUEUED_BYTES,
    MAX_RECORD_BYTES,
    RETAINED_BYTES,
    Finished,
    Heard,
    Output,
    Playback,
    PlaybackSettings,
    SendMark,
    SendMedia,
    Started,
    Stopped,
)

MS = 8
"""Bytes a millisecond."""


def speech(duration_ms: int, first: int = 0) -> bytes:
    """Audio in which every 20 ms can be told apart."""
    return b"".join(bytes([(first + frame) % 250]) * 160 for frame in range(duration_ms // 20))


def sent(outputs: tuple[Output, ...]) -> bytes:
    return b"".join(output.mulaw for output in outputs if isinstance(output, SendMedia))


def marks(outputs: tuple[Output, ...]) -> list[str]:
    return [output.name for output in outputs if isinstance(output, SendMark)]


def told(outputs: tuple[Output, ...]) -> list[Output]:
    return [output for output in outputs if isinstance(output, Started | Heard | Finished)]


# --- the way out
def test_the_first_audio_goes_out_at_once_with_a_mark_behind_it() -> None:
    playback = Playback()
    assert playback.append(1, speech(60))
    outputs = playback.due(0.0)
    assert outputs == (Started(1), SendMedia(speech(60)), SendMark("0:1:1"))


def test_a_lead_is_kept_and_no_more() -> None:
    playback = Playback()
    playback.append(1, speech(5_000))
    first = playback.due(0.0)
    assert len(sent(first)) == 480 * MS
    assert len(marks(first)) == 3
    assert playback.deadline == pytest.approx(0.08)
    assert playback.due(0.07) == ()
    assert len(sent(playback.due(0.1))) == 160 * MS
    assert sent(first) == speech(5_000)[: 480 * MS]


def test_small_pieces_wait_for_company_while_there_is_time() -> None:
    playback = Playback()
    playback.append(1, speech(300))
    playback.due(0.0)
    playback.append(1, speech(40))
    assert playback.due(0.02) == ()
    assert playback.deadline == pytest.approx(0.06)
    assert len(sent(playback.due(0.061))) == 40 * MS
    playback.append(1, speech(40))
    playback.finish(1)
    assert len(sent(playback.due(0.061))) == 40 * MS


def test_a_reply_is_over_once_its_last_mark_is_back() -> None:
    playback = Playback()
    playback.append(1, speech(200))
    playback.finish(1)
    first, last = marks(playback.due(0.0))
    assert playback.acknowledge(first, 0.2) == (Heard(1, 160.0),)
    assert playback.acknowledge(last, 0.25) == (Heard(1, 200.0), Finished(1))
    assert playback.queued_bytes == 0
    assert playback.due(1.0) == ()


def test_a_reply_that_is_finished_late_or_empty_is_over_at_once() -> None:
    playback = Playback()
    playback.append(1, speech(20))
    (mark,) = marks(playback.due(0.0))
    playback.acknowledge(mark, 0.1)
    playback.finish(1)
    playback.finish(2)
    assert playback.due(0.1) == (Finished(1), Finished(2))


def test_a_later_mark_proves_the_earlier_audio() -> None:
    playback = Playback()
    playback.append(1, speech(400))
    names = marks(playback.due(0.0))
    assert playback.acknowledge(names[2], 0.4) == (Heard(1, 400.0),)
    assert playback.acknowledge(names[0], 0.4) == ()
    assert playback.counts.stale_marks == 1


def test_replies_follow_one_another() -> None:
    playback = Playback()
    playback.append(1, speech(100))
    playback.append(2, speech(100, first=100))
    outputs = playback.due(0.0)
    assert sent(outputs) == speech(100) + speech(100, first=100)
    assert told(outputs) == [Started(1), Started(2)]


@pytest.mark.parametrize("name", ["", "x", "0:", "0:x:1", "1:1:1", "0:99:1", "0:-1:1", "0:²:1", ":::", "0:0:1"])
def test_foreign_marks_prove_nothing(name: str) -> None:
    playback = Playback()
    playback.append(1, speech(100))
    playback.due(0.0)
    assert playback.acknowledge(name, 0.1) == ()
    assert playback.counts.stale_marks == 1


# --- what was heard
def test_between_marks_the_clock_says_what_was_heard_but_never_past_a_mark_that_is_not_back() -> None:
    playback = Playback()
    playback.append(1, speech(1_000))
    names = marks(playback.due(0.0))
    assert playback.heard_ms(1, 0.05) == 50.0
    assert playback.heard_ms(1, 0.5) == 160.0
    playback.acknowledge(names[0], 0.2)
    assert playback.heard_ms(1, 0.25) == 210.0
    assert playback.heard_ms(1, 9.0) == 320.0
    assert playback.heard_ms(2, 9.0) == 0.0


def test_a_finished_reply_was_heard_to_its_end() -> None:
    playback = Playback()
    playback.append(1, speech(60))
    playback.finish(1)
    (mark,) = marks(playback.due(0.0))
    playback.acknowledge(mark, 0.1)
    assert playback.heard_ms(1, 0.2) == 60.0
    assert playback.stop(1, 0.2) == Stopped(1, 60.0, 0.0, must_clear=False)


# --- F35: no marks, wrong marks
def test_f35_a_mark_that_is_back_before_its_audio_can_have_been_played_proves_nothing() -> None:
    playback = Playback()
    playback.append(1, speech(480))
    playback.finish(1)
    names = marks(playback.due(0.0))
    for name in names[1:]:
        assert playback.acknowledge(name, 0.01) == ()
    assert playback.heard_ms(1, 0.1) == 100.0
    assert playback.acknowledge(names[0], 0.16) == (Heard(1, 160.0),)
    assert playback.due(0.48 + MARK_OVERDUE_S) == (Heard(1, 480.0), Finished(1))


def test_f35_without_marks_the_byte_clock_is_believed() -> None:
    playback = Playback()
    playback.append(1, speech(200))
    playback.finish(1)
    playback.due(0.0)
    assert playback.due(0.15 + MARK_OVERDUE_S) == ()
    assert playback.deadline == 0.16 + MARK_OVERDUE_S
    assert playback.due(0.17 + MARK_OVERDUE_S) == (Heard(1, 200.0), Finished(1))
    assert playback.counts.marks_lost == 1


def test_f35_the_next_reply_does_not_wait_for_marks_again_until_one_comes() -> None:
    playback = Playback()
    playback.append(1, speech(100))
    playback.due(0.0)
    playback.due(5.0)
    playback.append(2, speech(100))
    playback.finish(2)
    (mark,) = marks(playback.due(5.0))
    assert playback.due(5.2) == (Heard(2, 100.0), Finished(2))
    playback.acknowledge(mark, 5.3)
    playback.append(3, speech(100))
    playback.due(5.3)
    assert playback.due(5.5) == ()


def test_f35_without_marks_a_stop_still_clears_what_twilio_may_hold() -> None:
    playback = Playback()
    playback.append(1, speech(100))
    playback.due(0.0)
    playback.due(5.0)
    assert playback.stop(1, 5.0) == Stopped(1, 100.0, 0.0, must_clear=True)


# --- stop, resume, discard
def test_stop_tells_what_was_heard_and_keeps_the_rest() -> None:
    playback = Playback()
    playback.append(1, speech(1_000))
    names = marks(playback.due(0.0))
    playback.acknowledge(names[0], 0.16)
    assert playback.stop(1, 0.2) == Stopped(1, 200.0, 800.0, must_clear=True)
    assert playback.due(0.2) == ()
    assert playback.append(1, speech(200))
    assert playback.due(0.3) == ()


def test_marks_that_a_clear_returned_prove_nothing() -> None:
    playback = Playback()
    playback.append(1, speech(400))
    names = marks(playback.due(0.0))
    playback.stop(1, 0.1)
    for name in names:
        assert playback.acknowledge(name, 0.15) == ()
    assert playback.counts.stale_marks == len(names)
    playback.resume(1, 100.0)
    playback.due(0.2)
    for name in names:
        assert playback.acknowledge(name, 0.25) == ()
    assert playback.heard_ms(1, 0.2) == 100.0


def test_resume_goes_on_from_the_word_and_heard_never_falls() -> None:
    playback = Playback()
    audio = speech(1_000)
    playback.append(1, audio)
    playback.finish(1)
    names = marks(playback.due(0.0))
    playback.acknowledge(names[0], 0.16)
    playback.stop(1, 0.2)
    playback.resume(1, 120.0)
    outputs = playback.due(0.5)
    assert sent(outputs) == audio[120 * MS :][: 480 * MS]
    assert told(outputs) == []
    assert playback.heard_ms(1, 0.5) == 200.0
    assert playback.acknowledge(marks(outputs)[0], 0.7) == (Heard(1, 280.0),)


def test_resume_cannot_skip_and_ignores_turns_that_were_not_stopped() -> None:
    playback = Playback()
    playback.append(1, speech(100))
    playback.resume(1, 50.0)
    playback.resume(7, 0.0)
    playback.stop(1, 0.0)
    playback.resume(1, 90.0)
    assert sent(playback.due(0.0)) == speech(100)


def test_a_turn_stopped_before_it_began_begins_when_resumed() -> None:
    playback = Playback()
    playback.append(1, speech(100))
    assert playback.stop(1, 0.0) == Stopped(1, 0.0, 100.0, must_clear=False)
    assert playback.due(0.1) == ()
    playback.resume(1, 0.0)
    assert told(playback.due(0.2)) == [Started(1)]


def test_stopping_a_turn_without_audio_holds_what_comes_of_it() -> None:
    playback = Playback()
    assert playback.stop(4, 0.0) == Stopped(4, 0.0, 0.0, must_clear=False)
    playback.append(4, speech(100))
    assert playback.due(0.1) == ()


def test_stopping_a_turn_that_waits_leaves_the_one_that_plays() -> None:
    playback = Playback()
    playback.append(1, speech(600))
    playback.due(0.0)
    playback.append(2, speech(100))
    assert not playback.stop(2, 0.1).must_clear


def test_a_clear_for_one_turn_queues_the_unheard_rest_of_another_again() -> None:
    playback = Playback()
    playback.append(1, speech(200))
    playback.finish(1)
    playback.append(2, speech(100, first=100))
    names = marks(playback.due(0.0))
    playback.acknowledge(names[0], 0.16)
    assert playback.stop(2, 0.18) == Stopped(2, 0.0, 100.0, must_clear=True)
    again = playback.due(0.18)
    assert sent(again) == speech(200)[180 * MS :]
    assert playback.acknowledge(marks(again)[0], 0.25) == (Heard(1, 200.0), Finished(1))


def test_discard_forgets_a_turn() -> None:
    playback = Playback()
    playback.append(1, speech(1_000))
    assert playback.discard(1, 0.0) is False
    playback.append(2, speech(1_000))
    playback.due(0.0)
    assert playback.discard(2, 0.1) is True
    assert playback.discard(2, 0.1) is False
    assert playback.queued_bytes == 0
    assert playback.queued_bytes == 0


# --- limits
def test_heard_audio_is_forgotten_but_for_what_a_resume_can_need() -> None:
    playback = Playback(PlaybackSettings(lead_ms=1.0))
    playback.append(1, speech(20_000))
    now = 0.0
    for _ in range(100):
        (mark,) = marks(playback.due(now))
        now += 0.2
        playback.acknowledge(mark, now)
    reply = playback._replies[1]
    assert reply.heard == 16_000 * MS
    assert len(reply.audio) == 4_000 * MS + RETAINED_BYTES
    playback.stop(1, now)
    playback.resume(1, 0.0)
    assert sent(playback.due(now))[:160] == speech(20_000)[14_000 * MS :][:160]


def test_f16_more_than_a_megabyte_is_refused() -> None:
    playback = Playback()
    assert playback.append(1, bytes(MAX_QUEUED_BYTES))
    assert not playback.append(1, b"x")
    assert playback.counts.refused_bytes == 1
    assert playback.queued_bytes == MAX_QUEUED_BYTES


def test_a_hole_inside_a_reply_is_an_underrun_and_one_between_replies_is_not() -> None:
    playback = Playback()
    playback.append(1, speech(100))
    playback.due(0.0)
    playback.append(1, speech(100))
    playback.due(0.25)
    playback.append(2, speech(100))
    playback.due(5.0)
    assert playback.counts.underruns == 1
    assert playback.counts.underrun_ms == pytest.approx(150.0)


def test_a_stop_and_its_pause_are_no_underrun() -> None:
    playback = Playback()
    playback.append(1, speech(400))
    playback.due(0.0)
    playback.stop(1, 0.1)
    playback.resume(1, 0.0)
    playback.due(2.0)
    assert playback.counts.underruns == 0


# --- the record
def test_the_record_has_silence_where_nothing_was_played() -> None:
    playback = Playback()
    assert playback.take_played(0.05) == b"\xff" * 400
    playback.append(1, speech(60))
    playback.due(0.1)
    assert playback.take_played(0.12) == b"\xff" * 400 + speech(60)[:160]
    assert playback.take_played(0.2) == speech(60)[160:] + b"\xff" * 320
    assert playback.take_played(0.1) == b""


def test_the_record_is_cut_where_the_sound_was() -> None:
    playback = Playback()
    playback.append(1, speech(480))
    playback.due(0.0)
    playback.stop(1, 0.25)
    playback.append(2, speech(100, first=100))
    playback.due(0.5)
    assert playback.take_played(0.6) == speech(480)[:2_000] + b"\xff" * 2_000 + speech(100, first=100)


def test_the_record_of_what_nobody_takes_is_bounded_and_its_loss_is_silence() -> None:
    playback = Playback()
    now = 0.0
    for turn in range(200):
        playback.append(turn, speech(160))
        playback.due(now)
        now += 0.16
    assert playback._record._kept_bytes <= MAX_RECORD_BYTES
    taken = playback.take_played(now)
    assert len(taken) == round(now * 8_000)
    assert taken.startswith(b"\xff" * 160)
    assert taken.endswith(speech(160))


def test_without_a_recorder_nothing_is_kept_for_it() -> None:
    playback = Playback(PlaybackSettings(is_recorded=False))
    playback.append(1, speech(160))
    playback.due(0.0)
    assert playback.take_played(0.02) == b"\xff" * 160


# --- properties
class TwilioAndUs(RuleBasedStateMachine):
    """Random use of a call's playback against a model of Twilio's buffer: one queue, drained in real time."""

    @initialize(has_marks=st.booleans())
    def begin(self, *, has_marks: bool) -> None:
        self.playback = Playback()
        self.has_marks = has_marks
        self.now = 0.0
        self.buffer: deque[tuple[int, int, str]] = deque()
        """Position in the reply's audio, bytes left, mark behind."""
        self.drained_until = 0.0
        self.turn = 0
        self.audio = b""
        self.ear = bytearray()
        self.is_held = False
        self.heard = 0.0

    @rule(length=st.integers(1, 400))
    def speak(self, length: int) -> None:
        more = bytes((len(self.audio) + index) // 8 % 251 for index in range(length * MS))
        self.audio += more
        assert self.playback.append(self.turn, more)
        self.write()

    @rule(pause_ms=st.integers(1, 300))
    def wait(self, pause_ms: int) -> None:
        self.now += pause_ms / 1_000
        self.drain()
        self.write()

    @precondition(lambda self: not self.is_held)
    @rule()
    def interrupt(self) -> None:
        self.drain()
        before = self.playback.heard_ms(self.turn, self.now)
        stopped = self.playback.stop(self.turn, self.now)
        assert stopped.heard_ms >= before
        assert stopped.heard_ms + stopped.remaining_ms == len(self.audio) / MS
        if stopped.must_clear:
            cleared, self.buffer = self.buffer, deque()
            for _, _, mark in cleared:
                assert self.playback.acknowledge(mark, self.now) == ()
        assert not self.buffer
        self.is_held = True
        self.heard = stopped.heard_ms

    @precondition(lambda self: self.is_held)
    @rule(back_ms=st.integers(0, 500))
    def go_on(self, back_ms: int) -> None:
        """The next audio out is that of the word, to the byte."""
        start = max(0, round(self.heard) - back_ms)
        self.playback.resume(self.turn, start)
        self.is_held = False
        outputs = self.playback.due(self.now)
        assert sent(outputs) == self.audio[start * MS :][: len(sent(outputs))]
        self.keep(outputs, start * MS)

    @precondition(lambda self: self.is_held)
    @rule()
    def answer_anew(self) -> None:
        self.playback.discard(self.turn, self.now)
        self.turn += 1
        self.audio, self.is_held, self.heard = b"", False, 0.0

    @invariant()
    def heard_never_falls_and_never_exceeds_what_was_sent(self) -> None:
        if not hasattr(self, "playback"):
            return
        heard = self.playback.heard_ms(self.turn, self.now)
        assert heard >= self.heard
        assert heard <= self.playback.counts.sent_bytes / MS
        assert heard <= len(self.audio) / MS
        self.heard = heard

    @invariant()
    def the_record_is_as_long_as_the_call(self) -> None:
        if hasattr(self, "playback"):
            self.ear += self.playback.take_played(self.now)
            assert len(self.ear) == round(self.now * 8_000)

    def write(self) -> None:
        self.keep(self.playback.due(self.now), None)

    def keep(self, outputs: tuple[Output, ...], position: int | None) -> None:
        length = 0
        for output in outputs:
            if isinstance(output, SendMedia):
                if not self.buffer:
                    self.drained_until = self.now
                length = len(output.mulaw)
            elif isinstance(output, SendMark):
                self.buffer.append((position or 0, length, output.name))

    def drain(self) -> None:
        while self.buffer and self.drained_until + self.buffer[0][1] / 8_000 <= self.now:
            _, length, mark = self.buffer.popleft()
            self.drained_until += length / 8_000
            if self.has_marks:
                self.playback.acknowledge(mark, self.now)


TestTwilioAndUs = TwilioAndUs.TestCase
TestTwilioAndUs.settings = hypothesis_settings(max_examples=60, stateful_step_count=30)
