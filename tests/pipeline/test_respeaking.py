"""What is left to say of a reply whose synthesiser died."""

from hypothesis import given
from hypothesis import strategies as st

from voice_agent.pipeline.ports import Word
from voice_agent.pipeline.respeaking import SLOWEST_CHAR_MS, is_outstanding, undelivered

TEXT = "Good morning, how can I help? "
WORDS = [Word("Good ", 0, 300), Word("morning, ", 300, 900), Word("how ", 900, 1_200)]


def test_words_within_the_audio_are_not_said_again() -> None:
    assert undelivered(TEXT, WORDS, 1_200) == "can I help? "


def test_a_word_that_was_cut_is_said_again() -> None:
    assert undelivered(TEXT, WORDS, 1_000) == "how can I help? "


def test_rounding_does_not_repeat_a_word() -> None:
    assert undelivered(TEXT, WORDS, 1_180) == "can I help? "


def test_without_timing_it_repeats_rather_than_skips() -> None:
    assert undelivered(TEXT, [], 0) == TEXT
    assert undelivered(TEXT, [], 10 * SLOWEST_CHAR_MS) == "morning, how can I help? "
    assert undelivered(TEXT, [], 1_000 * SLOWEST_CHAR_MS) == ""


def test_outstanding_until_the_last_word_but_one() -> None:
    assert is_outstanding(TEXT, [], 0)
    assert is_outstanding(TEXT, WORDS, 1_200)
    timed = [*WORDS, Word("can ", 1_200, 1_300), Word("I ", 1_300, 1_400)]
    assert not is_outstanding(TEXT, timed, 1_700)
    assert not is_outstanding("", [], 0)


def test_without_timing_too_little_audio_is_outstanding() -> None:
    assert is_outstanding(TEXT, [], 1_000)
    assert not is_outstanding(TEXT, [], 1_500)


@given(st.lists(st.text("abc.,", min_size=1, max_size=6), max_size=12), st.integers(0, 12))
def test_said_and_left_make_the_text(tokens: list[str], said: int) -> None:
    text = "".join(f"{token} " for token in tokens)
    words = [Word(f"{token} ", i * 100.0, i * 100.0 + 100) for i, token in enumerate(tokens)]
    left = undelivered(text, words, said * 100.0)
    assert "".join(word.text for word in words[:said]) + left == text or (said == 0 and left == text)
