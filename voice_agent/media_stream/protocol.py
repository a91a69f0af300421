"""What a stream's frames mean: Twilio's protocol as a pure machine, frames in, events out.

How it works. `receive` takes one frame and returns what happened, in order; `poll` is called by a shared tick and
returns what only time brings about. Neither ever raises, whatever the peer sends. The way of a message:

    frame -> size, rate -> decode -> right stream? -> in turn? -> audio on the call's clock -> event
               |             |            |              |
             close        bad frame    foreign       too late            (counted and dropped, the call goes on)

Audio position is the call's clock: `counts.audio_bytes / 8` is the milliseconds of audio handed on, and follows the
timestamps. What was lost comes as mu-law silence, so that recordings, speech detection and time stay in step. Lost
means that the timestamps say so and that as much real time has passed; a clock that jumps for no reason is ignored.

The limits are those of the fault matrix (F27 to F35), stated at each constant. The socket's own limits (frame size,
fragments, control frames) are enforced below, in server.py; time without any message is watched in connection.py.
Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages.
"""

from collections import deque
from math import inf
from typing import assert_never

import msgspec

from voice_agent.audio.mulaw import BYTES_PER_MS, RATE_HZ, silence
from voice_agent.media_stream.messages import (
    INBOUND_TRACK,
    NUMBERLESS,
    Connected,
    Dtmf,
    Malformed,
    Mark,
    Media,
    Message,
    Numbered,
    Start,
    Stop,
    Unknown,
    decode,
)
from voice_agent.media_stream.ordering import OrderCounts, Resequencer, TokenBucket

MAX_FRAME_BYTES = 64 * 1024
"""Largest frame taken; Twilio's are about 400 bytes. uvicorn's own default is 16 MiB."""

BAD_FRAMES = 50
BAD_FRAMES_S = 5.0
"""So many bad frames within so many seconds are no accident: the stream is closed."""

START_TIMEOUT_S = 10.0
"""Time for `start` to come; Twilio sends it with `connected`."""

EARLY_MEDIA_BYTES = RATE_HZ
"""Audio kept before `start`: one second."""

EARLY_MESSAGES = 64

ROUNDING_MS = 10.0
"""Timestamps are whole milliseconds of a clock nobody documents: half a frame ahead means nothing."""

BACK_MS = 100.0
"""So far back a timestamp may lie before the clock counts as set back."""

AHEAD_MS = 1_000.0
"""So far may the audio seem ahead of real time: a start that was late, clocks that differ by 50 ppm for hours."""

SILENCE_MS = 30_000.0
"""Longest silence put in for one gap: a longer one has ended the call (connection.py)."""

AUDIO_BURST_S = 3.0
AUDIO_PACE = 1.05
"""Audio may come in a burst of so many seconds (a stalled network catches up; up to twice as many after a pause), else
at real time, and 5 % for clocks that differ. The excess is dropped."""

MESSAGES_PER_S = 1_000
MESSAGE_BURST = 2_000
"""Twenty times Twilio's pace. Beyond, the socket is not read for a moment: other calls keep their processor."""

DIGITS_PER_S = 10
DIGIT_BURST = 20
"""Faster than fingers. The excess is dropped."""

NORMAL_CLOSURE, GOING_AWAY, PROTOCOL_ERROR, UNSUPPORTED = 1000, 1001, 1002, 1003
INVALID_PAYLOAD, POLICY_VIOLATION, TOO_BIG, INTERNAL_ERROR = 1007, 1008, 1009, 1011
"""WebSocket close codes (RFC 6455, section 7.4.1)."""


# --- what happens -----------------------------------------------------------------------------------------------
class StreamStarted(msgspec.Struct, frozen=True):
    """The stream is open. Nothing it says is proven yet: check the ticket before anything is spent on the call."""

    stream_sid: str
    call_sid: str
    account_sid: str
    parameters: dict[str, str]
    """Of the TwiML's `<Parameter>` elements; empty where there are none."""


class AudioReceived(msgspec.Struct, frozen=True, gc=False):
    """The caller's audio goes on, without a gap: mu-law, 8,000 Hz, any length, silence where it was lost."""

    mulaw: bytes


class DigitReceived(msgspec.Struct, frozen=True):
    """The caller pressed a key: one of 0-9, *, #, A-D."""

    digit: str


class MarkReceived(msgspec.Struct, frozen=True):
    """A mark came back. What it proves is for playback.py to say."""

    name: str


class StreamStopped(msgspec.Struct, frozen=True):
    """Twilio has ended the stream. Nothing follows."""


class CloseRequired(msgspec.Struct, frozen=True):
    """The stream must be closed with a WebSocket close code. Nothing follows."""

    code: int
    reason: str


class ThrottleRequired(msgspec.Struct, frozen=True):
    """The peer sends far too fast: stop reading the socket until the next tick."""


StreamEvent = (
    StreamStarted | AudioReceived | DigitReceived | MarkReceived | StreamStopped | CloseRequired | ThrottleRequired
)


