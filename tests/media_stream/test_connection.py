"""The shell around protocol and playback, over a socket that only writes down what it is told."""

import asyncio
import json

from structlog.testing import capture_logs

from tests.media_stream import twilio_messages as twilio
from tests.media_stream.recording_listener import RecordingListener
from voice_agent.media_stream.connection import (
    LOST_AFTER_S,
    MAX_UNSENT_BYTES,
    PROBE,
    PROBE_AFTER_S,
    SLOW_READER_S,
    CloseReason,
    MediaStreamConnection,
    PlayoutClock,
    Upgrade,
)
from voice_agent.media_stream.protocol import MESSAGE_BURST, StreamStarted


class FakeSocket:
    """Keeps what was written, in words."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.unsent = 0
        self.reading: list[str] = []
        self.ends: list[object] = []

    def send(self, message: bytes) -> None:
        assert not self.ends
        decoded = json.loads(message)
        self.written.append(decoded["event"])
        self.last_mark = decoded["mark"]["name"] if decoded["event"] == "mark" else ""

    def unsent_bytes(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.reading.append("paused")

    def resume_reading(self) -> None:
        self.reading.append("resumed")

    def close(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))

    def abort(self) -> None:
        self.ends.append("aborted")


class Call:
    """A connection between a fake socket and a recording listener."""

    def __init__(self, *, is_admitted: bool = True, is_started: bool = True) -> None:
        self.socket = FakeSocket()
        self.clock = PlayoutClock()
        self.listener = RecordingListener()
        self.is_admitted = is_admitted
        self.connection = MediaStreamConnection(self.socket, Upgrade("/", {}), admit=self._admit, clock=self.clock)
        if is_started:
            self.connection.receive(twilio.start())
            self.listener.heard.clear()

    def _admit(self, started: StreamStarted, connection: MediaStreamConnection) -> RecordingListener | None:
        assert (started.call_sid, connection) == (twilio.CALL, self.connection)
        assert not self.listener.heard
        return self.listener if self.is_admitted else None

    def tick(self, after_s: float) -> None:
        """Tick as if so much time had passed since now."""
        self.connection.tick(asyncio.get_running_loop().time() + after_s)

    def end(self) -> None:
        self.connection.lost()


async def test_the_listener_hears_what_the_stream_says() -> None:
    call = Call(is_started=False)
    call.connection.receive(twilio.start())
    call.connection.receive(twilio.media(2))
    call.connection.receive(twilio.dtmf(3, "7"))
    call.connection.receive(twilio.stop(4))
    assert bytes(call.listener.audio) == b"\x7f" * 160
    assert call.listener.heard == [("started", twilio.CALL), ("digit", "7"), ("closed", CloseReason.STOPPED)]
    assert call.socket.ends == [(1000, "stopped")]
    assert call.connection.is_closed


async def test_whoever_is_not_admitted_hears_nothing() -> None:
    call = Call(is_admitted=False)
    assert call.socket.ends == [(1008, "refused")]
    assert call.listener.heard == []
    call.connection.receive(twilio.media(2))
    assert call.listener.audio == b""


async def test_nothing_is_played_before_the_start_or_after_the_end() -> None:
    call = Call(is_started=False)

    def use() -> None:
        call.connection.play(1, b"\x01" * 160)
        call.connection.finish(1)
        call.connection.stop(1)
        call.connection.resume(1, 0.0)
        call.connection.discard(1)

    use()
    call.connection.receive(twilio.start())
    call.end()
    call.socket.ends.clear()
    use()
    assert call.socket.written == []
    assert call.listener.heard == [("started", twilio.CALL), ("closed", CloseReason.DISCONNECTED)]


async def test_a_reply_from_first_audio_to_last_mark() -> None:
    call = Call()
    call.connection.play(1, b"\x01" * 800)
    assert call.socket.written == ["media", "mark"]
    call.connection.finish(1)
    assert call.connection.queued_ms == 0.0
    call.connection.receive(twilio.mark(2, call.socket.last_mark))
    assert call.listener.heard == [("playback_started", 1), ("marked", 1, 100.0), ("finished", 1)]
    call.end()


async def test_stop_clears_and_reports_before_it_returns_and_resume_goes_on() -> None:
    call = Call()
    call.connection.play(3, b"\x01" * 8_000)
    call.socket.written.clear()
    call.connection.stop(3)
    assert call.socket.written == ["clear"]
    event, turn, heard_ms, remaining_ms = call.listener.heard[-1]
    assert (event, turn) == ("stopped", 3)
    assert isinstance(heard_ms, float)
    assert isinstance(remaining_ms, float)
    assert heard_ms + remaining_ms == 1_000.0
    call.connection.resume(3, 0.0)
    assert call.socket.written[:3] == ["clear", "media", "mark"]
    assert call.connection.heard_ms(3) >= heard_ms
    call.end()


async def test_discard_clears_what_is_playing_and_only_that() -> None:
    call = Call()
    call.connection.play(3, b"\x01" * 8_000)
    call.socket.written.clear()
    call.connection.discard(4)
    call.connection.discard(3)
    call.connection.discard(3)
    assert call.socket.written == ["clear"]
    call.end()


async def test_f16_refused_audio_is_logged() -> None:
    call = Call()
    with capture_logs() as logs:
        call.connection.play(1, bytes(1_000_001))
    assert logs[0]["event"] == "playback_refused"
    call.end()


async def test_the_record_follows_the_calls_clock() -> None:
    call = Call()
    call.connection.play(1, b"\x01" * 800)
    await asyncio.sleep(0.01)
    played = call.connection.take_played()
    assert len(played) <= round(call.connection.now * 8_000)
    assert played.startswith(b"\x01" * 16) or b"\xff\x01" in played
    call.end()


# --- time
async def test_one_clock_drives_all_calls_and_rests_without_any() -> None:
    clock = PlayoutClock(tick_s=0.001)
    sockets = [FakeSocket(), FakeSocket()]
    listeners = [RecordingListener(), RecordingListener()]
    waiting = iter(listeners)
    connections = [
        MediaStreamConnection(socket, Upgrade("/", {}), admit=lambda _started, _connection: next(waiting), clock=clock)
        for socket in sockets
    ]
    for connection, listener in zip(connections, listeners, strict=True):
        has_ticked = asyncio.Event()
        listener.on_digit_do = has_ticked.set
        connection.receive(twilio.start())
        connection.receive(twilio.dtmf(3, "1"))
        await has_ticked.wait()  # the digit came early: only the clock gives up waiting for number 2
    assert len(clock) == 2
    for connection in connections:
        connection.close()
    assert len(clock) == 0
    clock.discard(connections[0])


async def test_f26_a_silent_socket_is_probed_and_then_given_up() -> None:
    call = Call()
    call.tick(PROBE_AFTER_S - 0.1)
    assert call.socket.written == []
    call.tick(PROBE_AFTER_S + 0.1)
    call.tick(PROBE_AFTER_S + 0.2)
    assert call.socket.written == ["mark"]
    assert call.socket.last_mark == PROBE
    call.tick(2 * PROBE_AFTER_S + 0.2)
    assert call.socket.written == ["mark", "mark"]
    call.tick(LOST_AFTER_S + 0.1)
    assert call.socket.ends == ["aborted"]
    assert call.listener.heard == [("closed", CloseReason.TRANSPORT_LOST)]


async def test_f26_an_answered_probe_is_a_sign_of_life_and_no_playback() -> None:
    call = Call()
    call.tick(PROBE_AFTER_S + 0.1)
    call.connection.receive(twilio.mark(2, PROBE))
    assert call.listener.heard == []
    assert call.connection.playback.counts.stale_marks == 0
    call.end()


async def test_a_socket_that_never_starts_is_closed() -> None:
    call = Call(is_started=False)
    call.tick(9.0)
    assert call.socket.ends == []
    call.tick(11.0)
    assert call.socket.ends == [(1008, "broken_protocol")]


async def test_f33_a_slow_reader_is_waited_for_and_then_cut_off() -> None:
    call = Call()
    call.socket.unsent = MAX_UNSENT_BYTES + 1
    call.connection.play(1, b"\x01" * 800)
    assert call.socket.written == []
    call.socket.unsent = 0
    call.tick(0.1)
    assert call.socket.written == ["media", "mark"]
    call.socket.unsent = MAX_UNSENT_BYTES + 1
    call.connection.play(1, b"\x01" * 800)
    call.tick(SLOW_READER_S - 0.1)
    assert call.socket.ends == []
    call.tick(SLOW_READER_S + 0.1)
    assert call.socket.ends == ["aborted"]
    assert call.listener.heard[-1] == ("closed", CloseReason.SLOW_READER)


async def test_f32_a_flood_stops_the_reading_until_the_next_tick() -> None:
    call = Call()
    for _ in range(4 * MESSAGE_BURST):
        if not call.socket.reading:
            call.connection.receive_binary()
    assert call.socket.reading == ["paused"]
    call.tick(0.02)
    call.tick(0.04)
    assert call.socket.reading == ["paused", "resumed"]
    call.end()


# --- the end
async def test_each_way_to_end_tells_the_listener_once() -> None:
    for act, reason, end in (
        (MediaStreamConnection.close, CloseReason.HUNG_UP, (1000, "hung_up")),
        (MediaStreamConnection.shut_down, CloseReason.SHUTDOWN, (1001, "shutdown")),
        (MediaStreamConnection.lost, CloseReason.DISCONNECTED, (1000, "disconnected")),
    ):
        call = Call()
        act(call.connection)
        call.connection.lost()
        assert call.socket.ends == [end]
        assert call.listener.heard == [("closed", reason)]


async def test_a_listener_that_fails_ends_its_own_call_only() -> None:
    call = Call()

    def fail() -> None:
        raise RuntimeError("the conversation is broken")

    call.listener.on_digit_do = fail
    with capture_logs() as logs:
        call.connection.receive(twilio.dtmf(2, "1"))
    assert call.socket.ends == [(1011, "failed")]
    assert call.listener.heard[-1] == ("closed", CloseReason.FAILED)
    assert logs[0]["event"] == "media_stream_failed"


async def test_a_listener_that_fails_in_a_tick_ends_its_own_call_only() -> None:
    call = Call()
    call.socket.unsent = MAX_UNSENT_BYTES + 1
    call.connection.play(1, b"\x01" * 800)
    call.socket.unsent = 0
    call.listener.heard = None  # type: ignore[assignment]
    with capture_logs() as logs:
        call.tick(0.02)
    assert call.socket.ends == [(1011, "failed")]
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [
        "media_stream_failed",
        "media_stream_listener_failed",
    ]


async def test_the_log_has_counts_and_no_call_content() -> None:
    call = Call()
    call.connection.receive(twilio.media(2))
    with capture_logs() as logs:
        call.end()
    (entry,) = logs
    assert entry["event"] == "media_stream_closed"
    assert entry["received"]["media"] == 1
    assert twilio.CALL not in str(entry)
