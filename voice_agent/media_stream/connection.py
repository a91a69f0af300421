"""One call's socket: joins the protocol and playback to a WebSocket, and to whoever holds the conversation.

The shell around the pure parts: a frame comes in from the socket's own callback, goes through `MediaStreamProtocol`,
and ends in a method of the `MediaStreamListener`, all in one pass on the event loop's thread: no task, queue or timer
for a frame. Everything that only time brings about, for all calls, is driven by one `PlayoutClock`.

It does not know which WebSocket library carries it (server.py), nor what a conversation is (calls/session.py). Who may
stream is decided by the `Admit` callable it is given, before anything else happens.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol

import msgspec
import structlog

from voice_agent.audio.mulaw import BYTES_PER_MS
from voice_agent.media_stream.messages import OutboundMessages
from voice_agent.media_stream.playback import Finished, Heard, Output, Playback, PlaybackSettings, SendMark, SendMedia
from voice_agent.media_stream.playback import Started as PlaybackStarted
from voice_agent.media_stream.protocol import (
    GOING_AWAY,
    INTERNAL_ERROR,
    NORMAL_CLOSURE,
    POLICY_VIOLATION,
    AudioReceived,
    CloseRequired,
    DigitReceived,
    MarkReceived,
    MediaStreamProtocol,
    StreamEvent,
    StreamStarted,
    StreamStopped,
    ThrottleRequired,
)

log = structlog.get_logger(__name__)

TICK_S = 0.02
"""Twilio's own frame length: finer would cost more and gain nothing."""

PROBE_AFTER_S = 5.0
"""Silence of the socket (Twilio sends 50 messages a second) before a mark asks whether anybody is there (F26)."""

LOST_AFTER_S = 30.0
"""Silence of the socket that ends the call."""

MAX_UNSENT_BYTES = 2_400
"""Messages waiting in our process for a slow reader: 200 ms of audio. More stays in `Playback`, where it can be cut."""

SLOW_READER_S = 2.0
"""A reader that takes nothing for so long is given up (F33)."""

PROBE = "probe"
"""Name of the mark that asks for a sign of life. Playback's own names have another form."""


class CloseReason(StrEnum):
    """Why a stream has ended, as `on_closed` tells it."""

    STOPPED = "stopped"
    """Twilio said so: the call is over, or has left the stream."""
    DISCONNECTED = "disconnected"
    """The socket closed without a `stop`."""
    HUNG_UP = "hung_up"
    """We closed it."""
    REFUSED = "refused"
    """It was not admitted."""
    BROKEN_PROTOCOL = "broken_protocol"
    """The peer broke the rules too badly."""
    TRANSPORT_LOST = "transport_lost"
    """Nothing came for 30 s."""
    SLOW_READER = "slow_reader"
    """The peer did not take what we sent."""
    SHUTDOWN = "shutdown"
    """This process is stopping."""
    FAILED = "failed"
    """The listener raised: our fault, logged."""


class Upgrade(msgspec.Struct, frozen=True):
    """The HTTP request that opened the socket."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case. Twilio's signature is `x-twilio-signature`."""


class MediaSocket(Protocol):
    """What a WebSocket library has to offer. All of it at once and from the loop's thread; none of it raises."""

    def send(self, message: bytes) -> None:
        """Write a text frame of UTF-8 text. Ignored once the socket is closing."""
        ...

    def unsent_bytes(self) -> int:
        """Return how much waits in this process because the peer does not read."""
        ...

    def pause_reading(self) -> None:
        """Read no more for now."""
        ...

    def resume_reading(self) -> None:
        """Read again. Harmless where reading goes on."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close with a code; a peer that does not answer is cut off after a short while."""
        ...

    def abort(self) -> None:
        """Cut the connection, unsent bytes included."""
        ...


