"""Transcripts of calls that a real turn machine decided, and of single cases."""

import json

import msgspec

from tests.calls.call_world import HEADER, SETTINGS, Call, log_of, short_call
from voice_agent.calls.event_log import parse_event_log
from voice_agent.calls.transcript import (
    AgentSaid,
    AnyEntry,
    CallerSaid,
    KeysPressed,
    ToolRan,
    Transcript,
    TranscriptBuilder,
    transcript_of,
)
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev


def built(call: Call, *, heard: str = "") -> TranscriptBuilder:
    builder = TranscriptBuilder()
    for event, actions in call.decided:
        builder.observe(event, actions)
        for action in actions:
            if isinstance(action, act.TrimHistory):
                builder.heard(action.turn, heard)
    return builder


def said(entries: tuple[AnyEntry, ...]) -> list[tuple[str, str]]:
    return [
        ("caller" if isinstance(entry, CallerSaid) else "agent", entry.text)
        for entry in entries
        if isinstance(entry, CallerSaid | AgentSaid)
    ]


def test_a_call_reads_as_it_was_held() -> None:
    builder = built(short_call(), heard="It costs thirty euros, ")
    assert said(builder.entries) == [
        ("agent", "Hello."),
        ("caller", "I would like a table for two."),
        ("agent", "Of course. At what time?"),
        ("caller", "What does the menu cost?"),
        ("agent", "It costs thirty euros, and there is a cheaper one at noon."),
        ("caller", "Wait, at eight please."),
    ]
    greeting, first, answer, _, interrupted, last = builder.entries
    assert (greeting.started_at, greeting.ended_at) == (0.1, 1.0)
    assert (first.started_at, first.ended_at) == (2.0, 3.0)
    assert isinstance(answer, AgentSaid)
    assert (answer.heard, answer.is_interrupted, answer.started_at, answer.ended_at) == (answer.text, False, 3.5, 5.0)
    assert isinstance(interrupted, AgentSaid)
    assert interrupted.heard == "It costs thirty euros,"
    assert interrupted.is_interrupted
    assert (last.started_at, last.ended_at) == (8.5, 9.4)
    assert builder.is_complete


def test_what_changed_is_told_once_and_makes_the_same_transcript() -> None:
    builder, seen = TranscriptBuilder(), dict[int, AnyEntry]()
    for event, actions in short_call().decided:
        builder.observe(event, actions)
        for change in builder.take_changes():
            if change.entry is None:
                del seen[change.number]
            else:
                seen[change.number] = msgspec.structs.replace(change.entry)
        assert builder.take_changes() == []
    builder.heard(3, "It costs thirty")
    ((number, entry),) = builder.take_changes()
    assert entry is not None
    seen[number] = entry
    assert sorted(seen.values(), key=lambda entry: entry.started_at) == list(builder.entries)


def disclosing() -> Call:
    """A call whose disclosure sounds."""
    call = Call(msgspec.structs.replace(SETTINGS, disclosure="This is an automated call."))
    call.play(ev.CallStarted(at=0.0), ev.PlaybackStarted(at=0.1, turn=1))
    return call


def test_a_disclosure_is_an_entry_of_its_own_and_what_was_said_over_it_the_next() -> None:
    call = disclosing()
    call.say("Wait.", at=2.0)
    call.say("Who is this?", at=4.0)
    call.play(ev.PlaybackFinished(at=5.0, turn=1))
    call.answer("The harbour.", at=5.4)
    disclosure, question, answer = built(call).entries
    assert isinstance(disclosure, AgentSaid)
    assert (disclosure.text, disclosure.heard) == ("This is an automated call.",) * 2
    assert not disclosure.is_interrupted
    assert said((question, answer)) == [("caller", "Wait. Who is this?"), ("agent", "The harbour.")]
    assert (question.started_at, question.ended_at) == (1.0, 4.0)


def test_what_was_said_over_a_disclosure_is_kept_where_the_caller_hangs_up() -> None:
    call = disclosing()
    call.say("Take me off", at=2.0)
    call.say("your list.", at=4.0)
    call.end(4.5)
    builder = built(call, heard="This is an")
    assert said(builder.entries) == [("agent", "This is an automated call."), ("caller", "Take me off your list.")]
    disclosure = builder.entries[0]
    assert isinstance(disclosure, AgentSaid)
    assert (disclosure.is_interrupted, disclosure.heard) == (True, "This is an")


def test_a_hello_that_the_greeting_answers_is_no_entry_and_does_not_begin_the_next_one() -> None:
    call = disclosing()
    call.say("Hello?", at=2.0)
    call.play(ev.PlaybackFinished(at=4.0, turn=1), ev.PlaybackStarted(at=4.1, turn=2))
    call.play(ev.PlaybackFinished(at=5.0, turn=2))
    call.say("What does it cost?", at=7.0)
    builder = built(call)
    assert said(builder.entries) == [
        ("agent", "This is an automated call."),
        ("agent", "Hello."),
        ("caller", "What does it cost?"),
    ]
    assert builder.entries[2].started_at == 6.0


