"""Clause boundaries and speakable text, as tables for English and Spanish, and as properties of any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.pipeline.sentences import LONGEST_CHARS, LONGEST_WORD_CHARS, ClauseChunker, speakable


def pieces_of(text: str, language: str = "en", size: int = 1) -> list[str]:
    chunker = ClauseChunker(language)
    pieces: list[str] = []
    for start in range(0, len(text), size):
        pieces += chunker.feed(text[start : start + size])
    return [*pieces, *chunker.flush()]


FIRST_PIECES = [
    ("en", "Sure, I can help you with that.", "Sure, "),
    ("en", "Of course, let me look.", "Of course, "),
    ("en", "Then, we can look at Tuesday.", "Then, we can look at Tuesday."),
    ("en", "If you like, we can look at Tuesday.", "If you like, "),
    ("en", "Yes. We are open.", "Yes. "),
    ("en", "No. We are closed.", "No. "),
    ("en", "No. 5 is free.", "No. 5 is free."),
    ("en", "Really? That is late.", "Really? "),
    ("en", "Great! See you.", "Great! "),
    ("en", "We have two options: today or tomorrow.", "We have two options: "),
    ("en", "It is open; the other is not.", "It is open; "),
    ("en", "It is open — the other is not.", "It is open — "),
    ("en", "It is open—the other is not.", "It is open—"),
    ("en", "Let me see… yes, it is.", "Let me see… "),
    ("en", "Hours\nNine to five", "Hours\n"),
    ("en", 'He said "no." Then he left.', 'He said "no." '),
    ("en", "Wait!Really", "Wait!"),
    ("es", "Claro, ¿a qué hora?", "Claro, "),
    ("es", "Vale, le apunto.", "Vale, "),
    ("es", "Muy bien ¿a qué hora quiere?", "Muy bien "),
    ("es", "Entonces, le apunto.", "Entonces, le apunto."),
    ("es", "Sí. Abrimos a las nueve.", "Sí. "),
    ("es", "¿Cuántos son? Tengo mesa.", "¿Cuántos son? "),
    ("es", "¡Perfecto! Le espero.", "¡Perfecto! "),
    ("es", "Por supuesto, dígame.", "Por supuesto, "),
    ("fr", "Sure, I can help.", "Sure, "),
]


@pytest.mark.parametrize(("language", "text", "first"), FIRST_PIECES)
def test_the_first_piece_is_the_first_clause_that_can_stand_alone(language: str, text: str, first: str) -> None:
    assert pieces_of(text, language)[0] == first


UNCUT = [
    ("en", "It costs 1,000 dollars"),
    ("en", "It costs 3.50 today"),
    ("en", "It is $4.99 a month"),
    ("en", "Dr. Smith is in"),
    ("en", "Mr. and Mrs. Jones and Prof. Lee"),
    ("en", "Open at 9 a.m. every day"),
    ("en", "Bring a book, e.g. a novel"),
    ("en", "See www.example.com for more"),
    ("en", "Write to jane.doe@example.org please"),
    ("en", "She lives in the U.S. now"),
    ("en", "J. R. Tolkien wrote it"),
    ("en", "Room No. 5 is yours"),
    ("en", "It starts at 10:30 sharp"),
    ("en", "St. John street and Elm Ave. corner"),
    ("en", "1. Press the button"),
    ("en", "Acme Inc. is open"),
    ("en", "pens, paper, etc. are there"),
    ("es", "Son 4,99 € al mes"),
    ("es", "Son 1.000 euros"),
    ("es", "Traiga algo, p. ej. un libro"),
    ("es", "Traiga algo, p.ej. un libro"),
    ("es", "El Sr. Pérez y la Sra. Ruiz"),
    ("es", "La Dra. Gómez y D. Juan"),
    ("es", "Vive en EE.UU. ahora"),
    ("es", "A las 10:30 de la mañana"),
    ("es", "A las 9 a. m. en punto"),
    ("es", "Avda. de América núm. 5"),
    ("es", "El 5. capítulo"),
    ("es", "Escriba a ana@ejemplo.es ahora"),
]


@pytest.mark.parametrize(("language", "text"), UNCUT)
def test_a_stop_within_an_abbreviation_a_number_or_an_address_is_no_boundary(language: str, text: str) -> None:
    """The sentence is put behind a long one: from there on only sentences are cut."""
    before = "This sentence is only here to be long enough. "
    assert pieces_of(before + text, language) == [before, text]


@pytest.mark.parametrize(
    ("language", "text"), [("en", "It costs $4.99. Do you want it? "), ("es", "Son 4,99 €. ¿Lo quiere? ")]
)
def test_a_price_ends_a_sentence_all_the_same(language: str, text: str) -> None:
    assert len(pieces_of(text, language)) == 2


def test_etc_and_a_number_end_a_sentence_before_a_capital() -> None:
    assert pieces_of("You are in room 5. Breakfast is at 8. ")[0] == "You are in room 5. "
    assert pieces_of("Bring pens etc. We have paper. ")[0] == "Bring pens etc. "


def test_a_piece_is_released_with_the_white_space_that_proves_its_boundary() -> None:
    chunker = ClauseChunker("en")
    assert chunker.feed("Yes!") == ()
    assert chunker.feed(" ") == ("Yes! ",)
    assert chunker.feed("we do.") == ()
    assert chunker.flush() == ("we do.",)
    assert chunker.flush() == ()


def test_a_comma_after_letters_waits_for_nothing() -> None:
    chunker = ClauseChunker("en")
    assert chunker.feed("Of course") == ()
    assert chunker.feed(",") == ("Of course, ",)
    assert chunker.feed(" it costs 1,") == ()
    assert chunker.feed("000 euros.") == ()
    assert chunker.flush() == ("it costs 1,000 euros.",)
    assert speakable("well,then") == "well, then"


def test_after_the_first_second_and_a_half_pieces_are_whole_sentences() -> None:
    text = "Certainly, we have a table at eight, one by the window, or one outside. Which one, if any? "
    assert pieces_of(text) == [
        "Certainly, ",
        "we have a table at eight, ",
        "one by the window, or one outside. ",
        "Which one, if any? ",
    ]


def test_a_line_break_behind_an_emoji_ends_the_piece() -> None:
    assert pieces_of("Two things 😀\nOne of them") == ["Two things \n", "One of them"]


def test_white_space_behind_an_over_long_word_is_kept() -> None:
    long_word = "x" * LONGEST_WORD_CHARS
    assert pieces_of(f"{long_word} and {long_word}\nmore") == [f"{long_word} ", "and ", f"{long_word}\n", "more"]


def test_an_over_long_sentence_is_cut_at_its_last_clause_or_else_at_a_word() -> None:
    opening = "We are open every day of the week. "
    clauses = opening + "word " * 30 + "here, " + "word " * 30
    assert pieces_of(clauses)[1].endswith("here, ")
    words = pieces_of(opening + "word " * 100)
    assert len(words) > 2
    assert all(piece.endswith("word ") and len(piece) <= LONGEST_CHARS for piece in words[1:])


SPEAKABLE = [
    ("**Bold** and *italic* and __both__ and `code`", "Bold and italic and both and code"),
    ("# Opening hours\nNine to five", "Opening hours\nNine to five"),
    ("- apples\n- pears\n* plums\n• figs", "apples\npears\nplums\nfigs"),
    ("> quoted\n> twice", "quoted\ntwice"),
    ("> quoted > than", "quoted than"),
    ("```python\nprint\n```", "print\n"),
    ("See [our site](https://example.com/a?b=c) now", "See our site now"),
    ("![picture](http://x.org/y.png) here", "picture here"),
    ("Go to https://www.example.com/menu now", "Go to www.example.com/menu now"),
    ("<https://example.com> or mailto:jane@x.org", "example.com or jane@x.org"),
    ("Great 😀 news 👍🏽!", "Great news !"),
    ("Great! 😀\n- one, \n- two", "Great! one, two"),
    ("Great 😀\n- one  \n- two", "Great \none \ntwo"),
    ("| a | b |\n|---|---|\n| 1 | 2 |", "a b \n1 2 "),
    ("one\n---\ntwo", "one\ntwo"),
    ("snake_case@x.org stays", "snake_case@x.org stays"),
    ("Press *67# or 5 * 3", "Press *67# or 5 * 3"),
    ("  spaces \t and \r\n lines", "spaces and \nlines"),
    ("Sure — yes", "Sure — yes"),
    ("— Hola", "Hola"),
    ("20 °C and 5 % & more", "20 °C and 5 % & more"),
    ("zero\u200bwidth\ufeff", "zerowidth"),
    ("bell\x07 and half \ud83d a pair", "bell and half a pair"),
    ("1️⃣ First", "1 First"),
    ("a<br>b <b>c</b>", "ab c"),
    ("===== =====", ""),
    ("", ""),
    (" \n ", ""),
]


@pytest.mark.parametrize(("text", "spoken"), SPEAKABLE)
def test_what_nobody_can_say_is_left_out(text: str, spoken: str) -> None:
    assert speakable(text) == spoken


TRICKY = st.text(alphabet=st.sampled_from(list("aB1 \n.,;:!?¿¡—…*_`#-|[](){}<>/\\~😀\u200b\r\t\"'@é")), max_size=300)


@given(TRICKY | st.text(), st.lists(st.integers(1, 9), min_size=1), st.sampled_from(["en", "es"]))
def test_the_pieces_join_to_the_speakable_text_however_it_was_split(text: str, sizes: list[int], language: str) -> None:
    chunker = ClauseChunker(language)
    pieces: list[str] = []
    start = step = 0
    while start < len(text):
        end = start + sizes[step % len(sizes)]
        pieces += chunker.feed(text[start:end])
        start, step = end, step + 1
    pieces += chunker.flush()
    assert "".join(pieces) == speakable(text)
    assert all(piece.strip() for piece in pieces)
    assert pieces == pieces_of(text, language, size=max(1, len(text)))
    assert all(len(piece) <= LONGEST_CHARS + LONGEST_WORD_CHARS for piece in pieces)


@pytest.mark.parametrize("pattern", ["a", "[", "Hello, world. ", "\n- x No. "])
def test_a_hundred_thousand_characters_one_by_one_are_no_trouble(pattern: str) -> None:
    """Work that grew with the square of the length would run into the time limit of the test."""
    text = pattern * (100_000 // len(pattern))
    assert "".join(pieces_of(text)) == speakable(text)
