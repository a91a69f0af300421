"""What somebody who watches reads, from calls that a real turn machine decided."""

from io import StringIO

from rich.console import Console

from tests.calls.call_world import Call, short_call
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.latency import TurnLatency
from voice_agent.sandbox.demo.screen import Screen, latency_line

Lines = list[str]


def shown(call: Call, *, width: int = 120) -> Lines:
    output = StringIO()
    screen = Screen(Console(file=output, width=width))
    for event, actions in call.decided:
        screen.show(event, actions)
    return [" ".join(line.split()) for line in output.getvalue().splitlines()]


def answered(text: str) -> Call:
    """A call whose agent is in the middle of an answer at second 3.5."""
    call = Call()
    call.greet()
    call.say("Where are you?", at=3.0)
    call.answer(text, at=3.4)
    return call


def test_a_call_reads_as_it_was_held() -> None:
    assert shown(short_call()) == [
        "0:00.1 agent Hello.",
        "0:02.0 caller I would like a table for two.",
        "0:03.5 agent Of course. At what time?",
        "500 ms = STT 180 + LLM 220 + TTS 100 (prepared while waiting)",
        "0:06.0 caller What does the menu cost?",
        "0:07.5 agent It costs thirty euros, and there is a cheaper one at noon.",
        "500 ms = STT 180 + LLM 220 + TTS 100 (prepared while waiting)",
        "0:08.5 caller cuts in: the agent stops 200 ms later, 1.0 s of its answer were heard",
        "0:09.7 call ended",
    ]


def test_a_sound_that_stops_nobody_is_remarked() -> None:
    call = answered("At the harbour, beside the old lighthouse.")
    call.play(
        ev.SpeechStarted(at=4.1, began_at=4.0),
        ev.SpeechStopped(at=4.6, ended_at=4.5),
        ev.TranscriptFinal(at=4.7, text="Mhm."),
        ev.PlaybackFinished(at=7.0, turn=call.turn),
    )

    assert shown(call)[-1] == "0:04.0 caller “Mhm.”: the agent goes on"


def test_a_pause_for_a_backchannel_is_remarked_with_its_length() -> None:
    call = answered("At the harbour, beside the old lighthouse.")
    call.play(
        ev.SpeechStarted(at=4.1, began_at=4.0),
        ev.VoiceConfirmed(at=4.2, began_at=4.0),
        ev.PlaybackStopped(at=4.21, turn=call.turn, heard_ms=700.0, remaining_ms=3_000.0),
        ev.SpeechStopped(at=4.5, ended_at=4.4),
        ev.TranscriptFinal(at=4.6, text="Mhm."),
    )

    assert shown(call)[-1] == "0:04.0 caller no interruption: the agent paused for 400 ms, goes on"


def test_text_that_comes_while_the_agent_speaks_is_added_beneath() -> None:
    call = answered("At the harbour.")
    screen_lines = shown(call)
    more = Screen(Console(file=(output := StringIO()), width=120))
    for event, actions in call.decided:
        more.show(event, actions)
    more.show(
        ev.ReplyText(at=4.0, turn=call.turn, text="It is blue."), (act.Speak(turn=call.turn, text="It is blue."),)
    )

    assert [" ".join(line.split()) for line in output.getvalue().splitlines()] == [*screen_lines, "It is blue."]


def test_a_reply_that_was_withdrawn_unheard_is_not_shown() -> None:
    call = Call()
    call.greet()
    call.say("I would like", at=3.0)
    turn = call.turn
    call.play(
        ev.ReplyText(at=3.4, turn=turn, text="What would you like?"),
        ev.SpeechStarted(at=3.5, began_at=3.45),
        ev.VoiceConfirmed(at=3.6, began_at=3.45),
        ev.PlaybackStarted(at=3.62, turn=turn),
    )

    assert not [line for line in shown(call) if "What would you like?" in line]


def test_tools_keys_faults_and_the_end_are_shown() -> None:
    screen = Screen(Console(file=(output := StringIO()), width=120))
    ask = act.RunTool(turn=1, call_id="a", name="transfer_call", arguments='{"to": "sales"}')
    screen.show(ev.ReplyFinished(at=1.0, turn=1), (ask, act.TransferCall(target="+15005550009")))
    screen.show(ev.ToolFinished(at=2.0, turn=1, call_id="a", result="nobody there", is_error=True), ())
    screen.show(ev.DigitPressed(at=3.0, digit="#"), ())
    screen.show(ev.ReplyFailed(at=4.0, turn=1, reason="ProviderBusy"), (act.HangUp(reason="failed_provider"),))
    screen.show(ev.CallEnded(at=61.5, reason="stopped"), ())

    assert [" ".join(line.split()) for line in output.getvalue().splitlines()] == [
        '0:01.0 tool transfer_call({"to": "sales"})',
        "0:01.0 call the agent transfers to +15005550009",
        "0:02.0 tool failed: nobody there",
        "0:03.0 keys #",
        "0:04.0 fault ReplyFailed: ProviderBusy",
        "0:04.0 call the agent hangs up: failed_provider",
        "1:01.5 call ended",
    ]


def test_words_are_never_read_as_markup_and_no_cursor_is_moved() -> None:
    output = StringIO()
    screen = Screen(Console(file=output, width=60))
    screen.show(
        ev.TranscriptFinal(at=1.0, text="[bold]hello[/bold] [/]"),
        (act.StartReply(turn=1, text="[bold]hello[/bold] [/]", confirmed=True),),
    )

    assert "[bold]hello[/bold] [/]" in output.getvalue()
    assert "\x1b" not in output.getvalue()


def test_the_parts_of_a_latency_that_took_nothing_are_left_out() -> None:
    timed = TurnLatency(
        turn=2,
        voice_to_voice_ms=451.2,
        endpointing_ms=450.0,
        stt_ms=0.0,
        llm_ms=0.0,
        tools_ms=0.0,
        tts_ms=0.0,
        ours_ms=1.2,
        speculated=True,
        discarded=2,
    )

    assert latency_line(timed) == "451 ms = endpointing 450 + ours 1 (prepared while waiting, 2 discarded)"
