"""The turn machine: every pair of states with every event, then the rules told as calls."""

from collections.abc import Callable

import msgspec
import pytest

from tests.pipeline.turn_world import LINES, Story, settings_for_tests
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.turn import MOST_KEYS
from voice_agent.pipeline.turn_settings import Lines, TurnSettings
from voice_agent.pipeline.turn_tables import DISPATCH, USER_TABLE, Agent, Phase, User

PRICE = "Of course. It costs fifty euros. Anything else I can do?"


def _speculating() -> Story:
    story = Story().greet()
    story.say("What does it cost?", at=3.0)
    assert story.machine.agent is Agent.SPECULATING
    return story


def _thinking() -> Story:
    story = _speculating()
    story.until(4.0)
    assert story.machine.agent is Agent.THINKING
    return story


def _stopped() -> Story:
    story = Story().speaking()
    story.play(
        ev.SpeechStarted(at=5.06, began_at=5.0),
        ev.VoiceConfirmed(at=5.2, began_at=5.0),
        ev.PlaybackStopped(at=5.2, turn=story.turn, heard_ms=600.0, remaining_ms=2_000.0),
    )
    assert story.machine.agent is Agent.STOPPED
    return story


AGENTS: dict[Agent, Callable[[], Story]] = {
    Agent.IDLE: lambda: Story().greet(),
    Agent.SPECULATING: _speculating,
    Agent.THINKING: _thinking,
    Agent.SPEAKING: lambda: Story().speaking(),
    Agent.STOPPED: _stopped,
}


def _sample_events(turn: int) -> tuple[ev.AnyEvent, ...]:
    at = 6.0
    return (
        ev.CallStarted(at=at),
        ev.SpeechStarted(at=at, began_at=at - 0.06),
        ev.VoiceConfirmed(at=at, began_at=at - 0.18),
        ev.SpeechStopped(at=at, ended_at=at - 0.1),
        ev.TranscriptUpdated(at=at, text="And tomorrow morning?"),
        ev.TranscriptFinal(at=at, text="And tomorrow morning?"),
        ev.TranscriptionFailed(at=at, reason="ProviderRefused"),
        ev.ReplyText(at=at, turn=turn, text="More. "),
        ev.ReplyToolCalled(at=at, turn=turn, call_id="c1", name="end_call", arguments="{}"),
        ev.ReplyFinished(at=at, turn=turn),
        ev.ReplyFailed(at=at, turn=turn, reason="ProviderUnavailable"),
        ev.ToolFinished(at=at, turn=turn, call_id="c1", result="done"),
        ev.SynthesisStarted(at=at, turn=turn),
        ev.SynthesisFailed(at=at, turn=turn, reason="ProviderUnavailable"),
        ev.PlaybackStarted(at=at, turn=turn),
        ev.PlaybackMarked(at=at, turn=turn, heard_ms=700.0),
        ev.PlaybackStopped(at=at, turn=turn, heard_ms=700.0, remaining_ms=10.0),
        ev.PlaybackFinished(at=at, turn=turn),
        ev.DigitPressed(at=at, digit="5"),
        ev.CallResumed(at=at, elapsed_s=9.0, question="Why?"),
        ev.EndRequested(at=at, reason="shutdown"),
    )


@pytest.mark.parametrize("index", range(len(_sample_events(0))), ids=[type(e).__name__ for e in _sample_events(0)])
@pytest.mark.parametrize("user", User)
@pytest.mark.parametrize("agent", Agent)
def test_an_event_without_a_rule_changes_nothing(agent: Agent, user: User, index: int) -> None:
    story = AGENTS[agent]()
    machine = story.machine
    machine.user = user
    event = _sample_events(story.turn)[index]
    moved = USER_TABLE.get((user, type(event)), user)
    before = (machine.user, machine.agent, machine.phase, machine.turn, machine.deadline)
    actions = story.play(event)
    stays = isinstance(event, ev.SpeechStopped) and moved is user
    if stays or (type(event), moved, agent) not in DISPATCH:
        assert actions == ()
        assert machine.user is moved
        assert (moved, *before[1:]) == (machine.user, machine.agent, machine.phase, machine.turn, machine.deadline)
    else:
        assert machine.phase in (Phase.ACTIVE, Phase.ENDING)
        assert machine.turn >= before[3]


@pytest.mark.parametrize("agent", Agent)
def test_an_event_of_another_turn_changes_nothing(agent: Agent) -> None:
    story = AGENTS[agent]()
    state = (story.machine.user, story.machine.agent, story.machine.turn, story.machine.deadline)
    stale = [event for event in _sample_events(story.turn - 1) if hasattr(event, "turn")]
    assert story.play(*stale) == ()
    assert state == (story.machine.user, story.machine.agent, story.machine.turn, story.machine.deadline)


# --- the beginning and the end ----------------------------------------------------------------------------------
def test_the_greeting_is_said_at_once() -> None:
    story = Story()
    assert story.play(ev.CallStarted(at=0.0)) == (
        act.Speak(turn=1, text="Hello.", is_line=True),
        act.FinishSpeaking(turn=1),
    )


def test_without_a_greeting_the_caller_speaks_first_and_silence_is_prompted() -> None:
    lines = Lines(
        greeting="", idle_prompts=("Hello?",), goodbye="", filler="", not_understood="", apology="", failure=""
    )
    story = Story(TurnSettings(lines=lines))
    assert story.play(ev.CallStarted(at=0.0)) == ()
    assert story.until(8.0)[0] == act.Speak(turn=1, text="Hello?", is_line=True)


def test_nothing_happens_before_the_call_and_it_starts_once() -> None:
    story = Story()
    assert story.play(ev.SpeechStarted(at=0.0, began_at=0.0), ev.DeadlinePassed(at=5.0)) == ()
    story.play(ev.CallStarted(at=0.0))
    assert story.play(ev.CallStarted(at=0.1)) == ()


