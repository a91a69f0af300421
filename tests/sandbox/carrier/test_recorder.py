"""Recording a leg, with the time given by the test."""

from tests.sandbox.carrier.server import FakeServer, Person
from tests.sandbox.carrier.test_line import Clock
from voice_agent.audio.mulaw import FRAME_BYTES, silence
from voice_agent.sandbox.carrier import Carrier
from voice_agent.sandbox.carrier.callbacks import StatusCallback
from voice_agent.sandbox.carrier.journal import RecordingChanged
from voice_agent.sandbox.carrier.line import Line
from voice_agent.sandbox.carrier.record import CallRecord
from voice_agent.sandbox.carrier.recorder import Recorder, RecordingOrder
from voice_agent.sandbox.carrier.webhooks import signature

EVERYTHING = frozenset({"in-progress", "completed", "absent"})
FRAME_S = 0.02


class Recorded:
    """A call that is recorded, frame by frame."""

    def __init__(self, carrier: Carrier, url: str = "") -> None:
        self.clock = Clock()
        self.carrier = carrier
        self.line = Line(Person(says=b"\x11" * FRAME_BYTES * 9), self.clock)
        record = CallRecord(account_sid=carrier.settings.account_sid, to="1", from_="2", direction="outbound-api")
        order = RecordingOrder(channels=2, callback=StatusCallback(url, events=EVERYTHING))
        self.clock.now_s += 0.00005  # within a sample, or rounding would miss one
        self.recorder = Recorder(record, order, carrier._services, self.line)

    def frames(self, count: int) -> None:
        for _ in range(count):
            self.line.catch_up().play(b"\x22" * FRAME_BYTES)
            self.clock.now_s += FRAME_S
            self.line.tick()

    def statuses(self) -> list[str]:
        return [entry.status for entry in self.carrier.journal if isinstance(entry, RecordingChanged)]


async def test_both_directions_are_recorded_to_the_end_and_told(carrier: Carrier, server: FakeServer) -> None:
    call = Recorded(carrier, f"{server.url}/twiml/recording")
    call.frames(2)
    call.recorder.finish()
    call.recorder.finish()
    call.frames(1)

    recording = call.recorder.recording
    assert bytes(recording.said) == b"\x11" * 2 * FRAME_BYTES
    assert bytes(recording.heard) == b"\x22" * 2 * FRAME_BYTES
    begun, completed = await server.wait_for("/twiml/recording", 2)
    assert (begun["RecordingStatus"], completed["RecordingStatus"]) == ("in-progress", "completed")
    assert completed == recording.callback_parameters()
    _, form, headers = server.posts[-1]
    signed = signature(carrier.settings.auth_token, f"{server.url}/twiml/recording", form)
    assert headers["X-Twilio-Signature"] == signed
    assert call.statuses() == ["in-progress", "completed"]


async def test_a_pause_is_silence(carrier: Carrier) -> None:
    call = Recorded(carrier)
    call.frames(1)
    call.recorder.pause("silence")
    call.frames(2)
    call.recorder.resume()
    call.frames(1)
    call.recorder.finish()

    gap = silence(2 * FRAME_BYTES)
    assert call.recorder.recording.said == b"\x11" * FRAME_BYTES + gap + b"\x11" * FRAME_BYTES
    assert call.recorder.recording.heard == b"\x22" * FRAME_BYTES + gap + b"\x22" * FRAME_BYTES
    assert call.statuses() == ["in-progress", "paused", "in-progress", "completed"]


async def test_a_pause_may_be_left_out(carrier: Carrier) -> None:
    call = Recorded(carrier)
    call.frames(1)
    call.recorder.pause("skip")
    call.frames(2)
    call.recorder.finish()
    assert call.recorder.recording.said == b"\x11" * FRAME_BYTES


async def test_a_recording_without_sound_is_absent(carrier: Carrier, server: FakeServer) -> None:
    call = Recorded(carrier, f"{server.url}/twiml/recording")
    call.recorder.finish()
    forms = await server.wait_for("/twiml/recording", 2)
    assert [form["RecordingStatus"] for form in forms] == ["in-progress", "absent"]
