"""The states of a call's two sides, their moves, and the joint rules: the turn machine as tables.

Read with `turn`, which says how they work together and holds what the rules do. docs/turn-machine.md is generated
from here.
"""

import enum
from typing import NamedTuple

from voice_agent.pipeline.events import (
    AnsweredBy,
    DigitPressed,
    EndRequested,
    PlaybackFinished,
    PlaybackMarked,
    PlaybackStarted,
    PlaybackStopped,
    ReplyFailed,
    ReplyFinished,
    ReplyText,
    ReplyToolCalled,
    SpeechStarted,
    SpeechStopped,
    SynthesisFailed,
    ToolFinished,
    TranscriptFinal,
    TranscriptionFailed,
    TranscriptUpdated,
    VoiceConfirmed,
)


class User(enum.Enum):
    """The caller's side."""

    SILENT = "silent"
    SPEAKING = "speaking"
    PAUSED = "paused"


class Agent(enum.Enum):
    """Our side."""

    IDLE = "idle"
    SPECULATING = "speculating"
    THINKING = "thinking"
    SPEAKING = "speaking"
    STOPPED = "stopped"


class Phase(enum.Enum):
    """The call as a whole.

    HOLDING: a machine plays its greeting, and the agent is silent until it may leave a message. OPTING_OUT: the caller
    asked not to be called any more, and that is being written down. ENDING: HangUp or TransferCall was decided; only
    CallEnded is of interest.
    """

    WAITING = "waiting"
    ACTIVE = "active"
    HOLDING = "holding"
    OPTING_OUT = "opting_out"
    ENDING = "ending"
    ENDED = "ended"


class Step(enum.Enum):
    """What moves the agent from state to state."""

    SPECULATE = "speculate"
    REPLY = "reply"
    PLAY = "play"
    STOP = "stop"
    RESUME = "resume"
    FINISH = "finish"
    WITHDRAW = "withdraw"


class Timer(enum.Enum):
    """The moments the machine waits for."""

    COMMIT = "commit"
    SPECULATE = "speculate"
    ENDPOINT = "endpoint"
    WORDS = "words"
    STALE = "stale"
    VERDICT = "verdict"
    FILLER = "filler"
    REPLY = "reply"
    IDLE = "idle"
    DIGITS = "digits"
    DURATION = "duration"
    GOODBYE = "goodbye"
    OPT_OUT_KEY = "opt_out_key"
    RECORD = "record"
    BEEP = "beep"


USER_TABLE: dict[tuple[User, type], User] = {
    (User.SILENT, SpeechStarted): User.SPEAKING,
    (User.PAUSED, SpeechStarted): User.SPEAKING,
    # Voice activity that began as noise never "starts" again when a voice joins it.
    (User.SILENT, VoiceConfirmed): User.SPEAKING,
    (User.PAUSED, VoiceConfirmed): User.SPEAKING,
    (User.SPEAKING, SpeechStopped): User.PAUSED,
}
"""The user's moves by events. PAUSED to SILENT is not an event: it is the agent taking the turn."""

AGENT_TABLE: dict[tuple[Agent, Step], Agent] = {
    (Agent.IDLE, Step.SPECULATE): Agent.SPECULATING,
    (Agent.IDLE, Step.REPLY): Agent.THINKING,
    (Agent.SPECULATING, Step.REPLY): Agent.THINKING,
    (Agent.SPECULATING, Step.WITHDRAW): Agent.IDLE,
    (Agent.THINKING, Step.PLAY): Agent.SPEAKING,
    (Agent.THINKING, Step.WITHDRAW): Agent.IDLE,
    (Agent.SPEAKING, Step.STOP): Agent.STOPPED,
    (Agent.SPEAKING, Step.FINISH): Agent.IDLE,
    (Agent.STOPPED, Step.RESUME): Agent.SPEAKING,
    (Agent.STOPPED, Step.WITHDRAW): Agent.IDLE,
}
"""The agent's moves."""


class Rule(NamedTuple):
    """A joint rule: on `event`, with the user and the agent in any of these states, the machine does `then`."""

    event: type
    user: frozenset[User]
    agent: frozenset[Agent]
    then: str
    says: str


_LIVE = "speculating|thinking|speaking|stopped"