class StreamCounts(msgspec.Struct):
    """What a stream brought, for logs and metrics. Numbers out of order are in `MediaStreamProtocol.order_counts`."""

    frames: int = 0
    media: int = 0
    """Media messages used."""
    audio_bytes: int = 0
    """Mu-law handed on, silence included: the audio position of the call."""
    silence_bytes: int = 0
    """Of these, put in for what was lost."""
    bad: int = 0
    """Frames that are no message: garbage, missing keys, wrong types, bad base64, too big."""
    binary: int = 0
    unknown: int = 0
    """Messages of an undocumented kind."""
    foreign: int = 0
    """Messages of another stream or track."""
    second_starts: int = 0
    early_dropped: int = 0
    """Messages before `start` beyond what is kept."""
    flood_bytes: int = 0
    """Audio dropped because it came too fast."""
    digits_dropped: int = 0
    clock_jumps: int = 0
    """Timestamps that fit neither the audio nor the time that passed."""
    throttled: int = 0


_FINE: tuple[StreamEvent, ...] = ()


# --- the machine ------------------------------------------------------------------------------------------------
class MediaStreamProtocol:
    """One stream, from its first frame to its last. `now` is any monotonic clock in seconds, never going back."""

    def __init__(self, now: float) -> None:
        self.counts = StreamCounts()
        self.started: StreamStarted | None = None
        self.is_closed = False
        self.first_fault = ""
        """Names the first bad frame's fault, for the log; quotes nothing of it."""
        self._stream_sid: str | None = None
        self._connected_at = now
        self._bad_at: deque[float] = deque(maxlen=BAD_FRAMES)
        self._early: list[Numbered] = []
        self._early_bytes = 0
        self._order: Resequencer[Numbered] = Resequencer(0, now)
        self._clock = _AudioClock(now, self.counts)
        self._message_bucket = TokenBucket(MESSAGES_PER_S, MESSAGE_BURST, now)
        self._audio_bucket = TokenBucket(RATE_HZ * AUDIO_PACE, RATE_HZ * AUDIO_BURST_S, now)
        self._digit_bucket = TokenBucket(DIGITS_PER_S, DIGIT_BURST, now)

    @property
    def order_counts(self) -> OrderCounts:
        """What was found out of order."""
        return self._order.counts

    def receive(self, frame: bytes, now: float) -> tuple[StreamEvent, ...]:
        """Take a text frame and return what it brought about, in order. Never raises; empty after the end."""
        if self.is_closed:
            return _FINE
        self.counts.frames += 1
        if len(frame) > MAX_FRAME_BYTES:
            self.counts.bad += 1
            return self._close(TOO_BIG, "frame too big")
        message = decode(frame)
        if (
            type(message) is Media
            and message.stream_sid == self._stream_sid
            and self._order.pass_by(message.sequence_number, now)
        ):
            events = self._hear(message, now)
        else:
            events = self._receive(message, now)
        if self._message_bucket.take(1, now):
            return events
        self.counts.throttled += 1
        return (*events, ThrottleRequired())

    def receive_binary(self, now: float) -> tuple[StreamEvent, ...]:
        """Take note of a binary frame, which Twilio never sends. It is ignored."""
        self.counts.binary += 1
        if self._message_bucket.take(1, now) or self.is_closed:
            return _FINE
        self.counts.throttled += 1
        return (ThrottleRequired(),)

    def poll(self, now: float) -> tuple[StreamEvent, ...]:
        """Return what time alone brings about: messages that waited long enough, a `start` that never came."""
        if self.is_closed:
            return _FINE
        if self._order.is_waiting:
            return self._handle_all(self._order.expire(now), now)
        if self.started is None and now - self._connected_at >= START_TIMEOUT_S:
            return self._close(POLICY_VIOLATION, "no start")
        return _FINE

    # --- by kind of message
    def _receive(self, message: Message, now: float) -> tuple[StreamEvent, ...]:
        match message:
            case Media() | Mark() | Dtmf() | Stop() | Unknown():
                return self._sort(message, now) if self.started else self._keep_early(message)
            case Connected():
                return _FINE
            case Start():
                return self._start(message, now)
            case Malformed(reason):
                return self._count_bad(reason, now)
            case _:
                assert_never(message)

    def _sort(self, message: Numbered, now: float) -> tuple[StreamEvent, ...]:
        if message.stream_sid != self._stream_sid:
            self.counts.foreign += 1
            return _FINE
        if message.sequence_number == NUMBERLESS:
            return self._handle(message, now)
        return self._handle_all(self._order.take(message.sequence_number, message, now), now)

    def _handle_all(self, messages: tuple[Numbered, ...], now: float) -> tuple[StreamEvent, ...]:
        if len(messages) == 1:
            return self._handle(messages[0], now)
        events: list[StreamEvent] = []
        for message in messages:
            if not self.is_closed:
                events += self._handle(message, now)
        return tuple(events)

    def _handle(self, message: Numbered, now: float) -> tuple[StreamEvent, ...]:
        match message:
            case Media():
                return self._hear(message, now)
            case Mark():
                return (MarkReceived(message.mark.name),)
            case Dtmf():
                return self._press(message.dtmf.digit, now)
            case Stop():
                self.is_closed = True
                return (StreamStopped(),)
            case Unknown():
                self.counts.unknown += 1
                return _FINE
            case _:
                assert_never(message)

    def _start(self, message: Start, now: float) -> tuple[StreamEvent, ...]:
        if self.started is not None:
            self.counts.second_starts += 1
            return _FINE
        details = message.start
        if (details.media_format.encoding, details.media_format.sample_rate, details.media_format.channels) != (
            "audio/x-mulaw",
            RATE_HZ,
            1,
        ):
            return self._close(UNSUPPORTED, "unsupported media format")
        self.started = started = StreamStarted(
            stream_sid=message.stream_sid,
            call_sid=details.call_sid,
            account_sid=details.account_sid,
            parameters=details.custom_parameters or {},
        )
        self._stream_sid = message.stream_sid
        self._order = Resequencer(message.sequence_number + 1, now)
        return (started, *self._release_early(now))

    def _keep_early(self, message: Numbered) -> tuple[StreamEvent, ...]:
        size = len(message.media.payload) if isinstance(message, Media) else 0
        if len(self._early) >= EARLY_MESSAGES or self._early_bytes + size > EARLY_MEDIA_BYTES:
            self.counts.early_dropped += 1
        else:
            self._early.append(message)
            self._early_bytes += size
        return _FINE

    def _release_early(self, now: float) -> tuple[StreamEvent, ...]:
        events: list[StreamEvent] = []
        early, self._early = sorted(self._early, key=lambda message: message.sequence_number), []
        for message in early:
            events += self._sort(message, now)
        return tuple(events)

    def _press(self, digit: str, now: float) -> tuple[StreamEvent, ...]:
        if self._digit_bucket.take(1, now):
            return (DigitReceived(digit),)
        self.counts.digits_dropped += 1
        return _FINE

    def _hear(self, message: Media, now: float) -> tuple[StreamEvent, ...]:
        mulaw = message.media.payload
        length = len(mulaw)
        counts = self.counts
        if message.media.track != INBOUND_TRACK or not length:
            counts.foreign += length > 0
            return _FINE
        if not self._audio_bucket.take(length, now):
            counts.flood_bytes += length
            return _FINE
        lost_bytes = self._clock.lost_before(message.media.timestamp, length, now)
        counts.media += 1
        counts.audio_bytes += length
        if not lost_bytes:
            return (AudioReceived(mulaw),)
        counts.audio_bytes += lost_bytes
        counts.silence_bytes += lost_bytes
        return (AudioReceived(silence(lost_bytes)), AudioReceived(mulaw))

    # --- faults
    def _count_bad(self, reason: str, now: float) -> tuple[StreamEvent, ...]:
        self.counts.bad += 1
        self.first_fault = self.first_fault or reason
        self._bad_at.append(now)
        if len(self._bad_at) == BAD_FRAMES and now - self._bad_at[0] <= BAD_FRAMES_S:
            return self._close(INVALID_PAYLOAD, "too many bad frames")
        return _FINE

    def _close(self, code: int, reason: str) -> tuple[StreamEvent, ...]:
        self.is_closed = True
        return (CloseRequired(code, reason),)


