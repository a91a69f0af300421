import msgspec

from voice_agent.agents.files import LIBRARY, load_dialogue
from voice_agent.integrations.local.grammar import BACKCHANNELS, Grammar, from_dialogue

DIALOGUE = load_dialogue(LIBRARY / "harbour_dental.dialogue.yaml")
GRAMMAR = from_dialogue(DIALOGUE)


def test_what_callers_say_is_in_the_grammar() -> None:
    for said in (
        "hello i would like to book an appointment please",
        "on tuesday please",
        "at half past nine please",
        "my number is five five five zero one two three",
        "no that's all thank you",
        *BACKCHANNELS,
    ):
        assert GRAMMAR.automaton.accepts(said), said


def test_what_is_only_understood_is_not() -> None:
    assert not GRAMMAR.automaton.accepts("appointment")


def test_digits_are_marked_as_words_that_repeat() -> None:
    assert {"zero", "nine"} <= set(GRAMMAR.repeated_words)
    assert "monday" not in GRAMMAR.repeated_words


def test_the_dialogues_own_pronunciations_are_kept() -> None:
    assert ("toothache", "T UW TH EY K") in GRAMMAR.pronunciations
    assert "toothache" in GRAMMAR.words()


def test_it_travels_to_the_worker() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(GRAMMAR), type=Grammar) == GRAMMAR


def test_it_is_small_enough_to_be_searched_in_real_time() -> None:
    assert len(GRAMMAR.automaton.transitions) < 1_000
