"""Twilio's Media Streams messages, JSON to values and back.

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages. All counters arrive as strings (numbers are
taken too). Fields nobody here reads are not decoded. A payload's base64 is undone by the JSON decoder itself, and
outbound messages are bytes put together around their payload: 6 to 10 times cheaper than `json` and `base64`, which
counts at 50 messages a second for each call (measured in bench/wire.py).

This module keeps no state: order, limits and what a message means are protocol.py's.
"""

from binascii import b2a_base64
from typing import Annotated

import msgspec

MAX_COUNTER = 2**53
"""Largest counter believed; a call would need 285 million years of messages to reach it."""

INBOUND_TRACK = "inbound"

NUMBERLESS = -1
"""Stands for an absent counter."""

Counter = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNTER)]
ShortText = Annotated[str, msgspec.Meta(max_length=128)]
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


# --- inside the messages ----------------------------------------------------------------------------------------
class MediaFormat(msgspec.Struct, frozen=True, rename="camel"):
    """How the caller's audio is coded. Twilio documents exactly one value."""

    encoding: ShortText = "audio/x-mulaw"
    sample_rate: int = 8_000
    """Hertz."""
    channels: int = 1


class StartDetails(msgspec.Struct, frozen=True, rename="camel"):
    """The body of `start`."""

    call_sid: Identifier
    account_sid: ShortText = ""
    media_format: MediaFormat = MediaFormat()
    custom_parameters: dict[ShortText, str] | None = None
    """From `<Parameter>`; None where Twilio leaves it out."""


class MediaDetails(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The body of `media`."""

    payload: bytes
    """Mu-law, any length."""
    timestamp: Counter = NUMBERLESS
    """Milliseconds from the start of the stream."""
    track: str = INBOUND_TRACK


class DtmfDetails(msgspec.Struct, frozen=True, rename="camel"):
    """The body of `dtmf`."""

    digit: Annotated[str, msgspec.Meta(pattern="^[0-9*#A-D]$")]


class MarkDetails(msgspec.Struct, frozen=True, rename="camel"):
    """The body of `mark`."""

    name: ShortText


# --- the messages -----------------------------------------------------------------------------------------------
class Connected(msgspec.Struct, frozen=True, tag="connected", tag_field="event"):
    """The first message. It carries no ids: nothing can be sent before `start`."""


class Start(msgspec.Struct, frozen=True, tag="start", tag_field="event", rename="camel"):
    """The stream is open."""

    stream_sid: Identifier
    start: StartDetails
    sequence_number: Counter = NUMBERLESS


class Media(msgspec.Struct, frozen=True, tag="media", tag_field="event", rename="camel", gc=False):
    """A piece of the caller's audio."""

    stream_sid: str
    media: MediaDetails
    sequence_number: Counter = NUMBERLESS


class Dtmf(msgspec.Struct, frozen=True, tag="dtmf", tag_field="event", rename="camel"):
    """The caller has pressed a key."""

    stream_sid: str
    dtmf: DtmfDetails
    sequence_number: Counter = NUMBERLESS


class Mark(msgspec.Struct, frozen=True, tag="mark", tag_field="event", rename="camel"):
    """Everything sent before the mark has been played, or was dropped by a `clear`."""

    stream_sid: str
    mark: MarkDetails
    sequence_number: Counter = NUMBERLESS


class Stop(msgspec.Struct, frozen=True, tag="stop", tag_field="event", rename="camel"):
    """The stream or the call has ended."""

    stream_sid: str
    sequence_number: Counter = NUMBERLESS


class Unknown(msgspec.Struct, frozen=True, rename="camel"):
    """A well-formed message of a kind that Twilio has not documented (yet). It takes part in the numbering."""

    event: ShortText
    stream_sid: str = ""
    sequence_number: Counter = NUMBERLESS


class Malformed(msgspec.Struct, frozen=True):
    """What is not a message at all. `reason` names the fault and quotes nothing of the frame."""

    reason: str


Numbered = Media | Dtmf | Mark | Stop | Unknown
"""Messages of a running stream, each with its place in the numbering."""

Message = Connected | Start | Numbered | Malformed

_KNOWN_EVENTS = frozenset({"connected", "start", "media", "dtmf", "mark", "stop"})
_known: msgspec.json.Decoder[Media | Mark | Dtmf | Connected | Start | Stop] = msgspec.json.Decoder(
    Media | Mark | Dtmf | Connected | Start | Stop, strict=False
)
_unknown = msgspec.json.Decoder(Unknown, strict=False)


def decode(frame: bytes) -> Message:
    """Decode one text frame (UTF-8 JSON). Never raises: what is no message becomes `Malformed`."""
    try:
        return _known.decode(frame)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        return _decode_other(frame, error)


def _decode_other(frame: bytes, error: Exception) -> Unknown | Malformed:
    if isinstance(error, msgspec.ValidationError):
        try:
            message = _unknown.decode(frame)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return Malformed("no event")
        if message.event not in _KNOWN_EVENTS:
            return message
    return Malformed(_fault(error))


def _fault(error: Exception) -> str:
    """Name the fault and, where msgspec tells it, the field; never the value, which can be anything."""
    _, at, path = str(error).rpartition(" - at `")
    return f"{type(error).__name__} at {path.rstrip('`')}" if at else type(error).__name__


class OutboundMessages:
    """Builds the messages of one stream, exactly the documented fields: Twilio warns about any other (31951)."""

    def __init__(self, stream_sid: str) -> None:
        sid = msgspec.json.encode(stream_sid)
        self._media_head = b'{"event":"media","streamSid":' + sid + b',"media":{"payload":"'
        self._mark_head = b'{"event":"mark","streamSid":' + sid + b',"mark":{"name":'
        self._clear = b'{"event":"clear","streamSid":' + sid + b"}"

    def media(self, mulaw: bytes) -> bytes:
        """Return a message that queues `mulaw`, any length, behind what Twilio still has to play."""
        return self._media_head + b2a_base64(mulaw, newline=False) + b'"}}'

    def mark(self, name: str) -> bytes:
        """Return a message that Twilio echoes once everything before it has been played or cleared."""
        return self._mark_head + msgspec.json.encode(name) + b"}}"

    def clear(self) -> bytes:
        """Return the message that empties Twilio's buffer. Every pending mark then comes back at once."""
        return self._clear
