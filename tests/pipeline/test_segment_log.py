"""What is kept of the caller's words until a final transcript has answered them."""

from hypothesis import given
from hypothesis import strategies as st

from voice_agent.pipeline.segment_log import KEPT_BYTES, SegmentLog


def test_replay_says_again_what_had_no_answer() -> None:
    log = SegmentLog()
    log.add(b"one")
    log.commit(1.0)
    log.add(b"two")
    log.commit(2.0)
    log.add(b"three")
    log.answer("one")
    assert list(log.take_finals()) == ["one"]
    assert list(log.replay()) == [b"two", None, b"three"]
    assert log.oldest_commit_at == 2.0


def test_ten_seconds_of_a_segment_are_kept() -> None:
    log = SegmentLog()
    log.add(b"x" * 160)
    log.add(b"y" * KEPT_BYTES)
    assert list(log.replay()) == [b"y" * KEPT_BYTES]


def test_a_commit_without_audio_is_answered_in_its_turn() -> None:
    log = SegmentLog()
    log.add(b"one")
    log.commit(1.0)
    assert not log.has_audio
    log.commit(2.0, answer="")
    assert list(log.take_finals()) == []
    log.answer("one")
    assert list(log.take_finals()) == ["one", ""]
    assert log.oldest_commit_at is None


def test_interims_are_joined_over_segments_until_their_final() -> None:
    log = SegmentLog()
    log.add(b"one")
    log.commit(1.0)
    assert log.update("I would", "a") == "I would"
    assert log.update(" like", "a", is_delta=True) == "I would like"
    assert log.update("At seven", "b") == "I would like At seven"
    assert log.has_interim
    log.answer("I would like tea.", "a")
    assert list(log.take_finals()) == ["I would like tea."]
    assert log.update("At seven o'clock", "b") == "At seven o'clock"


def test_answers_that_overtake_wait_for_the_older_one() -> None:
    log = SegmentLog()
    for item in ("a", "b"):
        log.add(b"audio")
        log.commit(1.0)
        log.claim(item)
    log.answer("second", "b")
    assert list(log.take_finals()) == []
    assert list(log.replay()) == [b"audio", None]
    log.answer("first", "a")
    assert list(log.take_finals()) == ["first", "second"]


def test_a_provider_may_close_a_segment_by_itself() -> None:
    log = SegmentLog()
    log.add(b"a long speech")
    log.answer("A long speech")
    assert list(log.take_finals()) == ["A long speech"]
    assert list(log.replay()) == []


def test_late_and_unknown_answers_change_nothing() -> None:
    log = SegmentLog()
    log.add(b"one")
    log.commit(1.0)
    log.claim("a")
    log.add(b"two")
    log.commit(2.0)
    log.claim("b")
    log.answer("second", "b")
    log.answer("again", "b")
    assert log.update("again", "b") == "second"
    log.claim("c")
    log.answer("nobody's", "d")
    log.answer("first", "a")
    assert list(log.take_finals()) == ["first", "second"]


def test_nothing_heard_answers_the_oldest_commit_without_an_item() -> None:
    log = SegmentLog()
    log.add(b"one")
    log.commit(1.0)
    log.claim("a")
    log.answer_unclaimed()
    assert list(log.take_finals()) == []
    log.add(b"two")
    log.commit(2.0)
    log.answer_unclaimed()
    log.answer("one", "a")
    assert list(log.take_finals()) == ["one", ""]


def test_a_new_connection_knows_no_items() -> None:
    log = SegmentLog()
    log.add(b"one")
    log.commit(1.0)
    log.update("on", "a")
    log.restart()
    assert not log.has_interim
    log.answer("one", "z")
    assert list(log.take_finals()) == ["one"]


def test_an_answer_that_overtook_an_older_one_outlives_the_connection() -> None:
    log = SegmentLog()
    for number, item_id in enumerate("ab"):
        log.add(b"x")
        log.commit(float(number))
        log.claim(item_id)
    log.answer("two", "b")
    log.restart()
    log.answer("one", "z")
    assert list(log.take_finals()) == ["one", "two"]


@given(st.lists(st.sampled_from(["add", "commit", "answer", "restart"]), max_size=60))
def test_every_commit_has_one_answer_in_order(steps: list[str]) -> None:
    log = SegmentLog()
    committed, open_audio, waiting = 0, False, 0
    answered: list[str] = []
    for step in steps:
        if step == "add":
            log.add(b"x")
            open_audio = True
        elif step == "commit" and open_audio:
            log.commit(float(committed))
            committed, waiting, open_audio = committed + 1, waiting + 1, False
        elif step == "answer" and waiting:
            log.answer(str(len(answered)))
            waiting -= 1
            answered += list(log.take_finals())
        elif step == "restart":
            log.restart()
        assert sum(kept is None for kept in log.replay()) == waiting
    assert answered == [str(number) for number in range(committed - waiting)]
