"""A recorded call for the tests here: a real turn machine, the events of a short call, and what it decided."""

from datetime import UTC, datetime

import msgspec

from voice_agent.calls.event_log import EventLogHeader, encoded_line
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.turn import TurnMachine
from voice_agent.pipeline.turn_settings import Lines, TurnSettings

SETTINGS = TurnSettings(
    lines=Lines(
        greeting="Hello.",
        idle_prompts=("Are you there?",),
        goodbye="Goodbye.",
        filler="One moment.",
        not_understood="I did not catch that.",
        apology="Sorry, once more please.",
        failure="We have a technical problem.",
    )
)

HEADER = EventLogHeader(
    call_sid="CA1",
    stream_sid="MZ1",
    started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    settings=SETTINGS,
    package_version="0.1.0",
)

Decided = list[tuple[ev.AnyEvent, tuple[act.AnyAction, ...]]]


class Call:
    """Plays a call; `decided` is what a log of it would hold."""

    def __init__(self, settings: TurnSettings = SETTINGS) -> None:
        self.machine = TurnMachine(settings)
        self.decided: Decided = []

    @property
    def turn(self) -> int:
        return self.machine.turn

    def play(self, *events: ev.AnyEvent) -> None:
        for event in events:
            self.decided.append((event, self.machine.handle(event)))

    def until(self, at: float) -> None:
        while self.machine.deadline is not None and self.machine.deadline <= at:
            self.play(ev.DeadlinePassed(at=self.machine.deadline))

    def greet(self) -> None:
        self.play(ev.CallStarted(at=0.0), ev.PlaybackStarted(at=0.1, turn=1), ev.PlaybackFinished(at=1.0, turn=1))

    def say(self, text: str, at: float) -> None:
        """The caller says `text` for a second until `at`, and the turn is taken."""
        self.play(
            ev.SpeechStarted(at=at - 0.94, began_at=at - 1.0),
            ev.VoiceConfirmed(at=at - 0.8, began_at=at - 1.0),
            ev.SpeechStopped(at=at + 0.15, ended_at=at),
            ev.TranscriptUpdated(at=at + 0.18, text=text),
        )
        self.until(at + 0.3)
        self.play(ev.TranscriptFinal(at=at + 0.3, text=text))
        self.until(at + 0.35)

    def answer(self, text: str, at: float) -> None:
        """The model says all of `text`, and it begins to sound."""
        self.play(
            ev.ReplyText(at=at, turn=self.turn, text=text),
            ev.ReplyFinished(at=at, turn=self.turn),
            ev.SynthesisStarted(at=at + 0.1, turn=self.turn),
            ev.PlaybackStarted(at=at + 0.1, turn=self.turn),
        )

    def end(self, at: float) -> None:
        self.play(ev.CallEnded(at=at, reason="caller"))


def short_call() -> Call:
    """Greeting, one answered question, one answer that is interrupted, the caller hangs up."""
    call = Call()
    call.greet()
    call.say("I would like a table for two.", at=3.0)
    call.answer("Of course. At what time?", at=3.4)
    call.play(ev.PlaybackFinished(at=5.0, turn=call.turn))
    call.say("What does the menu cost?", at=7.0)
    call.answer("It costs thirty euros, and there is a cheaper one at noon.", at=7.4)
    call.play(
        ev.PlaybackMarked(at=8.5, turn=call.turn, heard_ms=900.0),
        ev.SpeechStarted(at=8.56, began_at=8.5),
        ev.VoiceConfirmed(at=8.7, began_at=8.5),
        ev.PlaybackStopped(at=8.71, turn=call.turn, heard_ms=1_000.0, remaining_ms=3_000.0),
        ev.TranscriptUpdated(at=9.0, text="Wait, at eight please."),
        ev.SpeechStopped(at=9.6, ended_at=9.4),
    )
    call.end(at=9.7)
    return call


def log_of(call: Call) -> bytes:
    """The call's event log, as the writer writes it."""
    header = msgspec.structs.replace(HEADER, settings=call.machine.settings)
    lines = [msgspec.json.encode(header) + b"\n", *(encoded_line(event, actions) for event, actions in call.decided)]
    return b"".join(lines)
