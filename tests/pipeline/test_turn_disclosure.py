"""The locked first utterance: nobody can talk over it, and nobody who tries goes unheard."""

import msgspec
import pytest

from tests.pipeline.turn_world import LINES, Story
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.turn import MOST_KEYS
from voice_agent.pipeline.turn_settings import TurnSettings
from voice_agent.pipeline.turn_tables import Agent, User

DISCLOSURE = "This is an automated call. It is recorded."
SETTINGS = TurnSettings(lines=LINES.completed("en"), disclosure=DISCLOSURE)
LOCKED = (
    act.Speak(turn=1, text=DISCLOSURE, is_line=True, is_locked=True),
    act.FinishSpeaking(turn=1),
)
GREETED = (act.Speak(turn=2, text="Hello.", is_line=True), act.FinishSpeaking(turn=2))
HEARD_AT = 4.0


class Disclosing(Story):
    """A call whose disclosure sounds."""

    def __init__(self, turn_settings: TurnSettings = SETTINGS) -> None:
        super().__init__(turn_settings)
        self.play(ev.CallStarted(at=0.0), ev.PlaybackStarted(at=0.1, turn=1))

    def talk_over(self, text: str, *, ending: float = 2.0) -> tuple[act.AnyAction, ...]:
        """The caller, a voice beyond doubt, says `text`; its final transcript is there."""
        began = ending - 1.0
        return self.play(
            ev.SpeechStarted(at=began + 0.06, began_at=began),
            ev.VoiceConfirmed(at=began + 0.2, began_at=began),
            ev.TranscriptUpdated(at=ending, text=text),
            ev.SpeechStopped(at=ending + 0.1, ended_at=ending),
            ev.TranscriptFinal(at=ending + 0.3, text=text),
        )

    def heard(self, at: float = HEARD_AT) -> tuple[act.AnyAction, ...]:
        """The disclosure is heard to its end."""
        return self.play(ev.PlaybackFinished(at=at, turn=1))


def _answers(text: str, turn: int = 2) -> act.StartReply:
    return act.StartReply(turn=turn, text=text, confirmed=True)


# --- what is said -------------------------------------------------------------------------------------------------
def test_the_disclosure_is_a_turn_of_its_own_and_the_greeting_follows_it() -> None:
    story = Story(SETTINGS)
    assert story.play(ev.CallStarted(at=0.0)) == LOCKED
    story.play(ev.PlaybackStarted(at=0.1, turn=1))
    assert story.play(ev.PlaybackFinished(at=4.0, turn=1)) == GREETED
    assert story.agent() is Agent.THINKING


def test_the_greeting_is_interrupted_as_any_other_line() -> None:
    story = Disclosing()
    story.heard()
    story.play(ev.PlaybackStarted(at=4.1, turn=2), ev.PlaybackMarked(at=4.6, turn=2, heard_ms=400.0))
    done = story.play(ev.SpeechStarted(at=4.8, began_at=4.7), ev.VoiceConfirmed(at=4.9, began_at=4.7))
    assert done == (act.StopPlayback(turn=2),)


def test_without_a_greeting_the_caller_speaks_first_once_it_is_disclosed() -> None:
    story = Disclosing(msgspec.structs.replace(SETTINGS, lines=msgspec.structs.replace(LINES, greeting="")))
    assert story.heard() == ()
    assert story.deadline() == HEARD_AT + SETTINGS.idle_s


# --- what is said over it -----------------------------------------------------------------------------------------
def test_nothing_the_caller_does_stops_it_and_what_they_said_is_answered_after_it() -> None:
    story = Disclosing()
    assert story.talk_over("What does it cost?") == (act.CommitTranscript(),)
    assert story.until(3.9) == ()
    assert story.heard() == (_answers("What does it cost?"),)
    assert story.machine.user is User.SILENT
    assert "Hello." not in [action.text for action in story.until(20.0) if isinstance(action, act.Speak)]


def test_a_voice_before_the_first_sound_of_it_does_not_take_it_back() -> None:
    story = Story(SETTINGS)
    story.play(ev.CallStarted(at=0.0))
    done = story.play(ev.SpeechStarted(at=0.1, began_at=0.0), ev.VoiceConfirmed(at=0.2, began_at=0.0))
    assert done == ()
    story.play(ev.PlaybackStarted(at=0.3, turn=1), ev.SpeechStopped(at=0.6, ended_at=0.5))
    story.play(ev.TranscriptFinal(at=0.9, text="Who is this?"))
    assert story.play(ev.PlaybackFinished(at=4.0, turn=1)) == (_answers("Who is this?"),)


def test_two_sentences_over_it_are_one_question() -> None:
    story = Disclosing()
    story.talk_over("Wait.", ending=1.5)
    story.talk_over("Who is this?", ending=3.0)
    assert story.heard() == (_answers("Wait. Who is this?"),)


@pytest.mark.parametrize("text", ["Hello?", "okay", "Yes?"])
def test_what_the_greeting_answers_is_answered_by_it(text: str) -> None:
    story = Disclosing()
    story.talk_over(text)
    assert story.heard() == GREETED
    story.play(ev.PlaybackStarted(at=4.1, turn=2), ev.PlaybackFinished(at=5.0, turn=2))
    assert story.deadline() == 5.0 + SETTINGS.idle_s


