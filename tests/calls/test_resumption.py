"""What is left of a call when its line is lost, found in its log, and what the agent does when it is back."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.calls.call_world import HEADER, SETTINGS, Call, short_call
from voice_agent.calls.event_log import EventLog, LoggedEvent
from voice_agent.calls.resumption import OUTCOME_UNKNOWN, Restored, restored
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.ports import AgentMessage, Message, ToolCall, ToolMessage, UserMessage
from voice_agent.pipeline.turn_settings import TurnSettings

NOW = HEADER.started_at + timedelta(seconds=30)
LINES = SETTINGS.lines.completed("en")
TALKING = msgspec.structs.replace(SETTINGS, lines=LINES)
DISCLOSING = msgspec.structs.replace(TALKING, disclosure="This is an automated call. It is recorded.")
GREETED: tuple[Message, ...] = (AgentMessage(text="Hello."),)
ASKED = (*GREETED, UserMessage(text="A table for two."))


class ResumableCall(Call):
    """A call over a machine that has every line."""

    def __init__(self, settings: TurnSettings = TALKING) -> None:
        super().__init__(settings)

    def resume(self, before: Restored) -> None:
        self.play(msgspec.structs.replace(before.event, at=0.0))


class DisclosingCall(ResumableCall):
    """A call that has something to disclose."""

    def __init__(self) -> None:
        super().__init__(DISCLOSING)

    def disclose(self) -> None:
        self.play(ev.CallStarted(at=0.0), ev.PlaybackStarted(at=0.1, turn=1))

    def hear_all(self, turn: int, at: float) -> None:
        self.play(ev.PlaybackFinished(at=at, turn=turn))


def _log(call: Call) -> EventLog:
    entries = [LoggedEvent(line, event, actions) for line, (event, actions) in enumerate(call.decided, start=2)]
    return EventLog(HEADER, tuple(entries), is_torn=False)


def _restored(*calls: Call) -> Restored:
    return restored([_log(call) for call in calls], NOW)


def _greeted() -> ResumableCall:
    call = ResumableCall()
    call.greet()
    return call


def _asked() -> ResumableCall:
    """The caller has asked for something, and the agent thinks."""
    call = _greeted()
    call.say("A table for two.", at=3.0)
    return call


def _event(**what: object) -> ev.CallResumed:
    return msgspec.convert({"event": "CallResumed", "at": 0.0, "elapsed_s": 30.0, **what}, ev.CallResumed)


def test_of_a_call_without_a_log_nothing_is_known() -> None:
    assert restored([], NOW) == Restored(messages=(), event=ev.CallResumed(at=0.0, elapsed_s=0.0))
    empty = restored([EventLog(HEADER, (), is_torn=True)], NOW)
    assert empty.messages == ()
    early = restored([_log(_greeted())], HEADER.started_at - timedelta(seconds=5))
    assert early.event.elapsed_s == 0.0


def test_f47_at_nobodys_turn_the_agent_is_back_and_listens() -> None:
    assert _restored(_greeted()) == Restored(messages=GREETED, event=_event())


def test_f47_what_the_agent_had_asked_is_asked_again() -> None:
    call = _asked()
    call.answer("Of course. At what time?", at=3.4)
    call.play(ev.PlaybackFinished(at=5.0, turn=call.turn))
    found = _restored(call)
    assert found.messages == (*ASKED, AgentMessage(text="Of course. At what time?"))
    assert found.event == _event(unheard="At what time?")


def test_f47_a_caller_who_was_speaking_is_listened_to() -> None:
    call = _asked()
    call.answer("Of course. At what time?", at=3.4)
    call.play(ev.PlaybackFinished(at=5.0, turn=call.turn), ev.SpeechStarted(at=6.0, began_at=5.9))
    call.play(ev.TranscriptUpdated(at=6.4, text="At ei"))
    assert _restored(call).event == _event()


def test_f47_words_that_nobody_has_answered_are_a_question() -> None:
    call = _greeted()
    call.play(
        ev.SpeechStarted(at=3.0, began_at=2.9),
        ev.TranscriptFinal(at=3.5, text="A table"),
        ev.TranscriptUpdated(at=3.8, text="for two."),
        ev.SpeechStopped(at=4.0, ended_at=3.9),
    )
    assert _restored(call) == Restored(messages=GREETED, event=_event(question="A table for two."))


def test_a_final_transcript_may_be_empty_where_the_interim_one_was_not() -> None:
    call = _greeted()
    call.play(ev.TranscriptUpdated(at=3.8, text="For two."), ev.TranscriptFinal(at=3.9, text=""))
    assert _restored(call).event.question == "For two."


def test_f47_a_speculation_was_no_answer() -> None:
    call = _greeted()
    call.play(
        ev.SpeechStarted(at=2.0, began_at=1.9),
        ev.SpeechStopped(at=3.1, ended_at=3.0),
        ev.TranscriptUpdated(at=3.2, text="A table for two."),
        ev.ReplyText(at=3.21, turn=2, text="Of course. "),
    )
    assert _restored(call) == Restored(messages=GREETED, event=_event(question="A table for two."))


def test_f47_an_answer_that_was_not_whole_is_asked_for_anew() -> None:
    call = _asked()
    call.play(ev.ReplyText(at=3.5, turn=call.turn, text="Of course. At"), ev.PlaybackStarted(at=3.6, turn=call.turn))
    assert _restored(call) == Restored(messages=GREETED, event=_event(question="A table for two."))


@pytest.mark.parametrize("interim", ["A table for two.", "A table for you."])
def test_the_late_final_of_words_that_were_answered_is_no_new_question(interim: str) -> None:
    call = _greeted()
    call.play(
        ev.SpeechStarted(at=2.0, began_at=1.9),
        ev.SpeechStopped(at=3.1, ended_at=3.0),
        ev.TranscriptUpdated(at=3.2, text=interim),
    )
    call.until(3.6)
    call.play(ev.TranscriptFinal(at=3.7, text="A table for two."))
    call.answer("Of course.", at=3.8)
    call.play(ev.PlaybackFinished(at=5.0, turn=call.turn))
    assert _restored(call) == Restored(messages=(*ASKED, AgentMessage(text="Of course.")), event=_event())


@pytest.mark.parametrize(
    ("heard_ms", "heard", "unheard"),
    [
        (0.0, (), "Of course. We have one at eight. Does that suit you?"),
        (700.0, (AgentMessage(text="Of —"),), "Of course. We have one at eight. Does that suit you?"),
        (2_000.0, (AgentMessage(text="Of course. We have one at —"),), "We have one at eight. Does that suit you?"),
        (9_000.0, (AgentMessage(text="Of course. We have one at eight. Does that suit you?"),), "Does that suit you?"),
    ],
)
def test_f47_words_that_were_cut_are_said_again_from_their_sentence_on(
    heard_ms: float, heard: tuple[Message, ...], unheard: str
) -> None:
    call = _asked()
    call.answer("Of course. We have one at eight. Does that suit you?", at=3.4)
    call.play(ev.PlaybackMarked(at=5.0, turn=call.turn, heard_ms=heard_ms))
    found = _restored(call)
    assert found.messages[len(ASKED) :] == heard
    assert found.event == _event(unheard=unheard)


def test_the_pace_is_that_of_the_replies_before() -> None:
    call = _asked()
    call.answer("Of course. We have one at eight.", at=3.4)
    call.play(ev.PlaybackFinished(at=33.5, turn=call.turn))
    call.say("And at nine?", at=35.0)
    call.answer("Of course. We have one at nine. Does that suit you?", at=35.4)
    call.play(ev.PlaybackMarked(at=38.0, turn=call.turn, heard_ms=2_000.0))
    assert _restored(call).messages[-1] == AgentMessage(text="Of —")


def test_a_reply_that_was_stopped_knows_how_much_was_heard() -> None:
    call = _asked()
    call.answer("Of course. We have one at eight. Does that suit you?", at=3.4)
    call.play(
        ev.SpeechStarted(at=4.0, began_at=3.9),
        ev.VoiceConfirmed(at=4.1, began_at=3.9),
        ev.PlaybackStopped(at=4.1, turn=call.turn, heard_ms=500.0, remaining_ms=500.0),
    )
    found = _restored(call)
    assert found.messages[-1] == AgentMessage(text="Of course. We have one at —")
    assert found.event.unheard == "We have one at eight. Does that suit you?"


def test_an_interruption_is_in_the_history_as_it_was_heard() -> None:
    """The call of `short_call`, whose end only tidies up: the caller has just said something over the agent."""
    found = restored([_log(short_call())], NOW)
    assert found.messages[-1] == AgentMessage(text="It costs —")
    assert found.event == _event(question="Wait, at eight please.")


def test_a_backchannel_is_no_question() -> None:
    call = _asked()
    call.answer("Of course, we have one at eight.", at=3.4)
    call.play(
        ev.SpeechStarted(at=4.0, began_at=3.9),
        ev.SpeechStopped(at=4.3, ended_at=4.2),
        ev.TranscriptUpdated(at=4.5, text="mhm"),
    )
    call.until(5.5)
    call.play(ev.PlaybackFinished(at=6.0, turn=call.turn))
    assert _restored(call).event == _event()


def test_a_sound_after_which_the_agent_went_on_is_no_question() -> None:
    call = _asked()
    call.answer("Of course, we have one at eight.", at=3.4)
    call.play(
        ev.SpeechStarted(at=4.0, began_at=3.9),
        ev.VoiceConfirmed(at=4.1, began_at=3.9),
        ev.PlaybackStopped(at=4.1, turn=call.turn, heard_ms=500.0, remaining_ms=2_000.0),
        ev.SpeechStopped(at=4.3, ended_at=4.2),
        ev.TranscriptFinal(at=4.6, text="mhm"),
        ev.PlaybackFinished(at=8.0, turn=call.turn),
    )
    assert _restored(call).event == _event()


def test_words_of_an_answer_that_was_taken_back_are_unanswered_again() -> None:
    call = _asked()
    call.play(ev.SpeechStarted(at=3.5, began_at=3.45), ev.VoiceConfirmed(at=3.6, began_at=3.45))
    call.play(ev.SpeechStopped(at=3.9, ended_at=3.8))
    assert _restored(call) == Restored(messages=GREETED, event=_event(question="A table for two."))


def test_a_line_that_was_cut_is_said_again() -> None:
    call = ResumableCall()
    call.play(ev.CallStarted(at=0.0))
    assert _restored(call) == Restored(messages=(), event=_event(unheard="Hello."))


def test_a_failure_that_was_apologised_for_is_not_asked_about_again() -> None:
    call = _asked()
    call.play(ev.ReplyFailed(at=3.5, turn=call.turn, reason="ProviderUnavailable"))
    assert _restored(call) == Restored(messages=GREETED, event=_event(unheard="Sorry, once more please."))


# --- tools ------------------------------------------------------------------------------------------------------
def _looking_up(name: str = "look_up") -> ResumableCall:
    call = _asked()
    turn = call.turn
    call.play(
        ev.ReplyText(at=3.4, turn=turn, text="Let me see. "),
        ev.ReplyToolCalled(at=3.4, turn=turn, call_id="c1", name=name, arguments="{}"),
        ev.ReplyFinished(at=3.5, turn=turn),
        ev.PlaybackStarted(at=3.6, turn=turn),
    )
    return call


CALLED = AgentMessage(text="", tool_calls=(ToolCall(call_id="c1", name="look_up", arguments="{}"),))


def test_f47_of_a_tool_that_was_running_the_model_is_told_so() -> None:
    found = _restored(_looking_up())
    assert found.messages == (*ASKED, CALLED, ToolMessage(call_id="c1", name="look_up", result=OUTCOME_UNKNOWN))
    assert found.event == _event(question="A table for two.")


def test_f47_what_a_tool_has_found_is_kept_for_the_answer() -> None:
    call = _looking_up()
    finished = ev.ToolFinished(at=4.0, turn=call.turn, call_id="c1", result="one at eight")
    call.play(finished, finished)
    found = _restored(call)
    assert found.messages == (*ASKED, CALLED, ToolMessage(call_id="c1", name="look_up", result="one at eight"))
    assert found.event == _event(question="A table for two.")


@pytest.mark.parametrize(
    "wish", [{"hang_up": True}, {"transfer_to": "+15550001111"}, {"transfer_to": "+15550001111", "hang_up": True}]
)
def test_f47_what_a_tool_wants_done_to_the_call_is_done_after_the_words(wish: dict[str, object]) -> None:
    call = _looking_up("end_call")
    what = {"event": "ToolFinished", "at": 4.0, "turn": call.turn, "call_id": "c1", "result": "", **wish}
    call.play(msgspec.convert(what, ev.ToolFinished))
    event = _restored(call).event
    assert (event.unheard, event.question) == ("Let me see.", "")
    assert event.transfer_to == wish.get("transfer_to", "")
    assert event.hang_up == ("transfer_to" not in wish)


def test_f47_a_goodbye_that_was_cut_is_said_again_and_ends_the_call() -> None:
    call = _greeted()
    call.play(ev.TranscriptionFailed(at=3.0, reason="ProviderRefused"))
    assert _restored(call).event == _event(unheard=LINES.failure, hang_up=True)
    call.play(ev.PlaybackStarted(at=3.1, turn=call.turn), ev.PlaybackFinished(at=5.0, turn=call.turn))
    assert _restored(call).event == _event(hang_up=True)


# --- lost again -------------------------------------------------------------------------------------------------
def test_f47_a_call_that_is_lost_again_remembers_both_of_its_streams() -> None:
    first = _asked()
    first.play(ev.CallEnded(at=3.5, reason="disconnected"))
    second = ResumableCall()
    second.resume(_restored(first))
    second.answer("Of course. At what time?", at=0.5)
    second.play(ev.PlaybackFinished(at=6.0, turn=second.turn))
    found = _restored(first, second)
    assert found.messages == (*ASKED, AgentMessage(text="Of course. At what time?"))
    assert found.event == _event(unheard="At what time?")


def test_f47_a_call_that_is_lost_before_it_was_back_does_the_same_again() -> None:
    first = _asked()
    again = _restored(first)
    empty = restored([_log(first), EventLog(HEADER, (), is_torn=True)], NOW)
    second = ResumableCall()
    second.resume(again)
    assert empty == again == _restored(first, second)


def test_f47_the_line_that_says_so_is_neither_remembered_nor_repeated() -> None:
    first = _greeted()
    first.play(ev.TranscriptionFailed(at=3.0, reason="ProviderRefused"))
    second = ResumableCall()
    second.resume(_restored(first))
    second.play(ev.PlaybackStarted(at=0.1, turn=1), ev.PlaybackMarked(at=1.0, turn=1, heard_ms=900.0))
    found = _restored(first, second)
    assert found.messages == GREETED
    assert found.event == _event(unheard=LINES.failure, hang_up=True)


def test_f47_a_transfer_that_was_lost_twice_is_not_lost() -> None:
    second = ResumableCall()
    second.play(ev.CallResumed(at=0.0, elapsed_s=1.0, unheard="I connect you.", transfer_to="+15550001111"))
    assert _restored(_greeted(), second).event == _event(unheard="I connect you.", transfer_to="+15550001111")


def test_a_filler_is_no_part_of_the_answer() -> None:
    call = _asked()
    call.until(5.0)
    call.answer("Of course. At what time?", at=5.5)
    call.play(ev.PlaybackMarked(at=6.0, turn=call.turn, heard_ms=700.0))
    assert _restored(call).event.unheard == "Of course. At what time?"
    assert _restored(call).messages == ASKED


def test_events_of_turns_that_are_over_change_nothing() -> None:
    call = _greeted()
    before = _restored(call)
    call.play(
        ev.PlaybackFinished(at=2.0, turn=1),
        ev.ToolFinished(at=2.0, turn=1, call_id="c1", result="late"),
        ev.PlaybackMarked(at=2.1, turn=1, heard_ms=5.0),
    )
    assert _restored(call) == before


def test_a_reply_whose_beginning_is_unknown_lends_no_pace() -> None:
    """Of a log that is no machine's own, too."""
    strange = EventLog(
        HEADER,
        (
            *_log(_asked()).entries,
            LoggedEvent(99, ev.PlaybackFinished(at=9.0, turn=2), ()),
            LoggedEvent(100, ev.PlaybackFinished(at=9.0, turn=3), ()),
        ),
        is_torn=False,
    )
    assert restored([strange], NOW).messages == ASKED


