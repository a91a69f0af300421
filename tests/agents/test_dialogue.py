from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.agents.dialogue import Answer, Dialogue, Script, ToolUse
from voice_agent.agents.files import LIBRARY, load_dialogue
from voice_agent.errors import AgentDefinitionError

RECEPTION = Script(load_dialogue(LIBRARY / "harbour_dental.dialogue.yaml"))

BOOKING = [
    "Hello, I would like to book an appointment, please.",
    "On Tuesday, please.",
    "I would prefer the morning.",
    "At half past nine, please.",
    "My name is Anna Smith.",
    "My number is 555-0123.",
    "Yes, that's right.",
    "No, that's all, thank you.",
]


def dialogue(**changes: Any) -> Dialogue:
    definition: dict[str, Any] = {
        "name": "test",
        "language": "en",
        "start": "open",
        "slots": {"day": {"values": ["Monday", "Friday"]}},
        "not_understood": ["Sorry?", "Again, please."],
        "states": {
            "open": {"question": "How can I help?", "rules": [{"says": ["a table"], "reply": "Yes.", "next": "day"}]},
            "day": {
                "slot": "day",
                "question": "Which day?",
                "again": "So, which day?",
                "next": "done",
                "rules": [{"says": ["[on] <day>"], "reply": "{day}."}],
            },
            "done": {"question": "Anything else?"},
        },
        "anywhere": [{"says": ["bye"], "reply": "Bye.", "calls": [{"tool": "end_call"}]}],
    }
    return msgspec.convert(definition | changes, Dialogue)


def test_before_the_caller_has_spoken_the_first_question_is_asked() -> None:
    assert Script(dialogue()).answer([]) == Answer("How can I help?")


def test_a_reply_leads_to_the_question_of_the_next_state() -> None:
    assert Script(dialogue()).answer(["A table!"]) == Answer("Yes. Which day?")


def test_a_filled_slot_leads_on_and_is_read_back_as_it_is_written() -> None:
    assert Script(dialogue()).answer(["a table", "on FRIDAY"]) == Answer("Friday. Anything else?")


def test_a_slot_that_was_not_asked_for_is_passed_over_in_a_reply() -> None:
    anywhere = [{"says": ["a reminder"], "reply": "Noted {day}."}]
    assert Script(dialogue(anywhere=anywhere)).answer(["a reminder"]).text.startswith("Noted .")


@pytest.mark.parametrize(
    ("said", "read"),
    [("five five five", "five five five."), ("555 0123 4", "five five five, zero one two, three four.")],
)
def test_a_number_is_read_back_in_threes_and_never_a_digit_alone(said: str, read: str) -> None:
    booked = ["I would like to book an appointment", "Tuesday", "morning", "half past nine", "Anna Smith"]
    assert read in RECEPTION.answer([*booked, said]).text


def test_what_is_not_understood_is_asked_again_in_other_words() -> None:
    script = Script(dialogue())

    assert script.answer(["a table", "banana"]).text == "Sorry? So, which day?"
    assert script.answer(["a table", "banana", "apple"]).text == "Again, please. So, which day?"
    assert script.answer(["a table", "banana", "apple", "pear"]).text == "Again, please. So, which day?"
    assert script.answer(["a table", "banana", "on friday", "pear"]).text == "Sorry? Anything else?"


def test_a_rule_that_calls_a_tool_asks_nothing() -> None:
    assert Script(dialogue()).answer(["a table", "bye"]) == Answer("Bye.", (ToolUse(tool="end_call"),))


def test_the_rule_that_accounts_for_most_words_wins() -> None:
    script = Script(
        dialogue(
            anywhere=[
                {"says": ["table"], "reply": "Short."},
                {"says": ["a big table"], "reply": "Long."},
            ]
        )
    )

    assert script.answer(["a big table"]).text.startswith("Long.")
    assert script.answer(["a table"]).text.startswith("Yes.")