@pytest.mark.parametrize("agent", Agent)
def test_the_caller_may_hang_up_at_any_moment(agent: Agent) -> None:
    story = AGENTS[agent]()
    turn = story.turn
    actions = story.play(ev.CallEnded(at=7.0, reason="stopped"))
    cancelled = act.CancelReply(turn=turn)
    expected: dict[Agent, tuple[act.AnyAction, ...]] = {
        Agent.IDLE: (),
        Agent.SPECULATING: (cancelled,),
        Agent.THINKING: (cancelled,),
        Agent.SPEAKING: (act.StopPlayback(turn=turn), act.TrimHistory(turn=turn), cancelled),
        Agent.STOPPED: (act.TrimHistory(turn=turn), cancelled),
    }
    assert actions == expected[agent]
    assert story.play(*_sample_events(turn), ev.DeadlinePassed(at=99.0), ev.CallEnded(at=100.0, reason="x")) == ()


# --- taking the turn --------------------------------------------------------------------------------------------
def test_a_reply_is_prepared_behind_the_endpoint_and_confirmed_on_the_same_words() -> None:
    story = Story().greet()
    assert story.say("What does it cost?", at=3.0) == (
        act.StartReply(turn=2, text="What does it cost?", confirmed=False),
    )
    assert story.until(3.2) == (act.CommitTranscript(),)
    first = story.play(ev.ReplyText(at=3.25, turn=2, text="Of course. It costs "))
    assert first == (act.Speak(turn=2, text="Of course. "),)
    held = story.play(ev.ReplyText(at=3.26, turn=2, text="fifty euros. And that is all. "))
    assert held == ()
    done = story.play(ev.TranscriptFinal(at=3.3, text="What does it cost?"))
    assert done[0] == act.ConfirmReply(turn=2)
    assert "".join(action.text for action in done[1:] if isinstance(action, act.Speak)).startswith("It costs fifty")
    assert story.machine.user is User.SILENT


def test_the_endpoint_does_not_wait_for_a_final_that_does_not_come() -> None:
    story = _speculating()
    done = story.until(3.6)
    assert act.ConfirmReply(turn=2) in done
    assert story.machine.agent is Agent.THINKING


def test_a_late_final_with_other_words_revises_the_history() -> None:
    story = _speculating()
    story.until(3.6)
    assert story.play(ev.TranscriptUpdated(at=3.62, text="What does it cast?")) == ()
    assert story.play(ev.TranscriptFinal(at=3.7, text="What does he cost?")) == (
        act.ReviseHistory(turn=2, text="What does he cost?"),
    )


def test_a_late_final_with_the_same_words_changes_nothing() -> None:
    story = _speculating()
    story.until(3.6)
    assert story.play(ev.TranscriptFinal(at=3.7, text="what does it cost")) == ()


def test_a_final_that_never_comes_does_not_swallow_the_next_turn() -> None:
    story = _speculating()
    story.until(3.6)
    story.answer("Fifty euros.", at=3.7)
    story.play(ev.PlaybackFinished(at=5.0, turn=2))
    story.say("Thank you, goodbye.", at=8.0)
    assert story.machine.agent is Agent.SPECULATING


def test_other_words_withdraw_the_speculation() -> None:
    story = _speculating()
    done = story.play(ev.TranscriptUpdated(at=3.18, text="What does it cost to park?"))
    assert done == (
        act.CancelReply(turn=2),
        act.StartReply(turn=4, text="What does it cost to park?", confirmed=False),
    )


def test_speech_that_goes_on_keeps_a_speculation_until_the_words_change() -> None:
    story = _speculating()
    assert story.play(ev.SpeechStarted(at=3.2, began_at=3.15)) == ()
    assert story.play(ev.TranscriptUpdated(at=3.3, text="What does it cost?")) == ()
    assert story.play(ev.TranscriptUpdated(at=3.4, text="What does it cost to")) == (act.CancelReply(turn=2),)
    assert story.machine.agent is Agent.IDLE


def test_speculations_of_one_utterance_are_bounded() -> None:
    story = Story().greet()
    started = [*story.say("What one?", at=3.0)]
    for number in range(10):
        started += story.play(ev.TranscriptUpdated(at=3.16 + number / 1000, text=f"What is number {number} o'clock?"))
    assert sum(isinstance(action, act.StartReply) for action in started) == story.machine.settings.speculation_limit


def test_no_speculation_on_words_that_are_clearly_unfinished() -> None:
    story = Story().greet()
    assert story.say("My name is", at=3.0) == ()
    assert story.until(3.3) == (act.CommitTranscript(),)


def test_unfinished_words_are_waited_for() -> None:
    story = Story().greet()
    story.say("I would like to come and", at=3.0)
    story.play(ev.TranscriptFinal(at=3.3, text="I would like to come and"))
    story.until(3.9)
    assert story.machine.user is User.PAUSED
    story.until(4.5)
    assert story.machine.agent is Agent.THINKING


def test_words_of_a_pause_are_joined_with_those_after_it() -> None:
    story = Story().greet()
    story.say("I would like to come and", at=3.0)
    story.until(3.2)
    story.play(ev.TranscriptFinal(at=3.3, text="I would like to come and"))
    story.say("see you tomorrow.", at=5.0)
    story.play(ev.TranscriptFinal(at=5.21, text="see you tomorrow."))
    assert story.until(5.6)
    started = act.StartReply(turn=2, text="I would like to come and see you tomorrow.", confirmed=False)
    assert story.machine.turn == started.turn
    assert story.machine.agent is Agent.THINKING


def test_an_empty_final_keeps_the_interim_words() -> None:
    story = _speculating()
    story.until(3.2)
    assert act.ConfirmReply(turn=2) in story.play(ev.TranscriptFinal(at=3.3, text=""))


def test_words_without_voice_activity_are_a_turn() -> None:
    story = Story().greet()
    story.play(ev.TranscriptUpdated(at=4.0, text="Can you hear me?"))
    assert story.agent() is Agent.SPECULATING
    story.until(5.0)
    assert story.agent() is Agent.THINKING


def test_noise_that_goes_on_does_not_keep_the_turn_open() -> None:
    story = Story().greet()
    story.play(ev.SpeechStarted(at=3.0, began_at=2.9), ev.TranscriptUpdated(at=4.0, text="What does it cost?"))
    done = story.until(6.5)
    assert act.CommitTranscript() in done
    assert story.machine.agent is Agent.THINKING


def test_a_stale_timer_is_void_once_the_turn_is_over() -> None:
    story = Story().greet()
    story.play(ev.SpeechStarted(at=3.0, began_at=2.9), ev.TranscriptUpdated(at=3.2, text="What does it cost?"))
    story.play(ev.SpeechStopped(at=3.4, ended_at=3.3))
    story.until(4.2)
    turn = story.turn
    assert story.until(5.0) == ()
    assert story.turn == turn


