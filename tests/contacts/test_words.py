"""What a contact is found by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.contacts.words import (
    LONGEST_WORD,
    MOST_WORDS,
    folded,
    query_words,
    search_words,
    words_of,
    words_of_number,
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("García", "garcia"), ("STRASSE", "strasse"), ("Straße", "strasse"), ("Ñandú", "nandu"), ("ﬁne", "fine")],
)
def test_accents_and_capitals_do_not_count(text: str, plain: str) -> None:
    assert folded(text) == plain


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ana García-López", ["ana", "garcia-lopez", "garcia", "lopez"]),
        ("ana.garcia@x.example", ["ana.garcia@x.example", "ana", "garcia", "x", "example"]),
        ("O'Brien & Sons", ["o", "brien", "sons"]),
        ("C-1234_b", ["c-1234_b", "c", "1234", "b"]),
        ("Smith.", ["smith"]),
        ("... - @", []),
        ("x" * 100, ["x" * LONGEST_WORD]),
        ("", []),
    ],
)
def test_words_are_whole_and_in_parts(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("+34612345678", ["34612345678", "612345678", "345678", "5678"]),
        ("+447400123456", ["447400123456", "7400123456", "07400123456", "123456", "3456"]),
        ("+390612345678", ["390612345678", "0612345678", "345678", "5678"]),
        ("+12125550100", ["12125550100", "2125550100", "550100", "0100"]),
        ("+80012345678", ["80012345678", "12345678", "345678", "5678"]),
        ("+999123456", ["999123456", "999123456", "123456", "3456"]),
    ],
)
def test_of_a_number_its_ends_are_words_and_how_it_is_dialled_at_home(number: str, words: list[str]) -> None:
    assert words_of_number(number) == words


def test_each_word_is_kept_once_and_not_too_many() -> None:
    words = search_words(["+34612345678"], ["Ana Ana", "ana", " ".join(f"w{n}" for n in range(100))]).split(" ")

    assert words[:5] == ["34612345678", "612345678", "345678", "5678", "ana"]
    assert len(words) == len(set(words)) == MOST_WORDS


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("Gar ANA", ["gar", "ana"]),
        ("612 345 678", ["612345678"]),
        ("+34 (612) 345-678", ["34612345678"]),
        ("0034612345678", ["34612345678"]),
        ("00 7", ["7"]),
        ("ana.g", ["ana.g"]),
        ("ana ana", ["ana"]),
        ("4", ["4"]),
        ("  ", []),
        ("@ -", []),
        (" ".join("abcdefghijkl"), list("abcdefgh")),
    ],
)
def test_a_query_is_beginnings_of_words_or_the_digits_of_a_number(query: str, words: list[str]) -> None:
    assert query_words(query) == words


@given(st.text(max_size=60))
def test_whatever_a_contact_is_called_it_is_found_by_it(name: str) -> None:
    kept = search_words([], [name])

    assert "  " not in kept
    found = kept.split(" ")
    if not any(sign.isdigit() for sign in name):
        assert all(any(word.startswith(wanted) for word in found) for wanted in query_words(name) if wanted)
