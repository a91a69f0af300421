import msgspec
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.sandbox.providers.dialogue import Dialogue, Prompt, Reply, Rule, ToolRequest, split_tokens


@given(st.text())
def test_tokens_give_the_text_back(text: str) -> None:
    assert "".join(split_tokens(text)) == text


def test_tokens_are_words_with_the_space_before_them() -> None:
    assert Reply("Sure, I  can.").tokens == ("Sure,", " I", "  can.")
    assert Reply().tokens == ()


def test_the_reply_is_that_of_the_users_turn_over_and_over() -> None:
    dialogue = Dialogue(replies=(Reply("a"), Reply("b")))
    turns = [dialogue.answer(Prompt(("x",) * count)).text for count in range(6)]
    assert turns == ["a", "a", "b", "a", "b", "a"]


def test_the_same_request_gets_the_same_answer() -> None:
    dialogue = Dialogue(replies=(Reply("a"), Reply("b")))
    assert {dialogue.answer(Prompt(("x", "y"))).text for _ in range(3)} == {"b"}


def test_the_first_rule_that_matches_answers() -> None:
    dialogue = Dialogue(
        rules=(
            Rule(Reply("hours"), contains="OPEN"),
            Rule(Reply("number"), pattern=r"\b\d{3}\b"),
            Rule(Reply("never"), contains="open", pattern="x"),
        ),
        replies=(Reply("else"),),
    )
    said = ["When are you open?", "I have 123.", "I have 1234."]
    assert [dialogue.answer(Prompt((text,))).text for text in said] == ["hours", "number", "else"]


def test_a_tools_result_is_answered_by_its_rule_or_the_usual_words() -> None:
    dialogue = Dialogue(
        rules=(Rule(Reply("", (ToolRequest("book"),)), contains="table"), Rule(Reply("Booked."), tool="book"))
    )
    asked = ("A table please",)
    assert dialogue.answer(Prompt(asked)).tools[0].name == "book"
    assert dialogue.answer(Prompt(asked, tool="book")).text == "Booked."
    assert dialogue.answer(Prompt(asked, tool="other")).text == "All right, that is done."


def test_a_dialogue_without_replies_still_answers() -> None:
    assert Dialogue(replies=()).answer(Prompt(("x",))).text == "Yes."


def test_a_dialogue_is_read_from_json() -> None:
    text = b'{"rules":[{"contains":"hi","reply":{"text":"Hello","tools":[{"name":"t"}]}}],"replies":[{"text":"No"}]}'
    dialogue = msgspec.json.decode(text, type=Dialogue)
    assert dialogue.answer(Prompt(("Hi!",))) == Reply("Hello", (ToolRequest("t", "{}"),))


def test_a_prompt_is_measured_in_words() -> None:
    assert Prompt(("a b", "c"), instructions="d e", tool_result="f").tokens == 6
    assert Prompt().said == ""