def test_words_that_the_caller_goes_on_from_are_one_entry() -> None:
    call = Call()
    call.greet()
    call.say("I would like a table.", at=3.0)
    first = call.turn
    call.play(
        ev.SpeechStarted(at=3.4, began_at=3.35),
        ev.VoiceConfirmed(at=3.5, began_at=3.35),
        ev.SpeechStopped(at=4.4, ended_at=4.25),
        ev.TranscriptUpdated(at=4.45, text="For two people."),
    )
    call.until(4.6)
    call.play(ev.TranscriptFinal(at=4.6, text="For two people."))
    call.until(5.0)
    assert call.turn > first
    assert said(built(call).entries)[1:] == [("caller", "I would like a table. For two people.")]
    assert built(call).entries[1].started_at == 2.0


def test_the_same_words_after_an_apology_are_said_twice() -> None:
    call = Call()
    call.greet()
    call.say("I would like a table.", at=3.0)
    call.play(ev.ReplyFailed(at=3.5, turn=call.turn, reason="ProviderUnavailable"))
    call.play(ev.PlaybackStarted(at=3.6, turn=call.turn), ev.PlaybackFinished(at=5.0, turn=call.turn))
    call.say("I would like a table.", at=7.0)
    assert [text for who, text in said(built(call).entries) if who == "caller"] == ["I would like a table."] * 2


def test_a_late_final_transcript_corrects_the_words() -> None:
    builder = TranscriptBuilder()
    builder.observe(ev.DeadlinePassed(at=3.0), [act.StartReply(turn=2, text="a tale", confirmed=True)])
    builder.observe(ev.TranscriptFinal(at=3.2, text="a table"), [act.ReviseHistory(turn=2, text="a table")])
    builder.observe(ev.CallEnded(at=4.0, reason="caller"), ())
    assert said(builder.entries) == [("caller", "a table")]


def test_a_speculation_leaves_nothing_until_it_is_confirmed() -> None:
    builder = TranscriptBuilder()
    builder.observe(ev.TranscriptUpdated(at=3.0, text="a"), [act.StartReply(turn=2, text="a", confirmed=False)])
    builder.observe(ev.ReplyText(at=3.1, turn=2, text="Yes. "), [act.Speak(turn=2, text="Yes. ")])
    builder.observe(ev.TranscriptUpdated(at=3.2, text="a b"), [act.CancelReply(turn=2)])
    assert builder.entries == ()


def test_a_reply_that_was_cut_before_a_word_was_heard_says_so() -> None:
    builder = TranscriptBuilder()
    builder.observe(ev.DeadlinePassed(at=1.0), [act.Speak(turn=1, text="Hello.", is_line=True)])
    builder.observe(ev.PlaybackStarted(at=1.1, turn=1), ())
    builder.observe(ev.VoiceConfirmed(at=1.2, began_at=1.1), [act.StopPlayback(turn=1), act.CancelReply(turn=1)])
    (entry,) = builder.entries
    assert isinstance(entry, AgentSaid)
    assert (entry.is_interrupted, entry.heard, entry.ended_at) == (True, "", 1.2)


def test_a_filler_and_the_answer_after_it_are_one_entry() -> None:
    builder = TranscriptBuilder()
    filler = act.Speak(turn=2, text="One moment.", is_line=True, is_aside=True)
    builder.observe(ev.DeadlinePassed(at=1.0), [filler])
    builder.observe(ev.PlaybackStarted(at=1.1, turn=2), ())
    for piece in ("Yes, ", "we do."):
        builder.observe(ev.ReplyText(at=2.0, turn=2, text=piece), [act.Speak(turn=2, text=piece)])
    builder.observe(ev.PlaybackFinished(at=3.0, turn=2), ())
    assert said(builder.entries) == [("agent", "One moment. Yes, we do.")]


def test_tools_and_keys_are_in_it() -> None:
    builder = TranscriptBuilder()
    run = act.RunTool(turn=2, call_id="c", name="look_up", arguments='{"a":1}')
    builder.observe(ev.ReplyFinished(at=1.0, turn=2), [run])
    builder.observe(ev.ToolFinished(at=2.0, turn=2, call_id="c", result="none", is_error=True), ())
    assert [number for number, _ in builder.take_changes()] == [0]
    builder.observe(ev.ToolFinished(at=2.0, turn=2, call_id="other", result=""), ())
    assert builder.take_changes() == []
    for place, digit in enumerate("12#"):
        builder.observe(ev.DigitPressed(at=3.0 + place, digit=digit), ())
    assert builder.entries == (
        ToolRan(
            started_at=1.0,
            ended_at=2.0,
            turn=2,
            call_id="c",
            name="look_up",
            arguments='{"a":1}',
            result="none",
            is_error=True,
        ),
        KeysPressed(started_at=3.0, ended_at=5.0, digits="12#"),
    )