def test_words_that_recognition_takes_back_are_no_turn() -> None:
    story = _speculating()
    assert story.play(ev.TranscriptUpdated(at=3.18, text="")) == ()
    assert act.CancelReply(turn=2) in story.until(5.0)
    assert (story.machine.user, story.agent()) == (User.SILENT, Agent.IDLE)
    assert story.deadline() == pytest.approx(4.5 + story.machine.settings.idle_s)


def test_a_mumble_is_prompted_for_where_there_is_no_line_for_it() -> None:
    story = Story(TurnSettings(lines=msgspec.structs.replace(LINES, not_understood=""))).greet()
    story.play(ev.SpeechStarted(at=3.0, began_at=2.9), ev.VoiceConfirmed(at=3.1, began_at=2.9))
    story.play(ev.SpeechStopped(at=3.7, ended_at=3.6))
    said = [action.text for action in story.until(14.0) if isinstance(action, act.Speak)]
    assert said == ["Are you there?"]


def test_a_voice_without_words_is_asked_again_once() -> None:
    story = Story().greet()

    def mumble(at: float) -> tuple[act.AnyAction, ...]:
        story.play(
            ev.SpeechStarted(at=at, began_at=at - 0.06),
            ev.VoiceConfirmed(at=at + 0.1, began_at=at - 0.06),
            ev.SpeechStopped(at=at + 0.7, ended_at=at + 0.6),
        )
        return story.until(at + 2.5)

    assert act.Speak(turn=2, text=LINES.not_understood, is_line=True) in mumble(3.0)
    story.play(ev.PlaybackStarted(at=5.6, turn=2), ev.PlaybackFinished(at=6.5, turn=2))
    assert mumble(7.0) == (act.CommitTranscript(),)
    assert story.machine.agent is Agent.IDLE
    assert story.machine.deadline is not None


# --- tools ------------------------------------------------------------------------------------------------------
def _tool(story: Story, name: str, at: float) -> ev.ReplyToolCalled:
    return ev.ReplyToolCalled(at=at, turn=story.turn, call_id="c1", name=name, arguments="{}")


def test_no_tool_runs_before_the_turn_is_confirmed() -> None:
    story = _speculating()
    assert story.play(_tool(story, "book", 3.16), ev.ReplyFinished(at=3.17, turn=2)) == ()
    done = story.until(3.6)
    assert done[-2:] == (
        act.ConfirmReply(turn=2),
        act.RunTool(turn=2, call_id="c1", name="book", arguments="{}"),
    )


def test_the_model_goes_on_when_its_tools_have_returned() -> None:
    story = _thinking()
    story.play(
        ev.ReplyText(at=4.1, turn=2, text="Let me look. "),
        _tool(story, "look", 4.1),
        ev.ReplyFinished(at=4.1, turn=2),
        ev.PlaybackStarted(at=4.2, turn=2),
    )
    result = ev.ToolFinished(at=4.5, turn=2, call_id="c1", result="free")
    assert story.play(result) == (act.ContinueReply(turn=2),)
    assert story.play(result) == ()
    more = story.play(ev.ReplyText(at=4.6, turn=2, text="Friday is free."), ev.ReplyFinished(at=4.7, turn=2))
    assert more == (act.Speak(turn=2, text="Friday is free."), act.FinishSpeaking(turn=2))


def test_a_model_that_calls_tools_for_ever_is_stopped() -> None:
    story = _thinking()
    rounds = 0
    while story.machine.agent is Agent.THINKING and rounds < 20:
        done = story.play(_tool(story, "look", 4.1), ev.ReplyFinished(at=4.1, turn=story.turn))
        if not any(isinstance(action, act.RunTool) for action in done):
            break
        rounds += 1
        story.play(ev.ToolFinished(at=4.2, turn=story.turn, call_id="c1", result="again"))
    assert rounds == story.machine.settings.tool_rounds
    assert act.Speak(turn=story.turn, text=LINES.apology, is_line=True) in done


def test_the_agent_hangs_up_only_after_its_goodbye_was_heard() -> None:
    story = _thinking()
    story.play(ev.ReplyText(at=4.1, turn=2, text="Goodbye then."), _tool(story, "end_call", 4.1))
    story.play(ev.ReplyFinished(at=4.1, turn=2), ev.PlaybackStarted(at=4.2, turn=2))
    done = story.play(ev.ToolFinished(at=4.3, turn=2, call_id="c1", result="ok", hang_up=True))
    assert done == (act.FinishSpeaking(turn=2),)
    assert story.play(ev.PlaybackFinished(at=6.0, turn=2)) == (act.HangUp(reason="agent"),)
    assert story.machine.phase is Phase.ENDING
    assert story.machine.deadline is None


def test_a_wordless_end_of_call_gets_the_goodbye_line() -> None:
    story = _thinking()
    story.play(_tool(story, "end_call", 4.1), ev.ReplyFinished(at=4.1, turn=2))
    done = story.play(ev.ToolFinished(at=4.3, turn=2, call_id="c1", result="ok", hang_up=True))
    assert done == (act.Speak(turn=2, text="Goodbye.", is_line=True), act.FinishSpeaking(turn=2))


def test_a_goodbye_that_is_never_heard_does_not_keep_the_call() -> None:
    story = _thinking()
    story.play(_tool(story, "end_call", 4.1), ev.ReplyFinished(at=4.1, turn=2))
    story.play(ev.ToolFinished(at=4.3, turn=2, call_id="c1", result="ok", hang_up=True))
    assert act.HangUp(reason="agent") in story.until(30.0)


def test_a_long_goodbye_is_not_cut_while_it_is_heard() -> None:
    story = _thinking()
    story.play(ev.ReplyText(at=4.1, turn=2, text="Goodbye then."), _tool(story, "end_call", 4.1))
    story.play(ev.ReplyFinished(at=4.1, turn=2), ev.PlaybackStarted(at=4.2, turn=2))
    story.play(ev.ToolFinished(at=4.3, turn=2, call_id="c1", result="ok", hang_up=True))
    story.play(ev.PlaybackMarked(at=16.0, turn=2, heard_ms=11_000.0))
    assert story.until(20.0) == ()
    assert story.until(29.0) == (act.HangUp(reason="agent"),)


