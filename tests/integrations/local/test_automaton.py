import re

from hypothesis import given
from hypothesis import strategies as st

from voice_agent.agents.phrases import Phrase, parse, to_regex
from voice_agent.integrations.local.automaton import Automaton, minimal

DAY = {"day": parse("monday | friday morning")}
DIGITS = {"digit": parse("one | two")}


def automaton(*texts: str) -> Automaton:
    return minimal(map(parse, texts), DAY | DIGITS, {"digit": 3})


def test_optional_parts_and_alternatives_are_accepted() -> None:
    accepts = automaton("[on] <day> (please | thanks)", "yes").accepts

    assert accepts("on monday please")
    assert accepts("friday morning thanks")
    assert accepts("yes")
    assert not accepts("on monday")
    assert not accepts("friday please")
    assert not accepts("yes please")
    assert not accepts("")


def test_a_repeated_slot_comes_so_many_times_or_more() -> None:
    accepts = automaton("[it's] <digit>").accepts

    assert not accepts("it's one two")
    assert accepts("it's one two one")
    assert accepts("two two two two two two two")
    assert not accepts("one two it's")


def test_one_word_leads_to_one_state_and_equal_states_are_merged() -> None:
    shared = automaton("good morning", "good evening", "hello good evening")

    assert len({(state, word) for state, _, word in shared.transitions}) == len(shared.transitions)
    # good (morning | evening) is three of them, hello good evening the other three.
    assert len(shared.transitions) == 6
    assert len(shared.accepting) == 1


def test_a_pattern_that_may_be_left_out_as_a_whole_is_accepted_as_silence() -> None:
    assert automaton("[please]").accepts("")


WORDS = ["on", "please", "monday", "friday", "morning", "no"]
PATTERNS = st.lists(
    st.sampled_from(["[on] <day> [please]", "no [no] please", "on (monday | <day>)", "(no | on) [(please | no) on]"]),
    min_size=1,
    max_size=4,
)


@given(PATTERNS, st.lists(st.sampled_from(WORDS), max_size=5))
def test_it_accepts_what_the_patterns_match(patterns: list[str], said: list[str]) -> None:
    parsed: list[Phrase] = list(map(parse, patterns))
    expressions = {"day": "(?:monday |friday morning )"}
    spaced = "".join(word + " " for word in said)
    matches = any(re.fullmatch(to_regex(phrase, expressions), spaced) for phrase in parsed)

    assert minimal(parsed, DAY, {}).accepts(" ".join(said)) == matches
