import itertools
import json
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media_stream import twilio_messages as twilio
from voice_agent.media_stream.ordering import OrderCounts
from voice_agent.media_stream.protocol import (
    AUDIO_BURST_S,
    BAD_FRAMES,
    DIGIT_BURST,
    EARLY_MESSAGES,
    INVALID_PAYLOAD,
    MAX_FRAME_BYTES,
    MESSAGE_BURST,
    POLICY_VIOLATION,
    SILENCE_MS,
    START_TIMEOUT_S,
    TOO_BIG,
    UNSUPPORTED,
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

FRAME = b"\x7f" * 160


def a_started_stream() -> MediaStreamProtocol:
    protocol = MediaStreamProtocol(now=0.0)
    protocol.receive(twilio.start(), 0.0)
    return protocol


def audio_of(events: Iterable[StreamEvent]) -> bytes:
    return b"".join(event.mulaw for event in events if isinstance(event, AudioReceived))


# --- the ordinary call
def test_an_ordinary_call() -> None:
    protocol = MediaStreamProtocol(now=0.0)
    assert protocol.receive(twilio.connected(), 0.0) == ()
    assert protocol.receive(twilio.start(parameters={"ticket": "t"}), 0.0) == (
        StreamStarted(twilio.STREAM, twilio.CALL, "AC1", {"ticket": "t"}),
    )
    assert protocol.receive(twilio.media(2), 0.02) == (AudioReceived(FRAME),)
    assert protocol.receive(twilio.dtmf(3, "*"), 0.03) == (DigitReceived("*"),)
    assert protocol.receive(twilio.mark(4, "m"), 0.03) == (MarkReceived("m"),)
    assert protocol.receive(twilio.stop(5), 0.04) == (StreamStopped(),)
    assert protocol.is_closed


def test_nothing_follows_the_end() -> None:
    protocol = a_started_stream()
    protocol.receive(twilio.stop(2), 0.0)
    assert protocol.receive(twilio.media(3), 0.0) == ()
    assert protocol.receive_binary(0.0) == ()
    assert protocol.poll(100.0) == ()


def test_what_waits_behind_a_stop_is_not_delivered() -> None:
    protocol = a_started_stream()
    assert protocol.receive(twilio.dtmf(3, "1"), 0.0) == ()
    assert protocol.receive(twilio.stop(2), 0.0) == (StreamStopped(),)


def test_missing_parameters_are_empty() -> None:
    protocol = MediaStreamProtocol(now=0.0)
    (started,) = protocol.receive(twilio.start(), 0.0)
    assert isinstance(started, StreamStarted)
    assert started.parameters == {}
    assert protocol.started == started


@pytest.mark.parametrize("length", [1, 7, 160, 801, 8_000])
def test_any_length_of_media_is_taken(length: int) -> None:
    assert audio_of(a_started_stream().receive(twilio.media(2, b"\x01" * length), 0.0)) == b"\x01" * length


def test_empty_media_and_the_other_track_are_no_audio() -> None:
    protocol = a_started_stream()
    assert protocol.receive(twilio.media(2, b""), 0.0) == ()
    assert protocol.receive(twilio.media(3, track="outbound"), 0.0) == ()
    assert protocol.counts.foreign == 1
    assert protocol.counts.media == 0


def test_an_undocumented_event_keeps_its_place_in_the_numbering() -> None:
    protocol = a_started_stream()
    assert protocol.receive(b'{"event":"x","sequenceNumber":"2","streamSid":"%s"}' % twilio.STREAM.encode(), 0.0) == ()
    assert audio_of(protocol.receive(twilio.media(3), 0.0)) == FRAME
    assert protocol.counts.unknown == 1
    assert protocol.order_counts == OrderCounts()


def test_messages_without_numbers_pass_as_they_come() -> None:
    protocol = a_started_stream()
    frame = {"event": "media", "streamSid": twilio.STREAM, "media": {"payload": "fw=="}}
    assert audio_of(protocol.receive(json.dumps(frame).encode(), 0.0)) == b"\x7f"


# --- F27, F28, F29: bad frames
def test_f27_a_bad_frame_is_counted_and_the_call_goes_on() -> None:
    protocol = a_started_stream()
    for second in range(3 * BAD_FRAMES):
        assert protocol.receive(b'{"event":"media"', second * 0.2) == ()
    assert protocol.counts.bad == 3 * BAD_FRAMES
    assert protocol.first_fault == "DecodeError"
    assert not protocol.is_closed


def test_f27_fifty_bad_frames_in_five_seconds_close() -> None:
    protocol = a_started_stream()
    events = [protocol.receive(b"{", number * 0.1) for number in range(BAD_FRAMES)]
    assert not any(events[:-1])
    assert events[-1] == (CloseRequired(INVALID_PAYLOAD, "too many bad frames"),)
    assert protocol.is_closed


def test_f28_a_frame_beyond_the_limit_closes() -> None:
    protocol = a_started_stream()
    assert protocol.receive(b" " * (MAX_FRAME_BYTES + 1), 0.0) == (CloseRequired(TOO_BIG, "frame too big"),)


def test_f29_binary_frames_are_counted_and_a_flood_of_them_throttled() -> None:
    protocol = a_started_stream()
    events = [protocol.receive_binary(0.0) for _ in range(MESSAGE_BURST)]
    assert events[0] == ()
    assert events[-1] == (ThrottleRequired(),)
    assert protocol.counts.binary == MESSAGE_BURST


# --- F30: what does not belong here
def test_f30_media_before_start_is_kept_for_a_second_and_ordered() -> None:
    protocol = MediaStreamProtocol(now=0.0)
    for number in range(60, 1, -1):
        assert protocol.receive(twilio.media(number, bytes([number]) * 160), 0.0) == ()
    events = protocol.receive(twilio.start(), 0.5)
    assert isinstance(events[0], StreamStarted)
    assert protocol.counts.early_dropped == 9
    events += protocol.poll(0.7)
    assert audio_of(events) == b"".join(bytes([number]) * 160 for number in range(11, 61))


def test_f30_early_messages_without_audio_are_bounded_too() -> None:
    protocol = MediaStreamProtocol(now=0.0)
    for number in range(EARLY_MESSAGES + 5):
        protocol.receive(twilio.mark(number, "m"), 0.0)
    assert protocol.counts.early_dropped == 5


def test_f30_early_media_of_another_stream_is_dropped_at_the_start() -> None:
    protocol = MediaStreamProtocol(now=0.0)
    protocol.receive(twilio.media(2, stream="MZother"), 0.0)
    assert len(protocol.receive(twilio.start(), 0.0)) == 1
    assert protocol.counts.foreign == 1


def test_f30_a_second_start_is_rejected() -> None:
    protocol = a_started_stream()
    assert protocol.receive(twilio.start(stream="MZother"), 0.0) == ()
    assert protocol.counts.second_starts == 1
    assert audio_of(protocol.receive(twilio.media(2), 0.0)) == FRAME


def test_f30_another_stream_is_ignored() -> None:
    protocol = a_started_stream()
    assert protocol.receive(twilio.media(2, stream="MZother"), 0.0) == ()
    assert protocol.receive(twilio.stop(2).replace(twilio.STREAM.encode(), b"MZother"), 0.0) == ()
    assert protocol.counts.foreign == 2
    assert not protocol.is_closed


def test_a_start_that_never_comes_closes() -> None:
    protocol = MediaStreamProtocol(now=0.0)
    assert protocol.poll(START_TIMEOUT_S - 0.1) == ()
    assert protocol.poll(START_TIMEOUT_S) == (CloseRequired(POLICY_VIOLATION, "no start"),)


@pytest.mark.parametrize("wrong", [(b"8000", b"16000"), (b"x-mulaw", b"x-l16"), (b'"channels": 1', b'"channels": 2')])
def test_another_media_format_closes(wrong: tuple[bytes, bytes]) -> None:
    protocol = MediaStreamProtocol(now=0.0)
    assert protocol.receive(twilio.start().replace(*wrong), 0.0) == (
        CloseRequired(UNSUPPORTED, "unsupported media format"),
    )


# --- F31: order and clock
def test_f31_early_messages_are_put_back_into_order() -> None:
    protocol = a_started_stream()
    assert protocol.receive(twilio.media(3, b"\x03" * 160), 0.00) == ()
    assert audio_of(protocol.receive(twilio.media(2, b"\x02" * 160), 0.02)) == b"\x02" * 160 + b"\x03" * 160


def test_f31_a_lost_message_becomes_silence_once_it_is_given_up() -> None:
    protocol = a_started_stream()
    protocol.receive(twilio.media(2), 0.02)
    assert protocol.receive(twilio.media(4), 0.06) == ()
    assert audio_of(protocol.poll(0.17)) == b"\xff" * 160 + FRAME
    assert protocol.counts.silence_bytes == 160
    assert protocol.order_counts.lost == 1


def test_f31_duplicates_are_heard_once() -> None:
    protocol = a_started_stream()
    protocol.receive(twilio.media(2), 0.0)
    assert protocol.receive(twilio.media(2), 0.0) == ()
    assert protocol.order_counts.duplicate == 1


def test_f31_a_clock_that_jumps_back_or_absurdly_forward_is_followed_without_silence() -> None:
    protocol = a_started_stream()
    protocol.receive(twilio.media(2, at_ms=10_000), 0.0)
    for number, at_ms in enumerate([20, 40, 3_600_000, 3_600_020, 10**15, 10**15 + 20], start=3):
        assert audio_of(protocol.receive(twilio.media(number, at_ms=at_ms), number * 0.02)) == FRAME
    assert protocol.counts.clock_jumps == 3
    assert protocol.counts.silence_bytes == 0


def test_f31_a_gap_longer_than_any_call_survives_is_not_filled() -> None:
    protocol = a_started_stream()
    protocol.receive(twilio.media(2, at_ms=0), 0.0)
    events = protocol.receive(twilio.media(3, at_ms=int(SILENCE_MS) + 100), SILENCE_MS / 1_000 + 0.1)
    assert audio_of(events) == FRAME


def test_a_stalled_network_that_lost_nothing_adds_no_silence() -> None:
    protocol = a_started_stream()
    protocol.receive(twilio.media(2), 0.0)
    for number in range(3, 103):
        assert audio_of(protocol.receive(twilio.media(number), 2.0)) == FRAME


# --- F32, F35: floods
def test_f32_audio_ten_times_too_fast_is_dropped_beyond_a_burst() -> None:
    protocol = a_started_stream()
    for number in range(2, 5_002):
        protocol.receive(twilio.media(number), number * 0.002)
    counts = protocol.counts
    assert counts.audio_bytes <= (10 * 1.05 + 2 * AUDIO_BURST_S) * 8_000
    assert counts.flood_bytes > 5_000 * 160 * 0.6


def test_f32_a_flood_of_messages_asks_to_stop_reading() -> None:
    protocol = a_started_stream()
    events = [protocol.receive(twilio.connected(), 0.0) for _ in range(MESSAGE_BURST)]
    assert events[-1] == (ThrottleRequired(),)
    assert protocol.receive(twilio.connected(), 0.02) == ()


def test_f35_a_storm_of_digits_is_bounded() -> None:
    protocol = a_started_stream()
    digits = [event for number in range(2, 102) for event in protocol.receive(twilio.dtmf(number, "1"), 0.0)]
    assert len(digits) == DIGIT_BURST
    assert protocol.counts.digits_dropped == 100 - DIGIT_BURST


# --- properties
numbers = st.one_of(st.integers(-5, 400), st.sampled_from(["1", "2", "3", "x", "", "-1", "1e3", None, 2**70, 0.5]))
leaves = st.one_of(
    st.none(), st.booleans(), numbers, st.text(max_size=12), st.sampled_from(["fw==", "////", "inbound"])
)
names = st.sampled_from(
    [
        "event",
        "sequenceNumber",
        "streamSid",
        "media",
        "payload",
        "timestamp",
        "track",
        "start",
        "callSid",
        "mark",
        "name",
    ]
)
objects = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=5) | st.lists(inner, max_size=3))