class MediaStreamListener(Protocol):
    """Who holds the conversation. Called on the loop's thread, in order; must not block. `on_closed` comes last."""

    def on_started(self, started: StreamStarted) -> None:
        """The stream is open and admitted: the call's clock is at 0.0, audio may be played."""
        ...

    def on_audio(self, mulaw: bytes) -> None:
        """More of the caller's audio, without gaps, any length. Hot path."""
        ...

    def on_digit(self, digit: str) -> None:
        """The caller pressed a key."""
        ...

    def on_playback_started(self, turn: int) -> None:
        """The first audio of a reply is on its way to the caller's ear."""
        ...

    def on_playback_marked(self, turn: int, heard_ms: float) -> None:
        """The caller has heard a reply up to `heard_ms` of its audio."""
        ...

    def on_playback_stopped(self, turn: int, heard_ms: float, remaining_ms: float) -> None:
        """A reply was cut, within `stop`."""
        ...

    def on_playback_finished(self, turn: int) -> None:
        """The caller has heard all of a reply."""
        ...

    def on_closed(self, reason: CloseReason) -> None:
        """The stream has ended. Once, and nothing follows."""
        ...


Admit = Callable[[StreamStarted, "MediaStreamConnection"], MediaStreamListener | None]
"""Decides who may stream, when `start` has come: check the ticket, return who listens, or None to refuse (1008).

`connection.upgrade` has the request's headers. Nothing may be played before `on_started`.
"""


