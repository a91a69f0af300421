import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.agents.phrases import (
    Choice,
    Phrase,
    PhraseError,
    Sequence,
    Slot,
    Word,
    parse,
    slots,
    to_jsgf,
    to_regex,
    words,
)

WORDS = st.sampled_from(["yes", "i'd", "no", "please"])


def phrases() -> st.SearchStrategy[Phrase]:
    leaves: st.SearchStrategy[Phrase] = st.builds(Word, WORDS) | st.just(Slot("day"))
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(Sequence, st.lists(inner, min_size=2, max_size=3).map(tuple))
            | st.builds(Choice, st.lists(inner, min_size=1, max_size=3).map(tuple), st.booleans())
        ),
        max_leaves=8,
    )


def test_a_pattern_is_read() -> None:
    assert parse("[on] <day> (please | thanks)") == Sequence(
        (
            Choice((Word("on"),), is_optional=True),
            Slot("day"),
            Choice((Word("please"), Word("thanks"))),
        )
    )


def test_alternatives_need_no_brackets_on_the_outside() -> None:
    assert parse("yes | no thanks") == Choice((Word("yes"), Sequence((Word("no"), Word("thanks")))))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "nothing to say"),
        ("yes [please", r"'\[' is not closed"),
        ("yes (please]", r"'\(' is not closed"),
        ("yes please)", r"'\)' closes nothing"),
        ("yes | ", "nothing to say"),
        ("call 112", r"expected a word.*after 'call'"),
    ],
)
def test_a_broken_pattern_is_told_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(PhraseError, match=problem):
        parse(text)


def test_words_and_slots_are_told_apart() -> None:
    phrase = parse("[on] (<day> | the <date>) please")

    assert list(words(phrase)) == ["on", "the", "please"]
    assert list(slots(phrase)) == ["day", "date"]


def test_the_expression_finds_slots() -> None:
    expression = to_regex(parse("[on] <day> (please | thanks)"), {"day": "(?:monday |friday )"})

    found = re.search(expression, "well friday thanks ")

    assert found is not None
    assert found["day"] == "friday "
    assert re.search(expression, "on friday ") is None


@given(phrases())
def test_what_is_written_as_jsgf_is_read_as_the_same_language(phrase: Phrase) -> None:
    again = parse(to_jsgf(phrase))

    assert list(words(again)) == list(words(phrase))
    assert to_jsgf(parse(to_jsgf(again))) == to_jsgf(again)
