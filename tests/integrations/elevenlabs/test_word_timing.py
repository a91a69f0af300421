"""Character timing of chunks becomes words of a turn."""

from hypothesis import given
from hypothesis import strategies as st

from voice_agent.integrations.elevenlabs.word_timing import WordTiming
from voice_agent.pipeline.ports import Word


def evenly(text: str) -> tuple[list[str], list[float], list[float]]:
    return list(text), [60.0 * i for i in range(len(text))], [60.0] * len(text)


def test_a_word_is_known_with_its_spaces() -> None:
    timing = WordTiming()
    assert timing.add(*evenly("Hi, you "), 0.0) == (Word("Hi, ", 0, 240), Word("you ", 240, 480))
    assert timing.finish() == ()


def test_times_of_a_chunk_begin_where_its_audio_does() -> None:
    timing = WordTiming()
    timing.add(*evenly("Hi "), 0.0)
    assert timing.add(*evenly("you "), 1_000.0) == (Word("you ", 1_000, 1_240),)


def test_a_word_may_be_cut_between_chunks() -> None:
    timing = WordTiming()
    assert timing.add(*evenly("mor"), 0.0) == ()
    assert timing.add(*evenly("ning you"), 180.0) == (Word("morning ", 0, 480),)
    assert timing.finish() == (Word("you", 480, 660),)
    assert timing.finish() == ()


def test_leading_spaces_belong_to_the_first_word() -> None:
    assert WordTiming().add(*evenly(" Hi "), 0.0) == (Word(" Hi ", 0, 240),)


def test_lists_of_unequal_length_are_read_as_far_as_they_go() -> None:
    timing = WordTiming()
    timing.add(["H", "i", " "], [0.0, 60.0], [60.0], 0.0)
    assert timing.finish() == (Word("H", 0, 60),)


@given(st.lists(st.text("ab .,", max_size=8), max_size=8))
def test_nothing_is_lost_and_time_never_runs_back(chunks: list[str]) -> None:
    timing, words, offset_ms = WordTiming(), list[Word](), 0.0
    for chunk in chunks:
        words += timing.add(*evenly(chunk), offset_ms)
        offset_ms += 60.0 * len(chunk)
    words += timing.finish()
    text = "".join(chunks)
    assert "".join(word.text for word in words).strip() == text.strip()
    times = [at for word in words for at in (word.start_ms, word.end_ms)]
    assert times == sorted(times)