@settings(max_examples=200)
@given(st.integers(0, 200))
def test_wherever_a_call_breaks_off_the_caller_is_neither_forgotten_nor_answered_twice(length: int) -> None:
    call = short_call()
    log = EventLog(HEADER, _log(call).entries[:length], is_torn=True)
    found = restored([log], datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC))
    assert not (found.event.question and found.event.unheard)
    said = [message.text for message in found.messages if isinstance(message, UserMessage)]
    assert len(said) == len(set(said))
    assert found.event.question not in said


def test_a_line_that_was_withdrawn_before_it_sounded_was_not_said() -> None:
    call = ResumableCall()
    call.play(
        ev.CallStarted(at=0.0),
        ev.SpeechStarted(at=0.3, began_at=0.2),
        ev.VoiceConfirmed(at=0.4, began_at=0.2),
        ev.TranscriptFinal(at=0.9, text="Hello?"),
        ev.SpeechStopped(at=1.0, ended_at=0.9),
    )
    assert _restored(call) == Restored(messages=(), event=_event(question="Hello?"))


def test_a_reply_that_was_not_begun_is_not_cancelled() -> None:
    stray = LoggedEvent(2, ev.DeadlinePassed(at=1.0), (act.CancelReply(turn=7),))
    assert restored([EventLog(HEADER, (stray,), is_torn=False)], NOW).messages == ()