def test_a_cough_over_it_is_forgotten() -> None:
    story = Disclosing()
    story.play(ev.SpeechStarted(at=1.0, began_at=0.9), ev.SpeechStopped(at=1.3, ended_at=1.2))
    story.play(ev.TranscriptFinal(at=1.5, text=""))
    assert story.heard() == GREETED
    assert story.machine.user is User.SILENT


def test_a_noise_that_goes_on_does_not_hold_up_the_greeting() -> None:
    story = Disclosing()
    story.play(ev.SpeechStarted(at=3.0, began_at=2.9))
    assert story.heard() == GREETED
    assert story.machine.user is User.SPEAKING


def test_words_too_soft_for_voice_activity_are_kept_as_well() -> None:
    story = Disclosing()
    story.play(ev.TranscriptUpdated(at=2.0, text="what does it cost"))
    assert story.heard() == ()
    started = [action for action in story.until(6.0) if isinstance(action, act.StartReply)]
    assert started[0].text == "what does it cost"


# --- at its very end ----------------------------------------------------------------------------------------------
def _cut_in(story: Disclosing) -> None:
    """The caller begins to speak shortly before it ends."""
    story.play(ev.SpeechStarted(at=3.6, began_at=3.5), ev.VoiceConfirmed(at=3.8, began_at=3.5))


def test_whoever_is_speaking_at_its_end_is_not_talked_over() -> None:
    story = Disclosing()
    _cut_in(story)
    assert story.heard() == ()
    story.play(ev.TranscriptUpdated(at=4.4, text="I would like a table."))
    story.play(ev.SpeechStopped(at=4.6, ended_at=4.5))
    started = [action for action in story.until(6.0) if isinstance(action, act.StartReply)]
    assert started[0].text == "I would like a table."


def test_words_on_their_way_at_its_end_are_waited_for() -> None:
    story = Disclosing()
    _cut_in(story)
    story.play(ev.SpeechStopped(at=3.95, ended_at=3.9))
    assert story.heard() == ()
    done = story.play(ev.TranscriptFinal(at=4.2, text="Who is this?"), ev.DeadlinePassed(at=4.3))
    assert act.StartReply(turn=2, text="Who is this?", confirmed=False) in done
    assert act.ConfirmReply(turn=2) in done


def test_an_okay_across_its_end_is_followed_by_the_greeting_and_costs_no_speculation() -> None:
    story = Disclosing()
    _cut_in(story)
    story.heard()
    story.play(ev.SpeechStopped(at=4.2, ended_at=4.1), ev.TranscriptUpdated(at=4.25, text="okay"))
    done = story.until(6.0)
    assert [action for action in done if not isinstance(action, act.CommitTranscript)] == list(GREETED)


def test_a_voice_without_words_is_followed_by_the_greeting_and_not_asked_to_repeat() -> None:
    story = Disclosing()
    _cut_in(story)
    story.heard()
    story.play(ev.SpeechStopped(at=4.6, ended_at=4.5))
    done = story.until(6.5)
    assert [action for action in done if not isinstance(action, act.CommitTranscript)] == list(GREETED)


def test_a_voice_that_never_says_a_word_is_greeted_in_the_end() -> None:
    story = Disclosing()
    _cut_in(story)
    story.heard()
    assert story.until(40.0)[:2] == GREETED


def test_a_speculation_on_words_that_recognition_takes_back_makes_room_for_the_greeting() -> None:
    story = Disclosing()
    _cut_in(story)
    story.heard()
    story.play(ev.SpeechStopped(at=4.2, ended_at=4.1))
    started = story.play(ev.TranscriptUpdated(at=4.25, text="yes please"))
    assert started == (act.StartReply(turn=2, text="yes please", confirmed=False),)
    assert story.play(ev.TranscriptUpdated(at=4.28, text="yes")) == (act.CancelReply(turn=2),)
    assert act.Speak(turn=4, text="Hello.", is_line=True) in story.until(6.0)


def test_a_sound_whose_words_are_still_to_come_is_judged_over_the_greeting() -> None:
    def greeted() -> Disclosing:
        story = Disclosing()
        story.play(ev.SpeechStarted(at=3.8, began_at=3.7), ev.SpeechStopped(at=3.95, ended_at=3.9))
        assert story.heard() == GREETED
        story.play(ev.PlaybackStarted(at=4.05, turn=2))
        return story

    told = greeted()
    assert told.play(ev.TranscriptFinal(at=4.2, text="Who is this?"))[0] == act.StopPlayback(turn=2)
    nothing = greeted()
    assert nothing.until(5.0) == ()
    assert nothing.machine.user is User.SILENT


# --- keys ---------------------------------------------------------------------------------------------------------
def test_keys_pressed_over_it_are_a_turn_after_it() -> None:
    story = Disclosing()
    assert story.play(*(ev.DigitPressed(at=1.0, digit=digit) for digit in "42")) == ()
    assert story.heard() == ()
    assert story.play(ev.DigitPressed(at=4.5, digit="7")) == ()
    assert story.until(7.0)[0] == _answers("[keypad] 427")


