"""A reply's text on its way to the synthesiser: what goes at once, what waits for the turn."""

from hypothesis import given
from hypothesis import strategies as st

from voice_agent.pipeline.actions import HangUp
from voice_agent.pipeline.reply import Reply

TEXT = "Of course. It costs fifty euros. Shall I book it for you?"


def test_a_line_is_no_answer_and_needs_no_model() -> None:
    line, answer = Reply(1, "en"), Reply(2, "en", question="What does it cost?", fingerprint="f")
    assert (line.is_line, line.generating) == (True, False)
    assert (answer.is_line, answer.generating) == (False, True)


def test_what_nothing_may_interrupt_is_locked_unless_it_is_the_last_word() -> None:
    ordinary, goodbye, disclosure = Reply(1, "en"), Reply(2, "en"), Reply(3, "en")
    goodbye.is_interruptible = disclosure.is_interruptible = False
    goodbye.last = HangUp(reason="idle")
    assert [reply.is_locked for reply in (ordinary, goodbye, disclosure)] == [False, False, True]


def test_of_a_speculation_the_first_piece_goes_out_and_the_rest_is_held() -> None:
    reply = Reply(2, "en", question="?")
    first = reply.write(TEXT, confirmed=False)
    assert first == ["Of course. "]
    reply.wrote = True
    last = reply.end_of_text(confirmed=False)
    assert last == []
    assert not reply.generating
    assert "".join(first + reply.confirm()) == TEXT
    assert reply.confirm() == []


def test_a_first_piece_that_only_the_end_brings_goes_out_as_well() -> None:
    reply = Reply(2, "en", question="?")
    assert reply.write("Yes", confirmed=False) == []
    assert reply.end_of_text(confirmed=False) == ["Yes"]


def test_a_confirmed_reply_holds_nothing_back() -> None:
    reply = Reply(2, "en", question="?")
    spoken = reply.write(TEXT, confirmed=True) + reply.end_of_text(confirmed=True)
    assert len(spoken) > 1
    assert "".join(spoken) == TEXT
    assert reply.confirm() == []


@given(st.lists(st.sampled_from(["Of ", "course. ", "It costs ", "50 ", "euros, ", "so. "]), max_size=20), st.data())
def test_whenever_it_is_confirmed_nothing_is_lost_or_said_twice(tokens: list[str], data: st.DataObject) -> None:
    confirmed_at = data.draw(st.integers(0, len(tokens)))
    reply = Reply(2, "en", question="?")
    said: list[str] = []
    for number, token in enumerate(tokens):
        if number == confirmed_at:
            said += reply.confirm()
        said += reply.write(token, confirmed=number >= confirmed_at)
        reply.wrote = bool(said)
    if confirmed_at == len(tokens):
        said += reply.confirm()
    said += reply.end_of_text(confirmed=True)
    assert "".join(said).split() == "".join(tokens).split()
