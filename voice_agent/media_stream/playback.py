"""What of each reply is queued, sent, held by Twilio and heard: the caller's ear as a pure model.

How it works. Twilio keeps one queue of audio and marks and plays it at 8,000 bytes a second. We keep it a little ahead
of its ear (`lead_ms`, more than an event-loop stall), in chunks with a mark behind each:

    append -> [ queued ] -> due -> [ in flight: sent, not proven heard ] -> acknowledge (mark) -> heard
                                            |
                                          stop: `clear` goes out; what was not heard is queued again, and held

A mark that comes back proves that everything before it was heard, unless a `clear` was sent after it: then it came
back because of the `clear` and proves nothing. So marks carry the number of clears before them. Between marks a byte
clock (bytes sent against time) says what is being heard; it never gets past a mark that is not back. Where marks stop
coming altogether, the byte clock is believed alone until one comes again.

`take_played` gives a recorder the same audio on the call's clock: what the byte clock had playing when, silence
between, cut at a clear. Nothing here sends anything: connection.py turns `Output`s into messages. Times are seconds of
the call's clock, 0.0 at the start of the stream; positions in a reply are milliseconds (or mu-law bytes) of its audio.
Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages, "mark" and "clear".
"""

from collections import deque
from math import inf

import msgspec

from voice_agent.audio.mulaw import BYTES_PER_MS, RATE_HZ, SILENCE_BYTE

MARK_OVERDUE_S = 1.0
"""A mark so late is taken to be lost; mouth-to-ear delay on a bad international line is about half of it."""

MARK_EARLY_S = 0.2
"""Nothing is played faster than real time: a mark so much before its time proves nothing. Twilio's own granularity is
not documented; 200 ms is as precise as "heard" has to be."""

RETAINED_BYTES = 2 * RATE_HZ
"""Heard audio kept for a resume, which goes back to the start of a word."""

MAX_QUEUED_BYTES = 1_000_000
"""Unsent audio of a call: two minutes. A synthesiser that sends more is refused (F16)."""

MAX_RECORD_BYTES = 10 * RATE_HZ
"""Played audio kept for a recorder that does not come."""


class PlaybackSettings(msgspec.Struct, frozen=True):
    """How far ahead, and in what pieces. Proven by bench/underruns.py."""

    lead_ms: float = 400.0
    """Audio kept ahead of the caller's ear: four stalls of 100 ms, or a full garbage collection and a slow network."""
    chunk_ms: float = 160.0
    """Longest piece between two marks: the precision of "heard" when the byte clock fails."""
    least_ms: float = 80.0
    """Pieces of an unfinished reply wait to be so long, while `urgent_ms` are left: fewer messages, same sound."""
    urgent_ms: float = 240.0
    is_recorded: bool = True
    """Whether `take_played` will be called."""


# --- what comes out ---------------------------------------------------------------------------------------------
class SendMedia(msgspec.Struct, frozen=True, gc=False):
    """Write this audio now."""

    mulaw: bytes


class SendMark(msgspec.Struct, frozen=True, gc=False):
    """Write a mark now, behind the audio before it."""

    name: str


class Started(msgspec.Struct, frozen=True):
    """The first audio of a reply is on its way (again, after a resume from its very beginning)."""

    turn: int


class Heard(msgspec.Struct, frozen=True):
    """A mark (or, without marks, the byte clock) proves that a reply was heard so far."""

    turn: int
    heard_ms: float


class Finished(msgspec.Struct, frozen=True):
    """All of a reply was heard. It is forgotten."""

    turn: int


class Stopped(msgspec.Struct, frozen=True):
    """A reply was cut; its unheard audio is kept."""

    turn: int
    heard_ms: float
    remaining_ms: float
    """Audio of the reply that is there but was not heard."""
    must_clear: bool
    """A `clear` has to go out now: Twilio may hold some of it."""


Output = SendMedia | SendMark | Started | Heard | Finished


class PlaybackCounts(msgspec.Struct):
    """What playback went through, for metrics."""

    sent_bytes: int = 0
    underruns: int = 0
    """Times the caller heard a hole inside a reply that had begun."""
    underrun_ms: float = 0.0
    marks_lost: int = 0
    """Times that marks stopped coming."""
    stale_marks: int = 0
    """Marks that proved nothing: cleared, unknown, seen before, or back before the audio can have been played."""
    refused_bytes: int = 0
    """Audio refused because too much was queued."""