def test_keys_that_were_ended_are_answered_at_its_end() -> None:
    story = Disclosing()
    story.talk_over("I was told to press")
    story.play(*(ev.DigitPressed(at=2.5, digit=digit) for digit in "42#"))
    assert story.heard() == (_answers("I was told to press [keypad] 42#"),)


def test_f35_a_storm_of_keys_over_it_is_cut() -> None:
    story = Disclosing()
    story.play(*(ev.DigitPressed(at=1.0, digit="5") for _ in range(MOST_KEYS + 9)), ev.DigitPressed(at=1.1, digit="#"))
    story.heard()
    assert story.until(9.0)[0] == _answers("[keypad] " + "5" * MOST_KEYS)


# --- what does end it ---------------------------------------------------------------------------------------------
CUT = (act.StopPlayback(turn=1), act.TrimHistory(turn=1), act.CancelReply(turn=1))


def test_hanging_up_works() -> None:
    assert Disclosing().play(ev.CallEnded(at=1.0, reason="stopped")) == CUT


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (ev.EndRequested(at=1.0, reason="shutdown"), SETTINGS.lines.closing),
        (ev.TranscriptionFailed(at=1.0, reason="ProviderRefused"), LINES.failure),
        (ev.SynthesisFailed(at=1.0, turn=1, reason="ProviderRefused"), LINES.failure),
        (ev.DeadlinePassed(at=1_800.0), LINES.goodbye),
    ],
)
def test_a_call_that_cannot_go_on_ends(event: ev.AnyEvent, line: str) -> None:
    story = Disclosing()
    if isinstance(event, ev.DeadlinePassed):
        story.play(*(ev.PlaybackMarked(at=at, turn=1, heard_ms=at) for at in range(1, 1_800, 10)))
    done = story.play(event)
    assert done[:3] == CUT
    said = [action for action in done if isinstance(action, act.Speak)]
    assert [action.text for action in said] == [line]
    story.play(ev.PlaybackStarted(at=1_801.0, turn=said[0].turn))
    assert isinstance(story.play(ev.PlaybackFinished(at=1_802.0, turn=said[0].turn))[0], act.HangUp)


def test_a_disclosure_that_nobody_gets_to_hear_ends_the_call() -> None:
    story = Disclosing()
    story.play(ev.PlaybackMarked(at=2.0, turn=1, heard_ms=1_000.0))
    assert story.until(13.9) == ()
    assert story.until(14.0) == (act.HangUp(reason="failed_provider"),)


# --- a line that is back ------------------------------------------------------------------------------------------
def _back(**what: object) -> Story:
    story = Story(SETTINGS)
    story.play(msgspec.convert({"event": "CallResumed", "at": 0.0, "elapsed_s": 9.0, **what}, ev.CallResumed))
    return story


def test_f47_what_was_not_heard_to_its_end_is_disclosed_again_as_a_whole_and_locked() -> None:
    story = _back()
    assert story.last == (act.Speak(turn=1, text=SETTINGS.lines.resumption, is_line=True), *LOCKED)
    story.play(ev.PlaybackStarted(at=0.1, turn=1))
    assert story.play(ev.SpeechStarted(at=1.0, began_at=0.9), ev.VoiceConfirmed(at=1.1, began_at=0.9)) == ()
    story.play(ev.SpeechStopped(at=1.4, ended_at=1.3), ev.TranscriptFinal(at=1.6, text="Yes?"))
    assert story.play(ev.PlaybackFinished(at=4.0, turn=1)) == GREETED


def test_f47_without_a_line_to_begin_with_it_is_disclosed_all_the_same() -> None:
    story = Story(msgspec.structs.replace(SETTINGS, lines=LINES))
    assert story.play(ev.CallResumed(at=0.0, elapsed_s=9.0)) == LOCKED


def test_f47_what_was_said_over_the_lost_disclosure_is_answered_after_the_new_one() -> None:
    story = _back(question="What does it cost?")
    assert LOCKED[0] in story.last
    story.play(ev.PlaybackStarted(at=0.1, turn=1))
    assert story.play(ev.PlaybackFinished(at=4.0, turn=1)) == ()
    started = [action for action in story.until(6.0) if isinstance(action, act.StartReply)]
    assert started[0].text == "What does it cost?"


def test_f47_what_was_disclosed_once_is_not_disclosed_again() -> None:
    assert _back(is_disclosed=True).last[0] == act.Speak(turn=1, text=SETTINGS.lines.resumption, is_line=True)
    asked = _back(is_disclosed=True, question="Why?")
    assert asked.last[0] == _answers("Why?", turn=1)


def test_f47_a_call_that_was_ending_goes_on_to_end() -> None:
    story = _back(hang_up=True, unheard="Goodbye then.")
    assert LOCKED[0] not in story.last
    story.play(ev.PlaybackStarted(at=0.1, turn=1))
    assert story.play(ev.PlaybackFinished(at=2.0, turn=1)) == (act.HangUp(reason="agent"),)