class _AudioClock:
    """Holds the timestamps against the audio and the time that passed: how much audio is missing?

    All in milliseconds. The audio's own length is the clock; a timestamp ahead of it means a loss, unless the audio
    would then be ahead of real time, which only a false timestamp can make it.
    """

    def __init__(self, now: float, counts: StreamCounts) -> None:
        self._counts = counts
        self._began_at = now
        self._began_ms = 0.0
        self._expected_ms = inf
        """The timestamp that the next piece should have; the first one to come is right by definition."""

    def lost_before(self, timestamp_ms: int, length_bytes: int, now: float) -> int:
        """Return how many bytes are missing before a piece of `length_bytes` said to begin at `timestamp_ms`."""
        lost_ms = 0.0
        if not -BACK_MS <= timestamp_ms - self._expected_ms <= ROUNDING_MS and timestamp_ms != NUMBERLESS:
            lost_ms = self._follow(timestamp_ms, now)
        self._expected_ms += lost_ms + length_bytes / BYTES_PER_MS
        return round(lost_ms * BYTES_PER_MS)

    def _follow(self, timestamp_ms: int, now: float) -> float:
        """Return the loss that explains a timestamp; else take the clock to have been set, and go on from there."""
        drift_ms = timestamp_ms - self._expected_ms
        ahead_ms = timestamp_ms - self._began_ms - (now - self._began_at) * 1_000
        if 0 < drift_ms <= SILENCE_MS and ahead_ms <= AHEAD_MS:
            return drift_ms
        if self._expected_ms == inf:
            self._began_ms = timestamp_ms
        else:
            self._counts.clock_jumps += 1
            self._began_ms += drift_ms
        self._expected_ms = timestamp_ms
        return 0.0