def test_a_transfer_follows_the_last_words_or_comes_at_once_without_any() -> None:
    target = "+15550001111"
    story = _thinking()
    story.play(ev.ReplyText(at=4.1, turn=2, text="I connect you."), _tool(story, "transfer_call", 4.1))
    story.play(ev.ReplyFinished(at=4.1, turn=2), ev.PlaybackStarted(at=4.2, turn=2))
    story.play(ev.ToolFinished(at=4.3, turn=2, call_id="c1", result="ok", transfer_to=target))
    assert story.play(ev.PlaybackFinished(at=6.0, turn=2)) == (act.TransferCall(target=target),)

    silent = _thinking()
    silent.play(_tool(silent, "transfer_call", 4.1), ev.ReplyFinished(at=4.1, turn=2))
    result = ev.ToolFinished(at=4.3, turn=2, call_id="c1", result="ok", transfer_to=target)
    assert silent.play(result) == (act.TransferCall(target=target),)


def test_nobody_is_handed_over_without_a_word() -> None:
    story = Story(TurnSettings(lines=RESUMED)).greet()
    story.say("Can I talk to somebody?", at=3.0)
    story.until(4.0)
    story.play(_tool(story, "transfer_call", 4.1), ev.ReplyFinished(at=4.1, turn=2))
    done = story.play(ev.ToolFinished(at=4.3, turn=2, call_id="c1", result="ok", transfer_to="+15550001111"))
    assert done == (act.Speak(turn=2, text=RESUMED.connecting, is_line=True), act.FinishSpeaking(turn=2))
    story.play(ev.PlaybackStarted(at=4.4, turn=2))
    assert story.play(ev.PlaybackFinished(at=6.0, turn=2)) == (act.TransferCall(target="+15550001111"),)


def test_keys_of_a_tool_are_played_and_the_model_goes_on() -> None:
    story = _thinking()
    story.play(_tool(story, "send_dtmf", 4.1), ev.ReplyFinished(at=4.1, turn=2))
    result = ev.ToolFinished(at=4.3, turn=2, call_id="c1", result="ok", digits="12#")
    assert story.play(result) == (act.SendDigits(turn=2, digits="12#"), act.ContinueReply(turn=2))
    assert story.play(ev.ReplyFinished(at=4.5, turn=2)) == (act.FinishSpeaking(turn=2),)


def test_two_tools_are_waited_for_and_the_first_ending_wins() -> None:
    story = _thinking()
    second = ev.ReplyToolCalled(at=4.1, turn=2, call_id="c2", name="end_call", arguments="{}")
    story.play(ev.ReplyText(at=4.1, turn=2, text="Bye."), _tool(story, "transfer_call", 4.1), second)
    story.play(ev.ReplyFinished(at=4.1, turn=2))
    assert story.play(ev.ToolFinished(at=4.2, turn=2, call_id="c1", result="ok", transfer_to="+15550001111")) == ()
    story.play(ev.ToolFinished(at=4.3, turn=2, call_id="c2", result="ok", hang_up=True))
    story.play(ev.PlaybackStarted(at=4.4, turn=2))
    assert story.play(ev.PlaybackFinished(at=5.0, turn=2)) == (act.TransferCall(target="+15550001111"),)


# --- interruptions ----------------------------------------------------------------------------------------------
def test_a_voice_over_the_agent_stops_it_and_words_confirm() -> None:
    story = Story().speaking()
    story.play(ev.SpeechStarted(at=5.06, began_at=5.0))
    assert story.play(ev.VoiceConfirmed(at=5.18, began_at=5.0)) == (act.StopPlayback(turn=2),)
    story.play(ev.PlaybackStopped(at=5.18, turn=2, heard_ms=620.0, remaining_ms=2_000.0))
    done = story.play(ev.TranscriptUpdated(at=5.6, text="No, not today."))
    assert done == (act.TrimHistory(turn=2), act.CancelReply(turn=2))
    assert (story.machine.user, story.machine.agent, story.turn) == (User.SPEAKING, Agent.IDLE, 3)
    story.play(ev.SpeechStopped(at=6.1, ended_at=6.0))
    assert act.StartReply(turn=4, text="No, not today.", confirmed=False) in story.until(6.3)


def test_a_cough_does_not_stop_the_agent() -> None:
    story = Story().speaking()
    done = story.play(ev.SpeechStarted(at=5.06, began_at=5.0), ev.SpeechStopped(at=5.5, ended_at=5.4))
    assert done == (act.CommitTranscript(),)
    assert story.play(ev.TranscriptFinal(at=5.6, text="")) == ()
    assert (story.machine.user, story.machine.agent) == (User.SILENT, Agent.SPEAKING)


def test_a_cough_without_any_transcript_is_forgotten() -> None:
    story = Story().speaking()
    story.play(ev.SpeechStarted(at=5.06, began_at=5.0), ev.SpeechStopped(at=5.5, ended_at=5.4))
    assert story.until(6.1) == ()
    assert (story.machine.user, story.machine.agent) == (User.SILENT, Agent.SPEAKING)


@pytest.mark.parametrize("words", ["mhm", "okay", "", "yeah right"])
def test_a_backchannel_that_stopped_the_agent_is_resumed(words: str) -> None:
    story = _stopped()
    assert story.play(ev.SpeechStopped(at=5.5, ended_at=5.4)) == (act.CommitTranscript(),)
    assert story.play(ev.TranscriptFinal(at=5.6, text=words)) == (act.ResumePlayback(turn=2),)
    assert (story.machine.user, story.machine.agent) == (User.SILENT, Agent.SPEAKING)


def test_a_sound_without_words_is_resumed_by_time() -> None:
    story = _stopped()
    story.play(ev.SpeechStopped(at=5.5, ended_at=5.4))
    assert story.until(6.0) == (act.ResumePlayback(turn=2),)


def test_a_voice_that_brings_no_words_keeps_the_agent_silent_only_so_long() -> None:
    story = _stopped()
    assert story.until(9.0) == ()
    assert story.until(9.2) == (act.ResumePlayback(turn=2),)


