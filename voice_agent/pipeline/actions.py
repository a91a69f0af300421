"""What the turn machine decides: its output, performed by the shell and kept in the event log.

Actions are imperative and immutable. Performing one only starts or cancels work; what comes of it returns as an
event with the same `turn`.
"""

import msgspec


class Action(msgspec.Struct, frozen=True, tag=True, tag_field="action", kw_only=True):
    """Something the shell is told to do."""


class CommitTranscript(Action, frozen=True):
    """Ask speech recognition for the final transcript of what it has heard so far."""


class StartReply(Action, frozen=True):
    """Ask the language model to answer `text`.

    Unconfirmed, it is a speculation: what is synthesised is held back and no tool may run until ConfirmReply.
    """

    turn: int
    text: str
    confirmed: bool


class ConfirmReply(Action, frozen=True):
    """The turn is the agent's: what is ready is spoken at once, and the caller's words enter the history."""

    turn: int


class ContinueReply(Action, frozen=True):
    """Ask the language model to go on with the same reply, now that its tools have returned."""

    turn: int


class CancelReply(Action, frozen=True):
    """Stop the language model and the synthesiser for this turn and forget audio that is not yet sent."""

    turn: int


class Speak(Action, frozen=True):
    """Synthesise `text` as the next part of the turn's reply.

    `is_line`: a fixed phrase, to be taken from the cache. `is_aside`: said to fill a silence, no part of the history.
    `is_locked`: the disclosure, which has to be heard to its end: its turn is not stopped while the call goes on.
    `is_message`: what is left on an answering machine.
    """

    turn: int
    text: str
    is_line: bool = False
    is_aside: bool = False
    is_locked: bool = False
    is_message: bool = False


class FinishSpeaking(Action, frozen=True):
    """No more text follows in this turn: PlaybackFinished comes once all of it was heard."""

    turn: int


class StopPlayback(Action, frozen=True):
    """Silence the agent now, but keep the audio: PlaybackStopped comes back, ResumePlayback may follow."""

    turn: int


class ResumePlayback(Action, frozen=True):
    """Go on from the beginning of the word at which playback was cut."""

    turn: int


class TrimHistory(Action, frozen=True):
    """Keep of the turn's reply only the words that were heard, and mark it as interrupted."""

    turn: int


class ReviseHistory(Action, frozen=True):
    """Replace the caller's words of a turn that is under way by its late final transcript."""

    turn: int
    text: str


class RunTool(Action, frozen=True):
    """Run a tool that the model asked for; ToolFinished comes back."""

    turn: int
    call_id: str
    name: str
    arguments: str


class SendDigits(Action, frozen=True):
    """Play DTMF tones to the other side: `digits` of 0-9, *, #, A-D."""

    turn: int
    digits: str


class TransferCall(Action, frozen=True):
    """Hand the call over to `target`, an E.164 number; the media stream ends with it."""

    target: str


class RecordOptOut(Action, frozen=True):
    """Write down that the caller is not to be called any more; nothing else is done until OptOutRecorded comes back."""

    words: str
    """What they said, or the key that they pressed."""

    how: str
    """phrase, key or tool."""


class HangUp(Action, frozen=True):
    """End the call. `reason` is kept with it.

    agent, idle, duration, failed_provider, machine (one answered), opted_out, or that of EndRequested.
    """

    reason: str


AnyAction = (
    CommitTranscript
    | StartReply
    | ConfirmReply
    | ContinueReply
    | CancelReply
    | Speak
    | FinishSpeaking
    | StopPlayback
    | ResumePlayback
    | TrimHistory
    | ReviseHistory
    | RunTool
    | SendDigits
    | TransferCall
    | RecordOptOut
    | HangUp
)
