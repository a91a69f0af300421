"""Callers who ask not to be called any more: it is written down, confirmed, and the call ends; in this order."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.turn_world import LINES, Story
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.turn_settings import TurnSettings
from voice_agent.pipeline.turn_tables import Phase

ASKED = "Please take me off your list."
SETTINGS = TurnSettings(lines=LINES.completed("en"), hears_opt_out=True)
LINE = SETTINGS.lines.opted_out
RECORD = act.RecordOptOut(words=ASKED, how="phrase")
RECORDED = ev.OptOutRecorded(at=9.0, is_committed=True)
HUNG_UP = act.HangUp(reason="opted_out")


def story(**changes: object) -> Story:
    return Story(msgspec.structs.replace(SETTINGS, **changes))


def confirmed(told: Story, at: float) -> list[act.AnyAction]:
    """It is written down at `at`, and the line that says so is heard."""
    done = list(told.play(ev.OptOutRecorded(at=at, is_committed=True)))
    assert [action for action in done if isinstance(action, act.HangUp)] == []
    return [
        *done,
        *told.play(ev.PlaybackStarted(at=at, turn=told.turn), ev.PlaybackFinished(at=at + 3, turn=told.turn)),
    ]


def test_it_is_written_down_first_then_confirmed_then_the_agent_hangs_up() -> None:
    told = story().greet()
    done = [*told.say(ASKED, at=4.0), *told.until(6.0)]
    assert [action for action in done if isinstance(action, act.StartReply)] == []
    assert done[-1] == RECORD
    turn = told.turn + 1
    assert confirmed(told, 6.2) == [
        act.Speak(turn=turn, text=LINE, is_line=True),
        act.FinishSpeaking(turn=turn),
        HUNG_UP,
    ]


def test_nobody_who_did_not_ask_the_agent_to_listen_for_it_is_opted_out() -> None:
    told = story(hears_opt_out=False).greet()
    done = [*told.say(ASKED, at=4.0), *told.until(6.0)]
    assert RECORD not in done
    assert any(isinstance(action, act.StartReply) for action in done)
    assert RECORD not in told.play(ev.CallEnded(at=7.0, reason="stopped"))


def test_whoever_says_it_into_the_agents_speech_is_heard() -> None:
    told = story().speaking()
    done = [
        *told.play(
            ev.SpeechStarted(at=5.1, began_at=5.0),
            ev.VoiceConfirmed(at=5.2, began_at=5.0),
            ev.PlaybackStopped(at=5.2, turn=told.turn, heard_ms=700.0, remaining_ms=900.0),
            ev.TranscriptUpdated(at=5.6, text=ASKED),
            ev.SpeechStopped(at=6.1, ended_at=6.0),
            ev.TranscriptFinal(at=6.3, text=ASKED),
        ),
        *told.until(8.0),
    ]
    assert RECORD in done


def test_whoever_says_it_and_hangs_up_is_heard_too() -> None:
    told = story().greet()
    told.play(ev.SpeechStarted(at=3.1, began_at=3.0), ev.TranscriptUpdated(at=3.6, text=ASKED))
    assert told.play(ev.CallEnded(at=3.7, reason="stopped"))[0] == RECORD


def test_what_the_final_transcript_alone_says_counts() -> None:
    told = story().greet()
    told.say("Please take me off your", at=4.0)
    done = told.until(6.0)
    assert any(isinstance(action, act.StartReply | act.ConfirmReply) for action in done)
    done = told.play(ev.TranscriptFinal(at=6.01, text=ASKED))
    assert [done[0], done[-1]] == [act.CancelReply(turn=told.turn - 1), RECORD]


def test_what_is_said_over_the_last_words_is_done_before_the_call_ends() -> None:
    told = story().greet()
    told.play(ev.EndRequested(at=3.0, reason="shutdown"), ev.PlaybackStarted(at=3.1, turn=2))
    told.play(ev.SpeechStarted(at=3.2, began_at=3.1), ev.TranscriptUpdated(at=4.0, text=ASKED))
    done = told.play(ev.PlaybackFinished(at=6.0, turn=2))
    assert done == (RECORD,)
    assert confirmed(told, 6.1)[-1] == HUNG_UP


def test_what_is_said_over_a_disclosure_waits_for_its_end() -> None:
    told = story(disclosure="It is recorded.")
    told.play(ev.CallStarted(at=0.0), ev.PlaybackStarted(at=0.1, turn=1))
    told.say(ASKED, at=1.0)
    told.play(ev.TranscriptFinal(at=1.3, text=ASKED))
    done = [*told.play(ev.PlaybackFinished(at=2.0, turn=1)), *told.until(4.0)]
    assert done == [RECORD]


@pytest.mark.parametrize("over", ["nothing", "greeting", "disclosure"])
def test_the_key_is_heard_a_second_after_it_whatever_sounds(over: str) -> None:
    told = story(disclosure="It is recorded." if over == "disclosure" else "")
    if over == "nothing":
        told.greet()
    else:
        told.play(ev.CallStarted(at=0.0), ev.PlaybackStarted(at=0.1, turn=1))
    done = [*told.play(ev.DigitPressed(at=3.0, digit="9")), *told.until(3.9)]
    assert [action for action in done if isinstance(action, act.RecordOptOut)] == []
    done = list(told.until(4.1))
    assert done[-1] == act.RecordOptOut(words="9", how="key")
    assert confirmed(told, 4.2)[-1] == HUNG_UP


def test_a_number_that_begins_with_it_is_a_number() -> None:
    told = story().greet()
    for n, digit in enumerate("915550001#"):
        told.play(ev.DigitPressed(at=3.0 + 0.3 * n, digit=digit))
    assert act.StartReply(turn=2, text="[keypad] 915550001#", confirmed=True) in told.last


def test_whoever_presses_it_over_the_last_words_is_opted_out() -> None:
    told = story().greet()
    told.play(ev.EndRequested(at=3.0, reason="shutdown"), ev.PlaybackStarted(at=3.1, turn=2))
    told.play(ev.DigitPressed(at=3.2, digit="9"))
    assert act.RecordOptOut(words="9", how="key") in told.until(5.0)


def test_without_it_the_key_is_a_key() -> None:
    told = story(hears_opt_out=False).greet()
    told.play(ev.DigitPressed(at=3.0, digit="9"))
    assert told.until(6.0)[0] == act.StartReply(turn=2, text="[keypad] 9", confirmed=True)


def test_the_model_may_understand_it_where_no_pattern_does() -> None:
    told = story(hears_opt_out=False).greet()
    told.say("I've had enough of you.", at=3.0)
    told.until(4.5)
    told.play(
        ev.ReplyToolCalled(at=4.6, turn=2, call_id="c", name="opt_out", arguments="{}"),
        ev.ReplyFinished(at=4.6, turn=2),
    )
    done = told.play(ev.ToolFinished(at=4.7, turn=2, call_id="c", result="", opt_out=True))
    assert done[-1] == act.RecordOptOut(words="I've had enough of you.", how="tool")
    assert confirmed(told, 4.8)[-1] == HUNG_UP


def test_it_is_confirmed_all_the_same_where_writing_it_down_takes_too_long() -> None:
    told = story().greet()
    told.say(ASKED, at=4.0)
    told.until(6.0)
    assert told.machine.phase is Phase.OPTING_OUT
    told.play(
        ev.DeadlinePassed(at=6.1), ev.TranscriptUpdated(at=6.5, text="Hello?"), ev.SpeechStarted(at=7, began_at=7)
    )
    assert told.last == ()
    assert act.Speak(turn=told.turn + 1, text=LINE, is_line=True) in told.until(13.0)


def test_a_line_that_was_lost_meanwhile_does_not_lose_it() -> None:
    told = story()
    assert told.play(ev.CallResumed(at=0.0, elapsed_s=9.0, opted_out=ASKED)) == (RECORD,)
    assert confirmed(told, 0.1)[-1] == HUNG_UP


def test_a_question_that_is_answered_again_may_be_one() -> None:
    assert story().play(ev.CallResumed(at=0.0, elapsed_s=9.0, question=ASKED)) == (RECORD,)


@given(st.lists(st.sampled_from(["speech", "words", "stop", "final", "key", "time", "tool", "verdict"]), max_size=12))
def test_once_asked_for_nothing_comes_before_it_is_written_down(kinds: list[str]) -> None:
    """Whatever happens between the request and its record: nothing is said, and nobody hangs up."""
    told = story(on_machine="drop", machine_message="Call us.").greet()
    told.say(ASKED, at=4.0)
    told.until(5.5)
    at = 5.5
    for kind in kinds:
        at += 0.03
        happens: dict[str, ev.AnyEvent] = {
            "speech": ev.SpeechStarted(at=at, began_at=at),
            "words": ev.TranscriptUpdated(at=at, text="no wait"),
            "stop": ev.SpeechStopped(at=at, ended_at=at),
            "final": ev.TranscriptFinal(at=at, text="I did not mean it"),
            "key": ev.DigitPressed(at=at, digit="1"),
            "time": ev.DeadlinePassed(at=at),
            "tool": ev.ToolFinished(at=at, turn=told.turn, call_id="c", result="", hang_up=True),
            "verdict": ev.AnsweredBy(at=at, answered_by="machine_end_beep"),
        }
        told.play(happens[kind])
        assert told.last == ()
    assert confirmed(told, at + 0.1)[-1] == HUNG_UP