def test_yes_over_the_last_words_of_a_question_is_an_answer() -> None:
    story = Story().speaking()
    story.play(ev.SpeechStarted(at=5.06, began_at=5.0), ev.VoiceConfirmed(at=5.2, began_at=5.0))
    story.play(ev.PlaybackStopped(at=5.2, turn=2, heard_ms=3_000.0, remaining_ms=300.0))
    story.play(ev.SpeechStopped(at=5.5, ended_at=5.4))
    done = story.play(ev.TranscriptFinal(at=5.6, text="Yes."))
    assert done[:2] == (act.TrimHistory(turn=2), act.CancelReply(turn=2))
    assert act.StartReply(turn=4, text="Yes.", confirmed=False) in (*done, *story.until(6.2))


def test_words_interrupt_even_where_no_voice_was_confirmed() -> None:
    story = Story().speaking()
    story.play(ev.SpeechStarted(at=5.06, began_at=5.0))
    assert story.play(ev.TranscriptUpdated(at=5.3, text="no")) == ()
    done = story.play(ev.TranscriptUpdated(at=5.5, text="no I meant"))
    assert done[:3] == (act.StopPlayback(turn=2), act.TrimHistory(turn=2), act.CancelReply(turn=2))


def test_a_recogniser_that_hears_words_in_music_is_not_believed_alone() -> None:
    story = Story(TurnSettings(lines=LINES, interrupting_words=None)).speaking()
    story.play(ev.SpeechStarted(at=5.06, began_at=5.0), ev.TranscriptUpdated(at=5.3, text="nine nine are you"))
    story.play(ev.SpeechStopped(at=5.5, ended_at=5.4))
    assert story.play(ev.TranscriptFinal(at=5.6, text="nine nine are you")) == ()
    assert (story.machine.user, story.machine.agent) == (User.SILENT, Agent.SPEAKING)


def test_words_without_any_voice_activity_interrupt_and_are_a_turn() -> None:
    story = Story().speaking()
    done = story.play(ev.TranscriptFinal(at=5.5, text="no I meant tomorrow"))
    assert act.StopPlayback(turn=2) in done
    assert act.StartReply(turn=4, text="no I meant tomorrow", confirmed=False) in (*done, *story.until(6.0))


def test_a_reply_hardly_heard_is_taken_back_with_its_question() -> None:
    story = Story().speaking()
    story.play(ev.SpeechStarted(at=4.66, began_at=4.6), ev.VoiceConfirmed(at=4.78, began_at=4.6))
    story.play(ev.PlaybackStopped(at=4.78, turn=2, heard_ms=150.0, remaining_ms=3_000.0))
    assert story.play(ev.TranscriptUpdated(at=5.2, text="for two people")) == (act.CancelReply(turn=2),)
    story.play(ev.SpeechStopped(at=5.6, ended_at=5.5))
    started = [action for action in story.until(5.8) if isinstance(action, act.StartReply)]
    assert [action.text for action in started] == ["What does it cost? for two people"]


def test_a_voice_before_the_reply_is_heard_joins_the_turn() -> None:
    story = _thinking()
    story.play(ev.SpeechStarted(at=4.06, began_at=4.0))
    assert story.play(ev.VoiceConfirmed(at=4.2, began_at=4.0)) == (act.CancelReply(turn=2),)
    assert (story.machine.user, story.machine.agent) == (User.SPEAKING, Agent.IDLE)


def test_a_reply_whose_tools_have_run_is_kept_when_the_caller_goes_on() -> None:
    story = _thinking()
    story.play(_tool(story, "book", 4.0), ev.ReplyFinished(at=4.0, turn=2), ev.SpeechStarted(at=4.06, began_at=4.0))
    done = story.play(ev.VoiceConfirmed(at=4.2, began_at=4.0))
    assert done == (act.TrimHistory(turn=2), act.CancelReply(turn=2))


def test_a_sound_and_then_a_voice_before_the_greeting_are_heard_out() -> None:
    """The verdict on the sound must not fall on what is said to an agent that has given way."""
    story = Story()
    story.play(ev.CallStarted(at=0.0), ev.SpeechStarted(at=0.06, began_at=0.0), ev.SpeechStopped(at=0.3, ended_at=0.2))
    assert story.play(ev.VoiceConfirmed(at=0.4, began_at=0.3)) == (act.CancelReply(turn=1),)
    story.play(ev.SpeechStopped(at=0.7, ended_at=0.6))
    story.until(1.0)
    assert story.play(ev.TranscriptUpdated(at=1.0, text="Good morning"))
    story.until(2.0)
    assert story.agent() is Agent.THINKING


def test_a_voice_over_the_greeting_before_it_sounds_withdraws_it() -> None:
    story = Story()
    story.play(ev.CallStarted(at=0.0), ev.SpeechStarted(at=0.06, began_at=0.0))
    assert story.play(ev.VoiceConfirmed(at=0.2, began_at=0.0)) == (act.CancelReply(turn=1),)


def test_the_end_of_playback_leaves_a_pause_to_be_judged() -> None:
    story = Story().speaking()
    story.play(ev.SpeechStarted(at=5.06, began_at=5.0), ev.SpeechStopped(at=5.5, ended_at=5.4))
    story.play(ev.PlaybackFinished(at=5.52, turn=2))
    story.play(ev.TranscriptFinal(at=5.6, text="Yes."))
    story.until(6.0)
    assert story.machine.agent is Agent.THINKING


def test_words_that_did_not_interrupt_and_outlast_the_reply_are_a_turn() -> None:
    """Nothing else may ever come for them: no voice activity, no commit, no final."""
    story = Story().speaking()
    assert story.play(ev.TranscriptUpdated(at=5.3, text="no")) == ()
    story.play(ev.PlaybackFinished(at=5.5, turn=2))
    assert act.StartReply(turn=3, text="no", confirmed=False) in story.until(6.5)
    assert story.agent() is Agent.THINKING


def test_words_under_noise_that_outlasts_the_reply_are_a_turn() -> None:
    story = Story().speaking()
    story.play(ev.SpeechStarted(at=5.06, began_at=5.0), ev.TranscriptUpdated(at=5.3, text="no"))
    story.play(ev.PlaybackFinished(at=5.5, turn=2))
    assert act.CommitTranscript() in story.until(8.5)
    assert story.agent() is Agent.THINKING


