"""Records one leg as `Record=true` asks for it, from the answer on, and tells the server what becomes of the recording.

Source: https://www.twilio.com/docs/voice/api/call-resource#recordingstatuscallback and, for pauses,
https://www.twilio.com/docs/voice/api/recording#update-a-recording-resource.
"""

from typing import Literal

import msgspec

from voice_agent.audio.mulaw import silence
from voice_agent.sandbox.carrier.callbacks import Messages, StatusCallback
from voice_agent.sandbox.carrier.journal import RecordingChanged
from voice_agent.sandbox.carrier.line import Line
from voice_agent.sandbox.carrier.record import CallRecord
from voice_agent.sandbox.carrier.recordings import RUNNING, RecordingStatus
from voice_agent.sandbox.carrier.services import Services

PauseBehavior = Literal["silence", "skip"]


class RecordingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a request for a call says about its recording."""

    channels: int = 1
    callback: StatusCallback = StatusCallback()


class Recorder:
    """Records what is said and heard on one call's line, from now on until `finish`."""

    def __init__(self, record: CallRecord, order: RecordingOrder, services: Services, line: Line) -> None:
        self.recording = services.recordings.add(
            account_sid=record.account_sid, call_sid=record.sid, channels=order.channels
        )
        self._target = order.callback
        self._journal = services.journal
        self._line = line
        self._messages = Messages(order.callback, services, call_sid=record.sid, about=self.recording.sid)
        self._pause_behavior: PauseBehavior = "silence"
        line.recorder = self._write
        self._change("in-progress")
        self._tell()

    @property
    def is_running(self) -> bool:
        """Whether the call is being recorded, be it paused."""
        return self.recording.status in RUNNING

    def pause(self, behavior: PauseBehavior) -> None:
        """Leave silence from now on, or leave out what comes ("skip")."""
        self._pause_behavior = behavior
        self._change("paused")

    def resume(self) -> None:
        """Record again."""
        self._change("in-progress")

    def finish(self) -> None:
        """End the recording: complete, or absent where there is no sound. Twice does nothing."""
        if self.is_running:
            self._line.recorder = None
            self._change("completed" if self.recording.said else "absent")
            self._tell()

    def _write(self, said: bytes, heard: bytes) -> None:
        is_paused = self.recording.status == "paused"
        if is_paused and self._pause_behavior == "skip":
            return
        self.recording.said += silence(len(said)) if is_paused else said
        self.recording.heard += silence(len(heard)) if is_paused else heard

    def _change(self, status: RecordingStatus) -> None:
        self.recording.status = status
        self._journal.write(
            RecordingChanged(
                at=self._journal.now,
                call_sid=self.recording.call_sid,
                recording_sid=self.recording.sid,
                status=status,
                sample=self._line.sample,
            )
        )

    def _tell(self) -> None:
        if self._target.url and self.recording.status in self._target.events:
            self._messages.send(self.recording.callback_parameters(), is_last=not self.is_running)