def test_a_speculation_that_was_confirmed_is_an_answer() -> None:
    call = _greeted()
    call.play(
        ev.SpeechStarted(at=2.0, began_at=1.9),
        ev.SpeechStopped(at=3.1, ended_at=3.0),
        ev.TranscriptUpdated(at=3.2, text="A table for two."),
        ev.ReplyText(at=3.25, turn=2, text="Of course. And "),
    )
    call.until(3.6)
    call.answer("when?", at=3.7)
    call.play(ev.PlaybackFinished(at=5.0, turn=2))
    assert _restored(call).messages == (*ASKED, AgentMessage(text="Of course. And when?"))


# --- a disclosure -------------------------------------------------------------------------------------------------
def test_f47_a_disclosure_that_was_cut_is_said_again_as_a_whole_and_leaves_nothing_in_the_history() -> None:
    call = DisclosingCall()
    call.disclose()
    call.play(ev.PlaybackMarked(at=3.0, turn=1, heard_ms=2_900.0))
    found = _restored(call)
    assert found == Restored(messages=(), event=_event())
    again = DisclosingCall()
    again.resume(found)
    again.play(ev.PlaybackStarted(at=0.1, turn=1))
    assert _restored(call, again) == Restored(messages=(), event=_event())
    again.hear_all(1, at=5.0)
    again.play(ev.PlaybackStarted(at=5.1, turn=2), ev.PlaybackFinished(at=6.0, turn=2))
    disclosed = (AgentMessage(text=DISCLOSING.disclosure), *GREETED)
    assert _restored(call, again) == Restored(messages=disclosed, event=_event(is_disclosed=True))


