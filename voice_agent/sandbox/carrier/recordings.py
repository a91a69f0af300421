"""The carrier's recordings of calls, kept in memory until they are deleted.

Source: https://www.twilio.com/docs/voice/api/recording. A recording has what its call's own leg says (first channel)
and hears (second), as Twilio's dual channel does with a call that it placed; both are mixed where one channel was asked
for. Silence at the ends is not trimmed; sound is fetched as WAV (PCM16, 8,000 Hz) and in no other format.
"""

import io
import wave
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import numpy

from voice_agent.audio.mulaw import RATE_HZ, interleave
from voice_agent.sandbox.carrier.faults import RecordingFault, RecordingFaultPlan, RecordingFaults
from voice_agent.sandbox.carrier.record import API_VERSION, new_sid, rfc2822

RecordingStatus = Literal["in-progress", "paused", "completed", "absent", "deleted"]

RUNNING: frozenset[RecordingStatus] = frozenset({"in-progress", "paused"})


@dataclass(slots=True, kw_only=True)
class Recording:
    """One recording, from its call's answer on."""

    account_sid: str
    call_sid: str
    channels: int
    """1 or 2."""

    base_url: str
    """Of the REST interface."""

    sid: str = field(default_factory=lambda: new_sid("RE"))
    status: RecordingStatus = "in-progress"
    source: str = "OutboundAPI"
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    fetches: int = 0
    """How often its sound was asked for since it is complete."""

    said: bytearray = field(default_factory=bytearray, repr=False)
    """Mu-law, 8,000 Hz; likewise `heard`, of the same length."""

    heard: bytearray = field(default_factory=bytearray, repr=False)

    @property
    def path(self) -> str:
        """The resource's path on the REST interface, without an ending."""
        return f"/{API_VERSION}/Accounts/{self.account_sid}/Recordings/{self.sid}"

    @property
    def duration_s(self) -> int:
        """Whole seconds, as Twilio counts them."""
        return round(len(self.said) / RATE_HZ)

    def sound(self) -> bytes:
        """Return the WAV file."""
        pcm = interleave(bytes(self.said), bytes(self.heard))
        if self.channels == 1:
            mixed = numpy.frombuffer(pcm, numpy.dtype("<i2")).reshape(-1, 2).mean(axis=1)
            pcm = mixed.astype("<i2").tobytes()
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setnchannels(self.channels)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes(pcm)
        return content.getvalue()

    def as_resource(self) -> dict[str, object]:
        """Return the JSON of the recording resource."""
        return {
            "sid": self.sid,
            "account_sid": self.account_sid,
            "call_sid": self.call_sid,
            "conference_sid": None,
            "api_version": API_VERSION,
            "status": self.status,
            "channels": self.channels,
            "source": self.source,
            "duration": None if self.status in RUNNING else str(self.duration_s),
            "start_time": rfc2822(self.started_at),
            "date_created": rfc2822(self.started_at),
            "date_updated": rfc2822(self.started_at),
            "price": None,
            "price_unit": "USD",
            "error_code": None,
            "encryption_details": None,
            "uri": f"{self.path}.json",
        }

    def callback_parameters(self) -> dict[str, str]:
        """Return the form fields that tell of it."""
        parameters = {
            "AccountSid": self.account_sid,
            "CallSid": self.call_sid,
            "RecordingSid": self.sid,
            "RecordingUrl": self.base_url + self.path,
            "RecordingStatus": self.status,
            "RecordingChannels": str(self.channels),
            "RecordingStartTime": rfc2822(self.started_at),
            "RecordingSource": self.source,
            "RecordingTrack": "both",
        }
        return parameters if self.status in RUNNING else parameters | {"RecordingDuration": str(self.duration_s)}


class RecordingShelf:
    """Every recording of one carrier."""

    def __init__(self, faults: RecordingFaults) -> None:
        self.faults = RecordingFaultPlan(faults)
        """What goes wrong with requests for their sound."""

        self.base_url = ""
        """Of the REST interface, once it listens: callbacks name it."""

        self._recordings: dict[str, Recording] = {}

    def add(self, *, account_sid: str, call_sid: str, channels: int) -> Recording:
        """Begin a recording and return it."""
        recording = Recording(account_sid=account_sid, call_sid=call_sid, channels=channels, base_url=self.base_url)
        self._recordings[recording.sid] = recording
        return recording

    def find(self, recording_sid: str) -> Recording | None:
        """Return a recording that was not deleted."""
        recording = self._recordings.get(recording_sid)
        return None if recording is None or recording.status == "deleted" else recording

    def of_call(self, call_sid: str) -> tuple[Recording, ...]:
        """Return a call's recordings, deleted ones too, oldest first."""
        return tuple(each for each in self._recordings.values() if each.call_sid == call_sid)

    def delete(self, recording: Recording) -> None:
        """Forget a recording's sound."""
        recording.status = "deleted"
        recording.said.clear()
        recording.heard.clear()

    def next_fault(self, recording: Recording) -> RecordingFault | None:
        """Return what goes wrong with the request for this recording's sound that is being answered."""
        recording.fetches += 1
        return self.faults.next_of(recording.fetches)
