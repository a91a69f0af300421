import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox.providers.recordings import voice
from voice_agent.audio import mulaw
from voice_agent.sandbox.providers.phrases import Ear, PhraseBook

TABLE = voice(1, 1_000)
TABLE_TEXT = "I would like a table"
TABLE_ENDS_MS = (100, 300, 500, 600, 1_000)


@pytest.fixture
def book() -> PhraseBook:
    book = PhraseBook()
    book.add(TABLE, TABLE_TEXT, TABLE_ENDS_MS)
    return book


def heard(book: PhraseBook, audio: bytes, chunk_bytes: int = 160) -> str:
    ear = Ear(book)
    for at in range(0, len(audio), chunk_bytes):
        ear.hear(audio[at : at + chunk_bytes])
    return ear.text


def test_words_are_revealed_as_their_last_sample_arrives(book: PhraseBook) -> None:
    ear = Ear(book)
    shown = []
    for at in range(0, len(TABLE), 160):
        if ear.hear(TABLE[at : at + 160]):
            shown.append((ear.frames * 20, ear.text))
    assert shown == [
        (100, "I"),
        (300, "I would"),
        (500, "I would like"),
        (600, "I would like a"),
        (1_000, "I would like a table"),
    ]


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=20), frames_before=st.integers(0, 20))
def test_how_the_stream_is_cut_does_not_matter(sizes: list[int], frames_before: int) -> None:
    book = PhraseBook()
    book.add(TABLE, TABLE_TEXT, TABLE_ENDS_MS)
    stream = mulaw.silence(frames_before * 160) + TABLE
    ear, at, turn = Ear(book), 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        ear.hear(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert ear.text == TABLE_TEXT


def test_unknown_sound_gives_no_words(book: PhraseBook) -> None:
    assert heard(book, voice(99, 2_000)) == ""
    assert heard(book, mulaw.silence(16_000)) == ""


def test_a_phrase_said_twice_is_heard_twice(book: PhraseBook) -> None:
    assert heard(book, TABLE + mulaw.silence(800) + TABLE) == f"{TABLE_TEXT} {TABLE_TEXT}"


def test_a_phrase_that_breaks_off_gives_the_words_that_were_complete(book: PhraseBook) -> None:
    assert heard(book, TABLE[: 520 * 8] + voice(5, 400)) == "I would like"


def test_a_stream_that_begins_inside_a_phrase_gives_the_words_after_that(book: PhraseBook) -> None:
    assert heard(book, TABLE[400 * 8 :]) == "like a table"


def test_a_short_loss_costs_no_word_and_a_long_one_does(book: PhraseBook) -> None:
    assert heard(book, TABLE[: 280 * 8] + TABLE[340 * 8 :]) == TABLE_TEXT
    assert heard(book, TABLE[: 280 * 8] + TABLE[500 * 8 :]) == "I a table"


def test_a_frame_that_was_spoiled_costs_no_word(book: PhraseBook) -> None:
    assert heard(book, TABLE[: 280 * 8] + voice(7, 40) + TABLE[320 * 8 :]) == TABLE_TEXT


def test_pcm_and_back_changes_nothing(book: PhraseBook) -> None:
    assert heard(book, mulaw.encode(mulaw.decode(TABLE))) == TABLE_TEXT


def test_clips_that_begin_alike_are_told_apart_where_they_differ() -> None:
    one, two, three = voice(1, 400), voice(2, 400), voice(3, 400)
    book = PhraseBook()
    book.add(one + two, "one two", (400, 800))
    book.add(one + three, "one three", (400, 800))
    book.add(one, "one", (400,))
    assert heard(book, one + three) == "one three"
    assert heard(book, one + two) == "one two"
    assert heard(book, one) == "one"


def test_the_same_word_twice_in_one_clip() -> None:
    two = voice(2, 400)
    book = PhraseBook()
    book.add(two + two, "two two", (400, 800))
    assert heard(book, two + two) == "two two"


def test_the_same_clip_added_again_takes_the_new_text(book: PhraseBook) -> None:
    book.add(TABLE, "five new words are here", TABLE_ENDS_MS)
    assert len(book) == 1
    assert heard(book, TABLE) == "five new words are here"


def test_what_is_forgotten_is_not_heard(book: PhraseBook) -> None:
    book.clear()
    assert len(book) == 0
    assert heard(book, TABLE) == ""


def test_words_without_times_are_spread_over_the_audible_part() -> None:
    book = PhraseBook()
    book.add(mulaw.silence(1_600) + voice(1, 800) + mulaw.silence(1_600), "abcd efgh")
    ear = Ear(book)
    ear.hear(mulaw.silence(1_600) + voice(1, 380))
    assert ear.text == ""
    ear.hear(voice(1, 800)[380 * 8 :])
    assert ear.text == "abcd efgh"


def test_word_ends_must_fit_the_words(book: PhraseBook) -> None:
    with pytest.raises(ValueError, match="2 words but 1"):
        book.add(voice(8, 100), "two words", (50,))
    with pytest.raises(ValueError, match="backwards"):
        book.add(voice(8, 100), "two words", (80, 40))


def test_a_clip_that_is_no_whole_number_of_frames(book: PhraseBook) -> None:
    clip = voice(4, 333) + b"\x10\x20\x30"
    book.add(clip, "odd")
    assert heard(book, clip + mulaw.silence(-len(clip) % 160)) == "odd"


def test_taking_the_words_empties_them_and_the_rest_follows(book: PhraseBook) -> None:
    ear = Ear(book)
    ear.hear(TABLE[: 500 * 8])
    taken = ear.take()
    assert [word.text for word in taken] == ["I", "would", "like"]
    assert [(word.start_s, word.end_s) for word in taken] == [(0.0, 0.1), (0.1, 0.3), (0.3, 0.5)]
    assert not ear.hear(b"")
    assert ear.hear(TABLE[500 * 8 :])
    assert ear.text == "a table"


def test_the_last_voiced_frame_tells_speech_from_silence(book: PhraseBook) -> None:
    ear = Ear(book)
    ear.hear(mulaw.silence(320) + TABLE + mulaw.silence(320) + voice(99, 100))
    assert ear.last_voiced_frame == 2 + 50 - 1
    assert ear.frames == 2 + 50 + 2 + 5


def test_quiet_and_monotonous_frames_are_no_entrance() -> None:
    book = PhraseBook()
    hum = np.tile(np.array([3_000, -3_000], dtype="<i2"), 4_000)
    book.add(mulaw.encode(hum.tobytes()), "hum")
    assert heard(book, mulaw.encode(hum.tobytes())) == ""