def test_a_transcript_can_be_made_again_from_the_log() -> None:
    transcript = transcript_of(parse_event_log(log_of(short_call())))
    assert transcript.call_sid == "CA1"
    assert transcript.is_complete
    assert said(transcript.entries) == said(built(short_call()).entries)
    interrupted = transcript.entries[4]
    assert isinstance(interrupted, AgentSaid)
    assert interrupted.heard is None


def test_what_belongs_to_no_known_turn_changes_nothing() -> None:
    builder = TranscriptBuilder()
    strays: list[act.AnyAction] = [
        act.ConfirmReply(turn=9),
        act.ReviseHistory(turn=9, text="x"),
        act.StopPlayback(turn=9),
        act.TrimHistory(turn=9),
        act.CancelReply(turn=9),
    ]
    builder.observe(ev.DeadlinePassed(at=1.0), strays)
    builder.observe(ev.PlaybackStarted(at=1.0, turn=9), ())
    builder.observe(ev.PlaybackFinished(at=1.0, turn=9), ())
    builder.heard(9, "x")
    assert builder.entries == ()
    assert builder.take_changes() == []


def transcript_with(*entries: AnyEntry) -> Transcript:
    return Transcript(call_sid="CA1", started_at=HEADER.started_at, language="es", is_complete=True, entries=entries)


def test_as_json_it_reads_back() -> None:
    transcript = transcript_with(CallerSaid(started_at=1.0, ended_at=2.0, text="¿Qué tal?", turn=2))
    content = transcript.as_json()
    assert msgspec.json.decode(content, type=Transcript) == transcript
    assert json.loads(content)["entries"][0]["kind"] == "caller"
    assert content.count(b"\n") > 5


def test_as_text_it_reads_like_a_play() -> None:
    text = transcript_with(
        CallerSaid(started_at=1.0, text="¿Qué tal?", ended_at=99.0),
        AgentSaid(
            started_at=62.25, turn=2, text="Muy bien, gracias. ", heard="Muy bien,", is_interrupted=True, ended_at=99.0
        ),
        AgentSaid(started_at=63.0, turn=3, text="Sí. ", heard="Sí.", ended_at=99.0),
        AgentSaid(started_at=64.0, turn=4, text="Eso. ", heard="", is_interrupted=True, ended_at=99.0),
        AgentSaid(started_at=59.99, turn=5, text="Bien. ", is_interrupted=True, ended_at=99.0),
        ToolRan(started_at=66.0, turn=5, call_id="c", name="end_call", arguments="{}", result="ok", ended_at=99.0),
        KeysPressed(started_at=600.0, digits="1#", ended_at=99.0),
    ).as_text()
    assert text.decode().splitlines() == [
        "[00:01.0] Caller: ¿Qué tal?",
        "[01:02.2] Agent: Muy bien, gracias. [interrupted; heard: Muy bien,]",
        "[01:03.0] Agent: Sí.",
        "[01:04.0] Agent: Eso. [interrupted; heard: (nothing)]",
        "[01:00.0] Agent: Bien. [interrupted; heard: (unknown)]",
        "[01:06.0] Tool: end_call({}) -> ok",
        "[10:00.0] Keys: 1#",
    ]


def test_a_sound_that_interrupted_nothing_is_not_the_beginning_of_the_next_turn() -> None:
    call = Call()
    call.greet()
    call.say("Where are you?", at=3.0)
    call.answer("At the harbour, beside the old lighthouse.", at=3.4)
    call.play(
        ev.SpeechStarted(at=4.1, began_at=4.0),
        ev.SpeechStopped(at=4.6, ended_at=4.5),
        ev.TranscriptFinal(at=4.7, text="Mhm."),
        ev.PlaybackFinished(at=7.0, turn=call.turn),
    )
    call.say("Thank you.", at=9.0)
    call.end(at=9.5)
    last = built(call).entries[-1]
    assert isinstance(last, CallerSaid)
    assert (last.text, last.started_at, last.ended_at) == ("Thank you.", 8.0, 9.0)


def test_a_backchannel_that_the_agent_went_on_from_is_no_last_word() -> None:
    call = Call()
    call.greet()
    call.say("What does the menu cost?", at=3.0)
    call.answer("It costs thirty euros, and there is a cheaper one at noon.", at=3.4)
    call.play(
        ev.SpeechStarted(at=4.56, began_at=4.5),
        ev.VoiceConfirmed(at=4.7, began_at=4.5),
        ev.PlaybackStopped(at=4.71, turn=call.turn, heard_ms=1_000.0, remaining_ms=3_000.0),
        ev.SpeechStopped(at=5.0, ended_at=4.9),
        ev.TranscriptFinal(at=5.1, text="mhm"),
        ev.PlaybackFinished(at=8.0, turn=call.turn),
    )
    call.end(at=9.0)
    assert [text for who, text in said(built(call).entries) if who == "caller"] == ["What does the menu cost?"]