# --- inside -----------------------------------------------------------------------------------------------------
class _Reply:
    """The audio of one turn. Positions are bytes from the start of the reply."""

    __slots__ = ("audio", "dropped", "has_started", "heard", "is_finished", "is_flowing", "is_held", "sent", "turn")

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.audio = bytearray()
        self.dropped = 0
        """Bytes forgotten at the front of `audio`."""
        self.sent = 0
        self.heard = 0
        self.has_started = False
        self.is_flowing = False
        """Has been sent without a pause of our own making: a gap now is an underrun."""
        self.is_finished = False
        self.is_held = False

    @property
    def length(self) -> int:
        return self.dropped + len(self.audio)

    def hear(self, position: int) -> None:
        """Note that the caller heard up to `position`, and forget what no resume can need."""
        self.heard = max(self.heard, position)
        surplus = min(self.heard, position) - RETAINED_BYTES - self.dropped
        if surplus > 0:
            del self.audio[:surplus]
            self.dropped += surplus


class _Span:
    """Audio in flight, with the mark behind it."""

    __slots__ = ("begins_at", "end", "ends_at", "reply", "serial", "start")

    def __init__(self, serial: int, reply: _Reply, start: int, end: int, begins_at: float) -> None:
        self.serial = serial
        self.reply = reply
        self.start = start
        self.end = end
        self.begins_at = begins_at
        """When the caller began to hear it: by the byte clock, or by the mark before it once that is back."""
        self.ends_at = begins_at + (end - start) / RATE_HZ
        """By the byte clock."""

    def heard_at(self, now: float) -> int:
        """Return the position reached at `now`, never past the end."""
        return self.start + max(0, min(self.end - self.start, round((now - self.begins_at) * RATE_HZ)))


