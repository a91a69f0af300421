"""What can happen in a call: the input of the turn machine, and the lines of a call's event log.

Events are past tense and immutable. `at` is seconds on the call's monotonic clock, 0.0 at the start of the media
stream. Events of a reply carry the `turn` that asked for it; the machine drops those of any other turn. The class
name is the tag under "event" in the log, so renaming one breaks the replay of recorded calls.
"""

import msgspec


class Event(msgspec.Struct, frozen=True, tag=True, tag_field="event", kw_only=True):
    """Something that has happened at `at` seconds of the call's clock."""

    at: float


class CallStarted(Event, frozen=True):
    """The media stream is open: audio flows both ways."""


class CallResumed(Event, frozen=True):
    """In place of CallStarted: the media stream is open again after it was lost in mid-call.

    What was going on when it was lost, as `calls.resumption` has found it.
    """

    elapsed_s: float
    """Of the call, before this stream."""

    question: str = ""
    """What the caller had said and got no whole answer to."""

    unheard: str = ""
    """What the agent was saying, from the sentence in which it was cut; or the question that it had asked."""

    hang_up: bool = False
    """Whether that was the agent's last word."""

    transfer_to: str = ""
    """E.164; whom the caller was to be connected to after that word, empty for nobody."""

    is_disclosed: bool = False
    """Whether the disclosure was heard to its end; where not, all of it is said again."""

    opted_out: str = ""
    """In which words the caller had asked not to be called any more, where nobody knows whether that was written down.
    """


class EndRequested(Event, frozen=True):
    """Whoever runs the server wants the call to end, with a word to the caller. `reason` goes into the hang-up."""

    reason: str


class AnsweredBy(Event, frozen=True):
    """The carrier's verdict on who answered, in its own words: human, machine_start, machine_end_beep, fax ..."""

    answered_by: str


class OptOutRecorded(Event, frozen=True):
    """That the caller is not to be called any more is written down where nothing can lose it."""

    is_committed: bool
    """Whether it is in force already; else the database is away, and it will be once that is back."""


class SpeechStarted(Event, frozen=True):
    """Voice activity has begun."""

    began_at: float
    """Seconds; the first sample of the speech, at or before `at`."""


class VoiceConfirmed(Event, frozen=True):
    """What has been heard since `began_at` is a voice: no cough, click, noise or music. At most once a stretch."""

    began_at: float


class SpeechStopped(Event, frozen=True):
    """Voice activity has paused: the first pause, not yet the end of a turn."""

    ended_at: float
    """Seconds; the last sample of the speech, before `at`."""


class TranscriptUpdated(Event, frozen=True):
    """An interim transcript: restates everything said since the last final one."""

    text: str


class TranscriptFinal(Event, frozen=True):
    """The final transcript of one committed segment; empty where nothing was said."""

    text: str


class TranscriptionFailed(Event, frozen=True):
    """Speech recognition is gone for this call, its fallback included."""

    reason: str


class ReplyText(Event, frozen=True):
    """The language model has produced more of its reply (one or more tokens)."""

    turn: int
    text: str


class ReplyToolCalled(Event, frozen=True):
    """The language model asks for a tool. `arguments` is its JSON as text, complete but not validated."""

    turn: int
    call_id: str
    name: str
    arguments: str


class ReplyFinished(Event, frozen=True):
    """The language model has said all of this generation."""

    turn: int


class ReplyFailed(Event, frozen=True):
    """The language model, its fallback included, gave up. `reason` is an error class, for people."""

    turn: int
    reason: str


class ToolFinished(Event, frozen=True):
    """A tool has returned. `result` is what the model is told; `is_error` where the tool failed.

    `hang_up`, `transfer_to` and `digits` are what the tool wants done to the call, once what the agent is saying has
    been heard; `opt_out` is done at once.
    """

    turn: int
    call_id: str
    result: str
    is_error: bool = False
    hang_up: bool = False
    transfer_to: str = ""
    """E.164, empty for no transfer."""

    digits: str = ""
    """DTMF tones to play, empty for none."""

    opt_out: bool = False
    """Whether the caller asked not to be called any more."""


class SynthesisStarted(Event, frozen=True):
    """The first audio of a reply came from the synthesiser (or the cache)."""

    turn: int


class SynthesisFailed(Event, frozen=True):
    """The synthesiser, its fallback included, gave up on a reply."""

    turn: int
    reason: str


class PlaybackStarted(Event, frozen=True):
    """The first audio of a reply is on its way to the caller's ear."""

    turn: int


class PlaybackMarked(Event, frozen=True):
    """The caller has heard a reply up to `heard_ms`, counted in its audio from 0."""

    turn: int
    heard_ms: float


class PlaybackStopped(Event, frozen=True):
    """Playback of a reply was cut by us: what was heard, and how much audio was left."""

    turn: int
    heard_ms: float
    remaining_ms: float


class PlaybackFinished(Event, frozen=True):
    """The caller has heard the whole of a reply."""

    turn: int


class DigitPressed(Event, frozen=True):
    """The caller pressed a key: one of 0-9, *, #, A-D."""

    digit: str


class DeadlinePassed(Event, frozen=True):
    """The moment the machine asked to be woken at has come."""


class CallEnded(Event, frozen=True):
    """The media stream is closed, by whichever side. Nothing follows."""

    reason: str


AnyEvent = (
    CallStarted
    | CallResumed
    | EndRequested
    | AnsweredBy
    | OptOutRecorded
    | SpeechStarted
    | VoiceConfirmed
    | SpeechStopped
    | TranscriptUpdated
    | TranscriptFinal
    | TranscriptionFailed
    | ReplyText
    | ReplyToolCalled
    | ReplyFinished
    | ReplyFailed
    | ToolFinished
    | SynthesisStarted
    | SynthesisFailed
    | PlaybackStarted
    | PlaybackMarked
    | PlaybackStopped
    | PlaybackFinished
    | DigitPressed
    | DeadlinePassed
    | CallEnded
)
