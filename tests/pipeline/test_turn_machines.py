"""Answering machines: nobody talks with one, it gets its message whole, and people are not taken for one."""

import msgspec
import pytest

from tests.pipeline.turn_world import LINES, Story
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.turn_settings import TurnSettings
from voice_agent.pipeline.turn_tables import Agent, Phase

MESSAGE = "This is the practice. Please call us back."
GREETING = "You have reached Mary. Please leave a message after the tone."
SETTINGS = TurnSettings(lines=LINES, on_machine="speak", machine_message=MESSAGE, awaits_verdict=True)
HUNG_UP = act.HangUp(reason="machine")


def story(**changes: object) -> Story:
    return Story(msgspec.structs.replace(SETTINGS, **changes))


def said(done: tuple[act.AnyAction, ...]) -> list[str]:
    return [action.text for action in done if isinstance(action, act.Speak)]


def verdict(told: Story, answered_by: str, at: float = 9.0) -> tuple[act.AnyAction, ...]:
    return told.play(ev.AnsweredBy(at=at, answered_by=answered_by))


def heard(told: Story, at: float) -> tuple[act.AnyAction, ...]:
    return told.play(ev.PlaybackStarted(at=at, turn=told.turn), ev.PlaybackFinished(at=at + 3, turn=told.turn))


@pytest.mark.parametrize("answered_by", ["machine_end_beep", "machine_end_silence", "machine_end_other"])
@pytest.mark.parametrize("on_machine", ["drop", "speak"])
def test_after_the_beep_the_message_is_said_whole_and_the_agent_hangs_up(answered_by: str, on_machine: str) -> None:
    told = story(on_machine=on_machine).greet()
    done = verdict(told, answered_by)
    assert done[0] == act.Speak(turn=told.turn, text=MESSAGE, is_line=True, is_message=True)
    told.say("beep", at=10.0)
    told.play(ev.VoiceConfirmed(at=10.1, began_at=10.0), ev.DigitPressed(at=10.2, digit="1"))
    assert said(told.until(11.0)) == []
    assert heard(told, 11.0) == (HUNG_UP,)


def test_what_has_to_be_disclosed_is_said_before_it() -> None:
    told = story(disclosure="It is a machine.")
    told.play(ev.CallStarted(at=0.0), ev.PlaybackStarted(at=0.1, turn=1))
    assert said(verdict(told, "machine_end_beep", 1.0)) == ["It is a machine.", MESSAGE]


def test_the_agent_stops_at_the_verdict_and_waits_for_the_end_of_the_greeting() -> None:
    told = story().speaking()
    done = verdict(told, "machine_start", 5.1)
    assert act.StopPlayback(turn=told.turn - 1) in done
    assert told.agent() is Agent.IDLE
    told.say("please leave your name", at=7.0)
    assert said(told.until(8.9)) == []
    told.play(ev.SpeechStarted(at=8.9, began_at=8.8), ev.SpeechStopped(at=10.1, ended_at=10.0))
    assert said(told.until(11.9)) == []
    assert said(told.until(12.1)) == [MESSAGE]


def test_a_second_verdict_tells_of_the_beep() -> None:
    told = story().greet()
    assert said(verdict(told, "machine_start", 3.0)) == []
    assert said(verdict(told, "machine_start", 3.5)) == []
    assert said(verdict(told, "machine_end_beep", 4.0)) == [MESSAGE]
    assert said(verdict(told, "machine_end_beep", 4.1)) == []


def test_a_greeting_that_never_ends_gets_the_message_in_the_end() -> None:
    told = story().greet()
    verdict(told, "machine_start", 3.0)
    assert said(told.until(47.9)) == []
    assert said(told.until(48.1)) == [MESSAGE]


@pytest.mark.parametrize("changes", [{"on_machine": "hang_up"}, {"machine_message": ""}])
def test_without_a_message_the_agent_hangs_up(changes: dict[str, str]) -> None:
    told = story(**changes).speaking()
    assert verdict(told, "machine_start", 5.1)[-1] == HUNG_UP


