"""What was said, what was heard of it, and what the model is told afterwards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.text_to_speech import tone
from voice_agent.pipeline.history import CUT_MARK, History, SpokenReply
from voice_agent.pipeline.ports import AgentMessage, Message, ToolCall, ToolMessage, UserMessage, Word

LOOK_UP = ToolCall(call_id="c1", name="look_up", arguments="{}")
BOOK = ToolCall(call_id="c2", name="book", arguments="{}")


def _words(text: str, ms_per_word: float = 200.0) -> list[Word]:
    words = text.split(" ")
    return [
        Word(f"{word} " if number < len(words) - 1 else word, number * ms_per_word, (number + 1) * ms_per_word)
        for number, word in enumerate(words)
    ]


# --- the audio of a reply ---------------------------------------------------------------------------------------
def test_a_word_was_heard_once_half_of_it_was() -> None:
    spoken = SpokenReply()
    spoken.add_audio(tone(600), _words("It costs fifty"))
    assert spoken.heard_text(99.0) == ""
    assert spoken.heard_text(100.0) == "It"
    assert spoken.heard_text(450.0) == "It costs"
    assert spoken.heard_text(600.0) == "It costs fifty"


def test_playback_goes_on_from_the_beginning_of_the_word_that_was_cut() -> None:
    spoken = SpokenReply()
    spoken.add_audio(tone(600), _words("It costs fifty"))
    assert spoken.word_start_ms(390.0) == 200.0
    assert spoken.word_start_ms(400.0) == 400.0
    assert SpokenReply().word_start_ms(390.0) == 390.0


def test_an_aside_takes_time_but_is_no_word_of_the_reply() -> None:
    spoken = SpokenReply()
    spoken.add_line(tone(1_000), _words("One moment please"), is_aside=True)
    spoken.add_audio(tone(600), _words("It costs fifty"))
    assert spoken.heard_text(1_000.0) == ""
    assert spoken.heard_text(1_150.0) == "It"
    assert spoken.word_start_ms(1_250.0) == 1_200.0


def test_a_line_after_the_synthesised_words_keeps_its_own_times() -> None:
    spoken = SpokenReply()
    spoken.add_audio(tone(400), [Word("Very ", 0.0, 200.0), Word("well. ", 200.0, 400.0)])
    spoken.add_line(tone(400), _words("Good bye."), is_aside=False)
    assert spoken.heard_text(500.0) == "Very well. Good"


@pytest.mark.parametrize(
    ("heard_ms", "heard"),
    [(0.0, ""), (600.0, "It costs"), (1_000.0, "It costs 50 euros"), (9_000.0, "It costs 50 euros")],
)
def test_without_word_times_the_share_of_the_audio_decides(heard_ms: float, heard: str) -> None:
    spoken = SpokenReply()
    spoken.add_text("It costs ")
    spoken.add_text("50 euros ")
    spoken.add_audio(tone(1_000), ())
    assert spoken.text == "It costs 50 euros"
    assert spoken.heard_text(heard_ms) == heard


def test_of_nothing_nothing_was_heard() -> None:
    spoken = SpokenReply()
    assert spoken.heard_text(500.0) == ""
    spoken.add_text("It costs")
    assert spoken.heard_text(500.0) == ""


# --- the conversation -------------------------------------------------------------------------------------------
def _conversation() -> History:
    history = History()
    history.begin(1)
    history.say(1, "Hello. ")
    history.begin(2, "What is free on Friday?")
    return history


BEFORE: tuple[Message, ...] = (AgentMessage("Hello."), UserMessage("What is free on Friday?"))


def test_turns_stand_in_the_order_in_which_they_began() -> None:
    history = _conversation()
    history.say(2, "All ")
    history.say(2, "day. ")
    assert history.messages() == (*BEFORE, AgentMessage("All day."))


def test_tools_called_together_belong_to_one_message_with_the_text_before_them() -> None:
    history = _conversation()
    history.say(2, "Let me look. ")
    history.call_tool(2, LOOK_UP)
    history.call_tool(2, BOOK)
    history.answer_tool(2, ToolMessage("c1", "look_up", "free"))
    history.answer_tool(2, ToolMessage("c2", "book", "done"))
    history.say(2, "It is booked.")
    assert history.messages() == (
        *BEFORE,
        AgentMessage("Let me look.", (LOOK_UP, BOOK)),
        ToolMessage("c1", "look_up", "free"),
        ToolMessage("c2", "book", "done"),
        AgentMessage("It is booked."),
    )


def test_a_tool_without_words_before_it_is_a_message_of_its_own() -> None:
    history = _conversation()
    history.call_tool(2, LOOK_UP)
    history.answer_tool(2, ToolMessage("c1", "look_up", "free"))
    history.call_tool(2, BOOK)
    assert [message.tool_calls for message in history.messages() if isinstance(message, AgentMessage)] == [
        (), (LOOK_UP,), (BOOK,),
    ]  # fmt: skip


def test_words_after_a_call_that_has_no_answer_yet_are_a_message_of_their_own() -> None:
    history = _conversation()
    history.call_tool(2, LOOK_UP)
    history.say(2, "One moment.")
    assert history.messages()[-2:] == (AgentMessage("", (LOOK_UP,)), AgentMessage("One moment."))


def test_of_a_reply_that_was_cut_only_what_was_heard_stays() -> None:
    history = _conversation()
    history.say(2, "All day, but not at noon.")
    history.trim(2, "All day,")
    assert history.messages() == (*BEFORE, AgentMessage(f"All day, {CUT_MARK}"))


def test_tools_that_have_run_stay_and_those_that_have_not_are_forgotten() -> None:
    history = _conversation()
    history.say(2, "Let me look. ")
    history.call_tool(2, LOOK_UP)
    history.answer_tool(2, ToolMessage("c1", "look_up", "free"))
    history.say(2, "It is free. I book it. ")
    history.call_tool(2, BOOK)
    history.trim(2, "Let me look. It is")
    assert history.messages() == (
        *BEFORE,
        AgentMessage("Let me look.", (LOOK_UP,)),
        ToolMessage("c1", "look_up", "free"),
        AgentMessage(f"It is {CUT_MARK}"),
    )


def test_a_tool_that_has_run_stays_even_where_nothing_was_heard() -> None:
    history = _conversation()
    history.call_tool(2, LOOK_UP)
    history.answer_tool(2, ToolMessage("c1", "look_up", "free"))
    history.say(2, "It is free.")
    history.trim(2, "")
    assert history.messages() == (*BEFORE, AgentMessage("", (LOOK_UP,)), ToolMessage("c1", "look_up", "free"))


def test_a_turn_of_which_nothing_was_heard_can_be_dropped() -> None:
    history = _conversation()
    history.drop(2)
    assert history.messages() == BEFORE[:1]


def test_a_late_transcript_replaces_the_callers_words() -> None:
    history = _conversation()
    history.revise(2, "What is free on Sunday?")
    assert history.messages()[1] == UserMessage("What is free on Sunday?")


def test_a_turn_that_is_gone_is_left_alone() -> None:
    history = _conversation()
    history.drop(7)
    history.revise(7, "x")
    history.say(7, "x")
    history.trim(7, "x")
    history.answer_tool(7, ToolMessage("c9", "late", "x"))
    assert history.messages() == BEFORE


@given(st.lists(st.sampled_from(["Of course. ", "It costs fifty euros. ", "And ", "more, "]), min_size=1), st.data())
def test_what_is_kept_of_a_cut_reply_is_a_beginning_of_it(pieces: list[str], data: st.DataObject) -> None:
    history = History()
    history.begin(1, "Why?")
    for piece in pieces:
        history.say(1, piece)
    said = "".join(pieces).split()
    heard = " ".join(said[: data.draw(st.integers(0, len(said)))])
    history.trim(1, heard)
    kept = [message.text for message in history.messages() if isinstance(message, AgentMessage)]
    assert kept == ([f"{heard} {CUT_MARK}"] if heard else [])


def test_what_was_said_before_this_stream_comes_first() -> None:
    history = History((UserMessage(text="One?"), AgentMessage(text="Two.")))
    history.begin(1, "Three?")
    assert history.messages() == (UserMessage(text="One?"), AgentMessage(text="Two."), UserMessage(text="Three?"))


def test_a_fixed_phrase_and_what_follows_it_are_two_sentences() -> None:
    history, spoken = History(), SpokenReply()
    history.begin(1)
    for text in ("We were cut off.", "It costs fifty.", " Or sixty. ", "", "More."):
        history.say(1, text)
        spoken.add_text(text)
    said = "We were cut off. It costs fifty. Or sixty. More."
    assert history.messages() == (AgentMessage(text=said),)
    assert spoken.text == said