def _rule(event: type, user: str, agent: str, then: str, says: str) -> Rule:
    """Build a rule from state names joined by bars; `any` is every state."""
    users = frozenset(User) if user == "any" else frozenset(User(name) for name in user.split("|"))
    agents = frozenset(Agent) if agent == "any" else frozenset(Agent(name) for name in agent.split("|"))
    return Rule(event, users, agents, then, says)


RULES: tuple[Rule, ...] = (
    # event, user, agent, then, in words
    _rule(SpeechStarted, "speaking", "any", "_hear_speech", "timers of the pause are disarmed"),
    _rule(SpeechStopped, "paused", "idle|speculating", "_begin_pause", "timers of the pause are armed"),
    _rule(SpeechStopped, "paused", "thinking|speaking|stopped", "_end_sound", "commit; words must come soon"),
    _rule(VoiceConfirmed, "speaking", "idle|speculating|stopped", "_note_voice", "the utterance is a voice"),
    _rule(VoiceConfirmed, "speaking", "thinking", "_take_back", "cancel; the words before are kept and joined"),
    _rule(VoiceConfirmed, "speaking", "speaking", "_stop_agent", "stop at once; the audio is kept"),
    _rule(TranscriptUpdated, "any", "idle|speculating", "_take_words", "speculate, or consider the endpoint"),
    _rule(TranscriptUpdated, "any", "thinking|speaking", "_weigh_words", "real words interrupt even an unheard voice"),
    _rule(TranscriptUpdated, "any", "stopped", "_judge_words", "real words confirm the interruption"),
    _rule(TranscriptFinal, "any", "idle|speculating", "_take_words", "speculate, or consider the endpoint"),
    _rule(TranscriptFinal, "any", "thinking|speaking", "_weigh_words", "real words interrupt, others are dropped"),
    _rule(TranscriptFinal, "any", "stopped", "_judge_words", "real words confirm, a backchannel resumes"),
    _rule(TranscriptionFailed, "any", "any", "_fail_for_good", "say so, hang up"),
    _rule(ReplyText, "any", _LIVE, "_write", "speak what makes a clause"),
    _rule(ReplyToolCalled, "any", _LIVE, "_note_tool", "kept until confirmed"),
    _rule(ReplyFinished, "any", _LIVE, "_end_text", "speak the rest, run tools"),
    _rule(ReplyFailed, "any", _LIVE, "_fail_reply", "finish what was said, or apologise"),
    _rule(ToolFinished, "any", "thinking|speaking|stopped", "_end_tool", "the model goes on, or the call ends"),
    _rule(SynthesisFailed, "any", _LIVE, "_fail_voice", "a cached line, then hang up"),
    _rule(PlaybackStarted, "any", "thinking", "_play", "the caller hears the agent"),
    _rule(PlaybackMarked, "any", "speaking|stopped", "_mark", "heard so far"),
    _rule(PlaybackStopped, "any", "stopped", "_note_stop", "heard, and left to hear"),
    _rule(PlaybackFinished, "any", "speaking", "_finish", "listen, or do what was to come last"),
    _rule(DigitPressed, "any", "any", "_press", "a key interrupts at once"),
    _rule(AnsweredBy, "any", "any", "_judge_answer", "at a machine: silence, its beep, a message, or the end"),
    _rule(EndRequested, "any", "any", "_close", "say so, hang up"),
)

TIMERS: dict[Timer, str] = {
    Timer.COMMIT: "_commit",
    Timer.SPECULATE: "_speculate",
    Timer.ENDPOINT: "_consider_endpoint",
    Timer.WORDS: "_give_up_words",
    Timer.STALE: "_end_stale_speech",
    Timer.VERDICT: "_dismiss_sound",
    Timer.FILLER: "_fill",
    Timer.REPLY: "_apologise",
    Timer.IDLE: "_prompt",
    Timer.DIGITS: "_take_turn",
    Timer.DURATION: "_end_of_time",
    Timer.GOODBYE: "_force_last",
    Timer.OPT_OUT_KEY: "_opt_out_by_key",
    Timer.RECORD: "_confirm_opt_out",
    Timer.BEEP: "_leave_message",
}

DISPATCH: dict[tuple[type, User, Agent], str] = {
    (rule.event, user, agent): rule.then for rule in RULES for user in rule.user for agent in rule.agent
}
"""The rules, ready to be looked up. No two rules share a case (tests/pipeline/test_turn_tables.py)."""