def test_f47_what_was_disclosed_stays_disclosed_however_often_the_line_is_lost() -> None:
    call = DisclosingCall()
    call.disclose()
    call.hear_all(1, at=4.0)
    found = _restored(call)
    assert found.event == _event(is_disclosed=True, unheard="Hello.")
    again = DisclosingCall()
    again.resume(found)
    assert _restored(call, again).event == _event(is_disclosed=True, unheard="Hello.")


def test_f47_what_was_said_over_it_is_kept_through_every_loss() -> None:
    call = DisclosingCall()
    call.disclose()
    call.play(
        ev.SpeechStarted(at=1.0, began_at=0.9),
        ev.SpeechStopped(at=2.0, ended_at=1.9),
        ev.TranscriptFinal(at=2.2, text="Who is this?"),
    )
    found = _restored(call)
    assert found.event == _event(question="Who is this?")
    again = DisclosingCall()
    again.resume(found)
    assert _restored(call, again).event == _event(question="Who is this?")
    again.play(ev.PlaybackStarted(at=0.1, turn=1), ev.PlaybackFinished(at=5.0, turn=1))
    assert _restored(call, again).event == _event(question="Who is this?", is_disclosed=True)
    again.until(7.0)
    assert again.turn > 1
    assert _restored(call, again).event == _event(question="Who is this?", is_disclosed=True)


