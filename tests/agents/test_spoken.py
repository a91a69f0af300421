import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.agents.spoken import plain_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Yes, please!", "yes please"),
        ("That’s right.", "that's right"),
        ("At 9:30, or 11:00?", "at nine thirty or eleven o'clock"),
        ("At 9:05.", "at nine oh five"),
        ("Around 20:45", "around twenty forty five"),
        ("It is 555-0142.", "it is five five five zero one four two"),
        ("the 21 of us", "the twenty one of us"),
        ("a check-up", "a check up"),
        ("on 30", "on thirty"),
        ("I owe 75", "i owe seven five"),
        ("25:70", "twenty five seven zero"),
        (" ", ""),
        ("...", ""),
        ("0_0", "zero zero"),
    ],
)
def test_written_english_becomes_words(text: str, words: str) -> None:
    assert plain_words(text, "en") == words


def test_other_languages_keep_their_digits() -> None:
    assert plain_words("¿A las 11, el miércoles?", "es") == "a las 11 el miércoles"


@given(st.text())
def test_words_are_separated_by_single_spaces_and_stay_as_they_are(text: str) -> None:
    words = plain_words(text, "en")

    assert words == " ".join(words.split(" ")).strip()
    assert "  " not in words
    assert plain_words(words, "en") == words
