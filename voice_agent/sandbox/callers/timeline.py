"""Everything about one finished call that the judge looks at, on the line's sample clock."""

import msgspec

from voice_agent.sandbox.callers.caller import Caller, Utterance
from voice_agent.sandbox.carrier import Call
from voice_agent.sandbox.carrier.journal import Cleared, DigitPressed, Journal, StreamOpened
from voice_agent.sandbox.carrier.playout import Span


class Clear(msgspec.Struct, frozen=True):
    """The server's `clear`, with the audio that it dropped."""

    sample: int
    dropped_bytes: int


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """One call, both ways. Sample 0 is the answer."""

    heard: bytes
    """Mu-law: what the caller heard."""
    said: bytes
    """Mu-law: what the caller's end sent, the background included."""
    utterances: tuple[Utterance, ...]
    clears: tuple[Clear, ...]
    keys: tuple[int, ...]
    """The samples at which keys were pressed."""
    spans: tuple[Span, ...]
    """When the carrier had audio to play."""
    has_caller_hung_up: bool
    stream_began: int = 0
    """The sample at which the first media stream opened: about second 0.0 of the server's own clock."""


def timeline_of(call: Call, caller: Caller, journal: Journal) -> Timeline:
    """Return the timeline of an ended call."""
    entries = journal.of_call(call.record.sid)
    opened = [entry.sample for entry in entries if isinstance(entry, StreamOpened)]
    return Timeline(
        heard=bytes(caller.heard),
        said=bytes(caller.said),
        utterances=tuple(caller.utterances),
        clears=tuple(Clear(entry.sample, entry.dropped_bytes) for entry in entries if isinstance(entry, Cleared)),
        keys=tuple(entry.sample for entry in entries if isinstance(entry, DigitPressed)),
        spans=tuple(call.leg.line.playout.spans) if call.leg.is_answered else (),
        has_caller_hung_up=caller.has_hung_up,
        stream_began=opened[0] if opened else 0,
    )