def test_a_backchannel_is_not_judged_before_the_sound_is_over() -> None:
    story = Story().speaking()
    story.play(ev.SpeechStarted(at=5.06, began_at=5.0))
    assert story.play(ev.TranscriptUpdated(at=5.3, text="mhm"), ev.TranscriptFinal(at=5.4, text="mhm")) == ()
    assert (story.machine.user, story.agent()) == (User.SPEAKING, Agent.SPEAKING)
    stopped = _stopped()
    assert stopped.play(ev.TranscriptUpdated(at=5.3, text="mhm"), ev.TranscriptFinal(at=5.4, text="mhm")) == ()
    assert stopped.agent() is Agent.STOPPED


def test_a_second_sound_over_the_agent_has_a_verdict_of_its_own() -> None:
    story = Story().speaking()
    story.play(ev.SpeechStarted(at=5.06, began_at=5.0), ev.SpeechStopped(at=5.5, ended_at=5.4))
    story.play(ev.SpeechStarted(at=5.8, began_at=5.7))
    assert story.until(7.0) == ()
    assert (story.machine.user, story.agent()) == (User.SPEAKING, Agent.SPEAKING)


# --- keys -------------------------------------------------------------------------------------------------------
def test_a_key_interrupts_at_once_and_digits_are_a_turn() -> None:
    story = Story().speaking()
    done = story.play(ev.DigitPressed(at=5.2, digit="4"))
    assert done == (act.StopPlayback(turn=2), act.TrimHistory(turn=2), act.CancelReply(turn=2))
    story.play(ev.DigitPressed(at=5.8, digit="2"))
    assert story.until(7.9) == (act.StartReply(turn=4, text="[keypad] 42", confirmed=True),)


def test_the_hash_key_ends_the_digits() -> None:
    story = Story().greet()
    story.play(ev.DigitPressed(at=5.2, digit="4"))
    assert story.play(ev.DigitPressed(at=5.3, digit="#")) == (
        act.StartReply(turn=2, text="[keypad] 4#", confirmed=True),
    )


def test_keys_follow_the_words_before_them() -> None:
    story = _speculating()
    done = (*story.play(ev.DigitPressed(at=3.2, digit="7")), *story.until(5.5))
    assert act.StartReply(turn=4, text="What does it cost? [keypad] 7", confirmed=True) in done


def test_a_storm_of_keys_is_bounded() -> None:
    story = Story().greet()
    for number in range(MOST_KEYS + 50):
        story.play(ev.DigitPressed(at=3.0 + number / 100, digit="1"))
    started = [action for action in story.until(9.0) if isinstance(action, act.StartReply)]
    assert started[0].text == "[keypad] " + "1" * MOST_KEYS


# --- silence ----------------------------------------------------------------------------------------------------
def test_silence_is_prompted_then_said_goodbye_to() -> None:
    story = Story().greet()
    at = 2.0
    said: list[str] = []
    for _ in range(3):
        at += 8.0
        done = story.until(at)
        said += [action.text for action in done if isinstance(action, act.Speak)]
        last = story.play(ev.PlaybackStarted(at=at, turn=story.turn), ev.PlaybackFinished(at=at, turn=story.turn))
    assert said == ["Are you there?", "Still there?", "Goodbye."]
    assert last == (act.HangUp(reason="idle"),)


def test_a_caller_who_talks_is_not_prompted_but_a_radio_is() -> None:
    story = Story().greet()
    story.play(ev.SpeechStarted(at=9.0, began_at=8.9), ev.VoiceConfirmed(at=9.1, began_at=8.9))
    assert story.until(20.0) == ()
    assert any(isinstance(action, act.Speak) for action in story.until(40.0))


def test_noise_does_not_hold_the_prompt_back() -> None:
    story = Story().greet()
    story.play(ev.SpeechStarted(at=9.0, began_at=8.9))
    assert act.Speak(turn=2, text="Are you there?", is_line=True) in story.until(10.0)


def test_a_turn_that_is_about_to_be_taken_is_not_prompted() -> None:
    story = Story(TurnSettings(lines=LINES, idle_s=0.1)).speaking()
    story.play(ev.SpeechStarted(at=5.06, began_at=5.0), ev.TranscriptUpdated(at=5.3, text="Tomorrow"))
    story.play(ev.SpeechStopped(at=5.45, ended_at=5.4), ev.PlaybackFinished(at=5.5, turn=2))
    done = story.until(8.0)
    assert act.StartReply(turn=3, text="Tomorrow", confirmed=False) in done
    assert LINES.idle_prompts[0] not in [action.text for action in done if isinstance(action, act.Speak)]


def test_a_timer_that_is_due_again_at_once_does_not_hold_the_call() -> None:
    story = Story(TurnSettings(lines=LINES, idle_s=0.0)).greet()
    story.play(ev.SpeechStarted(at=2.1, began_at=2.0), ev.VoiceConfirmed(at=2.2, began_at=2.0))
    assert story.play(ev.DeadlinePassed(at=2.3)) == ()
    assert story.deadline() == 2.3


def test_a_caller_may_answer_the_goodbye_of_silence() -> None:
    story = Story(TurnSettings(lines=LINES, idle_s=1.0))
    story.greet()
    at = 2.0
    for _ in range(2):
        at += 1.0
        story.until(at)
        story.play(ev.PlaybackStarted(at=at, turn=story.turn), ev.PlaybackFinished(at=at, turn=story.turn))
    story.until(at + 1.0)
    story.play(ev.PlaybackStarted(at=at + 1.1, turn=story.turn))
    story.play(ev.SpeechStarted(at=at + 1.4, began_at=at + 1.3), ev.VoiceConfirmed(at=at + 1.5, began_at=at + 1.3))
    story.play(ev.PlaybackStopped(at=at + 1.5, turn=story.turn, heard_ms=400.0, remaining_ms=900.0))
    story.play(ev.TranscriptUpdated(at=at + 2.0, text="I am here"))
    assert act.HangUp(reason="idle") not in story.until(at + 60.0)[:6]