def test_f47_a_caller_who_was_speaking_over_it_is_listened_to_again() -> None:
    call = DisclosingCall()
    call.disclose()
    call.play(ev.SpeechStarted(at=1.0, began_at=0.9), ev.TranscriptUpdated(at=1.5, text="who is"))
    assert _restored(call).event == _event()


def test_f47_a_greeting_that_was_still_to_come_is_said_when_the_line_is_back() -> None:
    call = DisclosingCall()
    call.disclose()
    call.play(ev.SpeechStarted(at=3.8, began_at=3.7), ev.VoiceConfirmed(at=3.9, began_at=3.7))
    call.hear_all(1, at=4.0)
    assert _restored(call).event == _event(is_disclosed=True, unheard="Hello.")


def test_f49_a_server_that_stops_during_it_ends_the_call_when_the_line_is_back() -> None:
    call = DisclosingCall()
    call.disclose()
    call.play(ev.EndRequested(at=1.0, reason="shutdown"))
    found = _restored(call)
    assert found.event.hang_up
    assert not found.event.is_disclosed


# --- campaigns --------------------------------------------------------------------------------------------------
OPTING = msgspec.structs.replace(TALKING, hears_opt_out=True, on_machine="drop", machine_message="Call us. Thank you.")
WISH = "Take me off your list."