class PlayoutClock:
    """One tick for all calls of the process. Runs while there are any; owned by the app."""

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._tick_s = tick_s
        self._connections: set[MediaStreamConnection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many sockets are open."""
        return len(self._connections)

    def add(self, connection: "MediaStreamConnection") -> None:
        """Begin to drive a connection."""
        self._connections.add(connection)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._arm(loop, loop.time() + self._tick_s)

    def discard(self, connection: "MediaStreamConnection") -> None:
        """Drive a connection no more. Harmless for one that is not driven."""
        self._connections.discard(connection)
        if not self._connections and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        self._timer = loop.call_at(at, self._tick, loop, at)

    def _tick(self, loop: asyncio.AbstractEventLoop, planned_at: float) -> None:
        """Tick on a fixed grid; ticks that a busy loop missed are not made up for."""
        now = loop.time()
        self._arm(loop, max(planned_at + self._tick_s, now))
        for connection in tuple(self._connections):
            connection.tick(now)


Arguments = ParamSpec("Arguments")


def _boundary(
    method: Callable[Concatenate["MediaStreamConnection", Arguments], None],
) -> Callable[Concatenate["MediaStreamConnection", Arguments], None]:
    """Make a method the boundary of its call: what is raised inside, by whomever, ends this call and no other."""

    @wraps(method)
    def guarded(connection: "MediaStreamConnection", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            method(connection, *args, **kwargs)
        except Exception:
            log.exception("media_stream_failed", stream_sid=connection.stream_sid)
            connection.fail()

    return guarded


class MediaStreamConnection:
    """One media stream, from the upgrade to the end; also the `Loudspeaker` of its call.

    The socket's side calls `receive`, `receive_binary` and `lost`; the clock calls `tick`; the conversation calls the
    rest. Times inside are the loop's; the conversation sees the call's own clock (`now`).
    """

    def __init__(
        self,
        socket: MediaSocket,
        upgrade: Upgrade,
        *,
        admit: Admit,
        clock: PlayoutClock,
        settings: PlaybackSettings | None = None,
    ) -> None:
        self.upgrade = upgrade
        self.playback = Playback(settings)
        self._socket = socket
        self._admit = admit
        self._clock = clock
        self._time = asyncio.get_running_loop().time
        opened_at = self._time()
        self.protocol = MediaStreamProtocol(opened_at)
        self._started_at = self._last_sign_at = self._probed_at = opened_at
        self._blocked_since: float | None = None
        self._is_throttled = False
        self._is_closed = False
        self._listener: MediaStreamListener | None = None
        self._messages = OutboundMessages("")
        clock.add(self)

    # --- for the conversation
    @property
    def now(self) -> float:
        """Seconds of the call's clock: 0.0 at `on_started`."""
        return self._time() - self._started_at

    @property
    def stream_sid(self) -> str:
        """Twilio's name of the stream; empty before `start`."""
        started = self.protocol.started
        return "" if started is None else started.stream_sid

    @property
    def is_closed(self) -> bool:
        """Whether the stream has ended; everything below is then ignored."""
        return self._is_closed

    @property
    def queued_ms(self) -> float:
        """Audio not sent yet. Above a few seconds, whoever produces it should wait."""
        return self.playback.queued_bytes / BYTES_PER_MS

    def heard_ms(self, turn: int) -> float:
        """Return how far into a turn's audio the caller has heard by now."""
        return self.playback.heard_ms(turn, self.now)

    def take_played(self) -> bytes:
        """Return what the caller heard since the last time, up to now, silence included: for a recorder to append."""
        return self.playback.take_played(self.now)

    def play(self, turn: int, mulaw: bytes) -> None:
        """Queue more audio of a turn, any length. What is due goes out before this returns."""
        if self._listener is None:
            return
        if not self.playback.append(turn, mulaw):
            log.warning("playback_refused", turn=turn, refused_bytes=len(mulaw))
        self._flush(self._time())

    def finish(self, turn: int) -> None:
        """No more audio follows in this turn."""
        if self._listener is not None:
            self.playback.finish(turn)
            self._flush(self._time())

    def stop(self, turn: int) -> None:
        """Silence the turn now and keep its unheard audio. `on_playback_stopped` is called before this returns."""
        if self._listener is None:
            return
        stopped = self.playback.stop(turn, self.now)
        if stopped.must_clear:
            self._socket.send(self._messages.clear())
        self._listener.on_playback_stopped(turn, stopped.heard_ms, stopped.remaining_ms)

    def resume(self, turn: int, from_ms: float) -> None:
        """Play a stopped turn again from `from_ms` of its audio (at or before what was heard)."""
        if self._listener is not None:
            self.playback.resume(turn, from_ms)
            self._flush(self._time())

    def discard(self, turn: int) -> None:
        """Forget a turn's audio that was not heard, silencing it first where it is playing."""
        if self._listener is not None and self.playback.discard(turn, self.now):
            self._socket.send(self._messages.clear())

    def close(self, code: int = NORMAL_CLOSURE) -> None:
        """End the stream; Twilio goes on with the TwiML behind `<Connect>`. `on_closed` is called before it returns."""
        self._end(CloseReason.HUNG_UP, code)

    # --- for the socket
    @_boundary
    def receive(self, frame: bytes) -> None:
        """Take a text frame. Hot path."""
        self._last_sign_at = now = self._time()
        for event in self.protocol.receive(frame, now):
            self._handle(event, now)

    @_boundary
    def receive_binary(self) -> None:
        """Take note of a binary frame, or of a ping: nothing that Twilio sends, and no sign of life."""
        now = self._time()
        for event in self.protocol.receive_binary(now):
            self._handle(event, now)

    def lost(self, reason: CloseReason = CloseReason.DISCONNECTED) -> None:
        """The socket is closed, whoever closed it."""
        self._end(reason, NORMAL_CLOSURE)

    def fail(self) -> None:
        """End the stream because of a fault of our own."""
        self._end(CloseReason.FAILED, INTERNAL_ERROR)

    def shut_down(self) -> None:
        """End the stream because the process is stopping."""
        self._end(CloseReason.SHUTDOWN, GOING_AWAY)

    # --- for the clock
    @_boundary
    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._is_throttled:
            self._is_throttled = False
            self._socket.resume_reading()
        for event in self.protocol.poll(now):
            self._handle(event, now)
        if now - self._last_sign_at >= PROBE_AFTER_S:
            self._look_for_life(now)
        if now - self._started_at >= self.playback.deadline:
            self._flush(now)

    # --- inside
    def _handle(self, event: StreamEvent, now: float) -> None:
        if self._is_closed:
            return
        listener = self._listener
        if listener is None:
            self._handle_life(event, now)
            return
        if type(event) is AudioReceived:
            listener.on_audio(event.mulaw)
            return
        match event:
            case MarkReceived(name):
                if name != PROBE:
                    self._emit(self.playback.acknowledge(name, now - self._started_at))
            case DigitReceived(digit):
                listener.on_digit(digit)
            case _:
                self._handle_life(event, now)

    def _handle_life(self, event: StreamEvent, now: float) -> None:
        """Handle what begins, ends or slows a stream. All that can come before somebody listens."""
        match event:
            case StreamStarted():
                self._start(event, now)
            case StreamStopped():
                self._end(CloseReason.STOPPED, NORMAL_CLOSURE)
            case CloseRequired(code, reason):
                log.warning("media_stream_broken", code=code, reason=reason, fault=self.protocol.first_fault)
                self._end(CloseReason.BROKEN_PROTOCOL, code)
            case ThrottleRequired():
                self._is_throttled = True
                self._socket.pause_reading()

    def _start(self, started: StreamStarted, now: float) -> None:
        listener = self._admit(started, self)
        if listener is None:
            log.warning("media_stream_not_admitted", stream_sid=started.stream_sid)
            self._end(CloseReason.REFUSED, POLICY_VIOLATION)
            return
        self._started_at = now
        self._messages = OutboundMessages(started.stream_sid)
        self._listener = listener
        listener.on_started(started)

    def _flush(self, now: float) -> None:
        """Write what is due, unless the peer does not read: then it stays where it can still be cut."""
        if self._socket.unsent_bytes() <= MAX_UNSENT_BYTES:
            self._blocked_since = None
            self._emit(self.playback.due(now - self._started_at))
        elif self._blocked_since is None:
            self._blocked_since = now
        elif now - self._blocked_since >= SLOW_READER_S:
            self._end(CloseReason.SLOW_READER, NORMAL_CLOSURE, is_abrupt=True)

    def _emit(self, outputs: tuple[Output, ...]) -> None:
        """Write first, tell afterwards: a listener that stops playback at once then finds everything written."""
        for output in outputs:
            match output:
                case SendMedia(mulaw):
                    self._socket.send(self._messages.media(mulaw))
                case SendMark(name):
                    self._socket.send(self._messages.mark(name))
        for output in outputs:
            listener = self._listener
            if listener is None:
                return
            match output:
                case PlaybackStarted(turn):
                    listener.on_playback_started(turn)
                case Heard(turn, heard_ms):
                    listener.on_playback_marked(turn, heard_ms)
                case Finished(turn):
                    listener.on_playback_finished(turn)

    def _look_for_life(self, now: float) -> None:
        if now - self._last_sign_at >= LOST_AFTER_S:
            self._end(CloseReason.TRANSPORT_LOST, NORMAL_CLOSURE, is_abrupt=True)
        elif self._listener is not None and now - self._probed_at >= PROBE_AFTER_S:
            self._probed_at = now
            self._socket.send(self._messages.mark(PROBE))

    def _end(self, reason: CloseReason, code: int, *, is_abrupt: bool = False) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._clock.discard(self)
        if is_abrupt:
            self._socket.abort()
        else:
            self._socket.close(code, reason)
        listener, self._listener = self._listener, None
        self._report(reason)
        if listener is not None:
            try:
                listener.on_closed(reason)
            except Exception:
                log.exception("media_stream_listener_failed", stream_sid=self.stream_sid)

    def _report(self, reason: CloseReason) -> None:
        log.info(
            "media_stream_closed",
            reason=reason.value,
            stream_sid=self.stream_sid,
            received=msgspec.structs.asdict(self.protocol.counts),
            order=msgspec.structs.asdict(self.protocol.order_counts),
            played=msgspec.structs.asdict(self.playback.counts),
        )
