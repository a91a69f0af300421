"""How an utterance ends, as tables for English and Spanish; waits and backchannels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.pipeline.endpointing import (
    PROFILES,
    Ending,
    EndpointingSettings,
    ending_of,
    endpoint_wait_s,
    has_words,
    is_backchannel,
    is_salutation,
    normalised,
)

ENDINGS = {
    ("en", Ending.FINISHED): [
        "I'd like to book a table.",
        "Where are you from?",
        "Is that the one I asked for?",
        "yes",
        "No.",
        "no, thanks",
        "that's right",
        "Yes, please.",
        "My name is Jane.",
        "Jane Smith",
        "That's what I'm looking for.",
        "I think so.",
        "At 5 p.m.",
        "The year 2025.",
        "I live in the U.S.",
        "Great!",
    ],
    ("es", Ending.FINISHED): [
        "Quiero reservar una mesa.",
        "¿A qué hora?",
        "sí",
        "Sí, claro.",
        "no, gracias",
        "eso es todo",
        "Ana García",
        "A la una.",
        "A las 5 p. m.",
        "¡Perfecto!",
    ],
    ("en", Ending.NEUTRAL): [
        "we are a party of four",
        "at 10:30",
        "at two thirty",
        "for 4 people",
        "it costs $4,500",
        "it is 3.50",
        "the year 2025",
        "thirty five",
        "Monday",
        "tomorrow evening maybe around the corner",
    ],
    ("es", Ending.NEUTRAL): [
        "somos cuatro personas",
        "a las cinco",
        "a las 10:30",
        "treinta y cinco",
        "mañana por la tarde",
    ],
    ("en", Ending.UNFINISHED): [
        "and",
        "I want to book a table and.",
        "um",
        "I would like a table for",
        "I want to",
        "My name is",
        "My name is.",
        "Let me see.",
        "hold on",
        "I was thinking,",
        "ok then...",
        "well, it is —",
        "because",
        "yes,",
        "the",
    ],
    ("es", Ending.UNFINISHED): [
        "y",
        "quiero una mesa para",
        "pero",
        "eh",
        "me llamo",
        "Me llamo.",
        "quisiera",
        "un momento",
        "a ver",
        "quiero cambiar mi",
        "es que",
        "pues…",
        "sí,",
    ],
    ("en", Ending.DICTATING): [
        "It's five five five",
        "five five",
        "555 12",
        "5 5 5 1",
        "555-1234",
        "my number is six one",
        "my account number is 12, 34,",
        "fifty-five twenty-three",
        "my email is jane",
        "my email is jane at",
        "jane at gmail dot",
        "jane@",
        "jane@gmail",
        "J A N E",
        "It's spelled J-A-N",
        "a b 3 4",
    ],
    ("es", Ending.DICTATING): [
        "Mi teléfono es 612",
        "seis uno dos",
        "seis doce treinta y cuatro",
        "ana arroba",
        "ana arroba gmail punto",
        "mi correo es ana",
        "Se escribe G A R",
    ],
    ("en", Ending.DICTATED): [
        "555-123-4567.",
        "(555) 123 4567",
        "5 5 5 1 2 3 4 5 6 7",
        "it is 4111 1111 1111 1111",
        "zip code 90210",
        "My extension is 305.",
        "jane@x.org",
        "jane.doe@mail.example.org.",
        "my email is jane at gmail dot com",
    ],
    ("es", Ending.DICTATED): [
        "Mi teléfono es 612 34 56 78.",
        "seis uno dos tres cuatro cinco seis siete ocho",
        "seis doce treinta y cuatro cincuenta y seis setenta y ocho",
        "ana@ejemplo.es",
        "ana arroba gmail punto com",
    ],
    ("en", Ending.WORDLESS): ["", "...", "(coughs)", "[music] -"],
}


@pytest.mark.parametrize(
    ("language", "text", "ending"),
    [(language, text, ending) for (language, ending), texts in ENDINGS.items() for text in texts],
)
def test_the_last_words_tell_how_an_utterance_ends(language: str, text: str, ending: Ending) -> None:
    assert ending_of(text, language) is ending


def test_an_unknown_language_is_taken_for_english() -> None:
    assert ending_of("and", "fr") is Ending.UNFINISHED


def test_each_ending_has_its_wait() -> None:
    settings = PROFILES["normal"]
    waits = [
        endpoint_wait_s(text, "en", settings, is_final=True)
        for text in ("yes", "at noon we", "", "555-123-4567", "five five five", "and", "at four people")
    ]
    assert waits == [0.2, 1.2, 0.45, 0.6, 1.0, 1.2, 0.45]


def test_an_interim_transcript_is_waited_for_a_little_longer() -> None:
    settings = PROFILES["normal"]
    final_s = endpoint_wait_s("yes", "en", settings, is_final=True)
    assert endpoint_wait_s("yes", "en", settings, is_final=False) == pytest.approx(final_s + settings.interim_s)


@pytest.mark.parametrize("text", ["yes", "we are four", "and", "five five five", "555-123-4567"])
def test_the_patient_profile_waits_longest_and_the_quick_one_shortest(text: str) -> None:
    waits = [endpoint_wait_s(text, "en", PROFILES[name], is_final=True) for name in ("quick", "normal", "patient")]
    assert waits == sorted(waits)


@given(
    st.text() | st.text(alphabet="abyY019 .,?-@"),
    st.sampled_from(["en", "es"]),
    st.booleans(),
    st.floats(0, 100),
    st.floats(0, 100),
)
def test_a_wait_is_bounded_whatever_is_said_and_set(
    text: str, language: str, is_final: bool, unfinished_s: float, finished_s: float
) -> None:
    settings = EndpointingSettings(unfinished_s=unfinished_s, finished_s=finished_s)
    wait_s = endpoint_wait_s(text, language, settings, is_final=is_final)
    assert settings.shortest_s <= wait_s <= settings.longest_s


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "mhm"), ("en", "Mm-hmm."), ("en", "Uh-huh."), ("en", "uh huh"), ("en", "Okay."), ("en", "OK, right."),
        ("en", "yeah"), ("en", "Yeah, yeah, I see."), ("en", "got it"), ("en", "Oh, okay, that makes sense."),
        ("en", "Sure"),
        ("es", "ajá"), ("es", "Sí."), ("es", "sí, sí, claro"), ("es", "vale"), ("es", "Ya, ya veo."), ("es", "mhm"),
        ("es", "De acuerdo, perfecto."), ("es", "claro que sí"),
    ],
)  # fmt: skip
def test_a_backchannel_says_only_go_on(language: str, text: str) -> None:
    assert is_backchannel(text, language)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", ""), ("en", "(coughs)"), ("en", "no"), ("en", "no, no"), ("en", "okay no"), ("en", "okay?"),
        ("en", "right now"),
        ("en", "yes please"), ("en", "stop"), ("en", "I see a problem"), ("en", "yeah but"), ("en", "ajá"),
        ("es", "no"), ("es", "sí pero"), ("es", "ya no"), ("es", "claro que"), ("es", "espera"), ("es", "¿sí?"),
    ],
)  # fmt: skip
def test_what_says_more_is_no_backchannel(language: str, text: str) -> None:
    assert not is_backchannel(text, language)


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "I", True), ("en", "uh", True), ("en", "okay, that makes", True), ("en", "yeah", True),
        ("en", "I want", False), ("en", "no", False), ("en", "uh no", False), ("en", "", False), ("en", "I?", False),
        ("es", "muy", True), ("es", "sí, claro que", True), ("es", "muy caro", False), ("es", "por qué", False),
    ],
)  # fmt: skip
def test_the_end_of_an_interim_transcript_may_yet_become_a_backchannel(
    language: str, text: str, expected: bool
) -> None:
    assert is_backchannel(text, language, is_interim=True) is expected


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "Hello?", True), ("en", "hello, hello", True), ("fr", "Yes? Hello?", True), ("en", "", False),
        ("en", "Hello, who is this?", False), ("es", "¿Sí, dígame?", True), ("es", "buenos días", True),
        ("es", "diga quién es", False),
    ],
)  # fmt: skip
def test_a_salutation_is_what_people_say_who_pick_up(language: str, text: str, expected: bool) -> None:
    assert is_salutation(text, language) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("hello", True), ("5", True), ("¡sí!", True), ("", False), ("... -", False), ("(laughs) [noise]", False)],
)
def test_notes_of_sounds_and_punctuation_are_no_words(text: str, expected: bool) -> None:
    assert has_words(text) is expected


def test_normalised_text_is_the_words_alone() -> None:
    assert normalised("  Sí,  ¿QUÉ   hora?\n") == "sí qué hora"
    assert normalised("I’d like 2-3 (laughs) of it's") == "i'd like 2 3 of it's"
    assert normalised("cafe\u0301") == "café"
    assert normalised("cafe") != normalised("café")


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert bool(once) == has_words(text)