def _opting() -> ResumableCall:
    call = ResumableCall(OPTING)
    call.greet()
    call.say(WISH, at=3.0)
    return call


def test_an_opt_out_that_may_not_be_written_down_is_asked_for_again() -> None:
    before = _restored(_opting())
    assert before.event.opted_out == WISH
    again = ResumableCall(OPTING)
    again.resume(before)
    assert again.decided[-1][1] == (act.RecordOptOut(words=WISH, how="phrase"),)
    assert _restored(_opting(), again).event.opted_out == WISH


def test_one_that_is_written_down_is_confirmed_and_the_call_ends() -> None:
    call = _opting()
    call.play(ev.OptOutRecorded(at=3.5, is_committed=True), ev.PlaybackStarted(at=3.6, turn=call.turn))
    event = _restored(call).event
    assert (event.opted_out, event.hang_up) == ("", True)
    assert event.unheard.startswith("I have taken your number")


def test_a_message_that_was_cut_is_left_again_and_the_agent_hangs_up() -> None:
    call = ResumableCall(OPTING)
    call.greet()
    call.play(ev.AnsweredBy(at=2.0, answered_by="machine_end_beep"), ev.PlaybackStarted(at=2.1, turn=2))
    event = _restored(call).event
    assert (event.unheard, event.hang_up) == ("Call us. Thank you.", True)