def test_the_longest_call_ends_with_a_goodbye_that_cannot_be_interrupted() -> None:
    story = Story(TurnSettings(lines=LINES, duration_s=60.0))
    story.speaking()
    done = story.play(ev.DeadlinePassed(at=60.0))
    assert act.Speak(turn=story.turn, text="Goodbye.", is_line=True) in done
    story.play(ev.PlaybackStarted(at=60.1, turn=story.turn), ev.SpeechStarted(at=60.3, began_at=60.2))
    assert story.play(ev.VoiceConfirmed(at=60.4, began_at=60.2)) == ()
    assert story.play(ev.TranscriptFinal(at=60.5, text="but I have a question")) == ()
    assert story.play(ev.DigitPressed(at=60.6, digit="1"), ev.TranscriptionFailed(at=60.6, reason="x")) == ()
    assert story.play(ev.PlaybackFinished(at=61.0, turn=story.turn)) == (act.HangUp(reason="duration"),)


def test_a_line_that_may_not_be_interrupted_is_not_taken_back_either() -> None:
    story = Story(TurnSettings(lines=LINES, duration_s=60.0)).greet()
    story.play(ev.DeadlinePassed(at=60.0), ev.SpeechStarted(at=60.1, began_at=60.0))
    assert story.play(ev.VoiceConfirmed(at=60.2, began_at=60.0)) == ()


# --- failures ---------------------------------------------------------------------------------------------------
def test_f01_a_slow_model_is_covered_by_a_filler_and_then_an_apology() -> None:
    story = _thinking()
    filler = act.Speak(turn=2, text=LINES.filler, is_line=True, is_aside=True)
    assert story.until(5.3) == (filler,)
    story.play(ev.PlaybackStarted(at=5.3, turn=2))
    done = story.until(14.0)
    assert done == (
        act.StopPlayback(turn=2),
        act.TrimHistory(turn=2),
        act.CancelReply(turn=2),
        act.Speak(turn=4, text=LINES.apology, is_line=True),
        act.FinishSpeaking(turn=4),
    )


def test_f07_a_slow_tool_is_covered_by_a_filler() -> None:
    story = _thinking()
    story.play(ev.ReplyText(at=4.1, turn=2, text="Let me look."), _tool(story, "look", 4.1))
    story.play(ev.ReplyFinished(at=4.1, turn=2), ev.PlaybackStarted(at=4.2, turn=2))
    # Playback has disarmed the filler; the tool is bounded by its own time-out.
    assert story.until(9.0) == ()
    silent = _thinking()
    silent.play(_tool(silent, "look", 4.1), ev.ReplyFinished(at=4.1, turn=2))
    assert [action.text for action in silent.until(6.2) if isinstance(action, act.Speak)] == [LINES.filler]


def test_without_a_filler_nothing_is_said() -> None:
    lines = Lines(
        greeting="Hi.", idle_prompts=(), goodbye="Bye.", filler="", not_understood="", apology="Sorry.", failure="No."
    )
    story = Story(TurnSettings(lines=lines)).greet()
    story.say("What does it cost?", at=3.0)
    assert not any(isinstance(action, act.Speak) for action in story.until(6.0))


def test_f03_a_failed_reply_is_apologised_for_and_a_second_one_ends_the_call() -> None:
    story = _thinking()
    done = story.play(ev.ReplyFailed(at=4.0, turn=2, reason="ProviderUnavailable"))
    assert done[:2] == (act.CancelReply(turn=2), act.Speak(turn=4, text=LINES.apology, is_line=True))
    story.play(ev.PlaybackStarted(at=4.1, turn=4), ev.PlaybackFinished(at=6.0, turn=4))
    story.say("I said what does it cost?", at=8.0)
    story.until(9.0)
    done = story.play(ev.ReplyFailed(at=9.0, turn=story.turn, reason="ProviderUnavailable"))
    assert act.Speak(turn=story.turn, text=LINES.failure, is_line=True) in done
    story.play(ev.PlaybackStarted(at=9.1, turn=story.turn))
    assert story.play(ev.PlaybackFinished(at=10.0, turn=story.turn)) == (act.HangUp(reason="failed_provider"),)


def test_f02_a_reply_that_breaks_off_ends_with_what_it_has() -> None:
    story = _thinking()
    story.play(ev.ReplyText(at=4.0, turn=2, text="Of course. It costs fifty"), ev.PlaybackStarted(at=4.1, turn=2))
    done = story.play(ev.ReplyFailed(at=4.2, turn=2, reason="ProviderUnavailable"))
    assert done == (act.Speak(turn=2, text="It costs fifty"), act.FinishSpeaking(turn=2))


def test_a_failed_speculation_is_asked_again_at_the_endpoint() -> None:
    story = _speculating()
    assert story.play(ev.ReplyFailed(at=3.2, turn=2, reason="ProviderBusy")) == (act.CancelReply(turn=2),)
    started = [action for action in story.until(3.8) if isinstance(action, act.StartReply)]
    assert started == [act.StartReply(turn=4, text="What does it cost?", confirmed=True)]


def test_an_empty_reply_is_a_failure() -> None:
    story = _thinking()
    done = story.play(ev.ReplyFinished(at=4.0, turn=2))
    assert act.Speak(turn=4, text=LINES.apology, is_line=True) in done


def test_a_voice_that_fails_hangs_up_with_a_cached_line() -> None:
    story = _thinking()
    done = story.play(ev.SynthesisFailed(at=4.0, turn=2, reason="ProviderRefused"))
    assert act.Speak(turn=4, text=LINES.failure, is_line=True) in done
    assert story.play(ev.SynthesisFailed(at=4.1, turn=4, reason="x")) == (act.HangUp(reason="failed_provider"),)


def test_a_voice_that_fails_in_a_speculation_costs_only_that() -> None:
    story = _speculating()
    assert story.play(ev.SynthesisFailed(at=3.3, turn=2, reason="x")) == (act.CancelReply(turn=2),)


def test_lost_recognition_ends_the_call_in_words() -> None:
    story = Story().speaking()
    done = story.play(ev.TranscriptionFailed(at=5.2, reason="ProviderRefused"))
    assert done[:3] == (act.StopPlayback(turn=2), act.TrimHistory(turn=2), act.CancelReply(turn=2))
    assert act.Speak(turn=story.turn, text=LINES.failure, is_line=True) in done


def test_without_lines_a_failure_hangs_up_at_once() -> None:
    lines = Lines(greeting="", idle_prompts=(), goodbye="", filler="", not_understood="", apology="", failure="")
    story = Story(TurnSettings(lines=lines))
    story.play(ev.CallStarted(at=0.0))
    assert story.play(ev.TranscriptionFailed(at=1.0, reason="x")) == (act.HangUp(reason="failed_provider"),)


