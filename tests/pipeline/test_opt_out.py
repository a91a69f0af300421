"""Whether somebody asks not to be called any more: by sentences of people, and by what sounds like them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.opt_out_sentences import ASKS_EN, ASKS_ES, SOUNDS_LIKE_IT_EN, SOUNDS_LIKE_IT_ES
from voice_agent.pipeline.opt_out import find


@pytest.mark.parametrize("sentences", [ASKS_EN, ASKS_ES], ids=["en", "es"])
def test_whoever_asks_for_it_is_understood(sentences: list[str]) -> None:
    assert len(set(sentences)) >= 60
    assert [sentence for sentence in sentences if not find(sentence)] == []


@pytest.mark.parametrize("sentences", [SOUNDS_LIKE_IT_EN, SOUNDS_LIKE_IT_ES], ids=["en", "es"])
def test_what_only_sounds_like_it_is_not(sentences: list[str]) -> None:
    assert len(set(sentences)) >= 60
    assert [sentence for sentence in sentences if find(sentence)] == []


@pytest.mark.parametrize("sentence", [*ASKS_EN, *ASKS_ES])
def test_neither_case_nor_accents_nor_a_missing_full_stop_hide_it(sentence: str) -> None:
    plain = sentence.rstrip(".?!").upper()
    assert find(plain)
    assert find(plain.translate(str.maketrans("ÁÉÍÓÚ", "AEIOU")))


def test_it_is_found_among_other_sentences_and_its_clause_is_returned() -> None:
    said = "Hello? Yes, this is Mary. I have told you already, don't call me again! Goodbye."
    assert find(said) == "do not call me again"


def test_another_way_or_another_time_in_the_next_clause_is_no_opt_out_unless_it_says_for_ever() -> None:
    assert find("Don't call me, text me instead.") == ""
    assert find("No me llamen, escríbanme.") == ""
    assert find("Don't call me again, text me instead.") != ""


@given(st.text(max_size=200))
def test_nothing_that_is_said_makes_it_fail(text: str) -> None:
    assert isinstance(find(text), str)


@pytest.mark.parametrize("text", ["", "...", "¿?", "[keypad] 9"])
def test_where_nothing_is_said_nothing_is_asked(text: str) -> None:
    assert find(text) == ""
