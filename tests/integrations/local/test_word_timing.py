import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.integrations.local.word_timing import WordTimer
from voice_agent.pipeline.ports import Word


def test_a_word_ends_where_the_next_begins() -> None:
    timer = WordTimer("Good morning. ", began_ms=100.0)

    assert timer.word_began(0, 0.0) == ()
    assert timer.word_began(5, 300.0) == (Word("Good ", 100.0, 400.0),)
    assert timer.finish(900.0) == (Word("morning. ", 400.0, 900.0),)


def test_several_beginnings_inside_one_word_count_once() -> None:
    timer = WordTimer("costs £45 now", began_ms=0.0)
    timer.word_began(0, 0.0)

    assert timer.word_began(6, 200.0) == (Word("costs ", 0.0, 200.0),)
    assert timer.word_began(7, 400.0) == ()
    assert timer.word_began(10, 900.0) == (Word("£45 ", 200.0, 900.0),)


def test_words_without_a_beginning_share_the_time_by_their_letters() -> None:
    timer = WordTimer("one of the six", began_ms=0.0)
    timer.word_began(0, 0.0)
    timer.word_began(4, 300.0)

    assert timer.word_began(11, 800.0) == (Word("of ", 300.0, 500.0), Word("the ", 500.0, 800.0))


def test_a_dash_takes_no_time() -> None:
    timer = WordTimer("yes — no", began_ms=0.0)
    timer.word_began(0, 0.0)

    assert timer.word_began(6, 300.0) == (Word("yes ", 0.0, 300.0), Word("— ", 300.0, 300.0))


def test_punctuation_alone_lasts_as_long_as_its_audio() -> None:
    assert WordTimer("…", began_ms=0.0).finish(50.0) == (Word("…", 0.0, 50.0),)


@given(text=st.text(min_size=1), starts=st.lists(st.tuples(st.integers(-1, 40), st.integers(0, 500)), max_size=10))
def test_words_give_the_text_back_in_order_whatever_is_reported(text: str, starts: list[tuple[int, int]]) -> None:
    timer = WordTimer(text, began_ms=10.0)
    at_ms = 0.0
    words: list[Word] = []
    for index, later_ms in starts:
        at_ms += later_ms
        words += timer.word_began(index, at_ms)
    words += timer.finish(at_ms + 10.0)

    assert "".join(word.text for word in words) == (text if text.strip() else "")
    assert all(word.start_ms <= word.end_ms for word in words)
    assert [word.start_ms for word in words] == pytest.approx(sorted(word.start_ms for word in words))