def test_what_is_said_in_a_stopped_reply_waits_with_it() -> None:
    story = Story().greet()
    story.say("What does it cost?", at=3.0)
    story.until(4.0)
    story.play(ev.ReplyText(at=4.1, turn=2, text="Of course. "), ev.PlaybackStarted(at=4.2, turn=2))
    story.play(ev.SpeechStarted(at=5.0, began_at=4.9), ev.VoiceConfirmed(at=5.1, began_at=4.9))
    done = story.play(ev.ReplyText(at=5.2, turn=2, text="It costs fifty euros."), ev.ReplyFinished(at=5.3, turn=2))
    assert done[-1] == act.FinishSpeaking(turn=2)
    assert story.play(ev.ReplyText(at=5.4, turn=2, text="x"), ev.ReplyFinished(at=5.4, turn=2)) == ()
    assert story.play(_tool(story, "end_call", 5.4), ev.ReplyFailed(at=5.4, turn=2, reason="x")) == ()


def test_the_deadline_is_the_next_timer() -> None:
    story = Story(settings_for_tests())
    assert story.deadline() is None
    story.greet()
    assert story.deadline() == 10.0
    assert story.play(ev.DeadlinePassed(at=9.9)) == ()


RESUMED = LINES.completed("en")


def _resumed(**what: object) -> tuple[Story, tuple[act.AnyAction, ...]]:
    story = Story(TurnSettings(lines=RESUMED, duration_s=100.0))
    event = msgspec.convert({"event": "CallResumed", "at": 0.0, "elapsed_s": 60.0, **what}, ev.CallResumed)
    return story, story.play(event)


def test_f47_a_line_that_is_back_begins_with_why_and_then_listens() -> None:
    story, done = _resumed()
    assert done == (act.Speak(turn=1, text=RESUMED.resumption, is_line=True), act.FinishSpeaking(turn=1))
    story.play(ev.PlaybackStarted(at=0.1, turn=1), ev.PlaybackFinished(at=2.0, turn=1))
    assert (story.agent(), story.deadline()) == (Agent.IDLE, 10.0)
    assert story.play(ev.CallResumed(at=3.0, elapsed_s=0.0), ev.CallStarted(at=3.0)) == ()


def test_f47_what_was_not_heard_to_its_end_is_said_again() -> None:
    _, done = _resumed(unheard="What day suits you?")
    assert done == (
        act.Speak(turn=1, text=RESUMED.resumption, is_line=True),
        act.Speak(turn=1, text="What day suits you?"),
        act.FinishSpeaking(turn=1),
    )


def test_f47_what_was_not_answered_is_answered_behind_the_line() -> None:
    story, done = _resumed(question="What does it cost?")
    assert done == (
        act.StartReply(turn=1, text="What does it cost?", confirmed=True),
        act.Speak(turn=1, text=RESUMED.resumption, is_line=True),
    )
    assert story.answer("Fifty euros.", at=0.5)[0] == act.Speak(turn=1, text="Fifty euros.")
    silent, _ = _resumed(question="What does it cost?")
    silent.play(ev.PlaybackStarted(at=0.1, turn=1))
    assert act.Speak(turn=3, text=LINES.apology, is_line=True) in silent.until(10.0)


@pytest.mark.parametrize(
    ("what", "last"),
    [
        ({"hang_up": True}, act.HangUp(reason="agent")),
        ({"transfer_to": "+15550001111"}, act.TransferCall(target="+15550001111")),
        ({"transfer_to": "+15550001111", "hang_up": True}, act.TransferCall(target="+15550001111")),
    ],
)
def test_f47_what_was_to_follow_the_words_that_were_lost_follows_them(
    what: dict[str, object], last: act.AnyAction
) -> None:
    story, _ = _resumed(unheard="Goodbye then.", **what)
    story.play(ev.PlaybackStarted(at=0.1, turn=1))
    assert story.play(ev.PlaybackFinished(at=3.0, turn=1)) == (last,)


def test_f47_without_a_line_what_was_lost_is_said_all_the_same() -> None:
    story = Story()
    assert story.play(ev.CallResumed(at=0.0, elapsed_s=1.0, unheard="Goodbye then.")) == (
        act.Speak(turn=1, text="Goodbye then."),
        act.FinishSpeaking(turn=1),
    )
    asked = Story()
    done = asked.play(ev.CallResumed(at=0.0, elapsed_s=1.0, question="Why?"))
    assert done == (act.StartReply(turn=1, text="Why?", confirmed=True),)


@pytest.mark.parametrize(("elapsed_s", "left_s"), [(60.0, 40.0), (95.0, 30.0), (500.0, 30.0)])
def test_a_call_that_was_lost_lasts_no_longer_for_it(elapsed_s: float, left_s: float) -> None:
    story = Story(TurnSettings(lines=RESUMED, duration_s=100.0, idle_s=1_000.0))
    story.play(ev.CallResumed(at=0.0, elapsed_s=elapsed_s), ev.PlaybackStarted(at=0.1, turn=1))
    story.play(ev.PlaybackFinished(at=2.0, turn=1))
    assert story.deadline() == left_s


def test_f49_a_server_that_stops_says_goodbye_and_hangs_up() -> None:
    story = Story(TurnSettings(lines=RESUMED)).speaking()
    done = story.play(ev.EndRequested(at=5.2, reason="shutdown"))
    assert done[:3] == (act.StopPlayback(turn=2), act.TrimHistory(turn=2), act.CancelReply(turn=2))
    assert done[3:] == (act.Speak(turn=4, text=RESUMED.closing, is_line=True), act.FinishSpeaking(turn=4))
    story.play(ev.PlaybackStarted(at=5.3, turn=4))
    story.play(ev.SpeechStarted(at=6.0, began_at=5.9), ev.VoiceConfirmed(at=6.1, began_at=5.9))
    assert story.play(ev.PlaybackFinished(at=8.0, turn=4)) == (act.HangUp(reason="shutdown"),)


def test_f49_a_goodbye_under_way_is_not_said_twice() -> None:
    story = Story(TurnSettings(lines=RESUMED)).greet()
    story.play(ev.EndRequested(at=3.0, reason="shutdown"))
    assert story.play(ev.EndRequested(at=3.1, reason="shutdown")) == ()
