"""Recordings of the carrier's: their sound, what tells of them, and where they are kept."""

import io
import wave

from voice_agent.audio.mulaw import decode, encode, silence
from voice_agent.sandbox.carrier.faults import RecordingFault, RecordingFaults
from voice_agent.sandbox.carrier.recordings import Recording, RecordingShelf

LOUD = encode(b"\x00\x40" * 4_000)
QUIET = encode(b"\x00\x10" * 4_000)


def a_recording(shelf: RecordingShelf, *, channels: int = 2) -> Recording:
    recording = shelf.add(account_sid="AC1", call_sid="CA1", channels=channels)
    recording.said += LOUD
    recording.heard += QUIET
    return recording


def a_shelf(faults: RecordingFaults | None = None) -> RecordingShelf:
    shelf = RecordingShelf(faults or RecordingFaults())
    shelf.base_url = "http://carrier"
    return shelf


def samples(recording: Recording) -> tuple[int, bytes]:
    with wave.open(io.BytesIO(recording.sound())) as file:
        assert (file.getframerate(), file.getsampwidth()) == (8_000, 2)
        return file.getnchannels(), file.readframes(file.getnframes())


def test_two_channels_are_what_was_said_and_what_was_heard() -> None:
    channels, pcm = samples(a_recording(a_shelf()))
    assert channels == 2
    assert pcm == (decode(LOUD[:1]) + decode(QUIET[:1])) * 4_000


def test_one_channel_is_both_mixed() -> None:
    channels, pcm = samples(a_recording(a_shelf(), channels=1))
    (said,), (heard,) = ([int.from_bytes(decode(each[:1]), "little", signed=True)] for each in (LOUD, QUIET))
    assert channels == 1
    assert pcm == ((said + heard) // 2).to_bytes(2, "little", signed=True) * 4_000


def test_a_length_is_told_once_it_is_known() -> None:
    recording = a_recording(a_shelf())
    recording.said += silence(8_000)
    assert "RecordingDuration" not in recording.callback_parameters()
    assert recording.as_resource()["duration"] is None

    recording.status = "completed"
    told = recording.callback_parameters()
    assert (told["RecordingSid"], told["CallSid"], told["RecordingStatus"]) == (recording.sid, "CA1", "completed")
    assert (told["RecordingDuration"], told["RecordingChannels"], told["RecordingSource"]) == ("2", "2", "OutboundAPI")
    assert told["RecordingUrl"] == f"http://carrier/2010-04-01/Accounts/AC1/Recordings/{recording.sid}"
    assert recording.as_resource()["duration"] == "2"


def test_a_deleted_recording_is_found_no_more_and_has_no_sound() -> None:
    shelf = a_shelf()
    recording = a_recording(shelf)
    assert shelf.find(recording.sid) is recording
    shelf.delete(recording)
    assert shelf.find(recording.sid) is None
    assert [each.status for each in shelf.of_call("CA1")] == ["deleted"]
    assert not recording.said
    assert not recording.heard


def test_each_recording_is_not_ready_for_its_first_requests() -> None:
    shelf = a_shelf(RecordingFaults(not_ready_first=2))
    shelf.faults.order(RecordingFault.FAILED)
    first, second = a_recording(shelf), a_recording(shelf)
    drawn = [shelf.next_fault(recording) for recording in (first, first, second, first, second, second)]
    late = RecordingFault.NOT_READY
    assert drawn == [late, late, late, RecordingFault.FAILED, late, None]
    assert shelf.faults.injected == {late: 4, RecordingFault.FAILED: 1}