def test_a_fax_is_told_nothing() -> None:
    assert verdict(story().greet(), "fax")[-1] == HUNG_UP
    told = story().greet()
    verdict(told, "machine_start", 3.0)
    assert verdict(told, "fax", 4.0) == (HUNG_UP,)


@pytest.mark.parametrize("answered_by", ["human", "unknown"])
def test_a_person_hears_no_difference(answered_by: str) -> None:
    told = story().speaking()
    assert verdict(told, answered_by, 5.1) == ()
    assert told.agent() is Agent.SPEAKING


def test_where_nothing_is_to_be_done_at_machines_nothing_is() -> None:
    assert verdict(story(on_machine="continue").speaking(), "machine_end_beep", 5.1) == ()


def test_somebody_who_was_answered_twice_is_no_machine() -> None:
    told = story().speaking()
    told.play(ev.ReplyFinished(at=5.5, turn=told.turn), ev.PlaybackFinished(at=6.0, turn=told.turn))
    told.say("And on Monday?", at=8.0)
    told.until(9.5)
    assert verdict(told, "machine_end_beep", 9.6) == ()
    assert told.agent() is Agent.THINKING


def test_words_of_a_machine_are_not_answered_before_the_verdict() -> None:
    told = story().greet()
    done = [*told.say(GREETING, at=6.0), *told.until(9.0)]
    assert [action for action in done if isinstance(action, act.StartReply)] == []
    assert told.machine.phase is Phase.HOLDING
    assert said(verdict(told, "machine_end_beep", 9.5)) == [MESSAGE]


def test_they_are_answered_where_the_verdict_says_that_a_person_spoke_them() -> None:
    told = story().greet()
    told.say(GREETING, at=6.0)
    told.until(9.0)
    assert verdict(told, "human", 9.5) == (act.StartReply(turn=2, text=GREETING, confirmed=True),)
    assert told.deadline() is not None


@pytest.mark.parametrize("answered_by", ["unknown", "machine_start"])
def test_where_the_verdict_is_none_they_are_believed(answered_by: str) -> None:
    told = story(on_machine="hang_up").greet()
    told.say(GREETING, at=6.0)
    told.until(9.0)
    assert verdict(told, answered_by, 9.5) == (HUNG_UP,)


@pytest.mark.parametrize("changes", [{"awaits_verdict": False}, {"on_machine": "continue"}])
def test_without_a_verdict_to_come_they_are_words(changes: dict[str, object]) -> None:
    told = story(**changes).greet()
    done = [*told.say(GREETING, at=6.0), *told.until(9.0)]
    assert [action for action in done if isinstance(action, act.StartReply)] != []


def test_while_the_agent_holds_its_tongue_the_call_may_still_end() -> None:
    told = story().greet()
    verdict(told, "machine_start", 3.0)
    assert told.play(ev.EndRequested(at=4.0, reason="shutdown")) == (act.HangUp(reason="shutdown"),)
    told = story(duration_s=20.0).greet()
    verdict(told, "machine_start", 3.0)
    assert said(told.until(21.0)) == ["Goodbye."]
    told = story().greet()
    verdict(told, "machine_start", 3.0)
    told.play(ev.TranscriptUpdated(at=3.5, text="beep"), ev.CallEnded(at=4.0, reason="stopped"))
    assert told.machine.phase is Phase.ENDED


def test_a_voice_that_fails_at_a_machine_ends_the_call() -> None:
    told = story().greet()
    verdict(told, "machine_end_beep", 3.0)
    assert told.play(ev.SynthesisFailed(at=3.5, turn=told.turn, reason="x"))[-1] == HUNG_UP


def test_what_a_machine_says_opts_nobody_out() -> None:
    told = story(hears_opt_out=True).greet()
    verdict(told, "machine_end_beep", 3.0)
    told.play(ev.SpeechStarted(at=4, began_at=4), ev.TranscriptUpdated(at=4.5, text="To opt out: stop calling."))
    assert heard(told, 5.0) == (HUNG_UP,)