@st.composite
def shaped(draw: st.DrawFn) -> bytes:
    """A message of the right shape with wrong things in it."""
    event = draw(st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop", "other"]))
    message = {
        "event": event,
        "sequenceNumber": draw(numbers),
        "streamSid": draw(st.sampled_from([twilio.STREAM, twilio.STREAM, twilio.STREAM, "MZother", "", None])),
        event: draw(objects),
    }
    if event == "media" and draw(st.booleans()):
        message["media"] = {"timestamp": draw(numbers), "payload": draw(st.sampled_from(["", "fw==", "f" * 400, "?"]))}
    return json.dumps(message).encode()


good = st.builds(twilio.media, st.integers(2, 80))
frames = st.one_of(good, shaped(), st.binary(max_size=60), good.map(lambda frame: frame[: len(frame) // 2]))


@given(st.lists(st.tuples(frames, st.floats(0, 0.3)), max_size=60), st.booleans())
def test_no_frames_raise_and_the_audio_never_runs_ahead_of_time(
    arrivals: list[tuple[bytes, float]], is_started: bool
) -> None:
    protocol = a_started_stream() if is_started else MediaStreamProtocol(now=0.0)
    now = 0.0
    for frame, pause in arrivals:
        now += pause
        for event in protocol.receive(frame, now) + protocol.poll(now) + protocol.receive_binary(now):
            assert not isinstance(event, AudioReceived) or protocol.started
        counts = protocol.counts
        assert counts.audio_bytes <= (now * 1.05 + 2 * AUDIO_BURST_S + 1.1) * 8_000
        assert counts.silence_bytes <= (now + 1.1) * 8_000


@settings(max_examples=60)
@given(
    lost=st.sets(st.integers(1, 99)),
    doubled=st.sets(st.integers(0, 99)),
    delays=st.lists(st.floats(0, 0.08), min_size=100, max_size=100),
)
def test_the_audio_position_is_the_calls_clock(lost: set[int], doubled: set[int], delays: list[float]) -> None:
    """Frames lost, doubled and delayed by up to 80 ms: every one that came is at its own place, silence elsewhere."""
    protocol = a_started_stream()
    sent = [at for at in range(100) if at not in lost]
    arrivals = sorted((at * 0.02 + delays[at], at) for at in itertools.chain(sent, doubled - lost))
    heard = b""
    for now, at in arrivals:
        heard += audio_of(protocol.receive(twilio.media(at + 2, bytes([at]) * 160), now))
        heard += audio_of(protocol.poll(now))
    heard += audio_of(protocol.poll(10.0))
    expected = [bytes([at]) * 160 if at in sent else b"\xff" * 160 for at in range(sent[-1] + 1)]
    assert heard == b"".join(expected)
    assert protocol.counts.audio_bytes == len(heard)
