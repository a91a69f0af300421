"""A small world for tests of the turn machine: settings, and a driver that tells a call as a story."""

from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.turn import TurnMachine
from voice_agent.pipeline.turn_settings import Lines, TurnSettings
from voice_agent.pipeline.turn_tables import Agent

LINES = Lines(
    greeting="Hello.",
    idle_prompts=("Are you there?", "Still there?"),
    goodbye="Goodbye.",
    filler="One moment.",
    not_understood="I did not catch that.",
    apology="Sorry, once more please.",
    failure="We have a technical problem.",
)


def settings_for_tests() -> TurnSettings:
    return TurnSettings(lines=LINES)


class Story:
    """Plays events into a machine and keeps what came of the last one."""

    def __init__(self, turn_settings: TurnSettings | None = None) -> None:
        self.machine = TurnMachine(turn_settings or settings_for_tests())
        self.last: tuple[act.AnyAction, ...] = ()

    @property
    def turn(self) -> int:
        return self.machine.turn

    def agent(self) -> Agent:
        """The agent's state; called, so that a type checker expects it to change between two looks."""
        return self.machine.agent

    def deadline(self) -> float | None:
        return self.machine.deadline

    def play(self, *events: ev.AnyEvent) -> tuple[act.AnyAction, ...]:
        """Play events; return the actions of all of them."""
        done: list[act.AnyAction] = []
        for event in events:
            self.last = self.machine.handle(event)
            done.extend(self.last)
        return tuple(done)

    def greet(self, at: float = 0.0) -> "Story":
        """The greeting is said and heard: the caller's turn, two seconds in."""
        self.play(
            ev.CallStarted(at=at), ev.PlaybackStarted(at=at + 0.1, turn=1), ev.PlaybackFinished(at=at + 2.0, turn=1)
        )
        return self

    def say(self, text: str, at: float, *, length_s: float = 1.0) -> tuple[act.AnyAction, ...]:
        """The caller says `text`, ending at `at`; speech has just paused and the interim transcript is whole."""
        return self.play(
            ev.SpeechStarted(at=at - length_s + 0.06, began_at=at - length_s),
            ev.SpeechStopped(at=at + 0.1, ended_at=at),
            ev.TranscriptUpdated(at=at + 0.15, text=text),
        )

    def until(self, at: float) -> tuple[act.AnyAction, ...]:
        """Let time pass: every deadline up to `at` is kept."""
        done: list[act.AnyAction] = []
        while self.machine.deadline is not None and self.machine.deadline <= at:
            done.extend(self.play(ev.DeadlinePassed(at=self.machine.deadline)))
        return tuple(done)

    def answer(self, text: str, at: float) -> tuple[act.AnyAction, ...]:
        """The model says all of `text` and the caller begins to hear it."""
        return self.play(
            ev.ReplyText(at=at, turn=self.turn, text=text),
            ev.ReplyFinished(at=at, turn=self.turn),
            ev.SynthesisStarted(at=at + 0.05, turn=self.turn),
            ev.PlaybackStarted(at=at + 0.06, turn=self.turn),
        )

    def speaking(self, text: str = "Of course. It costs fifty euros. Anything else I can do?") -> "Story":
        """The agent is speaking an answer, at 5 s of the call; 400 ms of it were heard."""
        self.greet()
        self.say("What does it cost?", at=3.0)
        self.until(4.0)
        self.answer(text, at=4.5)
        self.play(ev.PlaybackMarked(at=5.0, turn=self.turn, heard_ms=400.0))
        return self