def test_a_caller_books_an_appointment() -> None:
    answers = [RECEPTION.answer(BOOKING[: number + 1]) for number in range(len(BOOKING))]

    assert [answer.text.rsplit(". ", 1)[-1].rsplit("? ", 1)[-1] for answer in answers[:3]] == [
        "Which day would suit you best?",
        "Would you prefer the morning or the afternoon?",
        "Which would you like?",
    ]
    assert "Tuesday morning at half past nine, for Anna Smith" in answers[5].text
    assert "five five five, zero one two three" in answers[5].text
    assert "booked in" in answers[6].text
    assert answers[7].calls == (ToolUse(tool="end_call"),)
    assert [bool(answer.calls) for answer in answers] == [False] * 7 + [True]


def test_several_slots_may_be_filled_in_one_breath() -> None:
    answer = RECEPTION.answer(["Can I book an appointment on Thursday afternoon?"])

    assert "quarter past two" in answer.text


def test_a_question_in_between_leaves_the_form_where_it_was() -> None:
    answer = RECEPTION.answer([*BOOKING[:3], "How much does a check-up cost?"])

    assert "forty five pounds" in answer.text
    assert answer.text.endswith("Which would you like?")


def test_names_that_nobody_listed_are_taken_where_they_are_all_that_is_said() -> None:
    assert RECEPTION.answer([*BOOKING[:4], "It's Zoë O'Brien."]).text.startswith("Thank you, Zoë O'Brien.")
    assert RECEPTION.answer([*BOOKING[:4], "well I am not sure that I want to tell"]).text.startswith("Sorry")


def test_a_correction_begins_the_form_anew() -> None:
    answer = RECEPTION.answer([*BOOKING[:6], "No, that's wrong."])

    assert answer.text.endswith("Which day would suit you best?")


def test_agreement_while_the_agent_speaks_moves_nothing() -> None:
    assert RECEPTION.answer([*BOOKING[:2], "mhm"]).text == "Would you prefer the morning or the afternoon?"


@given(st.lists(st.sampled_from([*BOOKING, "mhm", "no", "how much does it cost", "banana", "", "Friday"]), max_size=12))
def test_any_conversation_is_answered(said: list[str]) -> None:
    answer = RECEPTION.answer(said)

    assert answer.text
    assert "{" not in answer.text
    assert RECEPTION.answer(said) == answer


@given(st.text())
def test_anything_may_be_said(text: str) -> None:
    assert RECEPTION.answer([*BOOKING[:4], text]).text


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"start": "nowhere"}, "start: there is no state 'nowhere'"),
        ({"states": {"open": {"question": "?", "next": "gone"}}}, "states.open.next: there is no state 'gone'"),
        ({"anywhere": [{"says": ["x"], "reply": "", "next": "gone"}]}, "rule 'x', next: there is no state 'gone'"),
        ({"anywhere": [{"says": ["[x"], "reply": ""}]}, r"anywhere\[0\].says: '\[' is not closed"),
        ({"anywhere": [{"says": ["<year>"], "reply": ""}]}, r"anywhere\[0\].says: there is no slot 'year'"),
        ({"anywhere": [{"says": ["<day> <day>"], "reply": ""}]}, r"anywhere\[0\].says: .*redefinition"),
        ({"anywhere": [{"says": ["x"], "reply": "{year}"}]}, "there is no slot 'year'"),
        ({"anywhere": [{"says": [], "reply": ""}]}, "length >= 1"),
        ({"anywhere": [{"says": ["x"], "reply": "", "sets": {"year": "1"}}]}, "rule 'x': there is no slot 'year'"),
        ({"anywhere": [{"says": ["x"], "reply": "", "forgets": ["year"]}]}, "rule 'x': there is no slot 'year'"),
        ({"states": {"open": {"question": "?", "slot": "year"}}}, "states.open: there is no slot 'year'"),
        ({"states": {"open": {"question": "?", "when": {"year": "1"}}}}, "states.open: there is no slot 'year'"),
        ({"not_understood": []}, "not_understood: at least one"),
        (
            {"states": {"open": {"question": "?", "next": "b"}, "b": {"question": "?", "next": "open"}}},
            "leads back to 'open'",
        ),
    ],
)
def test_a_dialogue_that_cannot_work_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises((AgentDefinitionError, msgspec.ValidationError), match=problem):
        Script(dialogue(**changes))
