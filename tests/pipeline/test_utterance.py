"""An utterance: segments, interim and final words, keys."""

from hypothesis import given
from hypothesis import strategies as st

from voice_agent.pipeline.utterance import Utterance


def test_finals_interim_words_and_keys_follow_one_another() -> None:
    words = Utterance()
    words.commit(1.0)
    words.update("I would like ")
    words.settle(" I'd like ")
    words.update("a table")
    words.keys = "42"
    assert words.text == "I'd like a table [keypad] 42"
    assert words.fingerprint == _said("i'd like A TABLE. [keypad] 42").fingerprint


def _said(text: str) -> Utterance:
    words = Utterance()
    words.update(text)
    return words


def test_an_interim_transcript_restates_and_tells_whether_anything_changed() -> None:
    words = Utterance()
    assert words.update("I would")
    assert words.update("I would like")
    assert not words.update("I would like.")
    assert words.text == "I would like."


def test_recognised_words_are_never_lost_to_an_empty_final() -> None:
    words = _said("a table for two")
    words.commit(1.0)
    words.settle("  ")
    assert words.text == "a table for two"
    assert words.pending == 0


def test_finals_beyond_the_commits_are_taken_too() -> None:
    words = Utterance()
    words.settle("one")
    words.settle("two")
    assert (words.text, words.pending) == ("one two", 0)


def test_a_new_stretch_of_speech_makes_the_commit_of_the_pause_history() -> None:
    words = Utterance()
    assert words.duration_s == 0.0
    words.begin(1.0)
    words.commit(2.2)
    words.ended_at = 2.0
    words.begin(2.5)
    assert words.committed_at is None
    assert words.pending == 1
    assert (words.began_at, words.duration_s) == (1.0, 1.0)


def test_words_taken_back_stand_before_the_new_ones() -> None:
    words = _said("for two")
    words.prepend("I would like a table")
    assert words.text == "I would like a table for two"


def test_nothing_is_a_backchannel_and_a_question_is_none() -> None:
    assert Utterance().is_backchannel("en")
    assert _said("Mhm.").is_backchannel("en")
    assert not _said("What does it cost?").is_backchannel("en")


def test_interim_words_may_yet_become_a_backchannel_and_final_ones_may_not() -> None:
    words = _said("I")
    assert words.is_backchannel("en")
    words.settle("I")
    assert not words.is_backchannel("en")


def test_keys_are_words() -> None:
    words = Utterance()
    assert not words.has_words
    words.keys = "1"
    assert words.has_words


@given(st.lists(st.text(max_size=12)))
def test_the_words_of_every_final_are_kept_in_order(finals: list[str]) -> None:
    words = Utterance()
    for final in finals:
        words.commit(0.0)
        words.settle(final)
    assert words.text == " ".join(final.strip() for final in finals if final.strip())
    assert words.pending == 0