class _Record:
    """What the byte clock had playing when, in samples of the call's clock."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        self._taken = 0

    def add(self, begins_at: float, mulaw: bytes) -> None:
        self._pieces.append((round(begins_at * RATE_HZ), mulaw))
        self._kept_bytes += len(mulaw)
        while self._kept_bytes > MAX_RECORD_BYTES:
            self._kept_bytes -= len(self._pieces.popleft()[1])

    def cut(self, now: float) -> None:
        end = round(now * RATE_HZ)
        while self._pieces and self._pieces[-1][0] + len(self._pieces[-1][1]) > end:
            start, mulaw = self._pieces.pop()
            kept = mulaw[: max(0, end - start)]
            self._kept_bytes -= len(mulaw) - len(kept)
            if kept:
                self._pieces.append((start, kept))

    def take(self, until: float) -> bytes:
        end = max(self._taken, round(until * RATE_HZ))
        taken = bytearray([SILENCE_BYTE]) * (end - self._taken)
        while self._pieces and self._pieces[0][0] < end:
            start, mulaw = self._pieces.popleft()
            self._kept_bytes -= len(mulaw)
            if start + len(mulaw) > end:
                rest = mulaw[end - start :]
                self._pieces.appendleft((end, rest))
                self._kept_bytes += len(rest)
                mulaw = mulaw[: end - start]
            mulaw = mulaw[max(0, self._taken - start) :]
            at = max(start, self._taken) - self._taken
            taken[at : at + len(mulaw)] = mulaw
        self._taken = end
        return bytes(taken)


class Playback:
    """The caller's ear. One for each call; turns are integers that whoever calls `append` chooses."""

    def __init__(self, settings: PlaybackSettings | None = None) -> None:
        self.settings = settings or PlaybackSettings()
        self.counts = PlaybackCounts()
        self.deadline = inf
        """When `due` next has something to do: whatever the pipeline asks brings it forward to at once."""
        self._replies: dict[int, _Reply] = {}
        self._in_flight: deque[_Span] = deque()
        self._ear_ends_at = 0.0
        self._has_marks = True
        self._clears = 0
        self._marked = 0
        self._acknowledged = 0
        self._last_finished = (-1, 0.0)
        self._record = _Record()

    @property
    def queued_bytes(self) -> int:
        """Audio not sent yet, of all turns, held ones included. Whoever produces it should wait above a few seconds."""
        return sum(reply.length - reply.sent for reply in self._replies.values())

    def heard_ms(self, turn: int, now: float) -> float:
        """Return how far into a turn's audio the caller has heard; 0.0 for an unknown turn."""
        reply = self._replies.get(turn)
        if reply is None:
            finished_turn, finished_ms = self._last_finished
            return finished_ms if turn == finished_turn else 0.0
        front = self._in_flight[0] if self._in_flight else None
        playing = front.heard_at(now) if front is not None and front.reply is reply else 0
        return max(reply.heard, playing) / BYTES_PER_MS

    # --- what the pipeline asks
    def append(self, turn: int, mulaw: bytes) -> bool:
        """Queue more audio of a turn. Returns False, and drops it, where too much is queued already."""
        if self.queued_bytes + len(mulaw) > MAX_QUEUED_BYTES:
            self.counts.refused_bytes += len(mulaw)
            return False
        self._reply(turn).audio += mulaw
        self.deadline = 0.0
        return True

    def finish(self, turn: int) -> None:
        """No more audio follows in this turn: it is reported Finished once all of it was heard."""
        self._reply(turn).is_finished = True
        self.deadline = 0.0

    def stop(self, turn: int, now: float) -> Stopped:
        """Hold a turn, whatever its state, and tell how much of it was heard. Audio yet to come is held too."""
        finished_turn, finished_ms = self._last_finished
        if turn == finished_turn and turn not in self._replies:
            return Stopped(turn, finished_ms, 0.0, must_clear=False)
        reply = self._reply(turn)
        must_clear = self._silence(reply, now)
        reply.is_held = True
        return Stopped(turn, reply.heard / BYTES_PER_MS, (reply.length - reply.heard) / BYTES_PER_MS, must_clear)

    def resume(self, turn: int, from_ms: float) -> None:
        """Let a held turn go on from `from_ms` of its audio, at or before what was heard. Other turns are ignored."""
        reply = self._replies.get(turn)
        if reply is not None and reply.is_held:
            reply.is_held = False
            self.deadline = 0.0
            reply.sent = max(reply.dropped, min(reply.heard, round(from_ms) * BYTES_PER_MS))

    def discard(self, turn: int, now: float) -> bool:
        """Forget a turn. Returns whether a `clear` has to go out now: Twilio may hold some of it."""
        reply = self._replies.get(turn)
        if reply is None:
            return False
        must_clear = self._silence(reply, now)
        del self._replies[turn]
        return must_clear

    # --- what the socket asks
    def due(self, now: float) -> tuple[Output, ...]:
        """Return what is to be written now, and what time has brought about. Call it once `deadline` has come."""
        outputs: list[Output] = []
        self._trust_the_clock(now, outputs)
        while (size := self._next_size(now)) is not None:
            self._send(*size, now, outputs)
        self._report_finished(outputs)
        self._set_deadline()
        return tuple(outputs)

    def acknowledge(self, mark: str, now: float) -> tuple[Output, ...]:
        """Take an echoed mark and return what it proves: nothing, where it is not one sent since the last clear."""
        serial = self._serial_of(mark)
        if not self._acknowledged < serial <= self._marked or self._is_too_early(serial, now):
            self.counts.stale_marks += 1
            return ()
        self._acknowledged = serial
        self._has_marks = True
        outputs: list[Output] = []
        self._land(outputs, serial=serial)
        if self._in_flight:
            self._in_flight[0].begins_at = now
        else:
            self._ear_ends_at = min(self._ear_ends_at, now)
        self._report_finished(outputs)
        self._set_deadline()
        return tuple(outputs)

    def take_played(self, until: float) -> bytes:
        """Return what the caller heard since the last time, up to `until` (not in the future): silence between.

        The lengths add up to `until` of the call's clock, so that a recorder only has to append.
        """
        return self._record.take(until)

    # --- inside
    def _reply(self, turn: int) -> _Reply:
        reply = self._replies.get(turn)
        if reply is None:
            reply = self._replies[turn] = _Reply(turn)
        return reply

    def _next_reply(self) -> _Reply | None:
        """Return the reply to send from, None where nothing is queued."""
        for reply in self._replies.values():
            if reply.sent < reply.length and not reply.is_held:
                return reply
        return None

    def _lead_ms(self, reply: _Reply) -> float:
        """Return how short the lead must be for more of the reply to go out."""
        is_little = reply.length - reply.sent < self.settings.least_ms * BYTES_PER_MS and not reply.is_finished
        return self.settings.urgent_ms if is_little else self.settings.lead_ms

    def _next_size(self, now: float) -> tuple[_Reply, int] | None:
        """Return which reply to send from, and how many bytes; None while nothing is due."""
        reply = self._next_reply()
        if reply is None or now < self._ear_ends_at - self._lead_ms(reply) / 1_000:
            return None
        return reply, min(reply.length - reply.sent, int(self.settings.chunk_ms * BYTES_PER_MS))

    def _set_deadline(self) -> None:
        self.deadline = inf
        if self._in_flight:
            self.deadline = self._in_flight[0].ends_at + (MARK_OVERDUE_S if self._has_marks else 0.0)
        reply = self._next_reply()
        if reply is not None:
            self.deadline = min(self.deadline, self._ear_ends_at - self._lead_ms(reply) / 1_000)

    def _send(self, reply: _Reply, size: int, now: float, outputs: list[Output]) -> None:
        gap_ms = (now - self._ear_ends_at) * 1_000
        if reply.is_flowing and gap_ms > 1:
            self.counts.underruns += 1
            self.counts.underrun_ms += gap_ms
        start = reply.sent - reply.dropped
        mulaw = bytes(reply.audio[start : start + size])
        self._marked += 1
        span = _Span(self._marked, reply, reply.sent, reply.sent + size, max(now, self._ear_ends_at))
        self._in_flight.append(span)
        self._ear_ends_at = span.ends_at
        if self.settings.is_recorded:
            self._record.add(span.begins_at, mulaw)
        if not reply.has_started:
            outputs.append(Started(reply.turn))
        reply.sent = span.end
        reply.has_started = reply.is_flowing = True
        self.counts.sent_bytes += size
        outputs += (SendMedia(mulaw), SendMark(f"{self._clears}:{self._marked}:{reply.turn}"))

    def _serial_of(self, mark: str) -> int:
        """Return the serial number in one of our marks since the last clear, 0 for any other text."""
        clears, _, rest = mark.partition(":")
        serial, _, _ = rest.partition(":")
        if clears != str(self._clears) or not (serial.isascii() and serial.isdecimal()):
            return 0
        return int(serial)

    def _is_too_early(self, serial: int, now: float) -> bool:
        for span in self._in_flight:  # nearly always the first one
            if span.serial == serial:
                return now < span.ends_at - MARK_EARLY_S
        return False

    def _trust_the_clock(self, now: float, outputs: list[Output]) -> None:
        """Where marks stay away, take what the byte clock says for heard."""
        if self._has_marks and self._in_flight and now >= self._in_flight[0].ends_at + MARK_OVERDUE_S:
            self._has_marks = False
            self.counts.marks_lost += 1
        if not self._has_marks:
            self._land(outputs, until=now)

    def _land(self, outputs: list[Output], *, serial: int = 0, until: float = 0.0) -> None:
        """Take for heard all audio up to a mark, or that has ended by the byte clock."""
        landed: _Span | None = None
        while self._in_flight and (self._in_flight[0].serial <= serial or self._in_flight[0].ends_at <= until):
            landed = self._in_flight.popleft()
            landed.reply.hear(landed.end)
        if landed is not None:
            outputs.append(Heard(landed.reply.turn, landed.reply.heard / BYTES_PER_MS))

    def _report_finished(self, outputs: list[Output]) -> None:
        for reply in tuple(self._replies.values()):
            is_sent = reply.is_finished and not reply.is_held and reply.sent == reply.length
            if is_sent and not any(span.reply is reply for span in self._in_flight):
                del self._replies[reply.turn]
                self._last_finished = (reply.turn, reply.length / BYTES_PER_MS)
                outputs.append(Finished(reply.turn))

    def _silence(self, reply: _Reply, now: float) -> bool:
        """Take a reply out of the caller's ear. Returns whether that needs a `clear`."""
        is_in_flight = any(span.reply is reply for span in self._in_flight)
        if is_in_flight:
            self._cut(now)
        elif not self._has_marks and reply.has_started:
            self._clears += 1
            return True
        return is_in_flight

    def _cut(self, now: float) -> None:
        """Note that a `clear` goes out: what was sent and not heard is queued again, and old marks are dead."""
        front = self._in_flight[0]
        heard = front.heard_at(now)
        for span in reversed(self._in_flight):
            span.reply.sent = span.start
            span.reply.is_flowing = False
        front.reply.sent = heard
        front.reply.hear(heard)
        self._in_flight.clear()
        self._clears += 1
        self._acknowledged = self._marked
        self._ear_ends_at = now
        self._record.cut(now)
        self._set_deadline()
